//! The checker and the model on histories of which it is known what they are, and on small ones of
//! which every order is tried.

use super::generate::{Generator, Next};
use super::history::{CHECK_TIME_MAX, Event, Verdict};
use super::history::{check, groups_of_keys, keeping, shrink, until};
use super::model::{Command, Key, Operation, Reply, Script, State, Step, Way};
use crate::harness::random::{Random, seed};
use std::sync::Arc;

const A: Key = 0;
const B: Key = 1;
const C: Key = 2;
const LIST: Key = 4;
const OTHER_LIST: Key = 5;

/// So many small histories.
const CASES: usize = 3_000;
/// Every order of them is tried.
const OPERATIONS_MAX: usize = 7;

/// A history of operations with the times at which they began and ended.
fn history(operations: Vec<(i64, i64, Operation, Reply)>) -> Vec<Event> {
    let event = |(client, (called_ns, returned_ns, operation, reply))| {
        let step = Step { operation, reply, has_happened: true };
        Event { client, called_ns, returned_ns, step: Arc::new(step) }
    };
    operations.into_iter().enumerate().map(event).collect()
}

fn single(command: Command) -> Operation {
    Operation::Single(command)
}

fn values(values: &[i64]) -> Reply {
    let value = |value: &i64| if *value == 0 { Reply::Nil } else { Reply::Value(*value) };
    Reply::Array(values.iter().map(value).collect())
}

fn popped(key: Key, value: i64) -> Reply {
    Reply::Array(vec![Reply::Name(key), Reply::Value(value)])
}

fn set(key: Key, value: i64) -> (i64, i64, Operation, Reply) {
    (0, 1, single(Command::Set(key, value)), Reply::Ok)
}

fn push(value: i64) -> (i64, i64, Operation, Reply) {
    (0, 1, single(Command::Push(LIST, vec![value])), Reply::Integer(1))
}

/// Fails unless the operations behind some that set things up can be explained with the first
/// answer to the last one, and cannot with the second.
#[track_caller]
fn tells_apart(
    before: Vec<(i64, i64, Operation, Reply)>,
    last: (i64, i64, Operation),
    good: Reply,
    bad: Reply,
) {
    for (reply, verdict) in [(good, Verdict::Linearizable), (bad, Verdict::Broken)] {
        let (called_ns, returned_ns, operation) = last.clone();
        let mut all = before.clone();
        all.push((called_ns, returned_ns, operation, reply.clone()));
        assert_eq!(check(&history(all), CHECK_TIME_MAX), verdict, "with {reply}");
    }
}

#[test]
fn a_value_that_was_overwritten_is_not_read() {
    let second = (2, 5, single(Command::Set(A, 20)), Reply::Ok);
    let get = single(Command::Get(A));
    tells_apart(
        vec![set(A, 10), second.clone()],
        (6, 7, get.clone()),
        Reply::Value(20),
        Reply::Value(10),
    );
    // While it is written, both may be read, but not the old one after the new one.
    let early = (3, 4, get.clone(), Reply::Value(20));
    for value in [10, 20] {
        let both = vec![set(A, 10), second.clone(), (3, 4, get.clone(), Reply::Value(value))];
        assert_eq!(check(&history(both), CHECK_TIME_MAX), Verdict::Linearizable);
    }
    tells_apart(vec![set(A, 10), second, early], (5, 6, get), Reply::Value(20), Reply::Value(10));
}

#[test]
fn no_half_of_a_write_is_read() {
    let pairs = vec![(A, 20), (B, 21)];
    let write = (2, 9, single(Command::SetMany(pairs)), Reply::Ok);
    let read = (3, 4, single(Command::GetMany(vec![B, A])));
    let before = vec![set(A, 10), set(B, 11), write];
    tells_apart(before.clone(), read.clone(), values(&[21, 20]), values(&[21, 10]));
    tells_apart(before, read, values(&[11, 10]), values(&[11, 20]));
}

#[test]
fn what_is_renamed_is_somewhere_once() {
    let rename = (2, 9, single(Command::Rename(A, B)), Reply::Ok);
    let read = (3, 4, single(Command::GetMany(vec![A, B])));
    tells_apart(vec![set(A, 10), rename.clone()], read.clone(), values(&[10, 0]), values(&[0, 0]));
    tells_apart(vec![set(A, 10), rename], read, values(&[0, 10]), values(&[10, 10]));
}

