//! Is there one order of all operations on a key that explains every answer, in which none comes
//! before one that had ended before it began?
//!
//! The search is that of Wing and Gong: begin with any operation that could come first, as nothing
//! had ended before it began, go on with the rest, and take back the last choice where the rest
//! cannot be explained. Lowe's addition keeps it short: the same operations done, in whatever
//! order, and the same value of the key are tried once. A linked list of all beginnings and ends
//! shows what could come next.
//!
//! A key that holds an integer or nothing is all the state there is, so that a state of the search
//! is a bit for each operation and one number. A window has at most [`OPERATIONS_MAX`] operations,
//! and the search gives up after [`STATES_MAX`] states, which bounds its memory and its time.

use std::collections::HashSet;
use std::fmt;

/// Operations of one window at most.
pub const OPERATIONS_MAX: usize = 256;
/// States after which a search is given up: some 15 MB.
const STATES_MAX: usize = 250_000;

/// What a key holds.
pub type State = Option<i64>;

/// One operation of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// GET.
    Get,
    /// SET.
    Set(i64),
    /// SETNX.
    SetIfAbsent(i64),
    /// SET with XX.
    SetIfPresent(i64),
    /// DEL.
    Delete,
    /// INCR, or INCRBY with another number than 1.
    Add(i64),
    /// GETSET.
    Swap(i64),
    /// GETDEL.
    Take,
}

impl Action {
    /// What the key holds afterwards, and what is answered: the value, or 1 or 0 for yes or no.
    #[must_use]
    pub fn apply(self, state: State) -> (State, Option<i64>) {
        let flag = |yes: bool| Some(i64::from(yes));
        match self {
            Self::Get => (state, state),
            Self::Set(value) => (Some(value), None),
            Self::SetIfAbsent(value) => (state.or(Some(value)), flag(state.is_none())),
            Self::SetIfPresent(value) => (state.map(|_| value), flag(state.is_some())),
            Self::Delete => (None, flag(state.is_some())),
            Self::Add(number) => {
                let sum = state.unwrap_or(0).wrapping_add(number);
                (Some(sum), Some(sum))
            }
            Self::Swap(value) => (Some(value), state),
            Self::Take => (None, state),
        }
    }

    /// True when an operation with this answer has left the key as it was.
    fn changes_nothing(self, answer: Option<i64>) -> bool {
        match self {
            Self::Get => true,
            Self::SetIfAbsent(_) | Self::SetIfPresent(_) | Self::Delete => answer == Some(0),
            Self::Take => answer.is_none(),
            Self::Set(_) | Self::Add(_) | Self::Swap(_) => false,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get => f.write_str("GET"),
            Self::Set(value) => write!(f, "SET {value}"),
            Self::SetIfAbsent(value) => write!(f, "SETNX {value}"),
            Self::SetIfPresent(value) => write!(f, "SET {value} XX"),
            Self::Delete => f.write_str("DEL"),
            Self::Add(1) => f.write_str("INCR"),
            Self::Add(number) => write!(f, "INCRBY {number}"),
            Self::Swap(value) => write!(f, "GETSET {value}"),
            Self::Take => f.write_str("GETDEL"),
        }
    }
}

/// What a client did, when, and what it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Who.
    pub client: usize,
    /// What.
    pub action: Action,
    /// When the request was sent.
    pub called_ns: u64,
    /// When the answer had come; the greatest number for one that is still under way, which may
    /// happen or not.
    pub returned_ns: u64,
    /// What was answered.
    pub answer: Option<i64>,
}

impl Operation {
    fn is_pending(&self) -> bool {
        self.returned_ns == u64::MAX
    }

    /// The value that it has left in the key.
    fn written(&self) -> State {
        match self.action {
            Action::Set(value)
            | Action::SetIfAbsent(value)
            | Action::SetIfPresent(value)
            | Action::Swap(value) => Some(value),
            Action::Add(_) => self.answer,
            Action::Get | Action::Delete | Action::Take => None,
        }
    }

    fn changes_nothing(&self) -> bool {
        match self.is_pending() {
            true => self.action == Action::Get,
            false => self.action.changes_nothing(self.answer),
        }
    }
}

/// What the search came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none; this is the longest that explains its own answers.
    Broken(Vec<usize>),
    /// The search was given up.
    Undecided,
}

