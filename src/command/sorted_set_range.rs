//! Ranges of sorted sets: by rank, by score, or by member where all scores are the same.
//!
//! Every range becomes a range of ranks before anything is answered or removed, so the length of a
//! reply is known at its beginning.

use crate::command::args::{integer, is_word};
use crate::command::context::Call;
use crate::command::dispatch::blocking_if;
use crate::command::error::CommandError;
use crate::command::many;
use crate::command::sorted_set::WithScores;
use crate::command::spec::{Arity, CommandSpec, Early, Flags, Group, KeySpec, Outcome, Run};
use crate::data::member::Member;
use crate::data::ranked_tree::Scored;
use crate::data::{SortedSet, SortedSetRef, Value};
use crate::keyspace::{ReadView, WriteManyView, WriteView};
use crate::protocol::Args;
use crate::util::events::EventSet;
use crate::util::number::parse_bound;
use crate::util::range::normalize_range;
use std::ops::Range;

const COST: &str = "O(log n + m) for m members";
const REMOVAL_COST: &str = "O(m*log n) for m members";

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "ZRANGE", group: Group::SortedSet, arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "1.2.0", cost: COST,
        syntax: "ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
        summary: "Returns a range of members by rank, by score or in the order of the members.",
        run: Run::Read(zrange), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZRANGESTORE", group: Group::SortedSet, arity: Arity::AtLeast(5),
        keys: &[
            KeySpec::one(&["OW", "UPDATE"]),
            KeySpec { first: 2, last: 0, step: 1, access: &["RO", "ACCESS"] },
        ],
        flags: Flags::DENY_OOM,
        since: "6.2.0", cost: "O(log n + m*log m) for m members",
        syntax: "ZRANGESTORE dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
        summary: "Stores a range of members and returns their number.",
        run: Run::WriteMany(zrangestore), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZREVRANGE", group: Group::SortedSet, arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "1.2.0", cost: COST, syntax: "ZREVRANGE key start stop [WITHSCORES]",
        summary: "Returns a range of members by rank, from the highest score.",
        run: Run::Read(zrevrange), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZRANGEBYSCORE", group: Group::SortedSet, arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "1.0.5", cost: COST,
        syntax: "ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]",
        summary: "Returns the members with scores in a range.",
        run: Run::Read(zrangebyscore), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZREVRANGEBYSCORE", group: Group::SortedSet, arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "2.2.0", cost: COST,
        syntax: "ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]",
        summary: "Returns the members with scores in a range, from the highest.",
        run: Run::Read(zrevrangebyscore), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZRANGEBYLEX", group: Group::SortedSet, arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "2.8.9", cost: COST, syntax: "ZRANGEBYLEX key min max [LIMIT offset count]",
        summary: "Returns a range of members in their own order, when all scores are the same.",
        run: Run::Read(zrangebylex), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZREVRANGEBYLEX", group: Group::SortedSet, arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "2.8.9", cost: COST, syntax: "ZREVRANGEBYLEX key max min [LIMIT offset count]",
        summary: "Returns such a range backwards.",
        run: Run::Read(zrevrangebylex), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZCOUNT", group: Group::SortedSet, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["RO", "ACCESS"])], flags: Flags::FAST,
        since: "2.0.0", cost: "O(log n)", syntax: "ZCOUNT key min max",
        summary: "Returns the number of members with scores in a range.",
        run: Run::Read(zcount), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZLEXCOUNT", group: Group::SortedSet, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["RO", "ACCESS"])], flags: Flags::FAST,
        since: "2.8.9", cost: "O(log n)", syntax: "ZLEXCOUNT key min max",
        summary: "Returns the number of members in a range, when all scores are the same.",
        run: Run::Read(zlexcount), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZREMRANGEBYRANK", group: Group::SortedSet, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["RW", "DELETE"])],
        since: "2.0.0", cost: REMOVAL_COST, syntax: "ZREMRANGEBYRANK key start stop",
        summary: "Removes a range of members by rank.",
        early: Some(Early::Make(|views, args| made(views, args, By::Rank))),
        run: Run::Write(zremrangebyrank), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZREMRANGEBYSCORE", group: Group::SortedSet, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["RW", "DELETE"])],
        since: "1.2.0", cost: REMOVAL_COST, syntax: "ZREMRANGEBYSCORE key min max",
        summary: "Removes the members with scores in a range.",
        early: Some(Early::Make(|views, args| made(views, args, By::Score))),
        run: Run::Write(zremrangebyscore), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZREMRANGEBYLEX", group: Group::SortedSet, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["RW", "DELETE"])],
        since: "2.8.9", cost: REMOVAL_COST, syntax: "ZREMRANGEBYLEX key min max",
        summary: "Removes a range of members, when all scores are the same.",
        early: Some(Early::Make(|views, args| made(views, args, By::Lex))),
        run: Run::Write(zremrangebylex), ..CommandSpec::BASE
    },
];

