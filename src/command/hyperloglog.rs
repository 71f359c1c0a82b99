//! HyperLogLog: PFADD, PFCOUNT, PFMERGE.
//!
//! A dense sketch is changed in place, a sparse one, which is small, as a copy. PFCOUNT counts as a
//! reading command, as in Redis, though it has the sketch remember the count.

use crate::command::args::is_word;
use crate::command::context::{Call, Context};
use crate::command::dispatch::blocking;
use crate::command::error::CommandError;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::data::StringRef;
use crate::data::hyperloglog::{self, Corrupted, Encoding, Mark, Registers};
use crate::keyspace::{NewDeadline, ReadView, WriteManyView, WriteView};
use crate::util::events::EventSet;
use smallvec::SmallVec;

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "PFADD", group: Group::HyperLogLog, arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(&["RW", "INSERT"])], flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "2.8.9", cost: "O(n) for n elements, times up to 3 KB while the sketch is sparse",
        syntax: "PFADD key [element [element ...]]",
        summary: "Adds elements to a HyperLogLog, which is created if it doesn't exist.",
        run: Run::Write(pfadd), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "PFCOUNT", group: Group::HyperLogLog, arity: Arity::AtLeast(2),
        keys: &[KeySpec::all(&["RW", "ACCESS"])], flags: Flags::READONLY,
        since: "2.8.9",
        cost: "O(1) while nothing was added since the last call, else O(n) for n keys of 12 KB",
        syntax: "PFCOUNT key [key ...]",
        summary: "Estimates how many different elements were added to HyperLogLogs together.",
        run: Run::WriteMany(pfcount), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "PFMERGE", group: Group::HyperLogLog, arity: Arity::AtLeast(2),
        keys: &[
            KeySpec::one(&["RW", "ACCESS", "INSERT"]),
            KeySpec { first: 2, last: -1, step: 1, access: &["RO", "ACCESS"] },
        ],
        flags: Flags::DENY_OOM,
        since: "2.8.9", cost: "O(n) for n keys of 12 KB",
        syntax: "PFMERGE destkey [sourcekey [sourcekey ...]]",
        summary: "Adds to a HyperLogLog what was added to others.", run: Run::WriteMany(pfmerge),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "PFDEBUG", group: Group::HyperLogLog, arity: Arity::Exact(3),
        keys: &[KeySpec { first: 2, last: 0, step: 1, access: &["RW", "ACCESS"] }],
        flags: Flags::DENY_OOM.and(Flags::ADMIN),
        since: "2.8.9", cost: "O(n) for n registers", syntax: "PFDEBUG subcommand key",
        summary: "Shows or changes how a HyperLogLog is stored, for tests.",
        run: Run::Write(pfdebug), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "PFSELFTEST", group: Group::HyperLogLog, arity: Arity::Exact(1),
        flags: Flags::ADMIN,
        since: "2.8.9", cost: "O(1), a fraction of a second", syntax: "PFSELFTEST",
        summary: "Tests the HyperLogLogs.", run: Run::Client(pfselftest), ..CommandSpec::BASE
    },
];

const NO_SKETCH: CommandError =
    CommandError::Text("WRONGTYPE Key is not a valid HyperLogLog string value.");
const CORRUPTED: CommandError = CommandError::Text("INVALIDOBJ Corrupted HLL object detected");

impl From<Corrupted> for CommandError {
    fn from(_: Corrupted) -> Self {
        CORRUPTED
    }
}

/// The sketch of a key.
fn sketch<'a>(key: &ReadView<'a>) -> Result<Option<(Encoding, &'a [u8])>, CommandError> {
    let Some(bytes) = key.string()?.map(StringRef::bytes) else {
        return Ok(None);
    };
    hyperloglog::encoding(bytes).map(|encoding| Some((encoding, bytes))).ok_or(NO_SKETCH)
}

fn pfadd(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let key = view.read();
    let marks: SmallVec<[Mark; 8]> = call.args.iter_from(2).map(Mark::of).collect();
    let raised = match sketch(&key)? {
        Some((Encoding::Dense, bytes)) => {
            if marks.iter().any(|mark| hyperloglog::dense_is_raised_by(bytes, *mark)) {
                add_to_dense(view, &marks)?
            } else {
                0
            }
        }
        Some((Encoding::Sparse, bytes)) => {
            let bytes = bytes.to_vec();
            add_to_sparse(view, bytes, &marks, 0, call)?
        }
        None => add_to_sparse(view, hyperloglog::empty(), &marks, 1, call)?,
    };
    if raised > 0 {
        view.notify(EventSet::STRING, "pfadd");
    }
    call.reply.flag(raised > 0);
    Ok(())
}

fn add_to_dense(view: &mut WriteView<'_>, marks: &[Mark]) -> Result<usize, CommandError> {
    let raised = view.change_string_counted(hyperloglog::DENSE_BYTES, |bytes| {
        let add = |mark: &&Mark| hyperloglog::add_to_dense(bytes, **mark);
        let raised = marks.iter().filter(add).count();
        hyperloglog::forget_count(bytes);
        (raised, raised)
    })?;
    Ok(raised)
}

/// `raised` counts what has changed before; what was added before a fault stays, as in Redis.
fn add_to_sparse(
    view: &mut WriteView<'_>,
    mut bytes: Vec<u8>,
    marks: &[Mark],
    mut raised: usize,
    call: &Call<'_>,
) -> Result<usize, CommandError> {
    let bytes_max = call.config.hyperloglog_sparse_bytes_max();
    let mut fault = None;
    for mark in marks {
        match hyperloglog::add(&mut bytes, *mark, bytes_max) {
            Ok(true) => raised += 1,
            Ok(false) => {}
            Err(corrupted) => {
                fault = Some(corrupted);
                break;
            }
        }
    }
    if raised > 0 {
        if fault.is_none() {
            hyperloglog::forget_count(&mut bytes);
        }
        view.set_string(&bytes, NewDeadline::Keep);
        view.note_more_changes(raised - 1);
    }
    fault.map_or(Ok(raised), |corrupted| Err(corrupted.into()))
}

