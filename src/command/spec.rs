//! The command row: everything there is to know about a command, in one place.
//!
//! Lookup, arity, authentication, key extraction, locking, COMMAND, COMMAND DOCS and
//! docs/commands.md all read the same row. What follows from something else is not repeated:
//! whether a command reads or writes is said by the door its handler asks for.

use crate::command::args::is_word;
use crate::command::blocking::{Attempt, Tried};
use crate::command::context::{Call, Context};
use crate::command::error::CommandError;
use crate::command::sweep::Sweeper;
use crate::data::{Value, ValueType};
use crate::keyspace::{ReadManyView, ReadView, WriteManyView, WriteView};
use crate::protocol::Args;
use crate::util::number::parse_prefix;
use std::ops::Range;

/// How a handler ends: its reply is written, or this error takes the place of what it wrote.
pub type Outcome = Result<(), CommandError>;

/// How a command runs. The door is chosen here and nowhere else: a handler never locks.
#[derive(Debug, Clone, Copy)]
pub enum Run {
    /// One key, shared lock.
    Read(fn(&ReadView<'_>, &mut Call<'_>) -> Outcome),
    /// One key, exclusive lock.
    Write(fn(&mut WriteView<'_>, &mut Call<'_>) -> Outcome),
    /// Several keys, shared locks in ascending order of shards.
    ReadMany(fn(&ReadManyView<'_, '_>, &mut Call<'_>) -> Outcome),
    /// Several keys, exclusive locks in ascending order of shards.
    WriteMany(fn(&mut WriteManyView<'_, '_>, &mut Call<'_>) -> Outcome),
    /// One key, which is read or taken, and a second one, maybe in another database, which is
    /// written: the view has these two, under exclusive locks. The first function reads from the
    /// arguments which is the second.
    WriteAcross(
        fn(Args<'_>) -> Result<Destination, CommandError>,
        fn(&mut WriteManyView<'_, '_>, &mut Call<'_>) -> Outcome,
    ),
    /// Several keys, exclusive locks; when none of them is there with a value of this type it waits
    /// for one. Those of the first spec are waited for.
    Block(
        ValueType,
        fn(&mut WriteManyView<'_, '_>, &mut Call<'_>, Attempt) -> Result<Tried, CommandError>,
    ),
    /// The same, but it only reads: the first function serves it under shared locks if it can.
    ReadOrBlock(
        ValueType,
        fn(&ReadManyView<'_, '_>, &mut Call<'_>) -> Result<Tried, CommandError>,
        fn(&mut WriteManyView<'_, '_>, &mut Call<'_>, Attempt) -> Result<Tried, CommandError>,
    ),
    /// The keyspace as a whole.
    Sweep(fn(&mut Sweeper<'_, '_>, &mut Call<'_>) -> Outcome),
    /// The queued commands of a transaction.
    Exec,
    /// A script, with the shards that it needs.
    Script(ScriptCall),
    /// No view: the keys are watched.
    Watch,
    /// No keys: the connection and the server.
    Client(fn(&mut Context, &mut Call<'_>) -> Outcome),
    /// No keys, unless it names the row that is to run in its place, on the same arguments.
    Choose(fn(&mut Context, &mut Call<'_>) -> Result<Option<&'static CommandSpec>, CommandError>),
    /// Nothing itself: the first argument names one of these.
    Container(&'static [CommandSpec]),
    /// The same, but without arguments it is a command that needs no keys.
    BareOrContainer(fn(&mut Context, &mut Call<'_>) -> Outcome, &'static [CommandSpec]),
}

/// How a command names the script that it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptCall {
    /// By its text.
    Text,
    /// By the SHA1 of its text.
    Sha,
    /// By the name of a function.
    Function,
}

/// The key that a command writes which reads another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// Its argument number.
    pub key: usize,
    /// The number of its database, `None` for the selected one. It may be one that is not there.
    pub database: Option<i64>,
}

/// How many arguments a command takes, its name included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// This many.
    Exact(usize),
    /// This many or more.
    AtLeast(usize),
}

impl Arity {
    /// True when `count` arguments are right.
    #[inline]
    #[must_use]
    pub fn accepts(self, count: usize) -> bool {
        match self {
            Self::Exact(exact) => count == exact,
            Self::AtLeast(least) => count >= least,
        }
    }

    /// As COMMAND INFO prints it: negative for "at least".
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::Exact(exact) => i64::try_from(exact).unwrap_or(i64::MAX),
            Self::AtLeast(least) => -i64::try_from(least).unwrap_or(i64::MAX),
        }
    }
}

/// Where keys stand among the arguments, and what happens to them.
#[derive(Debug, Clone, Copy)]
pub struct KeySpec {
    /// The argument number of the first; the one from which on its keyword is looked for.
    pub first: usize,
    /// The last, counted from the first; -1 is the last argument, -2 the one before that,
    /// [`COUNTED`](Self::COUNTED) as many as the argument before the first one says.
    pub last: i64,
    /// The distance between two.
    pub step: usize,
    /// Redis' names for what happens to them: RO, RW, OW, RM and ACCESS, INSERT, UPDATE, DELETE.
    pub access: &'static [&'static str],
}

impl KeySpec {
    /// In the place of the last: which keys there are is known only while the command runs.
    pub const UNKNOWN: i64 = i64::MIN + 1;

    /// Keys that no rule finds.
    #[must_use]
    pub const fn unknown(access: &'static [&'static str]) -> Self {
        Self { first: 1, last: Self::UNKNOWN, step: 1, access }
    }

    /// In the place of the last: there are as many keys as the argument before the first one says.
    pub const COUNTED: i64 = i64::MIN;
    /// The access of what stands where a key would and is none.
    pub const NOT_A_KEY: &'static [&'static str] = &["not_key"];

    /// In the place of the last: one key behind the first `STORE`.
    const BEHIND_STORE: i64 = i64::MIN + 2;
    /// In the place of the last: one key behind the first `STOREDIST`.
    const BEHIND_STOREDIST: i64 = i64::MIN + 3;
    /// In the place of the last: the first half of what is behind `STREAMS`.
    const BEHIND_STREAMS: i64 = i64::MIN + 4;

    /// The keys behind `STREAMS`, as many as there are ids behind them. The word is said to be
    /// looked for from argument `first` on.
    #[must_use]
    pub const fn streams(first: usize, access: &'static [&'static str]) -> Self {
        Self { first, last: Self::BEHIND_STREAMS, step: 1, access }
    }

    /// True when the keys are the first half of what is behind a word.
    #[must_use]
    pub fn is_half(&self) -> bool {
        self.last == Self::BEHIND_STREAMS
    }

    /// The keys behind `STORE` and `STOREDIST`, which are looked for from argument `first` on.
    #[must_use]
    pub const fn stores(first: usize, access: &'static [&'static str]) -> [Self; 2] {
        [
            Self { first, last: Self::BEHIND_STORE, step: 1, access },
            Self { first, last: Self::BEHIND_STOREDIST, step: 1, access },
        ]
    }

    /// The word in front of the key, when it does not stand in a fixed place.
    #[must_use]
    pub fn keyword(&self) -> Option<&'static str> {
        match self.last {
            Self::BEHIND_STORE => Some("STORE"),
            Self::BEHIND_STOREDIST => Some("STOREDIST"),
            Self::BEHIND_STREAMS => Some("STREAMS"),
            _ => None,
        }
    }

    /// As many keys as argument `count` says, which stands in front of them.
    #[must_use]
    pub const fn counted(count: usize, access: &'static [&'static str]) -> Self {
        Self { first: count + 1, last: Self::COUNTED, step: 1, access }
    }

    /// True when an argument says how many keys there are.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.last == Self::COUNTED
    }

    /// True when no rule finds the keys.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.last == Self::UNKNOWN
    }

    /// True when the keys do not stand in fixed places.
    #[must_use]
    pub fn is_found_late(&self) -> bool {
        self.is_counted() || self.is_unknown() || self.keyword().is_some()
    }

    /// The argument number of the first key; a keyword may be missing.
    fn first_number(&self, args: Args<'_>) -> Option<usize> {
        let Some(keyword) = self.keyword() else { return Some(self.first) };
        if self.is_half() {
            return streams(args).map(|keys| keys.start);
        }
        let found = args.iter_from(self.first).position(|word| is_word(word, keyword))?;
        Some(self.first + found + 1).filter(|number| *number < args.len())
    }

    /// The argument number of the last key; `None` when the request does not have as many as it
    /// says. The number of keys is read leniently, as Redis does here; the command is stricter.
    fn last_number(&self, args: Args<'_>) -> Option<usize> {
        let last = args.len().checked_sub(1)?;
        if self.is_half() {
            return streams(args).map(|keys| keys.end - 1);
        }
        if self.keyword().is_some() {
            return Some(self.first_number(args).unwrap_or(0));
        }
        if self.is_counted() {
            let keys = parse_prefix(args.at(self.first.checked_sub(1)?));
            let keys = usize::try_from(keys).ok()?.checked_sub(1)?;
            return self.first.checked_add(keys).filter(|number| *number <= last);
        }
        Some(match usize::try_from(self.last) {
            Ok(offset) => last.min(self.first + offset),
            Err(_) => last.saturating_sub(usize::try_from(-1 - self.last).unwrap_or(usize::MAX)),
        })
    }

    /// Every argument from the first to the last but one.
    #[must_use]
    pub const fn all_but_last(access: &'static [&'static str]) -> Self {
        Self { first: 1, last: -2, step: 1, access }
    }

    /// One key, the first argument.
    #[must_use]
    pub const fn one(access: &'static [&'static str]) -> Self {
        Self { first: 1, last: 0, step: 1, access }
    }

