//! Everything at once on few keys: random changes of all kinds, flushes, a moving clock, a sweeper,
//! and snapshots in a loop, some of them aborted.
//!
//! A snapshot must never hold a key twice, and two counters that are only ever added to, renamed
//! and deleted together must be equal in it. After every round the figures must be what a walk
//! counts, and once all deadlines have passed nothing that had one may be left.

use super::*;
use crate::data::list::End;
use crate::data::{Hash, List, Set, SortedSet, SortedSetRef, StringRef, ValueRef};
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

const SHARDS: usize = 4;
const KEYS: u64 = 24;
const CHANGERS: u64 = 8;
const DATABASES: u64 = 3;
/// How long it goes on unless the environment says otherwise.
const SECONDS_DEFAULT: u64 = 2;
const ROUND: Duration = Duration::from_millis(50);
const SECONDS: &str = "MY_REDIS_STRESS_SECONDS";

/// Enough chance for choosing keys and changes (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn database(&mut self) -> DatabaseNumber {
        DatabaseNumber::try_from(self.below(DATABASES)).unwrap()
    }

    fn key(&mut self) -> Vec<u8> {
        format!("key:{}", self.below(KEYS)).into_bytes()
    }

    /// Bytes on both sides of every threshold between the packed and the large form.
    fn value(&mut self) -> Vec<u8> {
        let len = [0, 3, 3, 3, 80, 1_500, 8_191, 8_192, 20_000][self.below(9) as usize];
        vec![b'v'; len]
    }
}

fn count_of(text: StringRef<'_>) -> u64 {
    std::str::from_utf8(text.bytes()).unwrap().parse().unwrap()
}

/// Table and tree of a sorted set must agree on every member.
fn check_order(set: SortedSetRef<'_>) {
    let (mut count, mut last) = (0, f64::NEG_INFINITY);
    set.for_all(|member, score| {
        assert!(score >= last && set.score(member) == Some(score));
        last = score;
        count += 1;
    });
    assert!(count > 0 && count == set.len());
}

struct Stress {
    keyspace: Keyspace,
    now: AtomicI64,
    stopped: AtomicBool,
    changes: AtomicU64,
    snapshots: AtomicU64,
}

