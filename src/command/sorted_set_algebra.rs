//! Unions, intersections and differences of sorted sets and sets.
//!
//! A set takes part as a sorted set whose scores are all 1. All sources are read at one moment,
//! under the locks of all keys; a result that is stored is made whole before the destination is
//! touched, which may be one of the sources.

use crate::command::args::{at_least, integer, is_word};
use crate::command::context::Call;
use crate::command::dispatch::blocking_if;
use crate::command::error::CommandError;
use crate::command::many::MANY;
use crate::command::sorted_set::WithScores;
use crate::command::sorted_set_range::store;
use crate::command::spec::{Arity, CommandSpec, Early, Flags, Group, KeySpec, Outcome, Run};
use crate::data::member::Member;
use crate::data::ranked_tree::Scored;
use crate::data::{SetRef, SortedSet, SortedSetRef, Value, ValueRef};
use crate::keyspace::{ReadManyView, ReadView, WriteManyView};
use crate::protocol::Args;
use crate::util::hash::KeyHash;
use crate::util::number::parse_f64;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use smallvec::SmallVec;

/// Members that a walk visits before it looks whether to go on.
const VISITED_TOGETHER: usize = 256;

const TO: KeySpec = KeySpec::one(&["OW", "UPDATE"]);
const UNION_COST: &str = "O(n + m*log m) for n members of all sets, m in the result";
const INTER_COST: &str = "O(n*k + m*log m) for k sets, the smallest of n members, m in the result";
const DIFF_COST: &str = "O(n*k + m*log m) for k sets, the first of n members, m in the result";

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "ZUNION", group: Group::SortedSet, arity: Arity::AtLeast(3),
        keys: &[KeySpec::counted(1, &["RO", "ACCESS"])],
        since: "6.2.0", cost: UNION_COST,
        syntax: "ZUNION numkeys key [key ...] [WEIGHTS weight [weight ...]] \
                 [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
        summary: "Returns the members that any set has, with their scores combined.",
        run: Run::ReadMany(zunion), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZINTER", group: Group::SortedSet, arity: Arity::AtLeast(3),
        keys: &[KeySpec::counted(1, &["RO", "ACCESS"])],
        since: "6.2.0", cost: INTER_COST,
        syntax: "ZINTER numkeys key [key ...] [WEIGHTS weight [weight ...]] \
                 [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
        summary: "Returns the members that all sets have, with their scores combined.",
        run: Run::ReadMany(zinter), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZDIFF", group: Group::SortedSet, arity: Arity::AtLeast(3),
        keys: &[KeySpec::counted(1, &["RO", "ACCESS"])],
        since: "6.2.0", cost: DIFF_COST, syntax: "ZDIFF numkeys key [key ...] [WITHSCORES]",
        summary: "Returns the members of the first set that no other set has.",
        run: Run::ReadMany(zdiff), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZUNIONSTORE", group: Group::SortedSet, arity: Arity::AtLeast(4),
        keys: &[TO, KeySpec::counted(2, &["RO", "ACCESS"])], flags: Flags::DENY_OOM,
        since: "2.0.0", cost: UNION_COST,
        syntax: "ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS weight [weight ...]] \
                 [AGGREGATE <SUM | MIN | MAX>]",
        summary: "Stores the members that any set has and returns their number.",
        early: Some(Early::Make(|views, args| made(views, args, Operation::Union, "zunionstore"))),
        run: Run::WriteMany(zunionstore), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZINTERSTORE", group: Group::SortedSet, arity: Arity::AtLeast(4),
        keys: &[TO, KeySpec::counted(2, &["RO", "ACCESS"])], flags: Flags::DENY_OOM,
        since: "2.0.0", cost: INTER_COST,
        syntax: "ZINTERSTORE destination numkeys key [key ...] [WEIGHTS weight [weight ...]] \
                 [AGGREGATE <SUM | MIN | MAX>]",
        summary: "Stores the members that all sets have and returns their number.",
        early: Some(Early::Make(|views, args| made(views, args, Operation::Inter, "zinterstore"))),
        run: Run::WriteMany(zinterstore), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZDIFFSTORE", group: Group::SortedSet, arity: Arity::AtLeast(4),
        keys: &[TO, KeySpec::counted(2, &["RO", "ACCESS"])], flags: Flags::DENY_OOM,
        since: "6.2.0", cost: DIFF_COST,
        syntax: "ZDIFFSTORE destination numkeys key [key ...]",
        summary: "Stores the members of the first set that no other has and returns their number.",
        early: Some(Early::Make(|views, args| made(views, args, Operation::Diff, "zdiffstore"))),
        run: Run::WriteMany(zdiffstore), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZINTERCARD", group: Group::SortedSet, arity: Arity::AtLeast(3),
        keys: &[KeySpec::counted(1, &["RO", "ACCESS"])],
        since: "7.0.0", cost: "O(n*k) for k sets, the smallest of n members",
        syntax: "ZINTERCARD numkeys key [key ...] [LIMIT limit]",
        summary: "Returns how many members all sets have, counted up to a limit.",
        run: Run::ReadMany(zintercard), ..CommandSpec::BASE
    },
];

