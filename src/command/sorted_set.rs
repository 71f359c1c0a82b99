//! Sorted sets: their members one by one.

use crate::command::args::is_word;
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::scan::{Collected, ScanOptions, cursor};
use crate::command::set::drawn_count;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::data::sorted_set::whole;
use crate::data::{SortedSet, SortedSetRef};
use crate::keyspace::{ReadView, WriteView};
use crate::protocol::{Args, Protocol, ReplyWriter};
use crate::util::events::EventSet;
use crate::util::number::{FloatText, IntegerText, format_f64, parse_f64};
use smallvec::SmallVec;

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "ZADD", group: Group::SortedSet, arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(&["RW", "UPDATE"])], flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "1.2.0", cost: "O(m*log n) for m members",
        syntax: "ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
        summary: "Sets the scores of members and returns how many are new, with CH how many \
                  scores changed, with INCR the new score.",
        run: Run::Write(zadd), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZINCRBY", group: Group::SortedSet, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["RW", "ACCESS", "UPDATE"])],
        flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "1.2.0", cost: "O(log n)", syntax: "ZINCRBY key increment member",
        summary: "Adds to the score of a member; no member counts as 0.",
        run: Run::Write(zincrby), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZREM", group: Group::SortedSet, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RW", "DELETE"])], flags: Flags::FAST,
        since: "1.2.0", cost: "O(m*log n) for m members", syntax: "ZREM key member [member ...]",
        summary: "Removes members, and the sorted set with its last one.",
        run: Run::Write(zrem), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZCARD", group: Group::SortedSet, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RO"])], flags: Flags::FAST,
        since: "1.2.0", cost: "O(1)", syntax: "ZCARD key",
        summary: "Returns the number of members of a sorted set.", run: Run::Read(zcard),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZSCORE", group: Group::SortedSet, arity: Arity::Exact(3),
        keys: &[KeySpec::one(&["RO", "ACCESS"])], flags: Flags::FAST,
        since: "1.2.0", cost: "O(1)", syntax: "ZSCORE key member",
        summary: "Returns the score of a member.", run: Run::Read(zscore), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZMSCORE", group: Group::SortedSet, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RO", "ACCESS"])], flags: Flags::FAST,
        since: "6.2.0", cost: "O(m) for m members", syntax: "ZMSCORE key member [member ...]",
        summary: "Returns the scores of several members.", run: Run::Read(zmscore),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZRANK", group: Group::SortedSet, arity: Arity::Exact(3),
        keys: &[KeySpec::one(&["RO", "ACCESS"])], flags: Flags::FAST,
        since: "2.0.0", cost: "O(log n)", syntax: "ZRANK key member",
        summary: "Returns the rank of a member, 0 for the lowest score.", run: Run::Read(zrank),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZREVRANK", group: Group::SortedSet, arity: Arity::Exact(3),
        keys: &[KeySpec::one(&["RO", "ACCESS"])], flags: Flags::FAST,
        since: "2.0.0", cost: "O(log n)", syntax: "ZREVRANK key member",
        summary: "Returns the rank of a member, 0 for the highest score.",
        run: Run::Read(zrevrank), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZRANDMEMBER", group: Group::SortedSet, arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "6.2.0", cost: "O(m*log n) for m members",
        syntax: "ZRANDMEMBER key [count [WITHSCORES]]",
        summary: "Returns members of a sorted set that are drawn at random.",
        tips: &["nondeterministic_output"], run: Run::Read(zrandmember), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZSCAN", group: Group::SortedSet, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "2.8.0", cost: "O(count) for every call, O(n) for all n members of the set",
        syntax: "ZSCAN key cursor [MATCH pattern] [COUNT count]",
        summary: "Iterates over the members of a sorted set and their scores.",
        tips: &["nondeterministic_output"], run: Run::Read(zscan), ..CommandSpec::BASE
    },
];

/// How replies show members: alone, or with their scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WithScores(pub bool);

impl WithScores {
    /// The head of an array of `count` members.
    pub fn head(self, reply: &mut ReplyWriter<'_>, count: usize) {
        let is_flat = self.0 && reply.protocol() == Protocol::Resp2;
        reply.array(if is_flat { 2 * count } else { count });
    }

    /// A member of such an array.
    #[inline]
    pub fn member(self, reply: &mut ReplyWriter<'_>, member: &[u8], score: f64) {
        if self.0 && reply.protocol() == Protocol::Resp3 {
            reply.array(2);
        }
        reply.bulk(member);
        if self.0 {
            reply.double(score);
        }
    }
}

/// What ZADD does with a member.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Decision {
    /// Nothing, because the options say so.
    Skip,
    /// Nothing, because the score is this one already.
    Keep(f64),
    /// The score becomes this one.
    Set(f64),
}

