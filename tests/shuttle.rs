//! The locks and the snapshot cut under a scheduler that tries interleavings.
//!
//! Runs only with the feature `shuttle`, which puts the scheduler's locks in the place of the real
//! ones: `cargo test --features shuttle --test shuttle`. Each scenario is run on many schedules,
//! and each planted bug must be found by the scenario that is there for it: a scenario that cannot
//! fail proves nothing. A failing schedule prints what replays it.

#![cfg(feature = "shuttle")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use my_redis::data::list::End;
use my_redis::data::stream::Delivery;
use my_redis::data::stream_group::Group;
use my_redis::data::stream_log::BlockLimits;
use my_redis::data::{List, Stream, StreamId, ValueRef, ValueType};
use my_redis::keyspace::planted::{self, Bug, plant};
use my_redis::keyspace::{AfterUnlock, DatabaseNumber, Entry, Keyspace, Line};
use my_redis::keyspace::{LocatedKey, NewDeadline, ReadView, ShardSet, Tally, Ticket};
use my_redis::keyspace::{Waiter, Watches, WriteManyView};
use my_redis::util::clock::UnixMillis;
use my_redis::util::events::EventSet;
use shuttle::sync::atomic::{AtomicU8, Ordering};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Schedules per scenario, and how many preemptions each places at random.
const SCHEDULES: usize = 20_000;
const DEPTH: usize = 3;
const NOW: UnixMillis = UnixMillis(1_000_000);

/// Planted bugs are of the whole process, so the scenarios run one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    shuttle::check_pct(scenario, SCHEDULES, DEPTH);
}

/// True when some schedule fails.
fn is_found(scenario: impl Fn() + Send + Sync + 'static) -> bool {
    catch_unwind(AssertUnwindSafe(|| explore(scenario))).is_err()
}

/// `count` keys that live in as many different shards, in the order of their shards.
fn keys_in_different_shards(keyspace: &Keyspace, count: usize) -> Vec<Vec<u8>> {
    let mut keys: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for n in 0..10_000 {
        let key = format!("key:{n}").into_bytes();
        let shard = keyspace.locate(&key).shard;
        keys.entry(shard).or_insert(key);
        if keys.len() == count {
            break;
        }
    }
    assert_eq!(keys.len(), count);
    keys.into_values().collect()
}

fn set(keyspace: &Keyspace, key: &[u8], value: &[u8]) {
    let mut after = AfterUnlock::default();
    keyspace
        .write(keyspace.locate(key), NOW, &mut after, |view| {
            view.set_string(value, NewDeadline::Set(None));
        })
        .unwrap();
}

fn rename(keyspace: &Keyspace, from: &[u8], to: &[u8]) {
    let keys = [keyspace.locate(from), keyspace.locate(to)];
    let mut after = AfterUnlock::default();
    keyspace
        .write_many(&keys, NOW, &mut after, |view| {
            let taken = view.key(0).unwrap().take();
            view.let_go_if(Bug::TornWrite);
            if let Some(entry) = taken {
                view.key(1).unwrap().put(entry);
            }
        })
        .unwrap();
}

fn set_both(keyspace: &Keyspace, first: &[u8], second: &[u8], value: &[u8]) {
    let keys: [LocatedKey<'_>; 2] = [keyspace.locate(first), keyspace.locate(second)];
    let mut after = AfterUnlock::default();
    keyspace
        .write_many(&keys, NOW, &mut after, |view| {
            for number in 0..2 {
                view.key(number).unwrap().set_string(value, NewDeadline::Set(None));
            }
        })
        .unwrap();
}

fn remove(keyspace: &Keyspace, key: &[u8]) {
    let mut after = AfterUnlock::default();
    keyspace.write(keyspace.locate(key), NOW, &mut after, |view| view.remove()).unwrap();
}

type Dump = Vec<(Vec<u8>, Vec<u8>)>;

fn dump(keyspace: &Keyspace) -> Dump {
    limited_dump(keyspace, u64::MAX).unwrap()
}

/// `None` when the snapshot was given up because it had to keep more than `aside_bytes_max`.
fn limited_dump(keyspace: &Keyspace, aside_bytes_max: u64) -> Option<Dump> {
    let mut dump = Vec::new();
    let mut add = |_: DatabaseNumber, entry: &Entry| {
        let ValueRef::String(value) = entry.value() else { panic!("only strings here") };
        dump.push((entry.key().to_vec(), value.bytes().to_vec()));
    };
    let mut snapshot = keyspace.begin_snapshot(aside_bytes_max).unwrap();
    while snapshot.step(&mut add).ok()? {}
    drop(snapshot);
    Some(dump)
}

fn count_of(dump: &Dump, key: &[u8]) -> usize {
    dump.iter().filter(|(name, _)| name == key).count()
}

fn value_of<'a>(dump: &'a Dump, key: &[u8]) -> Option<&'a [u8]> {
    dump.iter().find(|(name, _)| name == key).map(|(_, value)| &value[..])
}