/// A source of members with scores.
#[derive(Debug, Clone, Copy)]
enum Members<'a> {
    None,
    Set(SetRef<'a>),
    SortedSet(SortedSetRef<'a>),
}

impl<'a> Members<'a> {
    fn read(view: &ReadView<'a>) -> Result<Self, CommandError> {
        match view.value() {
            None => Ok(Self::None),
            Some(ValueRef::Set(set)) => Ok(Self::Set(set)),
            Some(ValueRef::SortedSet(set)) => Ok(Self::SortedSet(set)),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Set(set) => set.len(),
            Self::SortedSet(set) => set.len(),
        }
    }

    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Self::None => None,
            Self::Set(set) => set.contains(member).then_some(1.0),
            Self::SortedSet(set) => set.score(member),
        }
    }

    fn for_each(self, mut each: impl FnMut(&[u8], f64)) {
        match self {
            Self::None => {}
            Self::Set(set) => set.for_each(|member| each(member, 1.0)),
            Self::SortedSet(set) => set.for_all(each),
        }
    }

    /// Calls `each` with every member until it returns false, or a few more.
    fn visit(self, mut each: impl FnMut(&[u8], f64) -> bool) {
        match self {
            Self::None => {}
            Self::Set(set) => set.visit(|member| each(member, 1.0)),
            Self::SortedSet(set) => {
                let mut goes_on = true;
                for start in (0..set.len()).step_by(VISITED_TOGETHER) {
                    let end = set.len().min(start + VISITED_TOGETHER);
                    set.for_each(start..end, false, |member, score| {
                        goes_on = goes_on && each(member, score);
                    });
                    if !goes_on {
                        break;
                    }
                }
            }
        }
    }
}

/// How the scores of one member in several sets become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn combine(self, score: f64, other: f64) -> f64 {
        match self {
            // Both infinities together count as nothing.
            Self::Sum => number_or_zero(score + other),
            Self::Min => {
                if other < score {
                    other
                } else {
                    score
                }
            }
            Self::Max => {
                if other > score {
                    other
                } else {
                    score
                }
            }
        }
    }
}

fn number_or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// What is done with the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// What becomes of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Shown,
    Stored,
    Counted,
}

#[derive(Debug, Clone, Copy)]
struct Source<'a> {
    members: Members<'a>,
    weight: f64,
}

type Sources<'a> = SmallVec<[Source<'a>; 4]>;

/// A request that was read whole.
struct Request<'a> {
    operation: Operation,
    sources: Sources<'a>,
    aggregate: Aggregate,
    with_scores: WithScores,
    limit: usize,
}