/// The options of ZADD.
#[derive(Debug, Default)]
pub struct AddOptions {
    /// Only new members.
    pub is_new_only: bool,
    /// Only members that are there.
    pub is_old_only: bool,
    is_greater_only: bool,
    is_less_only: bool,
    /// The reply counts changed scores too.
    pub counts_changed: bool,
    increments: bool,
}

impl AddOptions {
    /// Reads the options; returns the number of the first score.
    fn parse(&mut self, args: Args<'_>) -> Result<usize, CommandError> {
        let mut first = 2;
        for word in args.iter_from(2) {
            let options = [
                ("NX", &mut self.is_new_only),
                ("XX", &mut self.is_old_only),
                ("GT", &mut self.is_greater_only),
                ("LT", &mut self.is_less_only),
                ("CH", &mut self.counts_changed),
                ("INCR", &mut self.increments),
            ];
            let Some((_, option)) = options.into_iter().find(|(name, _)| is_word(word, name))
            else {
                break;
            };
            *option = true;
            first += 1;
        }
        let left = args.len() - first;
        if left == 0 || !left.is_multiple_of(2) {
            return Err(CommandError::Syntax);
        }
        if self.is_new_only && self.is_old_only {
            let text = "ERR XX and NX options at the same time are not compatible";
            return Err(CommandError::Text(text));
        }
        let excluding = [self.is_new_only, self.is_greater_only, self.is_less_only];
        if excluding.iter().filter(|option| **option).count() > 1 {
            let text = "ERR GT, LT, and/or NX options at the same time are not compatible";
            return Err(CommandError::Text(text));
        }
        if self.increments && left > 2 {
            let text = "ERR INCR option supports a single increment-element pair";
            return Err(CommandError::Text(text));
        }
        Ok(first)
    }

    fn decide(&self, old: Option<f64>, score: f64) -> Result<Decision, CommandError> {
        let Some(old) = old else {
            return Ok(if self.is_old_only { Decision::Skip } else { Decision::Set(score) });
        };
        if self.is_new_only {
            return Ok(Decision::Skip);
        }
        let score = if self.increments { old + score } else { score };
        if score.is_nan() {
            return Err(CommandError::Text("ERR resulting score is not a number (NaN)"));
        }
        if (self.is_less_only && score >= old) || (self.is_greater_only && score <= old) {
            return Ok(Decision::Skip);
        }
        Ok(if score == old { Decision::Keep(score) } else { Decision::Set(score) })
    }
}

fn add(view: &mut WriteView<'_>, call: &mut Call<'_>, mut options: AddOptions) -> Outcome {
    let args = call.args;
    let first = options.parse(args)?;
    let numbers = args.iter_from(first).step_by(2);
    let scores: SmallVec<[f64; 4]> = numbers
        .map(|number| parse_f64(number).ok_or(CommandError::NotAFloat))
        .collect::<Result<_, _>>()?;
    put(view, call, &options, args.iter_from(first + 1).step_by(2).zip(scores.iter().copied()))
}

/// Gives members these scores as far as the options allow, and replies.
pub fn put<'a>(
    view: &mut WriteView<'_>,
    call: &mut Call<'_>,
    options: &AddOptions,
    mut pairs: impl Iterator<Item = (&'a [u8], f64)>,
) -> Outcome {
    let mut last = Decision::Skip;
    let mut change = None;
    {
        let read = view.read();
        let set = read.sorted_set()?;
        for (member, score) in pairs.by_ref() {
            last = options.decide(set.and_then(|set| set.score(member)), score)?;
            if let Decision::Set(score) = last {
                change = Some((member, score));
                break;
            }
        }
    }
    let (mut added, mut updated) = (0_usize, 0_usize);
    if let Some((member, score)) = change {
        let outcome = view.change_collection(true, |set: &mut SortedSet| -> Outcome {
            let mut put = |set: &mut SortedSet, member: &[u8], score| {
                let counter =
                    if set.set(score, member).is_none() { &mut added } else { &mut updated };
                *counter += 1;
            };
            put(set, member, score);
            for (member, score) in pairs {
                last = options.decide(set.as_ref().score(member), score)?;
                if let Decision::Set(score) = last {
                    put(set, member, score);
                }
            }
            Ok(())
        })?;
        outcome.unwrap_or(Ok(()))?;
        view.note_more_changes(added + updated - 1);
        let event = if options.increments { "zincr" } else { "zadd" };
        view.notify(EventSet::SORTED_SET, event);
    }
    match last {
        Decision::Skip if options.increments => call.reply.null(),
        Decision::Keep(score) | Decision::Set(score) if options.increments => {
            call.reply.double(score);
        }
        _ => call.reply.count(if options.counts_changed { added + updated } else { added }),
    }
    Ok(())
}