/// One end of a range of scores.
#[derive(Debug, Clone, Copy)]
struct ScoreBound {
    score: f64,
    is_open: bool,
}

impl ScoreBound {
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        let (is_open, number) = match arg {
            [b'(', rest @ ..] => (true, rest),
            _ => (false, arg),
        };
        let score = parse_bound(number);
        let score = score.ok_or(CommandError::Text("ERR min or max is not a float"))?;
        Ok(Self { score, is_open })
    }
}

/// One end of a range of members.
#[derive(Debug, Clone, Copy)]
enum LexBound<'a> {
    /// Before all members.
    First,
    /// Behind all members.
    Last,
    /// This one, or the next one inside when the range is open.
    Member { bytes: &'a [u8], is_open: bool },
}

impl<'a> LexBound<'a> {
    fn parse(arg: &'a [u8]) -> Result<Self, CommandError> {
        match arg {
            [b'+'] | [b'+', 0, ..] => Ok(Self::Last),
            [b'-'] | [b'-', 0, ..] => Ok(Self::First),
            [b'(', bytes @ ..] => Ok(Self::Member { bytes, is_open: true }),
            [b'[', bytes @ ..] => Ok(Self::Member { bytes, is_open: false }),
            _ => Err(CommandError::Text("ERR min or max not valid string range item")),
        }
    }

    /// True when a range that begins here does not have `member` yet.
    fn is_behind(self, member: &[u8]) -> bool {
        match self {
            Self::First => false,
            Self::Last => true,
            Self::Member { bytes, is_open } => member < bytes || (is_open && member == bytes),
        }
    }

    /// True when a range that ends here does not have `member` any more.
    fn is_before(self, member: &[u8]) -> bool {
        match self {
            Self::First => true,
            Self::Last => false,
            Self::Member { bytes, is_open } => member > bytes || (is_open && member == bytes),
        }
    }
}

/// What a range is measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// A range, read but not yet applied to a set.
#[derive(Debug, Clone, Copy)]
enum Span<'a> {
    Ranks(i64, i64),
    Scores(ScoreBound, ScoreBound),
    Members(LexBound<'a>, LexBound<'a>),
}

impl<'a> Span<'a> {
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Self, CommandError> {
        Ok(match by {
            By::Rank => Self::Ranks(integer(min)?, integer(max)?),
            By::Score => Self::Scores(ScoreBound::parse(min)?, ScoreBound::parse(max)?),
            By::Lex => Self::Members(LexBound::parse(min)?, LexBound::parse(max)?),
        })
    }