/// The number of keys, argument `at`, of the command with this name.
fn key_count(args: Args<'_>, at: usize, name: &str) -> Result<usize, CommandError> {
    let keys = integer(args.at(at))?;
    if keys < 1 {
        let text = format!("ERR at least 1 input key is needed for '{name}' command");
        return Err(CommandError::Owned(text.into_bytes()));
    }
    let keys = usize::try_from(keys).unwrap_or(usize::MAX);
    if keys > args.len() - at - 1 { Err(CommandError::Syntax) } else { Ok(keys) }
}

impl<'a> Request<'a> {
    /// Reads the options behind the keys.
    fn parse(
        operation: Operation,
        result: Purpose,
        mut sources: Sources<'a>,
        options: Args<'_>,
    ) -> Result<Self, CommandError> {
        let (mut aggregate, mut with_scores, mut limit) = (Aggregate::Sum, false, 0);
        let combines = operation != Operation::Diff && result != Purpose::Counted;
        let mut at = 0;
        while let Some(word) = options.get(at) {
            let left = options.len() - at;
            if combines && left > sources.len() && is_word(word, "WEIGHTS") {
                for source in &mut sources {
                    at += 1;
                    let weight = parse_f64(options.at(at));
                    let error = CommandError::Text("ERR weight value is not a float");
                    source.weight = weight.ok_or(error)?;
                }
            } else if combines && left >= 2 && is_word(word, "AGGREGATE") {
                at += 1;
                let ways =
                    [("SUM", Aggregate::Sum), ("MIN", Aggregate::Min), ("MAX", Aggregate::Max)];
                let way = ways.iter().find(|(name, _)| is_word(options.at(at), name));
                aggregate = way.ok_or(CommandError::Syntax)?.1;
            } else if result == Purpose::Shown && is_word(word, "WITHSCORES") {
                with_scores = true;
            } else if result == Purpose::Counted && left >= 2 && is_word(word, "LIMIT") {
                at += 1;
                let error = CommandError::Text("ERR LIMIT can't be negative");
                limit = at_least(options.at(at), 0, error)?;
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }
        let with_scores = WithScores(with_scores);
        Ok(Self { operation, sources, aggregate, with_scores, limit })
    }

    fn is_long(&self) -> bool {
        self.sources.iter().map(|source| source.members.len()).sum::<usize>() > MANY
    }

    fn result(self) -> Vec<Scored> {
        blocking_if(self.is_long(), || self.combined())
    }

    /// The result as a value.
    fn whole_result(self) -> SortedSet {
        blocking_if(self.is_long(), || SortedSet::from_entries(self.combined()))
    }

    fn combined(&self) -> Vec<Scored> {
        let mut entries = match self.operation {
            Operation::Union => self.union(),
            Operation::Inter => {
                let mut entries = Vec::new();
                self.intersect(|member, score| {
                    entries.push(Scored { score, member: Member::new(member) });
                });
                entries
            }
            Operation::Diff => self.difference(),
        };
        entries.sort_unstable_by(|a, b| a.order(b.score, b.member.bytes()));
        entries
    }

    /// The sources from the smallest on: the order in which scores are combined.
    fn ordered(&self) -> Sources<'a> {
        let mut sources = self.sources.clone();
        sources.sort_by_key(|source| source.members.len());
        sources
    }

    fn union(&self) -> Vec<Scored> {
        let mut table: HashTable<Scored> = HashTable::new();
        for Source { members, weight } in self.ordered() {
            members.for_each(|member, score| {
                let score = number_or_zero(weight * score);
                let place = table.entry(
                    KeyHash::of_field(member).in_segment(),
                    |own| own.member.bytes() == member,
                    |own| KeyHash::of_field(own.member.bytes()).in_segment(),
                );
                match place {
                    Entry::Occupied(mut own) => {
                        let own = own.get_mut();
                        own.score = self.aggregate.combine(own.score, score);
                    }
                    Entry::Vacant(place) => {
                        place.insert(Scored { score, member: Member::new(member) });
                    }
                }
            });
        }
        table.into_iter().collect()
    }

