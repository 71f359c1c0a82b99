//! LCS: the longest common subsequence of two strings.
//!
//! The textbook's table of lengths, as in Redis, so that among several longest subsequences the
//! same one is found. But of the table only two rows are kept, and one bit for every cell: the way
//! back through it needs to know no more than which of two neighbours was longer. That is a 32nd
//! of the memory. It still takes time in the product of the lengths, so it runs after the locks
//! are released, on strings that cannot change any more.

use crate::command::args::{integer, is_word};
use crate::command::context::Call;
use crate::command::dispatch::blocking_if;
use crate::command::error::CommandError;
use crate::command::spec::Outcome;
use crate::keyspace::ReadManyView;
use crate::protocol::ReplyWriter;
use bytes::Bytes;
use std::ops::RangeInclusive;

/// Bytes of one number in the table that Redis makes, by which it limits the lengths.
const CELL_BYTES: u64 = 4;
/// More cells than this are filled where nobody waits behind them.
const LONG_CELLS: u64 = 200_000;

#[derive(Debug, Default)]
struct Options {
    len: bool,
    ranges: bool,
    match_len_min: usize,
    with_match_len: bool,
}

impl Options {
    fn parse(call: &Call<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut words = call.args.iter_from(3);
        while let Some(word) = words.next() {
            if is_word(word, "IDX") {
                options.ranges = true;
            } else if is_word(word, "LEN") {
                options.len = true;
            } else if is_word(word, "WITHMATCHLEN") {
                options.with_match_len = true;
            } else if is_word(word, "MINMATCHLEN")
                && let Some(number) = words.next()
            {
                let number = integer(number)?.max(0);
                options.match_len_min = usize::try_from(number).unwrap_or(usize::MAX);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if options.len && options.ranges {
            return Err(CommandError::Text(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(options)
    }
}

pub(super) fn lcs(view: &ReadManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let mut strings = view.iter().map(|key| match key.string() {
        Ok(value) => Ok(value.map_or_else(Bytes::new, |value| value.to_bytes())),
        Err(_) => Err(CommandError::Text("ERR The specified keys must contain string values")),
    });
    let (Some(first), Some(second)) = (strings.next(), strings.next()) else {
        return Err(CommandError::Syntax);
    };
    let (first, second) = (first?, second?);
    let options = Options::parse(call)?;
    let cells = (first.len() as u64 + 1).saturating_mul(second.len() as u64 + 1);
    if cells.saturating_mul(CELL_BYTES) > call.string_bytes_max as u64 {
        return Err(CommandError::Text(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    call.late = Some(Box::new(move |reply| {
        blocking_if(cells > LONG_CELLS, || {
            let table = Table::new(&first, &second);
            answer(&first, &second, &table, &options, reply);
        });
        Ok(())
    }));
    Ok(())
}

fn answer(
    first: &[u8],
    second: &[u8],
    table: &Table,
    options: &Options,
    out: &mut ReplyWriter<'_>,
) {
    if options.len {
        out.count(table.len);
        return;
    }
    let found = table.walk_back(first, second);
    if !options.ranges {
        out.bulk(&found.subsequence);
        return;
    }
    let matches: Vec<&Match> =
        found.matches.iter().filter(|found| found.len() >= options.match_len_min).collect();
    out.map(2);
    out.bulk(b"matches");
    out.array(matches.len());
    for found in matches {
        out.array(2 + usize::from(options.with_match_len));
        for range in [&found.first, &found.second] {
            out.array(2);
            out.count(*range.start());
            out.count(*range.end());
        }
        if options.with_match_len {
            out.count(found.len());
        }
    }
    out.bulk(b"len");
    out.count(table.len);
}

/// For every pair of places, whether going back in the first string leads to a longer sequence.
struct Table {
    first_is_longer: Vec<u64>,
    columns: usize,
    len: usize,
}

impl Table {
    /// Cost: O(n*m) steps, and a bit of memory for each.
    fn new(first: &[u8], second: &[u8]) -> Self {
        let columns = second.len();
        let words = (first.len() * columns).div_ceil(64);
        let mut table = Self { first_is_longer: vec![0; words], columns, len: 0 };
        // The lengths of the row before and of this one, up to each place of the second string.
        let (mut before, mut row) = (vec![0_u32; columns], vec![0_u32; columns]);
        for (line, byte) in first.iter().enumerate() {
            let (mut diagonal, mut left) = (0, 0);
            let cells = before.iter().zip(&mut row).zip(second);
            for (column, ((above, cell), other)) in cells.enumerate() {
                *cell = if byte == other {
                    diagonal + 1
                } else {
                    if *above > left {
                        table.mark(line, column);
                    }
                    left.max(*above)
                };
                (diagonal, left) = (*above, *cell);
            }
            std::mem::swap(&mut before, &mut row);
        }
        table.len = before.last().map_or(0, |len| *len as usize);
        table
    }

    fn mark(&mut self, line: usize, column: usize) {
        let bit = line * self.columns + column;
        if let Some(word) = self.first_is_longer.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
    }

    fn is_marked(&self, line: usize, column: usize) -> bool {
        let bit = line * self.columns + column;
        self.first_is_longer.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// Collects the subsequence and its matches, the last one first.
    fn walk_back(&self, first: &[u8], second: &[u8]) -> Found {
        let mut found = Found { subsequence: Vec::with_capacity(self.len), matches: Vec::new() };
        let mut open: Option<Match> = None;
        let (mut i, mut j) = (first.len(), second.len());
        while i > 0 && j > 0 {
            let (line, column) = (i - 1, j - 1);
            let byte = first.get(line).copied().unwrap_or(0);
            if second.get(column) != Some(&byte) {
                found.matches.extend(open.take());
                if self.is_marked(line, column) {
                    i -= 1;
                } else {
                    j -= 1;
                }
                continue;
            }
            found.subsequence.push(byte);
            // An open run ends where this byte follows: between two runs a byte differs.
            let (last, other_last) = match open {
                Some(run) => (*run.first.end(), *run.second.end()),
                None => (line, column),
            };
            open = Some(Match { first: line..=last, second: column..=other_last });
            (i, j) = (line, column);
        }
        found.matches.extend(open);
        found.subsequence.reverse();
        found
    }
}

/// A run of bytes that the two strings have in common.
struct Match {
    first: RangeInclusive<usize>,
    second: RangeInclusive<usize>,
}

impl Match {
    fn len(&self) -> usize {
        self.first.end() - self.first.start() + 1
    }
}

struct Found {
    subsequence: Vec<u8>,
    matches: Vec<Match>,
}