    /// Every argument from the first on.
    #[must_use]
    pub const fn all(access: &'static [&'static str]) -> Self {
        Self { first: 1, last: -1, step: 1, access }
    }
}

/// The argument numbers of the keys of XREAD and XREADGROUP, whose options come first; `None` when
/// there is no key, or not an id for each.
#[must_use]
pub fn streams(args: Args<'_>) -> Option<Range<usize>> {
    let mut at = 1;
    loop {
        let word = args.get(at)?;
        at += match word {
            _ if is_word(word, "STREAMS") => break,
            _ if is_word(word, "BLOCK") || is_word(word, "COUNT") => 2,
            _ if is_word(word, "GROUP") => 3,
            _ if is_word(word, "NOACK") => 1,
            _ => return None,
        };
    }
    let first = at + 1;
    let behind = args.len().saturating_sub(first);
    (behind > 0 && behind % 2 == 0).then_some(first..first + behind / 2)
}

/// The argument numbers of the keys that `specs` name in a request.
///
/// A wrong number of keys names none of them: the command itself refuses it.
pub fn key_numbers<'a>(
    specs: &'a [KeySpec],
    args: Args<'a>,
) -> impl Iterator<Item = usize> + use<'a> {
    let is_found = |spec: &&KeySpec| !spec.is_unknown() && spec.access != KeySpec::NOT_A_KEY;
    specs.iter().filter(is_found).flat_map(move |spec| {
        let first = spec.first_number(args).unwrap_or(usize::MAX);
        let end = spec.last_number(args).map_or(first, |last| last + 1);
        (first..end).step_by(spec.step)
    })
}