#[test]
fn no_half_of_a_script_is_read() {
    let script = |script| single(Command::Script(script, Way::Text));
    let moved = (2, 9, script(Script::Move(A, B)), Reply::Value(10));
    let look = (3, 4, script(Script::Look(vec![A, B])));
    tells_apart(vec![set(A, 10), moved.clone()], look, values(&[0, 10]), values(&[0, 0]));
    let counted = Reply::Array(vec![Reply::Integer(3), Reply::Integer(17)]);
    let transfer = (2, 9, script(Script::Transfer(A, B)), counted);
    let read = (3, 4, single(Command::GetMany(vec![A, B])));
    let before = vec![set(A, 10), set(B, 10), transfer];
    tells_apart(before, read, values(&[3, 17]), values(&[3, 10]));
    // What it left undone is no excuse: the first half stays where the second fails.
    let shift = (2, 3, script(Script::Shift(LIST, A)), Reply::WrongType);
    let length = (4, 5, single(Command::Push(LIST, vec![31])));
    let before = vec![set(A, 10), push(30), shift];
    tells_apart(before, length, Reply::Integer(1), Reply::Integer(2));
}

#[test]
fn no_half_of_a_transaction_is_read_and_no_increment_is_lost() {
    let commands = vec![Command::Increment(A), Command::Increment(B)];
    let counts = Reply::Array(vec![Reply::Integer(11), Reply::Integer(11)]);
    let exec = (2, 9, Operation::Exec(None, commands), counts);
    let before = vec![set(A, 10), set(B, 10), exec.clone()];
    let read = (3, 4, single(Command::GetMany(vec![A, B])));
    tells_apart(before.clone(), read, values(&[11, 11]), values(&[11, 10]));
    let increment = (3, 4, single(Command::Increment(A)));
    tells_apart(before, increment, Reply::Integer(12), Reply::Integer(11));
}

#[test]
fn a_transaction_on_what_was_watched_sees_it_as_it_was() {
    let watched = Some((A, Reply::Value(10)));
    let exec = (6, 7, Operation::Exec(watched, vec![Command::Set(B, 30)]));
    let change = (2, 3, single(Command::Set(A, 20)), Reply::Ok);
    let done = Reply::Array(vec![Reply::Ok]);
    tells_apart(vec![set(A, 10), change], exec.clone(), Reply::NilArray, done.clone());
    // It may be refused without a cause that can be seen: the value may be back.
    for reply in [Reply::NilArray, done] {
        let (called, returned, operation) = exec.clone();
        let all = vec![set(A, 10), (called, returned, operation, reply)];
        assert_eq!(check(&history(all), CHECK_TIME_MAX), Verdict::Linearizable);
    }
}

#[test]
fn an_element_is_given_to_one_client_and_nobody_waits_beside_one() {
    let wait = single(Command::PopOrWait(vec![OTHER_LIST, LIST], 3));
    let first = (2, 9, wait.clone(), popped(LIST, 30));
    // The second one waits at the same time, in vain.
    tells_apart(vec![push(30), first], (2, 9, wait.clone()), Reply::NilArray, popped(LIST, 30));
    // One who gives up has found all empty at some moment.
    let late = (4, 5, single(Command::Push(LIST, vec![30])), Reply::Integer(1));
    tells_apart(vec![late], (2, 9, wait.clone()), Reply::NilArray, popped(OTHER_LIST, 30));
    tells_apart(vec![push(30)], (2, 9, wait.clone()), popped(LIST, 30), Reply::NilArray);
    // An element that was taken for nobody is missed at the end.
    let range = (12, 13, single(Command::Range(LIST)));
    let before = vec![(4, 5, single(Command::Push(LIST, vec![30])), Reply::Integer(1))];
    let mut lost = before.clone();
    lost.push((2, 9, wait, Reply::NilArray));
    tells_apart(lost, range, values(&[30]), values(&[]));
}

#[test]
fn what_was_under_way_at_the_end_may_have_happened_or_not() {
    let mut events = history(vec![set(A, 10), (2, 9, single(Command::Set(A, 20)), Reply::Ok)]);
    for value in [10, 20] {
        let get = (4, 5, single(Command::Get(A)), Reply::Value(value));
        let mut cut = until(&events, 6);
        cut.extend(history(vec![get]));
        assert_eq!(check(&cut, CHECK_TIME_MAX), Verdict::Linearizable);
    }
    let get = (10, 11, single(Command::Get(A)), Reply::Value(10));
    events.extend(history(vec![get]));
    assert_eq!(check(&events, CHECK_TIME_MAX), Verdict::Broken);
}

#[test]
fn a_broken_history_is_reduced_to_what_shows_it() {
    let mut all = vec![set(A, 10), set(B, 11), set(C, 12), push(30)];
    for time in 0..20 {
        let (called, returned) = (10 * time + 10, 10 * time + 19);
        all.push((called, returned, single(Command::Increment(C)), Reply::Integer(13 + time)));
        all.push((called, returned, single(Command::Get(LIST)), Reply::WrongType));
    }
    all.push((20, 60, single(Command::Rename(A, B)), Reply::Ok));
    all.push((30, 35, single(Command::GetMany(vec![A, B])), values(&[0, 11])));
    let least = shrink(&history(all));
    let names: Vec<String> = least.iter().map(|event| event.step.operation.to_string()).collect();
    assert_eq!(names, ["SET a 10", "SET b 11", "RENAME a b", "MGET a b"]);
}