impl Stress {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.now.load(Ordering::Relaxed))
    }

    fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }

    fn rename(&self, from: &[u8], to: &[u8], chance: &mut Chance, after: &mut AfterUnlock) {
        let keys = [from, to].map(|key| self.keyspace.locate(key).in_database(chance.database()));
        self.keyspace
            .write_many(&keys, self.now(), after, |view| {
                if let Some(entry) = view.key(0).unwrap().take() {
                    view.key(1).unwrap().put(entry);
                }
            })
            .unwrap();
    }

    /// Changes both counters of a pair: adds one, or renames them, or deletes them.
    fn change_pair(&self, number: u64, chance: &mut Chance, after: &mut AfterUnlock) {
        let names = ["left:a", "left:b", "right:a", "right:b"];
        let names = names.map(|name| format!("pair:{number}:{name}"));
        let database = chance.database();
        let keys = names
            .each_ref()
            .map(|name| self.keyspace.locate(name.as_bytes()).in_database(database));
        let what = chance.below(20);
        self.keyspace
            .write_many(&keys, self.now(), after, |view| {
                let (here, there) = if view.key(0).unwrap().exists() { (0, 2) } else { (2, 0) };
                for half in 0..2 {
                    let mut key = view.key(here + half).unwrap();
                    match what {
                        0 => drop(key.remove()),
                        1..5 => {
                            if let Some(entry) = key.take() {
                                view.key(there + half).unwrap().put(entry);
                            }
                        }
                        _ => {
                            let old = key.read().string().unwrap().map_or(0, count_of);
                            let deadline = NewDeadline::Keep;
                            key.set_string((old + 1).to_string().as_bytes(), deadline);
                        }
                    }
                }
            })
            .unwrap();
    }

    fn change_one(&self, chance: &mut Chance, after: &mut AfterUnlock) {
        let (key, value, kind) = (chance.key(), chance.value(), chance.below(20));
        let (number, count) = (chance.below(200), chance.below(150));
        let deadline = Some(UnixMillis(self.now().0 + 1 + i64::try_from(number).unwrap()));
        let field = number.to_string().into_bytes();
        let end = if number % 2 == 0 { End::Left } else { End::Right };
        let key = self.keyspace.locate(&key).in_database(chance.database());
        self.keyspace
            .write(key, self.now(), after, |view| match kind {
                0 => view.set_string(&value, NewDeadline::Set(None)),
                1 => view.set_string(&value, NewDeadline::Set(deadline)),
                2 => view.set_string(&value, NewDeadline::Keep),
                3 => drop(view.append(&value)),
                4 => drop(view.remove()),
                5 => view.set_deadline(None),
                6 | 7 => view.set_deadline(deadline),
                8 | 9 => drop(view.change_collection(true, |list: &mut List| {
                    (0..count).for_each(|_| list.push(end, &value));
                })),
                10 => drop(view.change_collection(false, |list: &mut List| {
                    let _popped = (0..2 * count).filter_map(|_| list.pop(end, |_| ())).count();
                })),
                11 | 12 => drop(view.change_collection(true, |hash: &mut Hash| {
                    let _new = (0..=count).filter(|n| hash.set(&n.to_le_bytes(), &field)).count();
                })),
                13 => drop(view.change_collection(false, |hash: &mut Hash| {
                    let _gone = (0..2 * count).filter(|n| hash.remove(&n.to_le_bytes())).count();
                })),
                14 => drop(view.change_collection(true, |set: &mut Set| {
                    let _new = (0..=5 * count).filter(|n| set.insert(&n.to_le_bytes())).count();
                })),
                15 => drop(view.change_collection(false, |set: &mut Set| {
                    let _gone = (0..9 * count).filter(|n| set.remove(&n.to_le_bytes())).count();
                })),
                16 => drop(view.change_collection(true, |set: &mut SortedSet| {
                    (0..=5 * count).for_each(|n| {
                        set.set((n * number % 97) as f64, &n.to_le_bytes());
                    });
                })),
                17 => drop(view.change_collection(false, |set: &mut SortedSet| {
                    set.remove_ranks(0..2 * count as usize, number % 2 == 0, |_, _| ());
                })),
                18 => drop(view.change_collection(false, |hash: &mut Hash| {
                    for field in (0..=count).map(u64::to_le_bytes) {
                        if hash.as_ref().get(&field).is_some() {
                            hash.set_deadline(&field, deadline.filter(|_| end == End::Left));
                        }
                    }
                })),
                _ => {
                    if let Some(entry) = view.take() {
                        view.put(entry);
                    }
                }
            })
            .unwrap();
    }

    fn change(&self, number: u64, chance: &mut Chance) {
        let mut after = AfterUnlock::default();
        while self.goes_on() {
            match chance.below(1_000) {
                0 => self.keyspace.flush(&mut after).unwrap(),
                1 => self.keyspace.flush_database(chance.database(), &mut after).unwrap(),
                2 => {
                    let (a, b) = (chance.database(), chance.database());
                    self.keyspace.swap_databases(a, b, self.now(), &mut after).unwrap();
                }
                3..150 => self.rename(&chance.key(), &chance.key(), chance, &mut after),
                150..400 => self.change_pair(number, chance, &mut after),
                _ => self.change_one(chance, &mut after),
            }
            drop(after.take_garbage());
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn sweep(&self) {
        while self.goes_on() {
            self.now.fetch_add(1, Ordering::Relaxed);
            self.keyspace
                .sweep_expired(self.now(), EventSet::NONE, |after| drop(after.take_garbage()));
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn snapshot(&self, chance: &mut Chance) {
        let mut keys = HashSet::new();
        let mut pairs = BTreeMap::new();
        let mut snapshot = self.keyspace.begin_snapshot(u64::MAX).unwrap();
        let steps_max = if chance.below(4) == 0 { chance.below(4) } else { u64::MAX };
        let mut steps = 0;
        let mut check = |database: DatabaseNumber, entry: &Entry| {
            let key = String::from_utf8(entry.key().to_vec()).unwrap();
            let name = format!("{database}:{key}");
            match entry.value() {
                ValueRef::String(text) if key.starts_with("pair:") => {
                    let (pair, half) = name.rsplit_once(':').unwrap();
                    let halves: &mut [u64; 2] = pairs.entry(pair.to_owned()).or_default();
                    halves[usize::from(half == "b")] = count_of(text);
                }
                ValueRef::String(_) => {}
                ValueRef::List(list) => assert!(!list.is_empty(), "{name} is an empty list"),
                ValueRef::Hash(hash) => assert!(!hash.is_empty(), "{name} is an empty hash"),
                ValueRef::Set(set) => assert!(!set.is_empty(), "{name} is an empty set"),
                ValueRef::SortedSet(set) => check_order(set),
                ValueRef::Stream(_) => panic!("{name} is a stream"),
            }
            assert!(keys.insert(name.clone()), "{name} is twice in a snapshot");
        };
        while steps < steps_max && snapshot.step(&mut check).unwrap() {
            steps += 1;
            if chance.below(2) == 0 {
                std::thread::sleep(Duration::from_micros(chance.below(500)));
            }
        }
        if steps < steps_max {
            for (name, halves) in &pairs {
                assert_eq!(halves[0], halves[1], "the halves of {name} are of two moments");
                let both =
                    name.ends_with("left") && pairs.contains_key(&name.replace("left", "right"));
                assert!(!both, "{name} was renamed and is there under both names");
            }
            let epoch = snapshot.epoch();
            drop(snapshot);
            self.keyspace.forget_saved_changes(epoch);
        }
        self.snapshots.fetch_add(1, Ordering::Relaxed);
    }

    /// The keys that a walk finds, swept or not, and those of them that have a deadline.
    fn counted(&self) -> (usize, usize) {
        let (mut keys, mut with_deadline) = (HashSet::new(), 0);
        for database in 0..DatabaseNumber::try_from(DATABASES).unwrap() {
            let (mut cursor, before) = (Some(0), keys.len());
            while let Some(from) = cursor {
                cursor = self
                    .keyspace
                    .scan(database, from, 3, UnixMillis(i64::MIN), |entry| {
                        assert!(
                            keys.insert((database, entry.key().to_vec())),
                            "a key is there twice"
                        );
                        with_deadline += usize::from(entry.deadline().is_some());
                    })
                    .unwrap();
            }
            assert_eq!(self.keyspace.database_len(database), keys.len() - before);
        }
        let tally = Tally::default();
        for (database, key) in &keys {
            let key = self.keyspace.locate(key).in_database(*database);
            let there = self.keyspace.read(key, UnixMillis(i64::MIN), &tally, |view| view.exists());
            assert!(there.unwrap(), "a key that a walk finds cannot be looked up");
        }
        (keys.len(), with_deadline)
    }

    /// The keys that are left at `moment`.
    fn alive_at(&self, moment: UnixMillis) -> usize {
        let mut alive = 0;
        for database in 0..DatabaseNumber::try_from(DATABASES).unwrap() {
            self.keyspace.for_each_key(database, moment, |_| alive += 1).unwrap();
        }
        alive
    }

    fn check_figures(&self) {
        let (keys, with_deadline) = self.counted();
        let sum = |figure: fn(&ShardFigures) -> u64| -> usize {
            self.keyspace.figures().map(|of| usize::try_from(figure(of)).unwrap()).sum()
        };
        assert_eq!(self.keyspace.len(), keys);
        assert_eq!(sum(ShardFigures::with_deadline), with_deadline);
        assert_eq!(sum(ShardFigures::aside), 0);
        let heaps = SHARDS * DATABASES as usize;
        let items_max = 4 * (2 * with_deadline + heaps * STALE_ITEMS_ALLOWED) / 3 + 8 * heaps;
        assert!(sum(ShardFigures::expiry_items) <= items_max);
    }
}

impl Stress {
    /// Lets everything run for a while, and checks what it left.
    fn round(&self, chances: &mut [Chance]) {
        self.stopped.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let (walker, changers) = chances.split_first_mut().unwrap();
            for (number, chance) in changers.iter_mut().enumerate() {
                scope.spawn(move || self.change(number as u64, chance));
            }
            scope.spawn(|| self.sweep());
            let walker = scope.spawn(|| {
                while self.goes_on() {
                    self.snapshot(walker);
                }
            });
            let began = Instant::now();
            while began.elapsed() < ROUND && !walker.is_finished() {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.stopped.store(true, Ordering::Relaxed);
        });
        self.check_figures();
        let (keys, with_deadline) = self.counted();
        let later = self.now.fetch_add(1_000_000, Ordering::Relaxed) + 1_000_000;
        let stays = self.alive_at(UnixMillis(later));
        let free = |after: &mut AfterUnlock| drop(after.take_garbage());
        let swept = self.keyspace.sweep_expired(UnixMillis(later), EventSet::NONE, free);
        // A hash may go with its last field before its own deadline is looked at.
        assert!(swept.removed <= with_deadline as u64 && stays <= keys - with_deadline);
        assert_eq!(self.counted(), (stays, 0));
        self.check_figures();
        let mut snapshot = self.keyspace.begin_snapshot(u64::MAX).unwrap();
        let mut saved = 0;
        while snapshot.step(&mut |_, _| saved += 1).unwrap() {}
        assert_eq!(saved, stays);
        let epoch = snapshot.epoch();
        drop(snapshot);
        self.keyspace.forget_saved_changes(epoch);
        assert_eq!(self.keyspace.changes_since_save(), 0);
    }
}

fn sum(keyspace: &Keyspace, figure: impl Fn(&ShardFigures) -> u64) -> u64 {
    keyspace.figures().map(figure).sum()
}

#[test]
fn writers_give_a_snapshot_up_that_would_keep_too_much_and_lose_nothing() {
    const KEYS: u32 = 1_000;
    const VALUE: [u8; 100] = [b'v'; 100];
    let keyspace = Keyspace::new(SHARDS);
    let (now, mut after) = (UnixMillis(1), AfterUnlock::default());
    let mut set_all = || {
        for number in 0..KEYS {
            let deadline = NewDeadline::Set(Some(UnixMillis(1_000)));
            let set = |view: &mut WriteView<'_>| view.set_string(&VALUE, deadline);
            keyspace.write(keyspace.locate(&number.to_le_bytes()), now, &mut after, set).unwrap();
        }
    };
    set_all();
    let limit = u64::from(KEYS) * VALUE.len() as u64 / 4;
    let mut snapshot = keyspace.begin_snapshot(limit).unwrap();
    set_all();
    let kept = sum(&keyspace, ShardFigures::aside_bytes);
    let one_more = 2 * VALUE.len() as u64;
    assert!((limit..limit + one_more).contains(&kept), "{kept} bytes kept, {limit} allowed");
    assert!(keyspace.begin_snapshot(limit).is_none(), "what was put aside is not yet freed");
    assert_eq!(snapshot.step(&mut |_, _| ()), Err(AsideExceeded));
    drop(snapshot);
    assert_eq!(sum(&keyspace, ShardFigures::aside), 0);
    assert_eq!(sum(&keyspace, ShardFigures::aside_bytes), 0);
    let mut snapshot = keyspace.begin_snapshot(limit).unwrap();
    let mut saved = 0;
    while snapshot.step(&mut |_, _| saved += 1).unwrap() {}
    assert_eq!(saved, KEYS);
}

#[test]
fn a_changed_list_of_a_million_is_counted_by_its_pointers_and_copied_pieces() {
    const ELEMENTS: usize = 1_000_000;
    let keyspace = Keyspace::new(SHARDS);
    let (now, mut after) = (UnixMillis(1), AfterUnlock::default());
    let mut push = |count| {
        keyspace.write(keyspace.locate(b"list"), now, &mut after, |view| {
            let change = |list: &mut List| {
                (0..count).for_each(|_| list.push(End::Right, b"12345678"));
                list.len()
            };
            view.change_collection(true, change).unwrap()
        })
    };
    push(ELEMENTS).unwrap();
    let mut snapshot = keyspace.begin_snapshot(u64::MAX).unwrap();
    push(1).unwrap();
    let first = sum(&keyspace, ShardFigures::aside_bytes);
    let packed = ELEMENTS as u64 * 9;
    assert!((packed / 4_096 * 8..packed / 100).contains(&first), "{first} of {packed} bytes");
    push(1).unwrap();
    let second = sum(&keyspace, ShardFigures::aside_bytes);
    assert_eq!(second, first, "the last piece is the list's own by now");
    let mut saved = 0;
    let mut count = |_: DatabaseNumber, entry: &Entry| match entry.value() {
        ValueRef::List(list) => saved += list.len(),
        other => panic!("{other:?}"),
    };
    while snapshot.step(&mut count).unwrap() {}
    assert_eq!(saved, ELEMENTS);
}

#[test]
fn all_changes_at_once_leave_every_figure_right_and_every_snapshot_whole() {
    let seed = RandomState::new().hash_one(0) | 1;
    println!("seed {seed}");
    let seconds = std::env::var(SECONDS).map_or(SECONDS_DEFAULT, |text| text.parse().unwrap());
    let stress = Stress {
        keyspace: Keyspace::with_databases(SHARDS, DATABASES as usize),
        now: AtomicI64::new(1_000_000),
        stopped: AtomicBool::new(false),
        changes: AtomicU64::new(0),
        snapshots: AtomicU64::new(0),
    };
    let chance = |number: u64| Chance(seed.wrapping_mul(2 * number + 1));
    let mut chances: Vec<Chance> = (0..=CHANGERS).map(chance).collect();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        stress.round(&mut chances);
    }
    println!(
        "{} changes, {} snapshots",
        stress.changes.load(Ordering::Relaxed),
        stress.snapshots.load(Ordering::Relaxed)
    );
}

#[test]
fn a_save_waits_for_a_command_and_comes_before_the_next_one() {
    let keyspace = Keyspace::new(SHARDS);
    let reading = keyspace.begin_reading().unwrap();
    std::thread::scope(|scope| {
        let saving = scope.spawn(|| keyspace.begin_snapshot(u64::MAX).map(drop));
        // While the save waits, a command has to do without a snapshot; before, it waits as well.
        let other = scope.spawn(|| keyspace.begin_reading().map(drop));
        assert!(other.join().unwrap().is_none(), "two at a time");
        assert!(!saving.is_finished());
        drop(reading);
        assert!(saving.join().unwrap().is_some());
    });
    let saving = keyspace.begin_snapshot(u64::MAX).unwrap();
    assert!(keyspace.begin_reading().is_none() && keyspace.begin_snapshot(u64::MAX).is_none());
    drop(saving);
    let first = keyspace.begin_reading().unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| keyspace.begin_reading().map(drop));
        std::thread::sleep(Duration::from_millis(20));
        assert!(!second.is_finished());
        drop(first);
        assert!(second.join().unwrap().is_some());
    });
}