/// True when a request has as many keys as it says.
#[must_use]
pub fn has_all_keys(specs: &[KeySpec], args: Args<'_>) -> bool {
    specs.iter().all(|spec| spec.last_number(args).is_some())
}

/// Properties of a command that do not follow from anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// Refused when memory is short: it may need more.
    pub const DENY_OOM: Self = Self(1);
    /// Takes constant or logarithmic time.
    pub const FAST: Self = Self(1 << 1);
    /// For operators.
    pub const ADMIN: Self = Self(1 << 2);
    /// May harm the server or other clients when used without thought.
    pub const DANGEROUS: Self = Self(1 << 3);
    /// Not allowed in scripts.
    pub const NO_SCRIPT: Self = Self(1 << 4);
    /// Works while the dump is being loaded.
    pub const LOADING: Self = Self(1 << 5);
    /// Works on a replica without a primary.
    pub const STALE: Self = Self(1 << 6);
    /// Works before authentication.
    pub const NO_AUTH: Self = Self(1 << 7);
    /// Not shown by MONITOR.
    pub const SKIP_MONITOR: Self = Self(1 << 8);
    /// Not kept in the slow log.
    pub const SKIP_SLOWLOG: Self = Self(1 << 9);
    /// Not allowed in a transaction.
    pub const NO_MULTI: Self = Self(1 << 10);
    /// Allowed in a script that does not write.
    pub const ALLOW_BUSY: Self = Self(1 << 11);
    /// Writes, though its door does not say so.
    pub const WRITE: Self = Self(1 << 12);
    /// Only reads, though its door does not say so; or keeps nothing but what it has computed.
    pub const READONLY: Self = Self(1 << 13);
    /// Runs in the asynchronous loading of a replica.
    pub const NO_ASYNC_LOADING: Self = Self(1 << 14);
    /// Concerns publish/subscribe.
    pub const PUBSUB: Self = Self(1 << 15);
    /// May wait.
    pub const BLOCKING: Self = Self(1 << 16);
    /// A sentinel knows it, too.
    pub const SENTINEL: Self = Self(1 << 17);
    /// May take long: runs where it does not hold up other clients.
    pub const SLOW: Self = Self(1 << 18);
    /// Runs at once between MULTI and EXEC.
    pub const NOT_QUEUED: Self = Self(1 << 19);
    /// Allowed to a client of RESP2 that listens to channels.
    pub const SUBSCRIBED: Self = Self(1 << 20);
    /// Looking at its keys is no use of them.
    pub const NO_TOUCH: Self = Self(1 << 22);
    /// Refused to all that enable-debug-command does not allow it, before anything else is looked
    /// at.
    pub const PROTECTED: Self = Self(1 << 23);
    /// Its keys may all be missing.
    pub const NO_MANDATORY_KEYS: Self = Self(1 << 21);

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True when all of `other` are among these.
    #[inline]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Keys of any type.
    Generic,
    /// Strings.
    String,
    /// Strings as rows of bits.
    Bitmap,
    /// Sketches of sets in strings.
    HyperLogLog,
    /// Lists.
    List,
    /// Hashes.
    Hash,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Streams.
    Stream,
    /// Places on the earth in sorted sets.
    Geo,
    /// Publish/subscribe.
    PubSub,
    /// Transactions.
    Transactions,
    /// The connection.
    Connection,
    /// The server.
    Server,
    /// Scripts and functions.
    Scripting,
    /// The cluster.
    Cluster,
    /// Sentinels.
    Sentinel,
}