/// A state of the search: which operations were done, and what the key holds then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Point {
    done: [u64; OPERATIONS_MAX / 64],
    state: State,
}

impl Point {
    fn flip(&mut self, operation: usize) {
        if let Some(word) = self.done.get_mut(operation / 64) {
            *word ^= 1 << (operation % 64);
        }
    }
}

/// The beginnings and ends of all operations in the order of time, from which those of operations
/// that were chosen are taken out.
struct Moments {
    /// The operation of each, and whether it is its beginning.
    moments: Vec<(usize, bool)>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Where each operation begins and ends; one that is under way ends where the list does.
    places: Vec<(usize, usize)>,
}

impl Moments {
    /// The list of `operations`; before its first moment stands a head, behind the last a tail.
    fn new(operations: &[Operation]) -> Self {
        let mut sorted = Vec::with_capacity(operations.len() * 2);
        for (number, operation) in operations.iter().enumerate() {
            // Of two at the same time the beginning comes first: they may overlap.
            sorted.push((operation.called_ns, false, number));
            if !operation.is_pending() {
                sorted.push((operation.returned_ns, true, number));
            }
        }
        sorted.sort_unstable();
        let tail = sorted.len() + 1;
        let mut places = vec![(tail, tail); operations.len()];
        let mut moments = vec![(usize::MAX, false)];
        for (_, is_end, number) in sorted {
            if let Some(place) = places.get_mut(number) {
                *(if is_end { &mut place.1 } else { &mut place.0 }) = moments.len();
            }
            moments.push((number, !is_end));
        }
        moments.push((usize::MAX, false));
        let next = (1..=tail).chain([tail]).collect();
        let previous = [0].into_iter().chain(0..tail).collect();
        Self { moments, next, previous, places }
    }

    fn tail(&self) -> usize {
        self.moments.len() - 1
    }

    fn after(&self, place: usize) -> usize {
        self.next.get(place).copied().unwrap_or(self.tail())
    }

    /// The operation that begins at a place; `None` when one ends there, or the list does.
    fn beginning(&self, place: usize) -> Option<usize> {
        self.moments.get(place).filter(|(_, begins)| *begins).map(|(number, _)| *number)
    }

    fn place(&self, operation: usize) -> (usize, usize) {
        self.places.get(operation).copied().unwrap_or((self.tail(), self.tail()))
    }

    fn link(&mut self, place: usize, next: usize) {
        if let Some(link) = self.next.get_mut(place) {
            *link = next;
        }
        if let Some(link) = self.previous.get_mut(next) {
            *link = place;
        }
    }

    fn around(&self, place: usize) -> (usize, usize) {
        (self.previous.get(place).copied().unwrap_or(0), self.after(place))
    }

    fn take_out(&mut self, operation: usize) {
        let (begins, ends) = self.place(operation);
        for place in [begins, ends] {
            if place == self.tail() {
                continue;
            }
            let (previous, next) = self.around(place);
            self.link(previous, next);
        }
    }

    /// Undoes the last `take_out`, which was of the same operation.
    fn put_back(&mut self, operation: usize) {
        let (begins, ends) = self.place(operation);
        for place in [ends, begins] {
            if place == self.tail() {
                continue;
            }
            let (previous, next) = self.around(place);
            self.link(previous, place);
            self.link(place, next);
        }
    }
}