fn pfcount(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let mut registers = Registers::default();
    let is_single = view.len() == 1;
    for index in 0..view.len() {
        let Some(key) = view.key(index) else { continue };
        let Some((_, bytes)) = sketch(&key.read())? else { continue };
        if is_single && let Some(count) = hyperloglog::remembered_count(bytes) {
            call.reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
            return Ok(());
        }
        registers.merge(bytes)?;
    }
    let count = registers.count();
    if is_single && let Some(mut key) = view.key(0).filter(|key| key.exists()) {
        key.change_string(0, |bytes| hyperloglog::remember_count(bytes, count))?;
    }
    call.reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(())
}

fn pfmerge(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let (mut registers, mut is_dense, mut old) = (Registers::default(), false, None);
    for index in 0..view.len() {
        let Some(key) = view.key(index) else { continue };
        let Some((encoding, bytes)) = sketch(&key.read())? else { continue };
        is_dense |= encoding == Encoding::Dense;
        registers.merge(bytes)?;
        if index == 0 {
            old = Some(bytes.to_vec());
        }
    }
    let mut merged = old.unwrap_or_else(hyperloglog::empty);
    if is_dense {
        hyperloglog::make_dense(&mut merged)?;
    }
    registers.raise(&mut merged, call.config.hyperloglog_sparse_bytes_max())?;
    hyperloglog::forget_count(&mut merged);
    if let Some(mut key) = view.key(0) {
        key.set_string(&merged, NewDeadline::Keep);
        key.notify(EventSet::STRING, "pfadd");
    }
    call.reply.ok();
    Ok(())
}

fn pfdebug(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let Some((encoding, bytes)) = sketch(&view.read())? else {
        return Err(CommandError::Text("ERR The specified key does not exist"));
    };
    match call.args.at(1) {
        word if is_word(word, "GETREG") => {
            let mut registers = Registers::default();
            registers.merge(bytes)?;
            make_dense(view)?;
            call.reply.array(hyperloglog::REGISTERS);
            registers.iter().for_each(|value| call.reply.integer(i64::from(value)));
        }
        word if is_word(word, "DECODE") => {
            if encoding != Encoding::Sparse {
                return Err(CommandError::Text("ERR HLL encoding is not sparse"));
            }
            call.reply.bulk(hyperloglog::describe_runs(bytes).as_bytes());
        }
        word if is_word(word, "ENCODING") => {
            call.reply.simple(match encoding {
                Encoding::Dense => "dense",
                Encoding::Sparse => "sparse",
            });
        }
        word if is_word(word, "TODENSE") => {
            let made_dense = make_dense(view)?;
            call.reply.flag(made_dense);
        }
        word => return Err(CommandError::echoing("ERR Unknown PFDEBUG subcommand '", word, "'")),
    }
    Ok(())
}

/// Stores a sparse sketch as a dense one; true when it was sparse.
fn make_dense(view: &mut WriteView<'_>) -> Result<bool, CommandError> {
    let Some((Encoding::Sparse, bytes)) = sketch(&view.read())? else {
        return Ok(false);
    };
    let mut bytes = bytes.to_vec();
    hyperloglog::make_dense(&mut bytes)?;
    view.set_string(&bytes, NewDeadline::Keep);
    Ok(true)
}

/// Elements that the self test adds.
const TESTED_ELEMENTS: u64 = 1_000_000;
/// How far the estimate may be off: six times the standard error of 1.04 / sqrt(registers).
const TESTED_ERROR: f64 = 6.0 * 1.04 / 128.0;

fn pfselftest(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let bytes_max = call.config.hyperloglog_sparse_bytes_max();
    let seed = call.now.0 as u64;
    call.late = Some(Box::new(move |reply| {
        blocking(|| self_test(seed, bytes_max))?;
        reply.ok();
        Ok(())
    }));
    Ok(())
}

/// Adds the same elements to a sparse and a dense sketch, which must agree and be near the truth.
fn self_test(seed: u64, sparse_bytes_max: usize) -> Outcome {
    let failed = |text| Err(CommandError::Text(text));
    let (mut sparse, mut dense) = (hyperloglog::empty(), hyperloglog::empty());
    hyperloglog::make_dense(&mut dense)?;
    let mut checkpoint = 1;
    for number in 1..=TESTED_ELEMENTS {
        let mark = Mark::of(&(number ^ seed).to_le_bytes());
        let raised = hyperloglog::add(&mut sparse, mark, sparse_bytes_max)?;
        if raised != hyperloglog::add_to_dense(&mut dense, mark) {
            return failed("TESTFAILED dense/sparse disagree");
        }
        if number < checkpoint {
            continue;
        }
        let (mut one, mut other) = (Registers::default(), Registers::default());
        one.merge(&sparse)?;
        other.merge(&dense)?;
        if !one.iter().eq(other.iter()) {
            return failed("TESTFAILED dense/sparse disagree");
        }
        // Among few elements a single collision weighs much.
        let error_max = ((TESTED_ERROR * checkpoint as f64).ceil() as u64).max(1);
        if one.count().abs_diff(checkpoint) > error_max {
            return failed("TESTFAILED Too big error.");
        }
        checkpoint *= 10;
    }
    Ok(())
}