/// A small history in which each operation was done at one moment, which may then be spoilt.
fn small_history(random: &mut Random) -> Vec<Event> {
    let mut state = State::default();
    let mut generator = Generator::new(random.next(), 0);
    let count = random.between(2, OPERATIONS_MAX);
    let mut events: Vec<Event> = Vec::new();
    for number in 0..count {
        let operation = match generator.next() {
            Next::Operation(operation) => operation,
            Next::Watched(key, commands) => {
                let before = state.run(&Command::Get(key));
                Operation::Exec(Some((key, before)), commands)
            }
        };
        let reply = match &operation {
            Operation::Single(command) => state.run(command),
            Operation::Exec(_, commands) => {
                Reply::Array(commands.iter().map(|command| state.run(command)).collect())
            }
        };
        let done = 10 * number as i64;
        let (called_ns, returned_ns) =
            (done - random.below(25) as i64, done + 1 + random.below(25) as i64);
        let step = Step { operation, reply, has_happened: true };
        events.push(Event { client: number, called_ns, returned_ns, step: Arc::new(step) });
    }
    if random.chance(60) {
        // The answers of two of them are exchanged, or one was over earlier than it was.
        let (one, other) = (random.below(count), random.below(count));
        if random.chance(60) {
            let (a, b) = (Step::clone(&events[one].step), Step::clone(&events[other].step));
            events[one].step = Arc::new(Step { reply: b.reply, ..a.clone() });
            events[other].step = Arc::new(Step { reply: a.reply, ..b });
        } else {
            let earlier = 10 * random.below(count) as i64;
            events[one].called_ns -= earlier;
            events[one].returned_ns -= earlier;
        }
    }
    events
}

/// Whether there is an order that explains all answers; tries every one.
fn has_order(left: &[&Event], state: &State) -> bool {
    let is_certain = |event: &&&Event| event.step.has_happened;
    if left.iter().find(is_certain).is_none() {
        return true;
    }
    // The next one must have begun before any other one ended.
    let first_end = left.iter().filter(is_certain).map(|event| event.returned_ns).min();
    (0..left.len()).any(|index| {
        let event = left[index];
        let mut after = state.clone();
        let may_be_next = first_end.is_none_or(|end| event.called_ns <= end);
        may_be_next && after.fits(&event.step.operation, &event.step.reply) && {
            let others = left.iter().enumerate().filter(|(other, _)| *other != index);
            has_order(&others.map(|(_, event)| *event).collect::<Vec<_>>(), &after)
        }
    })
}

fn verdict_of_all_orders(events: &[Event]) -> Verdict {
    match has_order(&events.iter().collect::<Vec<_>>(), &State::default()) {
        true => Verdict::Linearizable,
        false => Verdict::Broken,
    }
}

/// Fails if what may be left out of a good history makes it bad.
fn must_be_good_in_parts(events: &[Event]) {
    let changing = keeping(events, |_, part| !part.changed_nothing());
    for left in groups_of_keys(events).into_iter().chain([changing]) {
        assert_eq!(verdict_of_all_orders(&left), Verdict::Linearizable, "{left:#?} of {events:#?}");
    }
}

#[test]
fn the_checker_agrees_with_trying_all_orders() {
    let mut random = Random::new(seed("small histories"));
    let mut counts = [0; 2];
    for case in 0..CASES {
        let events = small_history(&mut random);
        let verdict = verdict_of_all_orders(&events);
        assert_eq!(check(&events, CHECK_TIME_MAX), verdict, "case {case}: {events:#?}");
        counts[usize::from(verdict == Verdict::Broken)] += 1;
        // Cut short it is still good, or good again; never the other way round.
        for moment_ns in [0, 15, 30, 45] {
            let cut = until(&events, moment_ns);
            let of_cut = verdict_of_all_orders(&cut);
            assert_eq!(check(&cut, CHECK_TIME_MAX), of_cut, "case {case}: {cut:#?}");
            assert!(verdict == Verdict::Broken || of_cut == Verdict::Linearizable);
        }
        if verdict == Verdict::Broken {
            assert_eq!(verdict_of_all_orders(&shrink(&events)), Verdict::Broken, "case {case}");
        }
        if verdict == Verdict::Linearizable {
            must_be_good_in_parts(&events);
        }
    }
    assert!(counts.iter().all(|count| *count > CASES / 10), "good and bad: {counts:?}");
}
