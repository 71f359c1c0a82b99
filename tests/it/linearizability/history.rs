//! A history: what clients did, when, and what they were answered; whether there is an order of it
//! that explains all answers; and, if there is none, the few operations that show it.
//!
//! What is left out must not make a good history bad, so not everything may be. These may:
//!
//! * Everything from some moment on. Of what was under way at that moment it is not known whether
//!   it has happened. If the whole has an order, the operations that had ended by then, and those
//!   of the others that they depend on, come first in it.
//! * What changed nothing, as its answer tells, be it an operation or a part of one: the others have
//!   the same order without it.
//! * Keys that nothing connects with those of the fault, with all that concerns them: what is done
//!   to the keys that are left depends on them alone.

use super::model::{KEYS, Sequential, State, Step, letter};
use super::session::Names;
use porcupine_rs::{CheckResult, Model};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// No history is given up before this.
pub const CHECK_TIME_MAX: Duration = Duration::from_secs(20);
/// How long the search for fewer operations may take, and each check in it.
const SHRINK_TIME_MAX: Duration = Duration::from_secs(10);
const SHRINK_CHECK_TIME_MAX: Duration = Duration::from_secs(1);

/// An operation of a history; the times are from a clock that all clients share.
#[derive(Debug, Clone)]
pub struct Event {
    pub client: usize,
    pub called_ns: i64,
    /// The greatest number when no answer has come by the end of the history.
    pub returned_ns: i64,
    pub step: Arc<Step>,
}

impl Event {
    fn is_pending(&self) -> bool {
        self.returned_ns == i64::MAX
    }
}

/// What the checker says of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order that explains all answers.
    Linearizable,
    /// There is none.
    Broken,
    /// It was given up.
    Undecided,
}

/// Looks for an order for so long at most.
pub fn check(events: &[Event], time_max: Duration) -> Verdict {
    match porcupine_rs::check_operations_timeout(&operations(events), time_max) {
        CheckResult::Ok => Verdict::Linearizable,
        CheckResult::Illegal => Verdict::Broken,
        CheckResult::Unknown => Verdict::Undecided,
    }
}

fn operations(events: &[Event]) -> Vec<porcupine_rs::Operation<Sequential>> {
    let operation = |event: &Event| porcupine_rs::Operation {
        client_id: Some(event.client as u32),
        call_time: event.called_ns,
        return_time: event.returned_ns,
        op: Arc::clone(&event.step),
        metadata: None,
    };
    events.iter().map(operation).collect()
}

/// The history up to a moment.
pub fn until(events: &[Event], moment_ns: i64) -> Vec<Event> {
    let called = events.iter().filter(|event| event.called_ns <= moment_ns);
    let cut = called.map(|event| match event.returned_ns > moment_ns {
        false => event.clone(),
        true => {
            let step = Step { has_happened: false, ..Step::clone(&event.step) };
            Event { returned_ns: i64::MAX, step: Arc::new(step), ..event.clone() }
        }
    });
    cut.filter(|event| !event.is_pending() || !event.step.changed_nothing()).collect()
}

/// Fewer operations of a broken history that have no order either.
pub fn shrink(events: &[Event]) -> Vec<Event> {
    let deadline = Instant::now() + SHRINK_TIME_MAX;
    let is_broken = |events: &[Event]| {
        Instant::now() < deadline && check(events, SHRINK_CHECK_TIME_MAX) == Verdict::Broken
    };
    let least = up_to_the_fault(events, &is_broken);
    let fault = least.iter().filter(|event| !event.is_pending()).map(|event| event.returned_ns);
    let fault = fault.max();
    let changing =
        keeping(&least, |event, part| Some(event.returned_ns) == fault || !part.changed_nothing());
    let least = if is_broken(&changing) { changing } else { least };
    let least = without_needless(least, &is_broken);
    let connected = groups_of_keys(&least).into_iter().find(|events| is_broken(events));
    connected.map_or(least, |least| without_needless(least, &is_broken))
}

/// What is left of the operations when only some of their parts are kept.
pub fn keeping(events: &[Event], keep: impl Fn(&Event, &Step) -> bool) -> Vec<Event> {
    let kept = events.iter().filter_map(|event| {
        let parts = event.step.parts();
        let left: Vec<Step> = parts.iter().filter(|part| keep(event, part)).cloned().collect();
        if left.len() == parts.len() {
            return Some(event.clone());
        }
        let step = Step::of_parts(left)?;
        Some(Event { step: Arc::new(step), ..event.clone() })
    });
    kept.collect()
}