/// Looks for an order of `operations`, of which there are at most [`OPERATIONS_MAX`], on a key that
/// held `initial` before. Cost: O(operations) for few clients, at worst [`STATES_MAX`] states.
#[must_use]
pub fn check(initial: State, operations: &[Operation]) -> Verdict {
    if operations.len() > OPERATIONS_MAX {
        return Verdict::Undecided;
    }
    let mut moments = Moments::new(operations);
    let mut point = Point { state: initial, ..Point::default() };
    let mut seen: HashSet<Point, ahash::RandomState> = HashSet::default();
    let mut chosen: Vec<(usize, State)> = Vec::new();
    let mut longest: Vec<usize> = Vec::new();
    let mut left = operations.iter().filter(|operation| !operation.is_pending()).count();
    let mut place = moments.after(0);
    while left > 0 {
        let candidate = moments.beginning(place);
        if let Some((number, operation)) = candidate.and_then(|n| Some((n, operations.get(n)?))) {
            let (state, answer) = operation.action.apply(point.state);
            let mut reached = Point { state, ..point };
            reached.flip(number);
            let explains = operation.is_pending() || answer == operation.answer;
            if explains && seen.insert(reached) {
                chosen.push((number, point.state));
                point = reached;
                left -= usize::from(!operation.is_pending());
                moments.take_out(number);
                place = moments.after(0);
                if seen.len() > STATES_MAX {
                    return Verdict::Undecided;
                }
            } else {
                place = moments.after(place);
            }
            continue;
        }
        // What ends here was not explained: another choice has to be made before.
        if chosen.len() > longest.len() {
            longest = chosen.iter().map(|(number, _)| *number).collect();
        }
        let Some((number, state)) = chosen.pop() else { return Verdict::Broken(longest) };
        point.flip(number);
        point.state = state;
        left +=
            usize::from(operations.get(number).is_some_and(|operation| !operation.is_pending()));
        moments.put_back(number);
        place = moments.after(moments.place(number).0);
    }
    Verdict::Linearizable
}

/// A history without an order, and the value that the key held before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// What the key held.
    pub initial: State,
    /// What was done to it, by the time at which it began.
    pub operations: Vec<Operation>,
    /// Earlier writes that tell where the values come from; they are no part of the proof.
    pub earlier: Vec<Operation>,
}

impl Broken {
    fn is_still(&self, operations: &[Operation]) -> bool {
        matches!(check(self.initial, operations), Verdict::Broken(_))
    }

    /// Fewer operations that have no order either. What is left out does not make a good history
    /// bad: what comes after a moment, of what was under way then the answer; what is before a
    /// moment at which nothing was under way and only one value is possible; what changed nothing.
    #[must_use]
    pub fn shrink(mut self) -> Self {
        self.operations.sort_unstable_by_key(|operation| operation.called_ns);
        let all = self.operations.clone();
        let mut ends: Vec<u64> = self.operations.iter().map(|one| one.returned_ns).collect();
        ends.sort_unstable();
        let first = ends.partition_point(|end| !self.is_still(&until(&self.operations, *end)));
        if let Some(end) = ends.get(first) {
            self.operations = until(&self.operations, *end);
        }
        self = self.without_beginning();
        for number in (0..self.operations.len()).rev() {
            let mut fewer = self.operations.clone();
            if fewer.remove(number).changes_nothing() && self.is_still(&fewer) {
                self.operations = fewer;
            }
        }
        self.earlier = all;
        let began_ns = self.operations.iter().map(|one| one.called_ns).min().unwrap_or(0);
        let told: Vec<State> =
            self.operations.iter().map(|one| one.answer).chain([self.initial]).collect();
        self.earlier.retain(|one| {
            one.called_ns < began_ns
                && one.written().is_some_and(|value| told.contains(&Some(value)))
        });
        self
    }

    fn without_beginning(self) -> Self {
        let mut latest_end = 0;
        let mut quiet = Vec::new();
        for (number, operation) in self.operations.iter().enumerate() {
            if number > 0 && operation.called_ns > latest_end {
                quiet.push(number);
            }
            latest_end = latest_end.max(operation.returned_ns);
        }
        for number in quiet.into_iter().rev() {
            let (before, after) = self.operations.split_at(number);
            if let Some(initial) = only_value(self.initial, before) {
                let later = Self { initial, operations: after.to_vec(), earlier: Vec::new() };
                if later.is_still(after) {
                    return later;
                }
            }
        }
        self
    }