/// A token is renamed to and fro between two shards while a dump is made: it is in it once.
fn renamed_token() {
    let keyspace = Arc::new(Keyspace::new(4));
    let keys = keys_in_different_shards(&keyspace, 2);
    set(&keyspace, &keys[0], b"token");
    let (renaming, names) = (Arc::clone(&keyspace), keys.clone());
    let renamer = shuttle::thread::spawn(move || {
        rename(&renaming, &names[0], &names[1]);
        rename(&renaming, &names[1], &names[0]);
        rename(&renaming, &names[0], &names[1]);
    });
    let dump = dump(&keyspace);
    renamer.join().unwrap();
    let tokens = count_of(&dump, &keys[0]) + count_of(&dump, &keys[1]);
    assert_eq!(tokens, 1, "the token is in the dump {tokens} times");
}

/// The same under a limit that the first entry put aside passes: a dump that was not given up holds
/// the token once.
fn renamed_token_under_a_limit() {
    let keyspace = Arc::new(Keyspace::new(4));
    let keys = keys_in_different_shards(&keyspace, 2);
    set(&keyspace, &keys[0], b"token");
    let (renaming, names) = (Arc::clone(&keyspace), keys.clone());
    let renamer = shuttle::thread::spawn(move || {
        rename(&renaming, &names[0], &names[1]);
        rename(&renaming, &names[1], &names[0]);
    });
    let limited = limited_dump(&keyspace, 0);
    let unlimited = dump(&keyspace);
    renamer.join().unwrap();
    for dump in limited.iter().chain([&unlimited]) {
        let tokens = count_of(dump, &keys[0]) + count_of(dump, &keys[1]);
        assert_eq!(tokens, 1, "the token is in the dump {tokens} times");
    }
}

/// Pairs are set together while a dump is made: it holds both of one moment. Two writers in turn,
/// the second after the first has ended: if the second is in the dump, so is the first.
fn pairs_set_together() {
    let keyspace = Arc::new(Keyspace::new(4));
    let keys = keys_in_different_shards(&keyspace, 3);
    set_both(&keyspace, &keys[0], &keys[2], b"0");
    set(&keyspace, &keys[1], b"0");
    let (writing, names) = (Arc::clone(&keyspace), keys.clone());
    let writer = shuttle::thread::spawn(move || {
        // Longer than what it replaces, so that whole entries are replaced and not only bytes.
        set_both(&writing, &names[0], &names[2], b"11");
        set(&writing, &names[1], b"11");
    });
    let dump = dump(&keyspace);
    writer.join().unwrap();
    assert_eq!(dump.len(), 3, "every key once");
    let value = |number: usize| value_of(&dump, &keys[number]).unwrap();
    assert_eq!(value(0), value(2), "half of a pair");
    assert!(value(1) <= value(0), "an effect without its cause");
}

/// Keys die, are set again and are flushed while a dump is made: it is one moment all the same.
fn deleted_and_set_again() {
    let keyspace = Arc::new(Keyspace::new(4));
    let keys = keys_in_different_shards(&keyspace, 2);
    set(&keyspace, &keys[0], b"old");
    set(&keyspace, &keys[1], b"old");
    let (writing, names) = (Arc::clone(&keyspace), keys.clone());
    let writer = shuttle::thread::spawn(move || {
        remove(&writing, &names[1]);
        set(&writing, &names[1], b"new");
        let mut after = AfterUnlock::default();
        writing.flush(&mut after).unwrap();
        set(&writing, &names[0], b"last");
    });
    let dump = dump(&keyspace);
    writer.join().unwrap();
    let state = (value_of(&dump, &keys[0]), value_of(&dump, &keys[1]));
    let (old, new, last) = (Some(&b"old"[..]), Some(&b"new"[..]), Some(&b"last"[..]));
    let moments = [(old, old), (old, None), (old, new), (None, None), (last, None)];
    assert!(moments.contains(&state), "no moment: {state:?}");
    assert_eq!(dump.len(), usize::from(state.0.is_some()) + usize::from(state.1.is_some()));
}

/// A key is renamed over another one, and that one set with a deadline, while a dump is made.
fn renamed_over_another() {
    let keyspace = Arc::new(Keyspace::new(4));
    let keys = keys_in_different_shards(&keyspace, 2);
    set(&keyspace, &keys[0], b"first");
    set(&keyspace, &keys[1], b"second");
    let (writing, names) = (Arc::clone(&keyspace), keys.clone());
    let writer = shuttle::thread::spawn(move || {
        rename(&writing, &names[0], &names[1]);
        let mut after = AfterUnlock::default();
        writing
            .write(writing.locate(&names[1]), NOW, &mut after, |view| {
                view.set_string(b"third", NewDeadline::Set(Some(UnixMillis(NOW.0 + 10))));
            })
            .unwrap();
    });
    let dump = dump(&keyspace);
    writer.join().unwrap();
    let state = (value_of(&dump, &keys[0]), value_of(&dump, &keys[1]));
    let (first, second, third) = (Some(&b"first"[..]), Some(&b"second"[..]), Some(&b"third"[..]));
    let moments = [(first, second), (None, first), (None, third)];
    assert!(moments.contains(&state), "no moment: {state:?}");
    assert_eq!(dump.len(), usize::from(state.0.is_some()) + 1, "a key twice");
}