    /// Calls `each` with every member that all sources have, until the limit.
    fn intersect(&self, mut each: impl FnMut(&[u8], f64)) {
        let sources = self.ordered();
        let Some((smallest, others)) = sources.split_first() else {
            return;
        };
        let mut left = if self.limit == 0 { usize::MAX } else { self.limit };
        smallest.members.visit(|member, score| {
            let mut score = number_or_zero(smallest.weight * score);
            for Source { members, weight } in others {
                let Some(other) = members.score(member) else {
                    return true;
                };
                score = self.aggregate.combine(score, weight * other);
            }
            each(member, score);
            left -= 1;
            left > 0
        });
    }

    fn difference(&self) -> Vec<Scored> {
        let mut entries = Vec::new();
        if let Some((first, others)) = self.sources.split_first() {
            first.members.for_each(|member, score| {
                if !others.iter().any(|source| source.members.score(member).is_some()) {
                    entries.push(Scored { score, member: Member::new(member) });
                }
            });
        }
        entries
    }
}

/// The sources behind the views.
fn sources<'a>(views: impl Iterator<Item = ReadView<'a>>) -> Result<Sources<'a>, CommandError> {
    views.map(|view| Ok(Source { members: Members::read(&view)?, weight: 1.0 })).collect()
}

fn show(
    view: &ReadManyView<'_, '_>,
    call: &mut Call<'_>,
    operation: Operation,
    name: &str,
) -> Outcome {
    let keys = key_count(call.args, 1, name)?;
    let options = call.args.skip(2 + keys);
    let request = Request::parse(operation, Purpose::Shown, sources(view.iter())?, options)?;
    let with_scores = request.with_scores;
    let entries = request.result();
    with_scores.head(&mut call.reply, entries.len());
    for entry in entries {
        with_scores.member(&mut call.reply, entry.member.bytes(), entry.score);
    }
    Ok(())
}

fn zunion(view: &ReadManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    show(view, call, Operation::Union, "zunion")
}

fn zinter(view: &ReadManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    show(view, call, Operation::Inter, "zinter")
}

fn zdiff(view: &ReadManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    show(view, call, Operation::Diff, "zdiff")
}

fn keep(
    view: &mut WriteManyView<'_, '_>,
    call: &mut Call<'_>,
    operation: Operation,
    name: &'static str,
) -> Outcome {
    let made = call.take_made().and_then(|made| view.accept(made.kept, made.value));
    let set = match made {
        Some(Value::SortedSet(set)) => set,
        _ => {
            let request = stored(call.args, sources(view.reads().skip(1)), operation, name)?;
            request.whole_result()
        }
    };
    store(view, call, set, name);
    Ok(())
}

/// The request of a command that stores its result.
fn stored<'a>(
    args: Args<'_>,
    sources: Result<Sources<'a>, CommandError>,
    operation: Operation,
    name: &'static str,
) -> Result<Request<'a>, CommandError> {
    let keys = key_count(args, 2, name)?;
    Request::parse(operation, Purpose::Stored, sources?, args.skip(3 + keys))
}

/// What is stored, made of the sets behind the views.
fn made(
    views: &[ReadView<'_>],
    args: Args<'_>,
    operation: Operation,
    name: &'static str,
) -> Option<Value> {
    let request = stored(args, sources(views.iter().copied()), operation, name).ok()?;
    Some(Value::SortedSet(SortedSet::from_entries(request.combined())))
}

fn zunionstore(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    keep(view, call, Operation::Union, "zunionstore")
}

fn zinterstore(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    keep(view, call, Operation::Inter, "zinterstore")
}

fn zdiffstore(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    keep(view, call, Operation::Diff, "zdiffstore")
}

fn zintercard(view: &ReadManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let keys = key_count(call.args, 1, "zintercard")?;
    let options = call.args.skip(2 + keys);
    let sources = sources(view.iter())?;
    let request = Request::parse(Operation::Inter, Purpose::Counted, sources, options)?;
    let mut count = 0;
    request.intersect(|_, _| count += 1);
    call.reply.count(count);
    Ok(())
}