    /// The ranks of the members inside, without the first `skip` in a range of scores or members;
    /// indices of a reverse range count from the last.
    fn ranks(self, set: SortedSetRef<'_>, is_reverse: bool, skip: usize) -> Range<usize> {
        let len = set.len();
        match self {
            Self::Ranks(start, stop) => match normalize_range(start, stop, len) {
                None => 0..0,
                Some((first, last)) if is_reverse => len - 1 - last..len - first,
                Some((first, last)) => first..last + 1,
            },
            Self::Scores(min, max) => set.ranks(
                is_reverse,
                skip,
                |score, _| score < min.score || (min.is_open && score == min.score),
                |score, _| score > max.score || (max.is_open && score == max.score),
            ),
            Self::Members(min, max) => {
                if let LexBound::Member { bytes, .. } = max
                    && min.is_behind(bytes)
                {
                    return 0..0;
                }
                set.ranks(
                    is_reverse,
                    skip,
                    |_, member| min.is_behind(member),
                    |_, member| max.is_before(member),
                )
            }
        }
    }
}

/// A range with its direction and its limit.
#[derive(Debug, Clone, Copy)]
struct Query<'a> {
    span: Span<'a>,
    is_reverse: bool,
    offset: i64,
    limit: i64,
    with_scores: WithScores,
}