type Databases = BTreeMap<(DatabaseNumber, Vec<u8>), Vec<u8>>;

/// A dump of all databases; fails when a key is twice in one.
fn dump_of_databases(keyspace: &Keyspace) -> Databases {
    let mut dump = Databases::new();
    let mut add = |database: DatabaseNumber, entry: &Entry| {
        let ValueRef::String(value) = entry.value() else { panic!("only strings here") };
        let key = (database, entry.key().to_vec());
        assert!(dump.insert(key, value.bytes().to_vec()).is_none(), "a key twice");
    };
    let mut snapshot = keyspace.begin_snapshot(u64::MAX).unwrap();
    while snapshot.step(&mut add).unwrap() {}
    drop(snapshot);
    dump
}

fn set_in(keyspace: &Keyspace, database: DatabaseNumber, key: &[u8], value: &[u8]) {
    let key = keyspace.locate(key).in_database(database);
    keyspace
        .write(key, NOW, &mut AfterUnlock::default(), |view| {
            view.set_string(value, NewDeadline::Set(None));
        })
        .unwrap();
}

/// Two databases change their numbers while a dump is made, and one is written to and flushed
/// afterwards: the dump has every key under the number that it had at one moment.
fn swapped_databases() {
    let keyspace = Arc::new(Keyspace::with_databases(2, 2));
    let keys = keys_in_different_shards(&keyspace, 2);
    for (database, value) in [(0, b"zero"), (1, b"one!")] {
        keys.iter().for_each(|key| set_in(&keyspace, database, key, value));
    }
    let (swapping, names) = (Arc::clone(&keyspace), keys.clone());
    let swapper = shuttle::thread::spawn(move || {
        swapping.swap_databases(0, 1, NOW, &mut AfterUnlock::default()).unwrap();
        set_in(&swapping, 0, &names[1], b"later");
        swapping.flush_database(1, &mut AfterUnlock::default()).unwrap();
    });
    let dump = dump_of_databases(&keyspace);
    swapper.join().unwrap();
    let value = |database: DatabaseNumber, number: usize| {
        let key = (database, keys[number].clone());
        dump.get(&key).map_or("", |value| std::str::from_utf8(value).unwrap())
    };
    let state = [value(0, 0), value(0, 1), value(1, 0), value(1, 1)];
    let moments = [
        ["zero", "zero", "one!", "one!"],
        ["one!", "one!", "zero", "zero"],
        ["one!", "later", "zero", "zero"],
        ["one!", "later", "", ""],
    ];
    assert!(moments.contains(&state), "no moment: {state:?}");
}

/// A token is moved to and fro between two databases while a dump is made: it is in it once.
fn moved_token() {
    let keyspace = Arc::new(Keyspace::with_databases(1, 2));
    set_in(&keyspace, 0, b"token", b"here");
    // A database without keys is not walked by itself.
    (0..2).for_each(|database| set_in(&keyspace, database, b"stays", b"here"));
    let moving = Arc::clone(&keyspace);
    let mover = shuttle::thread::spawn(move || {
        for (from, to) in [(0, 1), (1, 0), (0, 1)] {
            let key = |database| moving.locate(b"token").in_database(database);
            let keys = [key(from), key(to)];
            moving
                .write_many(&keys, NOW, &mut AfterUnlock::default(), |view| {
                    let token = view.key(0).unwrap().take().unwrap();
                    view.key(1).unwrap().put(token);
                })
                .unwrap();
        }
    });
    let dump = dump_of_databases(&keyspace);
    mover.join().unwrap();
    assert_eq!(dump.len(), 3, "the token is in the dump: {dump:?}");
}