    /// The history for a person: what was done, and how far the best order comes.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let all = || self.earlier.iter().chain(&self.operations);
        let began_ns = all().map(|one| one.called_ns).min().unwrap_or(0);
        let line = |number: String, operation: &Operation| {
            let time =
                |ns: u64| format!("{}.{}", (ns - began_ns) / 1_000, (ns - began_ns) / 100 % 10);
            let (returned, answer) = match operation.is_pending() {
                true => ("-".to_owned(), "(none yet)".to_owned()),
                false => (time(operation.returned_ns), shown_answer(operation)),
            };
            format!(
                "{number:>7}  {:>6}  {:>10} {returned:>10}    {} -> {answer}",
                operation.client,
                time(operation.called_ns),
                operation.action
            )
        };
        let head = "      #  client  called, returned (us)    operation -> answer";
        let mut lines = vec![head.to_owned()];
        lines.extend(self.earlier.iter().map(|one| line("earlier".to_owned(), one)));
        lines.push(format!("by then the key held {}", shown(self.initial)));
        let numbered = self.operations.iter().enumerate();
        lines.extend(numbered.map(|(number, one)| line(number.to_string(), one)));
        if let Verdict::Broken(order) = check(self.initial, &self.operations) {
            let actions = order.iter().filter_map(|number| self.operations.get(*number));
            let state = actions.fold(self.initial, |state, one| one.action.apply(state).0);
            let words = |numbers: Vec<String>| match numbers.is_empty() {
                true => "none".to_owned(),
                false => numbers.join(" "),
            };
            let left = (0..self.operations.len()).filter(|number| !order.contains(number));
            let left = words(left.map(|number| number.to_string()).collect());
            let order = words(order.iter().map(usize::to_string).collect());
            lines.push(format!("the longest order that can be: {order}"));
            lines.push(format!("then the key holds {}, which does not fit: {left}", shown(state)));
        }
        lines
    }
}

fn shown(state: State) -> String {
    state.map_or_else(|| "nothing".to_owned(), |value| value.to_string())
}

fn shown_answer(operation: &Operation) -> String {
    match operation.action {
        Action::Set(_) => "OK".to_owned(),
        Action::SetIfPresent(_) => {
            if operation.answer == Some(1) { "OK" } else { "nothing" }.to_owned()
        }
        _ => shown(operation.answer),
    }
}

/// The history up to a moment.
fn until(operations: &[Operation], moment_ns: u64) -> Vec<Operation> {
    let called = operations.iter().filter(|operation| operation.called_ns <= moment_ns);
    let cut = called.map(|operation| match operation.returned_ns > moment_ns {
        true => Operation { returned_ns: u64::MAX, answer: None, ..*operation },
        false => *operation,
    });
    cut.filter(|operation| !(operation.is_pending() && operation.changes_nothing())).collect()
}