impl<'a> Query<'a> {
    /// Reads the arguments from the first end of the range on. `by` and `is_reverse` are given by
    /// the command, or else by options.
    fn parse(
        args: Args<'a>,
        by: Option<By>,
        is_reverse: Option<bool>,
        stores: bool,
    ) -> Result<Self, CommandError> {
        let (mut chosen_by, mut chosen_reverse) = (by, is_reverse);
        let (mut offset, mut limit, mut with_scores) = (0, -1, false);
        let mut at = 2;
        while let Some(word) = args.get(at) {
            if !stores && is_word(word, "WITHSCORES") {
                with_scores = true;
            } else if is_word(word, "LIMIT") && args.len() > at + 2 {
                offset = integer(args.at(at + 1))?;
                limit = integer(args.at(at + 2))?;
                at += 2;
            } else if chosen_reverse.is_none() && is_word(word, "REV") {
                chosen_reverse = Some(true);
            } else if chosen_by.is_none() && is_word(word, "BYLEX") {
                chosen_by = Some(By::Lex);
            } else if chosen_by.is_none() && is_word(word, "BYSCORE") {
                chosen_by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }
        let by = chosen_by.unwrap_or(By::Rank);
        let is_reverse = chosen_reverse.unwrap_or(false);
        if limit != -1 && by == By::Rank {
            return Err(CommandError::Text(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or \
                 BYLEX",
            ));
        }
        if with_scores && by == By::Lex {
            return Err(CommandError::Text(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (mut min, mut max) = (args.at(0), args.at(1));
        if is_reverse && by != By::Rank {
            std::mem::swap(&mut min, &mut max);
        }
        let span = Span::parse(by, min, max)?;
        Ok(Self { span, is_reverse, offset, limit, with_scores: WithScores(with_scores) })
    }

    /// The ranks that are to be answered.
    fn ranks(&self, set: SortedSetRef<'_>) -> Range<usize> {
        // A negative offset is never reached, a negative limit is none.
        let skip = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let Range { start, end } = self.span.ranks(set, self.is_reverse, skip);
        let count = (end - start).min(limit);
        if self.is_reverse { end - count..end } else { start..start + count }
    }
}

fn range(
    view: &ReadView<'_>,
    call: &mut Call<'_>,
    by: Option<By>,
    is_reverse: Option<bool>,
) -> Outcome {
    let query = Query::parse(call.args.skip(2), by, is_reverse, false)?;
    let Some(set) = view.sorted_set()? else {
        call.reply.array(0);
        return Ok(());
    };
    let (ranks, is_reverse, with_scores) = (query.ranks(set), query.is_reverse, query.with_scores);
    many::answer(view, call, ranks.len(), move |view, reply| {
        if let Some(set) = view.sorted_set()? {
            with_scores.head(reply, ranks.len());
            set.for_each(ranks, is_reverse, |member, score| {
                with_scores.member(reply, member, score);
            });
        }
        Ok(())
    })
}

fn zrange(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    range(view, call, None, None)
}

fn zrevrange(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    range(view, call, Some(By::Rank), Some(true))
}

fn zrangebyscore(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    range(view, call, Some(By::Score), Some(false))
}

fn zrevrangebyscore(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    range(view, call, Some(By::Score), Some(true))
}

fn zrangebylex(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    range(view, call, Some(By::Lex), Some(false))
}

fn zrevrangebylex(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    range(view, call, Some(By::Lex), Some(true))
}

fn zrangestore(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let query = Query::parse(call.args.skip(3), None, None, true)?;
    let mut entries = Vec::new();
    if let Some(source) = view.reads().nth(1)
        && let Some(set) = source.sorted_set()?
    {
        set.for_each(query.ranks(set), false, |member, score| {
            entries.push(Scored { score, member: Member::new(member) });
        });
    }
    store(view, call, SortedSet::from_entries(entries), "zrangestore");
    Ok(())
}

/// Stores the set at the first key, or removes that if it is empty, and replies with the number of
/// its members; the key's event is `event`.
pub fn store(
    view: &mut WriteManyView<'_, '_>,
    call: &mut Call<'_>,
    set: SortedSet,
    event: &'static str,
) {
    call.reply.count(set.len());
    if let Some(mut destination) = view.key(0) {
        if !set.is_empty() {
            destination.set_value(Value::SortedSet(set), None);
            destination.notify(EventSet::SORTED_SET, event);
        } else if destination.remove() {
            destination.notify(EventSet::GENERIC, "del");
        }
    }
}

fn count(view: &ReadView<'_>, call: &mut Call<'_>, by: By) -> Outcome {
    let span = Span::parse(by, call.args.at(2), call.args.at(3))?;
    call.reply.count(view.sorted_set()?.map_or(0, |set| span.ranks(set, false, 0).len()));
    Ok(())
}

fn zcount(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    count(view, call, By::Score)
}

fn zlexcount(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    count(view, call, By::Lex)
}

fn remove(view: &mut WriteView<'_>, call: &mut Call<'_>, by: By) -> Outcome {
    let span = Span::parse(by, call.args.at(2), call.args.at(3))?;
    let ranks = view.read().sorted_set()?.map_or(0..0, |set| span.ranks(set, false, 0));
    call.reply.count(ranks.len());
    if !ranks.is_empty() {
        let made = call.take_made().and_then(|made| view.accept(made.kept, made.value));
        view.note_more_changes(ranks.len() - 1);
        let is_long = ranks.len() > many::MANY && made.is_none();
        let remove = |set: &mut SortedSet| match made {
            Some(Value::SortedSet(rest)) => *set = rest,
            _ => set.remove_ranks(ranks, false, |_, _| ()),
        };
        blocking_if(is_long, || view.change_collection(false, remove))?;
        view.notify(
            EventSet::SORTED_SET,
            match by {
                By::Rank => "zremrangebyrank",
                By::Score => "zremrangebyscore",
                By::Lex => "zremrangebylex",
            },
        );
    }
    Ok(())
}

/// What [`remove`] leaves if that is much to remove. Of what is kept besides only the parts are
/// copied that change.
fn made(views: &[ReadView<'_>], args: Args<'_>, by: By) -> Option<Value> {
    let span = Span::parse(by, args.at(2), args.at(3)).ok()?;
    let set = views.first()?.sorted_set().ok()??;
    let ranks = span.ranks(set, false, 0);
    let SortedSetRef::Ranked(members) = set else { return None };
    let mut rest = (ranks.len() > many::MANY).then(|| SortedSet::Ranked(members.clone()))?;
    rest.remove_ranks(ranks, false, |_, _| ());
    Some(Value::SortedSet(rest))
}

fn zremrangebyrank(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    remove(view, call, By::Rank)
}

fn zremrangebyscore(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    remove(view, call, By::Score)
}

fn zremrangebylex(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    remove(view, call, By::Lex)
}