fn zadd(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    add(view, call, AddOptions::default())
}

fn zincrby(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    add(view, call, AddOptions { increments: true, ..AddOptions::default() })
}

fn zrem(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let mut removed = 0;
    if let Some(set) = view.read().sorted_set()?
        && args.iter_from(2).any(|member| set.score(member).is_some())
    {
        let changed = view.change_collection(false, |set: &mut SortedSet| {
            args.iter_from(2).filter(|member| set.remove(member).is_some()).count()
        })?;
        removed = changed.unwrap_or(0);
        view.note_more_changes(removed.saturating_sub(1));
        view.notify(EventSet::SORTED_SET, "zrem");
    }
    call.reply.count(removed);
    Ok(())
}

fn zcard(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    call.reply.count(view.sorted_set()?.map_or(0, SortedSetRef::len));
    Ok(())
}

fn reply_score(call: &mut Call<'_>, score: Option<f64>) {
    match score {
        Some(score) => call.reply.double(score),
        None => call.reply.null(),
    }
}

fn zscore(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let member = call.args.at(2);
    reply_score(call, view.sorted_set()?.and_then(|set| set.score(member)));
    Ok(())
}

fn zmscore(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let set = view.sorted_set()?;
    let members = call.args.iter_from(2);
    call.reply.array(members.len());
    for member in members {
        reply_score(call, set.and_then(|set| set.score(member)));
    }
    Ok(())
}

fn reply_rank(view: &ReadView<'_>, call: &mut Call<'_>, is_reverse: bool) -> Outcome {
    let member = call.args.at(2);
    let rank = view.sorted_set()?.and_then(|set| {
        let rank = set.rank(member)?;
        Some(if is_reverse { set.len() - 1 - rank } else { rank })
    });
    match rank {
        Some(rank) => call.reply.count(rank),
        None => call.reply.null(),
    }
    Ok(())
}

fn zrank(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    reply_rank(view, call, false)
}

fn zrevrank(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    reply_rank(view, call, true)
}

fn zrandmember(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    if args.len() == 2 {
        let set = view.sorted_set()?;
        let mut draw = |set: SortedSetRef<'_>| call.random.below(set.len());
        match set.and_then(|set| set.get(draw(set))) {
            Some((member, _)) => call.reply.bulk(member),
            None => call.reply.null(),
        }
        return Ok(());
    }
    let count = drawn_count(args.at(2))?;
    let with_scores = WithScores(args.len() == 4);
    if args.len() > 4 || (with_scores.0 && !is_word(args.at(3), "WITHSCORES")) {
        return Err(CommandError::Syntax);
    }
    if with_scores.0 && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(CommandError::Text("ERR value is out of range"));
    }
    let Some(set) = view.sorted_set()? else {
        call.reply.array(0);
        return Ok(());
    };
    let bytes_max = call.reply_bytes_max();
    let Call { reply, random, .. } = call;
    let (wanted, is_distinct) = (count.unsigned_abs(), count >= 0);
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    if is_distinct {
        let ranks = random.distinct_below(wanted, set.len());
        with_scores.head(reply, ranks.len());
        for (member, score) in ranks.into_iter().filter_map(|rank| set.get(rank)) {
            with_scores.member(reply, member, score);
        }
        return Ok(());
    }
    let mark = reply.len();
    with_scores.head(reply, wanted);
    for _ in 0..wanted {
        if let Some((member, score)) = set.get(random.below(set.len())) {
            with_scores.member(reply, member, score);
        }
        if reply.len() - mark > bytes_max {
            return Err(CommandError::ReplyTooLong);
        }
    }
    Ok(())
}

/// A score as ZSCAN shows it: in a small set Redis stores whole numbers as integers.
fn scanned_score(set: SortedSetRef<'_>, score: f64) -> FloatText {
    match whole(score) {
        Some(number) if matches!(set, SortedSetRef::Packed(_)) => {
            FloatText::from_slice(IntegerText::new().format_i64(number))
        }
        _ => format_f64(score),
    }
}

fn zscan(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let cursor = cursor(call.args.at(2))?;
    let Some(set) = view.sorted_set()? else {
        Collected::default().reply_with_cursor(None, call);
        return Ok(());
    };
    let options = ScanOptions::parse(call, 3, false)?;
    let mut found = Collected::default();
    let next = set.scan(cursor, options.count, |member, score| {
        if options.pattern.shows(member) {
            found.add(member, call);
            found.add(&scanned_score(set, score), call);
        }
    });
    found.reply_with_cursor(next, call);
    Ok(())
}