/// What the key must hold after `operations`; `None` when it can be several things.
fn only_value(initial: State, operations: &[Operation]) -> Option<State> {
    let moment = operations.iter().map(|one| one.returned_ns).max()?.checked_add(1)?;
    let written = operations.iter().filter_map(Operation::written);
    let candidates: HashSet<State> = written.map(Some).chain([None, initial]).collect();
    let mut possible = candidates.into_iter().filter(|value| {
        let read = Operation {
            client: 0,
            action: Action::Get,
            called_ns: moment,
            returned_ns: moment,
            answer: *value,
        };
        let mut read_after = operations.to_vec();
        read_after.push(read);
        !matches!(check(initial, &read_after), Verdict::Broken(_))
    });
    let only = possible.next()?;
    possible.next().is_none().then_some(only)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::util::random::Random;

    /// The same question for porcupine-rs.
    #[derive(Clone)]
    struct Register;

    impl porcupine_rs::Model for Register {
        type Op = Operation;
        type State = State;
        type Metadata = ();

        fn init() -> State {
            None
        }

        fn step(state: &State, operation: &Operation) -> (bool, State) {
            let (next, answer) = operation.action.apply(*state);
            (operation.is_pending() || answer == operation.answer, next)
        }
    }

    fn operation(client: usize, times: (u64, u64), action: Action, answer: State) -> Operation {
        Operation { client, action, called_ns: times.0, returned_ns: times.1, answer }
    }

    fn draw_action(random: &mut Random, value: i64) -> Action {
        match random.below(9) {
            0 | 1 => Action::Get,
            2 => Action::Set(value),
            3 => Action::SetIfAbsent(value),
            4 => Action::SetIfPresent(value),
            5 => Action::Delete,
            6 => Action::Add(1),
            7 => Action::Swap(value),
            _ => Action::Take,
        }
    }

    /// A history of several clients on a register that does one thing at a time, each at a moment
    /// between beginning and end; in a bad one, one answer is another one's.
    fn draw_history(random: &mut Random, count: usize) -> Vec<Operation> {
        let mut free_at = [0_u64; 5];
        let mut drawn: Vec<(u64, Operation)> = (0..count)
            .map(|number| {
                let client = random.below(free_at.len());
                let called = free_at[client] + random.below(20) as u64;
                let happens = called + random.below(30) as u64;
                let returned = happens + random.below(30) as u64;
                free_at[client] = returned + 1;
                let action = draw_action(random, number as i64 * 100);
                (happens, operation(client, (called, returned), action, None))
            })
            .collect();
        drawn.sort_by_key(|(happens, _)| *happens);
        let mut state = None;
        for (_, operation) in &mut drawn {
            (state, operation.answer) = operation.action.apply(state);
        }
        let mut operations: Vec<Operation> = drawn.into_iter().map(|(_, one)| one).collect();
        if random.below(2) == 0 {
            let (one, other) = (random.below(count), random.below(count));
            let answer = operations[other].answer;
            operations[one].answer = answer;
        }
        operations
    }

    #[test]
    fn it_judges_as_porcupine_does() {
        let mut random = Random::new(3);
        let (mut good, mut bad) = (0, 0);
        for round in 0..2_000 {
            let operations = draw_history(&mut random, 4 + round % 40);
            let theirs: Vec<_> = operations
                .iter()
                .map(|one| porcupine_rs::Operation {
                    client_id: Some(one.client as u32),
                    call_time: one.called_ns as i64,
                    return_time: one.returned_ns as i64,
                    op: *one,
                    metadata: None,
                })
                .collect();
            let expected = porcupine_rs::check_operations::<Register>(&theirs);
            let verdict = check(None, &operations);
            assert_eq!(verdict == Verdict::Linearizable, expected, "{operations:?}");
            assert_ne!(verdict, Verdict::Undecided);
            *(if expected { &mut good } else { &mut bad }) += 1;
        }
        assert!(good > 500 && bad > 300, "{good} good, {bad} bad");
    }

    #[test]
    fn what_is_printed_is_bad_and_short() {
        let mut random = Random::new(4);
        let mut printed = 0;
        for _ in 0..200 {
            let operations = draw_history(&mut random, 60);
            if check(None, &operations) == Verdict::Linearizable {
                continue;
            }
            let least = Broken { initial: None, operations, earlier: Vec::new() }.shrink();
            assert!(matches!(check(least.initial, &least.operations), Verdict::Broken(_)));
            assert!(least.lines().last().unwrap().contains("does not fit"));
            printed += least.operations.len();
        }
        assert!(printed > 100, "hardly any was bad");
        let write = |at, value| operation(1, (at, at + 1), Action::Set(value), None);
        let stale = operation(2, (1_000, 1_001), Action::Get, Some(7));
        let writes = (0..50).map(|number| write(number * 10, number as i64));
        let operations = writes.chain([stale]).collect();
        let least = Broken { initial: None, operations, earlier: Vec::new() }.shrink();
        assert_eq!((least.initial, least.operations), (Some(49), vec![stale]));
        assert_eq!(least.earlier, [write(70, 7), write(490, 49)]);
    }

    #[test]
    fn what_is_under_way_may_have_happened_or_not() {
        let pending = operation(1, (0, u64::MAX), Action::Set(5), None);
        let read = |at, value| operation(2, (at, at + 1), Action::Get, value);
        assert_eq!(check(None, &[pending, read(1, None), read(9, Some(5))]), Verdict::Linearizable);
        assert_eq!(check(None, &[pending, read(1, None)]), Verdict::Linearizable);
        let back = check(None, &[pending, read(1, Some(5)), read(9, None)]);
        assert!(matches!(back, Verdict::Broken(_)));
    }

    #[test]
    fn a_window_of_many_clients_ends_within_its_bound() {
        // All at once: any order can be.
        let writes = (0..255).map(|n| operation(n, (0, 10), Action::Set(n as i64), None));
        let read = operation(300, (20, 21), Action::Get, Some(77));
        let operations: Vec<Operation> = writes.chain([read]).collect();
        assert_ne!(check(None, &operations), Verdict::Linearizable);
        let few: Vec<Operation> = operations[..8].to_vec();
        assert_eq!(check(None, &few), Verdict::Linearizable);
        assert_eq!(check(None, &[operations.clone(), operations].concat()), Verdict::Undecided);
    }
}