/// Two clients add one to a counter by WATCH and EXEC, beside keys that EXEC locks and others change:
/// no addition is lost, and one that is refused has seen another.
fn watched_counter() {
    let keyspace = Arc::new(Keyspace::new(4));
    let keys = keys_in_different_shards(&keyspace, 2);
    set(&keyspace, &keys[0], b"0");
    let count = |view: &ReadView<'_>| -> u64 {
        let text = view.string().unwrap().unwrap();
        std::str::from_utf8(text.bytes()).unwrap().parse().unwrap()
    };
    let adders: Vec<_> = (0..2)
        .map(|_| {
            let (keyspace, keys) = (Arc::clone(&keyspace), keys.clone());
            shuttle::thread::spawn(move || {
                let (mut after, tally) = (AfterUnlock::default(), Tally::default());
                let mut watches = Watches::new(Arc::clone(&keyspace));
                let key = keyspace.locate(&keys[0]);
                watches.add(key, NOW, &mut after).unwrap();
                let old = keyspace.read(key, NOW, &tally, count).unwrap();
                let mut shards = ShardSet::default();
                keys.iter().for_each(|key| shards.add(keyspace.locate(key)));
                let added = keyspace.hold(&shards, Some(&watches), NOW, |held| {
                    held.write(key, NOW, &mut after, |view| {
                        let new = (old + 1).to_string();
                        view.set_string(new.as_bytes(), NewDeadline::Set(None));
                    })
                    .unwrap();
                });
                u64::from(added.unwrap().is_some())
            })
        })
        .collect();
    let added: u64 = adders.into_iter().map(|adder| adder.join().unwrap()).sum();
    let key = keyspace.locate(&keys[0]);
    let counted = keyspace.read(key, NOW, &Tally::default(), count).unwrap();
    assert_eq!(counted, added, "an addition is lost");
    assert!(added > 0, "both were refused");
}

/// One who waits for a list, and takes its first element when served.
#[derive(Debug)]
struct Popper {
    keyspace: Arc<Keyspace>,
    ticket: Ticket,
    key: Vec<u8>,
    /// 0 while it waits, 1 once served, 2 once it has given up.
    state: AtomicU8,
    taken: Mutex<Option<Vec<u8>>>,
}

impl Popper {
    fn new(keyspace: &Arc<Keyspace>, key: &[u8]) -> Self {
        Self {
            keyspace: Arc::clone(keyspace),
            ticket: Ticket::take(),
            key: key.to_vec(),
            state: AtomicU8::new(0),
            taken: Mutex::default(),
        }
    }

    /// Takes an element, or goes into the queue.
    fn pop_or_wait(self: &Arc<Self>) -> Option<Vec<u8>> {
        let waiter: Arc<dyn Waiter> = Arc::<Self>::clone(self);
        let mut after = AfterUnlock::default();
        let key = self.keyspace.locate(&self.key);
        let is_late = planted::is_on(Bug::LateWait);
        let taken = self
            .keyspace
            .write_many(&[key], NOW, &mut after, |view| {
                let is_behind = view.has_waiters(1, ValueType::List, Line::InTurn(0));
                let taken = if is_behind { None } else { Self::pop(view) };
                if taken.is_none() && !is_late {
                    view.wait(&waiter, is_behind);
                }
                taken
            })
            .unwrap();
        if taken.is_none() && is_late {
            self.keyspace
                .write_many(&[key], NOW, &mut after, |view| view.wait(&waiter, true))
                .unwrap();
        }
        serve(&self.keyspace, &mut after);
        taken
    }

