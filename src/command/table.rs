//! The table of all commands: joins the families and finds a row by its name.

use crate::command::spec::{CommandSpec, Run};
use crate::command::{
    acl, cluster, connection, database, debug, expire, generic, geo, hash, hash_expire,
};
use crate::command::{bitmap, dump_restore, functions, hyperloglog, object, scripting, sort};
use crate::command::{introspection, list, list_pop, memory, pubsub, replication};
use crate::command::{server, set, set_algebra, sorted_set, sorted_set_algebra};
use crate::command::{sorted_set_pop, sorted_set_range, stream, stream_group, stream_info};
use crate::command::{stream_pending, stream_read, string, transaction};
use crate::protocol::Args;
use hashbrown::HashTable;
use std::cell::Cell;
use std::sync::OnceLock;

/// The families, in the order of docs/commands.md.
pub static FAMILIES: &[&[CommandSpec]] = &[
    generic::COMMANDS,
    database::COMMANDS,
    sort::COMMANDS,
    dump_restore::COMMANDS,
    object::COMMANDS,
    expire::COMMANDS,
    string::COMMANDS,
    bitmap::COMMANDS,
    hyperloglog::COMMANDS,
    list::COMMANDS,
    list_pop::COMMANDS,
    hash::COMMANDS,
    hash_expire::COMMANDS,
    set::COMMANDS,
    set_algebra::COMMANDS,
    sorted_set::COMMANDS,
    sorted_set_range::COMMANDS,
    sorted_set_algebra::COMMANDS,
    sorted_set_pop::COMMANDS,
    geo::COMMANDS,
    stream::COMMANDS,
    stream_read::COMMANDS,
    stream_group::COMMANDS,
    stream_pending::COMMANDS,
    stream_info::COMMANDS,
    pubsub::COMMANDS,
    transaction::COMMANDS,
    scripting::COMMANDS,
    functions::COMMANDS,
    connection::COMMANDS,
    acl::COMMANDS,
    introspection::COMMANDS,
    server::COMMANDS,
    memory::COMMANDS,
    replication::COMMANDS,
    cluster::COMMANDS,
    debug::COMMANDS,
];

/// A name longer than this is no command's.
const NAME_BYTES_MAX: usize = 24;

/// All rows.
pub fn all() -> impl Iterator<Item = &'static CommandSpec> {
    FAMILIES.iter().copied().flatten()
}

/// Rows that a thread has found are remembered in this many places; a power of two.
const PLACES: usize = 64;
/// Bytes of a name that is remembered, as it was written.
const REMEMBERED_BYTES: usize = 7;

/// A short name as a number, which no other name has.
#[inline]
fn as_number(name: &[u8]) -> Option<u64> {
    let (1..=REMEMBERED_BYTES) = name.len() else { return None };
    Some(name.iter().fold(1, |number, byte| (number << 8) | u64::from(*byte)))
}

/// The row with this name in any case. Cost: O(1), nothing is allocated.
#[inline]
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static CommandSpec> {
    thread_local! {
        static FOUND: [Cell<Option<(u64, &'static CommandSpec)>>; PLACES] =
            const { [const { Cell::new(None) }; PLACES] };
    }
    let Some(number) = as_number(name) else { return look_up(name) };
    FOUND.with(|found| {
        let place = found.get(hash_of_address(number as usize) as usize % PLACES)?;
        if let Some((known, row)) = place.get()
            && known == number
        {
            return Some(row);
        }
        let row = look_up(name)?;
        place.set(Some((number, row)));
        Some(row)
    })
}

fn look_up(name: &[u8]) -> Option<&'static CommandSpec> {
    static INDEX: OnceLock<HashTable<&'static CommandSpec>> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        let mut index = HashTable::new();
        for spec in all() {
            let hash = hash(spec.name.as_bytes());
            index.insert_unique(hash, spec, |s| self::hash(s.name.as_bytes()));
        }
        index
    });
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let equal = |spec: &&CommandSpec| name.eq_ignore_ascii_case(spec.name.as_bytes());
    index.find(hash(name), equal).copied()
}

/// The subcommand with this name in any case.
#[must_use]
pub fn find_subcommand(
    container: &'static CommandSpec,
    name: &[u8],
) -> Option<&'static CommandSpec> {
    let equal = |spec: &&CommandSpec| name.eq_ignore_ascii_case(spec.name.as_bytes());
    container.subcommands().iter().find(equal)
}

/// The row of a request, that of its subcommand if it names one.
#[must_use]
pub fn find_request(args: Args<'_>) -> Option<&'static CommandSpec> {
    let row = find(args.at(0))?;
    match row.run {
        Run::Container(_) | Run::BareOrContainer(..) if args.len() > 1 => {
            find_subcommand(row, args.at(1))
        }
        _ => Some(row),
    }
}

/// A command or a subcommand, its number among all of them, and the container of the latter.
#[derive(Debug)]
pub struct Numbered {
    /// Counted from 0 on.
    pub number: usize,
    /// The command that it is a subcommand of.
    pub container: Option<&'static CommandSpec>,
    /// Its row.
    pub spec: &'static CommandSpec,
    name: Box<str>,
}

impl Numbered {
    fn new(
        number: usize,
        container: Option<&'static CommandSpec>,
        spec: &'static CommandSpec,
    ) -> Self {
        let name = match container {
            None => spec.name.to_owned(),
            Some(container) => format!("{}|{}", container.name, spec.name),
        };
        Self { number, container, spec, name: name.to_ascii_lowercase().into() }
    }

    /// `get`, or `client|list` for a subcommand.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The subcommands of a command. Cost: O(1).
    #[must_use]
    pub fn subcommands(&self) -> &'static [Self] {
        numbered_of(self.spec).get(1..).unwrap_or_default()
    }

    /// The command that `name` means, or the subcommand, as [`name`](Self::name) has it.
    ///
    /// Cost: O(subcommands).
    #[must_use]
    pub fn find(name: &[u8]) -> Option<&'static Self> {
        let mut parts = name.splitn(2, |byte| *byte == b'|');
        let top = find(parts.next()?)?;
        let spec = match parts.next() {
            None => top,
            Some(word) => find_subcommand(top, word)?,
        };
        numbered().get(number_of(spec))
    }
}