impl Group {
    /// The name in COMMAND DOCS.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::Bitmap => "bitmap",
            Self::HyperLogLog => "hyperloglog",
            Self::List => "list",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Stream => "stream",
            Self::Geo => "geo",
            Self::PubSub => "pubsub",
            Self::Transactions => "transactions",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Scripting => "scripting",
            Self::Cluster => "cluster",
            Self::Sentinel => "sentinel",
        }
    }
}

/// How closely a command follows Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compat {
    /// Every reply is the same.
    Full,
    /// With the difference that is told here.
    Differs(&'static str),
}

/// One command.
#[derive(Debug, Clone, Copy)]
pub struct CommandSpec {
    /// Its name in upper case; of a subcommand, its own.
    pub name: &'static str,
    /// What it is about.
    pub group: Group,
    /// How many arguments it takes, its name (and its container's) included.
    pub arity: Arity,
    /// Where its keys are.
    pub keys: &'static [KeySpec],
    /// What does not follow from the rest.
    pub flags: Flags,
    /// The version of Redis that brought it.
    pub since: &'static str,
    /// Its cost here.
    pub cost: &'static str,
    /// How it is written, with its options.
    pub syntax: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Redis' categories for access rules that follow neither from the group nor from the flags;
    /// of a generic command, in the place of its group's.
    pub categories: &'static [&'static str],
    /// Redis' hints for clients and proxies.
    pub tips: &'static [&'static str],
    /// How closely it follows Redis.
    pub compat: Compat,
    /// The part that comes first and needs no locks.
    pub early: Option<Early>,
    /// How it runs.
    pub run: Run,
}

