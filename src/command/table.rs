//! The table of all commands: joins the families and finds a row by its name.

use crate::command::spec::CommandSpec;
use crate::command::{bitmap, dump_restore, hyperloglog, object, sort};
use crate::command::{connection, database, debug, expire, generic, hash, introspection};
use crate::command::{list, pubsub, server};
use crate::command::{set, set_algebra, sorted_set, sorted_set_algebra};
use crate::command::{sorted_set_pop, sorted_set_range, string, transaction};
use hashbrown::HashTable;
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
    hash::COMMANDS,
    set::COMMANDS,
    set_algebra::COMMANDS,
    sorted_set::COMMANDS,
    sorted_set_range::COMMANDS,
    sorted_set_algebra::COMMANDS,
    sorted_set_pop::COMMANDS,
    pubsub::COMMANDS,
    transaction::COMMANDS,
    connection::COMMANDS,
    introspection::COMMANDS,
    server::COMMANDS,
    debug::COMMANDS,
];

/// A name longer than this is no command's.
const NAME_BYTES_MAX: usize = 24;

/// All rows.
pub fn all() -> impl Iterator<Item = &'static CommandSpec> {
    FAMILIES.iter().copied().flatten()
}

/// The row with this name in any case. Cost: O(1), nothing is allocated.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static CommandSpec> {
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
    use crate::command::spec::{Arity, Run};

    #[test]
    fn every_row_is_found_in_any_case_and_says_what_it_is() {
        let mut names = Vec::new();
        for spec in all() {
            assert!(find(spec.name.to_ascii_lowercase().as_bytes()).is_some(), "{}", spec.name);
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
                | Run::Watch
        );
        let names_keys = spec.has_keys() && !matches!(spec.run, Run::Sweep(_));
        assert_eq!(keyed, names_keys, "{name}: keys and door do not fit");
        for key in spec.keys {
            // Keys up to the last argument may be none at all.
            let least = least + usize::from(key.last == -1);
            assert!(key.first < least && key.step > 0, "{name}");
        }
    }
}