/// All commands, each before its subcommands. Their figures are kept by their numbers.
#[must_use]
pub fn numbered() -> &'static [Numbered] {
    static ROWS: OnceLock<Box<[Numbered]>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let with_subcommands = |top: &'static CommandSpec| {
            let subcommands = top.subcommands().iter().map(move |spec| (Some(top), spec));
            std::iter::once((None, top)).chain(subcommands)
        };
        let all = all().flat_map(with_subcommands).enumerate();
        all.map(|(number, (container, spec))| Numbered::new(number, container, spec)).collect()
    })
}

/// A command, and behind it its subcommands. Cost: O(1).
#[must_use]
pub fn numbered_of(top: &'static CommandSpec) -> &'static [Numbered] {
    let first = number_of(top);
    numbered().get(first..first.saturating_add(1 + top.subcommands().len())).unwrap_or_default()
}

/// The number of a command or a subcommand. Cost: O(1).
#[must_use]
pub fn number_of(spec: &'static CommandSpec) -> usize {
    static INDEX: OnceLock<HashTable<(usize, usize)>> = OnceLock::new();
    // Rows are static, so that their addresses tell them apart.
    let address = |spec: &'static CommandSpec| std::ptr::from_ref(spec).addr();
    let index = INDEX.get_or_init(|| {
        let mut index = HashTable::new();
        for row in numbered() {
            let entry = (address(row.spec), row.number);
            index.insert_unique(hash_of_address(entry.0), entry, |e| hash_of_address(e.0));
        }
        index
    });
    let address = address(spec);
    let found = index.find(hash_of_address(address), |entry| entry.0 == address);
    found.map_or(usize::MAX, |(_, number)| *number)
}

fn hash_of_address(address: usize) -> u64 {
    (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(32)
}

/// FNV-1a over the upper-case name; the names are ours, so nobody can make them collide.
fn hash(name: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| {
        (hash ^ u64::from(byte.to_ascii_uppercase())).wrapping_mul(0x0100_0000_01b3)
    };
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325, step);
    // hashbrown takes its tag from the top bits, which the last byte hardly reaches.
    hash ^ hash.rotate_right(32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::spec::{Arity, Flags};

    #[test]
    fn every_row_is_found_in_any_case_and_says_what_it_is() {
        let mut names = Vec::new();
        for spec in all() {
            for _ in 0..2 {
                assert!(find(spec.name.to_ascii_lowercase().as_bytes()).is_some(), "{}", spec.name);
                assert!(find(format!("\0{}", spec.name).as_bytes()).is_none(), "{}", spec.name);
            }
            names.push(spec.name);
            check(spec, spec.name);
            for subcommand in spec.subcommands() {
                check(subcommand, &format!("{} {}", spec.name, subcommand.name));
            }
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a name stands twice");
        assert!(find(b"").is_none());
        assert!(find(&[b'x'; 10_000]).is_none());
    }

    #[test]
    fn every_command_and_subcommand_has_a_number_of_its_own() {
        let mut count = 0;
        for row in numbered() {
            assert_eq!(row.number, count);
            assert_eq!(number_of(row.spec), count, "{}", row.name());
            let own = numbered_of(row.spec);
            assert_eq!(own.len(), 1 + row.spec.subcommands().len());
            assert!(own.iter().all(|own| std::ptr::eq(own.spec, row.spec)
                || own.container.is_some_and(|top| std::ptr::eq(top, row.spec))));
            count += 1;
        }
        assert!(count > all().count());
    }

    fn check(spec: &CommandSpec, name: &str) {
        assert_eq!(spec.name, spec.name.to_ascii_uppercase());
        assert!(spec.name.len() <= NAME_BYTES_MAX);
        assert!(spec.syntax.starts_with(name), "{name}: {}", spec.syntax);
        assert!(spec.summary.ends_with('.') && !spec.cost.is_empty(), "{name}");
        let least = match spec.arity {
            Arity::Exact(count) | Arity::AtLeast(count) => count,
        };
        assert!(
            least >= name.split(' ').count() || matches!(spec.run, Run::Container(_)),
            "{name}"
        );
        let keyed = matches!(
            spec.run,
            Run::Read(_)
                | Run::Write(_)
                | Run::ReadMany(_)
                | Run::WriteMany(_)
                | Run::WriteAcross(..)
                | Run::Block(..)
                | Run::ReadOrBlock(..)
                | Run::Watch
                | Run::Script(_)
        );
        let names_keys = spec.has_keys() && !matches!(spec.run, Run::Sweep(_));
        assert_eq!(keyed, names_keys, "{name}: keys and door do not fit");
        for key in spec.keys {
            // Keys up to the last argument may be none at all.
            let least = least + usize::from(key.last == -1);
            let may_be_missing =
                key.keyword().is_some() || spec.flags.has(Flags::NO_MANDATORY_KEYS);
            assert!(key.first < least || may_be_missing, "{name}");
            assert!(key.step > 0, "{name}");
        }
    }
}