/// What a command does before its locks are taken.
#[derive(Debug, Clone, Copy)]
pub enum Early {
    /// Makes something of its arguments. What may last is for it to run with
    /// `dispatch::blocking`.
    Decode(fn(&mut Call<'_>)),
    /// Makes what it stores of the keys that it reads, if they have very many elements; see
    /// `made_ahead.rs`. `None` when it finds a mistake, which is then found again under the locks.
    Make(fn(&[ReadView<'_>], Args<'_>) -> Option<Value>),
}

impl CommandSpec {
    /// What a row need not say: no keys, no flags, no tips, fully compatible.
    pub const BASE: Self = Self {
        name: "",
        group: Group::Generic,
        arity: Arity::AtLeast(1),
        keys: &[],
        flags: Flags::NONE,
        since: "1.0.0",
        cost: "O(1)",
        syntax: "",
        summary: "",
        categories: &[],
        tips: &[],
        compat: Compat::Full,
        early: None,
        run: Run::Container(&[]),
    };

    /// True when it names keys.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.keys.iter().any(|key| key.access != KeySpec::NOT_A_KEY)
    }

    /// True when it changes data.
    #[inline]
    #[must_use]
    pub fn is_write(&self) -> bool {
        let by_door = matches!(
            self.run,
            Run::Write(_) | Run::WriteMany(_) | Run::WriteAcross(..) | Run::Block(..)
        );
        by_door && !self.flags.has(Flags::READONLY) || self.flags.has(Flags::WRITE)
    }

    /// True when it only reads data.
    #[must_use]
    pub fn is_readonly(&self) -> bool {
        matches!(self.run, Run::Read(_) | Run::ReadMany(_) | Run::ReadOrBlock(..))
            || self.flags.has(Flags::READONLY)
    }

    /// Its subcommands.
    #[must_use]
    pub fn subcommands(&self) -> &'static [CommandSpec] {
        match self.run {
            Run::Container(subcommands) | Run::BareOrContainer(_, subcommands) => subcommands,
            _ => &[],
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::protocol::RequestDecoder;

    #[test]
    fn key_numbers_follow_the_specs() {
        let numbers = |specs: &[KeySpec], line: &str| {
            let (mut decoder, line) = (RequestDecoder::new(), format!("{line}\r\n"));
            let request = decoder.decode(line.as_bytes()).unwrap().unwrap();
            let args = decoder.args(request, line.as_bytes());
            let numbers = key_numbers(specs, args).collect::<Vec<_>>();
            (numbers, has_all_keys(specs, args))
        };
        let all = |numbers: &[usize]| (numbers.to_vec(), true);
        assert_eq!(numbers(&[KeySpec::one(&[])], "C a b c d"), all(&[1]));
        assert_eq!(numbers(&[KeySpec::all(&[])], "C a b c"), all(&[1, 2, 3]));
        assert_eq!(numbers(&[KeySpec::all_but_last(&[])], "C a b c"), all(&[1, 2]));
        let pairs = [KeySpec { first: 1, last: -1, step: 2, access: &[] }];
        assert_eq!(numbers(&pairs, "C a b c d"), all(&[1, 3]));
        let two = [KeySpec::one(&[]), KeySpec { first: 2, last: 0, step: 1, access: &[] }];
        assert_eq!(numbers(&two, "C a b"), all(&[1, 2]));
        assert_eq!(numbers(&two, "C a"), all(&[1]));
        let counted = [KeySpec::one(&[]), KeySpec::counted(2, &[])];
        assert_eq!(numbers(&counted, "C to 1 a b c"), all(&[1, 3]));
        assert_eq!(numbers(&counted, "C to 3 a b c"), all(&[1, 3, 4, 5]));
        assert_eq!(numbers(&counted, "C to 02x a b c"), all(&[1, 3, 4]));
        let stores = KeySpec::stores(2, &[]);
        assert_eq!(numbers(&stores, "C a store b STOREDIST c"), all(&[3, 5]));
        assert_eq!(numbers(&stores, "C store b STOREDIST STORE store"), all(&[5, 4]));
        assert_eq!(numbers(&stores, "C a b c STOREDIST"), all(&[]));
        let streams = [KeySpec::streams(1, &[])];
        assert_eq!(numbers(&streams, "C STREAMS a b 1 2"), all(&[2, 3]));
        assert_eq!(numbers(&streams, "C count 2 Streams streams 0"), all(&[4]));
        let group = "C GROUP streams g BLOCK 0 NOACK STREAMS a >";
        assert_eq!(numbers(&streams, group), all(&[8]));
        for none in ["C", "C STREAMS", "C STREAMS a b 1", "C a STREAMS b 1", "C COUNT STREAMS"] {
            assert_eq!(numbers(&streams, none), (vec![], false), "{none}");
        }
        for wrong in ["0", "4", "-1", "x", "9223372036854775807", "18446744073709551615"] {
            assert_eq!(numbers(&counted, &format!("C to {wrong} a b c")), (vec![1], false));
        }
    }
}