/// Without what changed nothing and is not needed to show the fault.
fn without_needless(mut least: Vec<Event>, is_broken: &impl Fn(&[Event]) -> bool) -> Vec<Event> {
    for index in (0..least.len()).rev() {
        let mut number = least[index].step.parts().len();
        while number > 0 {
            number -= 1;
            let mut parts = least[index].step.parts();
            if !parts[number].changed_nothing() {
                continue;
            }
            parts.remove(number);
            let mut fewer = least.clone();
            match Step::of_parts(parts) {
                Some(step) => fewer[index].step = Arc::new(step),
                None => drop(fewer.remove(index)),
            }
            if is_broken(&fewer) {
                let is_gone = fewer.len() < least.len();
                least = fewer;
                if is_gone {
                    break;
                }
            }
        }
    }
    least
}

/// Up to the first answer that no order explains. What has no order has none with more behind it,
/// so halving finds it.
fn up_to_the_fault(events: &[Event], is_broken: &impl Fn(&[Event]) -> bool) -> Vec<Event> {
    let mut moments: Vec<i64> = events.iter().map(|event| event.returned_ns).collect();
    moments.sort_unstable();
    let first = moments.partition_point(|moment| !is_broken(&until(events, *moment)));
    moments.get(first).map_or_else(|| events.to_vec(), |moment| until(events, *moment))
}

/// What concerns some keys, for all choices of keys that nothing connects with the others; the
/// smallest come first. What is done to several keys at one moment does not connect them: it can
/// be divided.
pub fn groups_of_keys(events: &[Event]) -> Vec<Vec<Event>> {
    let mut connected: [u32; KEYS] = std::array::from_fn(|key| 1 << key);
    for part in events.iter().flat_map(|event| event.step.parts()) {
        let all = part.operation.keys().iter().fold(0, |all, key| all | connected[*key]);
        connected.iter_mut().filter(|keys| **keys & all != 0).for_each(|keys| *keys = all);
    }
    let is_closed =
        |keys: &u32| (0..KEYS).all(|key| keys >> key & 1 == 0 || connected[key] & !keys == 0);
    let mut groups: Vec<u32> = (1..1 << KEYS).filter(is_closed).collect();
    groups.sort_by_key(|keys| keys.count_ones());
    let is_of =
        |part: &Step, keys: u32| part.operation.keys().iter().any(|key| keys >> key & 1 == 1);
    groups.into_iter().map(|keys| keeping(events, |_, part| is_of(part, keys))).collect()
}

/// A broken history for a person: what was done, and how far the best order comes.
pub fn describe(events: &[Event], names: &Names, shard_of: impl Fn(&str) -> usize) -> String {
    let mut text = String::new();
    for (key, name) in names.iter().enumerate() {
        let _ = write!(text, "{}={name} (shard {})  ", letter(key), shard_of(name));
    }
    text.push_str("\n    #  client  called, returned (us)   operation -> answer\n");
    let mut events = events.to_vec();
    events.sort_by_key(|event| event.called_ns);
    let began_ns = events.first().map_or(0, |event| event.called_ns);
    for (number, event) in events.iter().enumerate() {
        let time = |ns: i64| format!("{}.{}", (ns - began_ns) / 1_000, (ns - began_ns) / 100 % 10);
        let called = time(event.called_ns);
        let Step { operation, reply, .. } = &*event.step;
        let (returned, reply) = match event.is_pending() {
            true => ("-".to_owned(), format!("({reply}, later, if it happens)")),
            false => (time(event.returned_ns), reply.to_string()),
        };
        let client = event.client;
        let _ = writeln!(
            text,
            "{number:>5}  {client:>6}  {called:>10} {returned:>10}   {operation} -> {reply}"
        );
    }
    text + &how_far(&events)
}

/// The longest order that explains some of the answers, and what it leads to.
fn how_far(events: &[Event]) -> String {
    let (_, found) = porcupine_rs::check_operations_info(&operations(events));
    let orders = found.partial_linearizations.into_iter().flatten();
    let Some(order) = orders.max_by_key(Vec::len) else { return String::new() };
    let mut state = State::default();
    for number in &order {
        (_, state) = Sequential::step(&state, &events[*number].step);
    }
    let numbers: Vec<String> = order.iter().map(usize::to_string).collect();
    let left = (0..events.len()).filter(|number| !order.contains(number));
    let left: Vec<String> = left.map(|number| number.to_string()).collect();
    format!(
        "the longest order that can be: {}\nit leads to {state}, which none of these fits: {}\n",
        numbers.join(" "),
        left.join(" ")
    )
}