    fn end(&self, state: u8) -> bool {
        self.state.compare_exchange(0, state, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn pop(view: &mut WriteManyView<'_, '_>) -> Option<Vec<u8>> {
        let mut key = view.key(0)?;
        key.change_collection(false, |list: &mut List| list.pop(End::Left, <[u8]>::to_vec))
            .unwrap()
            .flatten()
    }
}

impl Waiter for Popper {
    fn ticket(&self) -> Ticket {
        self.ticket
    }

    fn value_type(&self) -> ValueType {
        ValueType::List
    }

    fn keys(&self) -> SmallVec<[LocatedKey<'_>; 4]> {
        SmallVec::from_iter([self.keyspace.locate(&self.key)])
    }

    fn waited_count(&self) -> usize {
        1
    }

    fn is_waiting(&self) -> bool {
        self.state.load(Ordering::SeqCst) == 0
    }

    fn serve(&self, view: &mut WriteManyView<'_, '_>, _: usize) {
        let is_there = view.key(0).unwrap().exists();
        if planted::is_on(Bug::TakenBeforeDecided) && is_there {
            let taken = Self::pop(view);
            if self.end(1) {
                *self.taken.lock().unwrap() = taken;
            }
        } else if is_there && self.end(1) {
            *self.taken.lock().unwrap() = Self::pop(view);
        }
    }

    fn wake(&self) {}
}

fn serve(keyspace: &Keyspace, after: &mut AfterUnlock) {
    while let Some(ready) = after.take_ready() {
        keyspace.serve_waiters(ready, NOW, after);
    }
}

fn push(keyspace: &Keyspace, key: &[u8], element: &[u8]) {
    let mut after = AfterUnlock::default();
    keyspace
        .write(keyspace.locate(key), NOW, &mut after, |view| {
            let push = |list: &mut List| list.push(End::Right, element);
            view.change_collection(true, push).unwrap();
        })
        .unwrap();
    serve(keyspace, &mut after);
}

/// Waits for a list, gives up at some moment, and returns what it got.
fn pop_or_give_up(keyspace: &Arc<Keyspace>, key: &[u8]) -> Option<Vec<u8>> {
    let popper = Arc::new(Popper::new(keyspace, key));
    let taken = popper.pop_or_wait();
    if taken.is_some() {
        return taken;
    }
    if popper.end(2) {
        keyspace.stop_waiting(&*popper);
        return None;
    }
    while popper.taken.lock().unwrap().is_none() {
        shuttle::thread::yield_now();
    }
    popper.taken.lock().unwrap().take()
}

/// Two wait for a list and give up, two others push to it: every element is taken once or is still
/// there, and nobody is left in a queue.
fn handed_over_or_given_up() {
    let keyspace = Arc::new(Keyspace::new(1));
    let poppers: Vec<_> = (0..2)
        .map(|_| {
            let keyspace = Arc::clone(&keyspace);
            shuttle::thread::spawn(move || pop_or_give_up(&keyspace, b"list"))
        })
        .collect();
    let pushers: Vec<_> = [b"a", b"b"]
        .into_iter()
        .map(|element| {
            let keyspace = Arc::clone(&keyspace);
            shuttle::thread::spawn(move || push(&keyspace, b"list", element))
        })
        .collect();
    let mut seen: Vec<Vec<u8>> = poppers.into_iter().filter_map(|p| p.join().unwrap()).collect();
    pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
    let keys = [keyspace.locate(b"list")];
    keyspace
        .write_many(&keys, NOW, &mut AfterUnlock::default(), |view| {
            assert!(
                !view.has_waiters(1, ValueType::List, Line::InTurn(0)),
                "one who has given up is still in the queue"
            );
            while let Some(element) = Popper::pop(view) {
                seen.push(element);
            }
        })
        .unwrap();
    seen.sort();
    assert_eq!(seen, [b"a", b"b"], "an element is lost or doubled");
}

/// Of two who come for a list one gives up at some moment; two elements are pushed meanwhile: the
/// other one gets an element, whatever is left of the first one in the queue.
fn nobody_waits_beside_an_element() {
    let keyspace = Arc::new(Keyspace::new(1));
    let giving_up = Arc::clone(&keyspace);
    let giving_up = shuttle::thread::spawn(move || pop_or_give_up(&giving_up, b"list"));
    let waiting = Arc::clone(&keyspace);
    let waiting = shuttle::thread::spawn(move || {
        let popper = Arc::new(Popper::new(&waiting, b"list"));
        if popper.pop_or_wait().is_some() {
            assert!(popper.end(1));
        }
        popper
    });
    for element in [b"a", b"b"] {
        push(&keyspace, b"list", element);
    }
    giving_up.join().unwrap();
    let popper = waiting.join().unwrap();
    assert!(!popper.is_waiting(), "one waits though an element is there");
}

/// One comes for a list just when an element is pushed to it: one way or the other it gets it.
fn waiting_against_push() {
    let keyspace = Arc::new(Keyspace::new(1));
    let pushing = Arc::clone(&keyspace);
    let pusher = shuttle::thread::spawn(move || push(&pushing, b"list", b"a"));
    let popper = Arc::new(Popper::new(&keyspace, b"list"));
    let taken = popper.pop_or_wait();
    pusher.join().unwrap();
    let taken = taken.or_else(|| popper.taken.lock().unwrap().take());
    assert_eq!(taken.as_deref(), Some(&b"a"[..]), "it waits though the element is there");
}

/// One who waits for the next entry of a stream: for himself, or for the group.
#[derive(Debug)]
struct Reader {
    keyspace: Arc<Keyspace>,
    ticket: Ticket,
    line: Line,
    /// 0 while it waits, 1 once served.
    state: AtomicU8,
    got: Mutex<Vec<StreamId>>,
}

const STREAM: &[u8] = b"stream";

impl Reader {
    fn new(keyspace: &Arc<Keyspace>, line: Line) -> Arc<Self> {
        let (state, got) = (AtomicU8::new(0), Mutex::default());
        Arc::new(Self { keyspace: Arc::clone(keyspace), ticket: Ticket::take(), line, state, got })
    }

    /// Whether there is anything for it.
    fn finds(&self, view: &mut WriteManyView<'_, '_>) -> bool {
        let key = view.key(0).unwrap();
        let read = key.read();
        let stream = read.stream().unwrap().unwrap();
        let read_up_to = match self.line {
            Line::Each => StreamId::MIN,
            Line::InTurn(_) => stream.group(b"g").unwrap().last_id(),
        };
        stream.entries.last_id() > read_up_to
    }

    /// Reads one entry.
    fn read(&self, view: &mut WriteManyView<'_, '_>) {
        let mut key = view.key(0).unwrap();
        let got = match self.line {
            Line::Each => vec![key.read().stream().unwrap().unwrap().entries.last_id()],
            Line::InTurn(_) => key.change_readers(deliver_one).unwrap(),
        };
        self.got.lock().unwrap().extend(got);
    }

    fn read_or_wait(self: &Arc<Self>) {
        let waiter: Arc<dyn Waiter> = Arc::<Self>::clone(self);
        let (mut after, key) = (AfterUnlock::default(), self.keyspace.locate(STREAM));
        let is_late = planted::is_on(Bug::LateWait);
        let tried = self.keyspace.write_many(&[key], NOW, &mut after, |view| {
            let is_group = self.line != Line::Each;
            let is_behind = is_group && view.has_waiters(1, ValueType::Stream, self.line);
            let is_read = !is_behind && self.finds(view);
            if is_read {
                self.read(view);
            } else if !is_late {
                view.wait(&waiter, is_behind);
            }
            is_read
        });
        if !tried.unwrap() && is_late {
            let wait = |view: &mut WriteManyView<'_, '_>| view.wait(&waiter, false);
            self.keyspace.write_many(&[key], NOW, &mut after, wait).unwrap();
        }
        serve(&self.keyspace, &mut after);
    }
}

fn deliver_one(stream: &mut Stream) -> Vec<StreamId> {
    let consumer = stream.with_group(b"g", |group| group.add_consumer(b"c", NOW).0).unwrap();
    let (mut got, is_pending) = (Vec::new(), true);
    let to = Delivery { consumer, is_pending, count: 1, now: NOW };
    stream.deliver(b"g", to, &mut got, |_, _| (), |got, entry| got.push(entry.id));
    got
}

impl Waiter for Reader {
    fn ticket(&self) -> Ticket {
        self.ticket
    }

    fn value_type(&self) -> ValueType {
        ValueType::Stream
    }

    fn line(&self) -> Line {
        self.line
    }

    fn keys(&self) -> SmallVec<[LocatedKey<'_>; 4]> {
        SmallVec::from_iter([self.keyspace.locate(STREAM)])
    }

    fn waited_count(&self) -> usize {
        1
    }

    fn is_waiting(&self) -> bool {
        self.state.load(Ordering::SeqCst) == 0
    }

    fn serve(&self, view: &mut WriteManyView<'_, '_>, _: usize) {
        let end = || self.state.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if self.finds(view) && end() {
            self.read(view);
        }
    }

    fn wake(&self) {}
}

fn add_entry(keyspace: &Keyspace) {
    let mut after = AfterUnlock::default();
    let written = keyspace.write(keyspace.locate(STREAM), NOW, &mut after, |view| {
        let add = |stream: &mut Box<Stream>| {
            let id = stream.entries.last_id().next().unwrap();
            stream.entries.append(id, [(&b"f"[..], &b"v"[..])].into_iter(), BlockLimits::default());
        };
        view.change_collection(true, add).unwrap();
        view.serve_waiters();
    });
    written.unwrap();
    serve(keyspace, &mut after);
}

/// Two come to read for a group and one for himself while two entries are added: each of the group
/// gets one of them, and the third one sees one, too.
fn entries_against_readers() {
    let keyspace = Arc::new(Keyspace::new(1));
    let written =
        keyspace.write(keyspace.locate(STREAM), NOW, &mut AfterUnlock::default(), |view| {
            let group = Group::new(b"g", StreamId::MIN, None);
            view.change_collection(true, |stream: &mut Box<Stream>| stream.add_group(group))
                .unwrap();
        });
    written.unwrap();
    let readers = [Line::InTurn(7), Line::InTurn(7), Line::Each].map(|line| {
        let reader = Reader::new(&keyspace, line);
        let reading = Arc::clone(&reader);
        (reader, shuttle::thread::spawn(move || reading.read_or_wait()))
    });
    let adders = [(); 2].map(|()| {
        let keyspace = Arc::clone(&keyspace);
        shuttle::thread::spawn(move || add_entry(&keyspace))
    });
    adders.into_iter().for_each(|adder| adder.join().unwrap());
    let [one, other, third] = readers.map(|(reader, thread)| {
        thread.join().unwrap();
        reader.got.lock().unwrap().clone()
    });
    assert!(!third.is_empty(), "one waits for himself though an entry is there");
    let mut of_group = [one, other].concat();
    of_group.sort();
    let ids = [1, 2].map(|seq| StreamId::new(0, seq));
    assert_eq!(of_group, ids, "an entry is lost or doubled, or one waits though one is there");
}

/// Two wait one behind the other, two elements are pushed, and somebody takes one without waiting:
/// the first one of the two is served first.
fn served_in_the_order_of_coming() {
    let keyspace = Arc::new(Keyspace::new(1));
    let poppers = [0, 1].map(|_| {
        let popper = Arc::new(Popper::new(&keyspace, b"list"));
        assert_eq!(popper.pop_or_wait(), None);
        popper
    });
    let pushers = [b"a", b"b"].map(|element| {
        let keyspace = Arc::clone(&keyspace);
        shuttle::thread::spawn(move || push(&keyspace, b"list", element))
    });
    let other = Arc::clone(&keyspace);
    let taker = shuttle::thread::spawn(move || {
        let keys = [other.locate(b"list")];
        other.write_many(&keys, NOW, &mut AfterUnlock::default(), Popper::pop).unwrap().is_some()
    });
    pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
    let is_taken = taker.join().unwrap();
    let got = poppers.each_ref().map(|popper| popper.taken.lock().unwrap().is_some());
    assert!(got[0], "the first one was overtaken: {got:?}");
    assert_eq!(got[1], !is_taken);
}

/// Two threads rename in opposite directions while a third reads both keys: nobody waits for ever
/// and the reader sees one token.
fn opposite_renames() {
    let keyspace = Arc::new(Keyspace::new(4));
    let keys = keys_in_different_shards(&keyspace, 2);
    set(&keyspace, &keys[0], b"token");
    let renamers: Vec<_> = [(0, 1), (1, 0)]
        .into_iter()
        .map(|(from, to)| {
            let (keyspace, keys) = (Arc::clone(&keyspace), keys.clone());
            shuttle::thread::spawn(move || rename(&keyspace, &keys[from], &keys[to]))
        })
        .collect();
    let located = [keyspace.locate(&keys[1]), keyspace.locate(&keys[0])];
    let seen = keyspace.read_many(&located, NOW, &Tally::default(), |view| {
        view.iter().filter(|key| key.exists()).count()
    });
    assert_eq!(seen.unwrap(), 1);
    for renamer in renamers {
        renamer.join().unwrap();
    }
}

/// Moves a value as a script does: by several commands on the shards that it holds.
fn move_by_script(keyspace: &Keyspace, shards: &ShardSet, from: &[u8], to: &[u8]) {
    let (from, to) = (keyspace.locate(from), keyspace.locate(to));
    let (mut after, tally) = (AfterUnlock::default(), Tally::default());
    let get = |view: &ReadView<'_>| view.string().unwrap().map(|value| value.bytes().to_vec());
    let moved = keyspace.hold(shards, None, NOW, |held| {
        let Some(value) = held.read(from, NOW, &tally, get).unwrap() else { return };
        held.let_go_if(Bug::ScriptLetsGo);
        held.write(to, NOW, &mut after, |view| view.set_string(&value, NewDeadline::Set(None)))
            .unwrap();
        held.let_go_if(Bug::ScriptLetsGo);
        held.write(from, NOW, &mut after, |view| view.remove()).unwrap();
    });
    assert_eq!(moved, Ok(Some(())));
}

/// A token is moved by a script that holds the shards of its keys, by one that holds all shards,
/// and by a RENAME, while a third client reads all places: it is in one of them at any moment.
fn scripts_beside_a_rename() {
    let keyspace = Arc::new(Keyspace::new(4));
    let keys = keys_in_different_shards(&keyspace, 3);
    set(&keyspace, &keys[0], b"token");
    let mut declared = ShardSet::default();
    keys[..2].iter().for_each(|key| declared.add(keyspace.locate(key)));
    let scripts = [(declared, 0, 1), (ShardSet::all(), 1, 2)].map(|(shards, from, to)| {
        let (keyspace, keys) = (Arc::clone(&keyspace), keys.clone());
        shuttle::thread::spawn(move || {
            move_by_script(&keyspace, &shards, &keys[from], &keys[to]);
        })
    });
    let (renaming, names) = (Arc::clone(&keyspace), keys.clone());
    let renamer = shuttle::thread::spawn(move || rename(&renaming, &names[1], &names[0]));
    let located: Vec<LocatedKey<'_>> = keys.iter().map(|key| keyspace.locate(key)).collect();
    let count = || {
        let seen = keyspace.read_many(&located, NOW, &Tally::default(), |view| {
            view.iter().filter(|key| key.exists()).count()
        });
        seen.unwrap()
    };
    assert_eq!(count(), 1, "the token is nowhere, or twice");
    scripts.into_iter().chain([renamer]).for_each(|mover| mover.join().unwrap());
    assert_eq!(count(), 1, "the token is lost, or doubled");
}

/// A deadline passes while the key is set anew without one: the sweeper must not take the new one.
fn expiry_against_overwrite() {
    let keyspace = Arc::new(Keyspace::new(1));
    let mut after = AfterUnlock::default();
    let deadline = NewDeadline::Set(Some(UnixMillis(NOW.0 + 10)));
    keyspace
        .write(keyspace.locate(b"key"), NOW, &mut after, |view| view.set_string(b"old", deadline))
        .unwrap();
    let later = UnixMillis(NOW.0 + 20);
    let sweeping = Arc::clone(&keyspace);
    let sweeper = shuttle::thread::spawn(move || {
        sweeping.sweep_expired(later, EventSet::NONE, |_| ()).removed
    });
    keyspace
        .write(keyspace.locate(b"key"), later, &mut after, |view| {
            assert!(!view.exists(), "expired for this writer");
            view.set_string(b"new", NewDeadline::Set(None));
        })
        .unwrap();
    sweeper.join().unwrap();
    let there =
        keyspace.read(keyspace.locate(b"key"), later, &Tally::default(), |view| view.exists());
    assert!(there.unwrap(), "the sweeper took the new value");
}

#[test]
fn a_dump_holds_a_renamed_token_once() {
    let _alone = alone();
    explore(renamed_token);
}

#[test]
fn a_dump_that_was_not_given_up_holds_a_renamed_token_once() {
    let _alone = alone();
    explore(renamed_token_under_a_limit);
}

#[test]
fn a_dump_holds_both_of_a_pair_and_no_effect_without_its_cause() {
    let _alone = alone();
    explore(pairs_set_together);
}

#[test]
fn a_dump_is_one_moment_though_keys_die_and_come_back() {
    let _alone = alone();
    explore(deleted_and_set_again);
}

#[test]
fn a_dump_holds_what_a_renamed_key_replaced_or_what_replaced_it() {
    let _alone = alone();
    explore(renamed_over_another);
}

#[test]
fn a_dump_names_databases_as_they_were_at_one_moment() {
    let _alone = alone();
    explore(swapped_databases);
}

#[test]
fn a_dump_holds_a_token_that_is_moved_between_databases_once() {
    let _alone = alone();
    explore(moved_token);
}

#[test]
fn opposite_renames_neither_deadlock_nor_show_half() {
    let _alone = alone();
    explore(opposite_renames);
}

#[test]
fn what_scripts_and_renames_move_is_in_one_place() {
    let _alone = alone();
    explore(scripts_beside_a_rename);
}

#[test]
fn the_sweeper_never_takes_a_value_that_was_set_anew() {
    let _alone = alone();
    explore(expiry_against_overwrite);
}

#[test]
fn a_planted_naive_cut_is_found() {
    let _alone = alone();
    let _bug = plant(Bug::NaiveCut);
    assert!(is_found(renamed_token));
    assert!(is_found(pairs_set_together));
    assert!(is_found(moved_token));
}

#[test]
fn an_element_is_handed_over_once_or_stays() {
    let _alone = alone();
    explore(handed_over_or_given_up);
}

#[test]
fn nobody_waits_though_an_element_is_there() {
    let _alone = alone();
    explore(nobody_waits_beside_an_element);
}

#[test]
fn who_comes_while_an_element_is_pushed_gets_it() {
    let _alone = alone();
    explore(waiting_against_push);
}

#[test]
fn every_entry_reaches_those_who_read() {
    let _alone = alone();
    explore(entries_against_readers);
}

#[test]
fn who_came_first_is_served_first() {
    let _alone = alone();
    // More preemptions have to meet for this than for the others.
    shuttle::check_random(served_in_the_order_of_coming, SCHEDULES);
}

#[test]
fn a_planted_late_wait_is_found() {
    let _alone = alone();
    let _bug = plant(Bug::LateWait);
    assert!(is_found(waiting_against_push));
    assert!(is_found(entries_against_readers));
}

#[test]
fn a_planted_taking_before_the_decision_is_found() {
    let _alone = alone();
    let _bug = plant(Bug::TakenBeforeDecided);
    assert!(is_found(handed_over_or_given_up));
}

#[test]
fn a_planted_wait_without_a_look_is_found() {
    let _alone = alone();
    let _bug = plant(Bug::UnseenAppearance);
    assert!(is_found(nobody_waits_beside_an_element));
}

#[test]
fn no_addition_by_watch_and_exec_is_lost() {
    let _alone = alone();
    explore(watched_counter);
}

#[test]
fn a_planted_early_look_at_watched_keys_is_found() {
    let _alone = alone();
    let _bug = plant(Bug::EarlyWatch);
    assert!(is_found(watched_counter));
}

#[test]
fn a_planted_swap_without_labels_is_found() {
    let _alone = alone();
    let _bug = plant(Bug::UnlabelledSwap);
    assert!(is_found(swapped_databases));
}

#[test]
fn a_planted_early_epoch_is_found() {
    let _alone = alone();
    let _bug = plant(Bug::EarlyEpoch);
    assert!(is_found(renamed_token) || is_found(pairs_set_together));
}

#[test]
fn a_planted_script_that_lets_go_is_found() {
    let _alone = alone();
    let _bug = plant(Bug::ScriptLetsGo);
    assert!(is_found(scripts_beside_a_rename));
}

#[test]
fn a_planted_torn_write_is_found() {
    let _alone = alone();
    let _bug = plant(Bug::TornWrite);
    assert!(is_found(opposite_renames));
    assert!(is_found(scripts_beside_a_rename));
}

#[test]
fn planted_unordered_locks_are_found() {
    let _alone = alone();
    let _bug = plant(Bug::UnorderedLocks);
    assert!(is_found(opposite_renames));
}
