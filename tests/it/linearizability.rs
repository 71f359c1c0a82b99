//! Many clients on keys of different shards: is there an order of all operations that explains
//! every answer? The checker is porcupine-rs.
//!
//! Eight clients do random operations at the same time on six keys, each in a shard of its own:
//! commands of one key and of several, waiting pops, transactions, scripts. When each operation
//! began and ended is noted by one clock. An operation takes effect at one moment between the two;
//! the checker looks for moments by which the answers are those of a server with one client
//! (`linearizability/model.rs`). That is what "atomic" means to a client.
//!
//! Commands of several keys leave no part of a history that could be checked by itself, and the
//! work grows fast with its length. So a history is short, with keys of its own, and there are many
//! of them. Each begins with a value in every key and ends with all keys read at one moment, so that
//! nothing that was lost or doubled stays unseen. The operations follow from a seed; which of them
//! meet does not.
//!
//! No answer is missing: a client that gets none fails the test. So what is not known to have
//! happened occurs only where a broken history is cut short (`linearizability/history.rs`).

mod generate;
mod history;
mod known;
mod model;
mod session;

use crate::harness::planted::{Ended, in_own_process};
use crate::harness::random::{SEED_VARIABLE, seed};
use crate::harness::server::{MANY_SHARDS, Server};
use crate::harness::wire::escape;
use generate::Generator;
use history::{CHECK_TIME_MAX, Event, Verdict, check, describe, shrink};
use model::{Command, KEYS, Operation, Reply, Way};
use my_redis::keyspace::planted::{Bug, plant};
use session::{Names, Session};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Makes a run longer or shorter.
const OPERATIONS_VARIABLE: &str = "MY_REDIS_LINEARIZABILITY_OPERATIONS";

/// How many operations a plain run checks on many shards, and on one.
const OPERATIONS: usize = 60_000;
const OPERATIONS_ONE_SHARD: usize = 15_000;

const CLIENTS: usize = 8;
/// How many operations each client does in a history.
const OPERATIONS_EACH: usize = 12;
/// Of the server: more than the machine has processors, so that it is interrupted anywhere.
const SERVER_THREADS: usize = 4;
/// A client that needs longer for its part of a history has failed.
const HISTORY_TIME_MAX: Duration = Duration::from_secs(60);
/// Histories that wait to be checked at most.
const UNCHECKED_MAX: usize = 16;

/// Below this share of operations that overlap with one before a run proves little.
const OVERLAPPING_PERCENT_MIN: usize = 50;
/// What is counted when a client gets from BLPOP what was not there yet when it came.
const SERVED: &str = "BLPOP of what was pushed later";

/// A history on its way to the checker.
struct Recorded {
    number: usize,
    names: Arc<Names>,
    events: Vec<Event>,
}

/// What became of a run.
#[derive(Default)]
struct Findings {
    histories: usize,
    operations: usize,
    undecided: usize,
    /// Operations that began before the last one of another client had ended.
    overlapping: usize,
    slowest_check: Duration,
    /// How often each kind of operation had each kind of answer.
    kinds: BTreeMap<String, usize>,
    broken: Option<Recorded>,
}

/// Has clients do so many operations, and checks them, up to the first history that is broken.
fn run(server: &Server, seed: u64, operations: usize) -> Findings {
    let (began, is_broken) = (Instant::now(), AtomicBool::new(false));
    session::load_scripts(&mut server.wire());
    thread::scope(|scope| {
        let (to_checker, unchecked) = sync_channel::<Recorded>(UNCHECKED_MAX);
        let is_broken = &is_broken;
        let checker = scope.spawn(move || check_all(&unchecked, is_broken));
        let (to_recorder, recorded) = channel::<Vec<Event>>();
        let clients: Vec<Sender<(usize, Arc<Names>)>> = (0..CLIENTS)
            .map(|client| {
                let (to_client, histories) = channel();
                let (session, to_recorder) =
                    (Session::new(server, client, began), to_recorder.clone());
                scope.spawn(move || run_client(session, client, seed, &histories, &to_recorder));
                to_client
            })
            .collect();
        let mut keeper = Session::new(server, CLIENTS, began);
        let mut done = 0;
        for number in 0.. {
            if done >= operations || is_broken.load(Ordering::Relaxed) {
                break;
            }
            let names = Arc::new(session::names(server, number));
            let mut filling = Generator::new(seed_of(seed, number, CLIENTS), CLIENTS);
            let fill = |key| keeper.perform(Operation::Single(filling.filling(key)), &names);
            let mut events: Vec<Event> = (0..KEYS).map(fill).collect();
            clients.iter().for_each(|client| client.send((number, Arc::clone(&names))).unwrap());
            for _ in 0..CLIENTS {
                let of_client = recorded.recv_timeout(HISTORY_TIME_MAX).expect("a client failed");
                done += of_client.len();
                events.extend(of_client);
            }
            events.push(keeper.perform(session::reading_all(), &names));
            if to_checker.send(Recorded { number, names, events }).is_err() {
                break;
            }
        }
        drop(to_checker);
        checker.join().unwrap()
    })
}

fn run_client(
    mut session: Session,
    client: usize,
    seed: u64,
    histories: &Receiver<(usize, Arc<Names>)>,
    to_recorder: &Sender<Vec<Event>>,
) {
    while let Ok((history, names)) = histories.recv() {
        let mut generator = Generator::new(seed_of(seed, history, client), client);
        let events = session.run(&mut generator, &names, OPERATIONS_EACH);
        to_recorder.send(events).unwrap();
    }
}

fn seed_of(seed: u64, history: usize, client: usize) -> u64 {
    seed ^ ((history * (CLIENTS + 1) + client) as u64) << 16
}

fn check_all(unchecked: &Receiver<Recorded>, is_broken: &AtomicBool) -> Findings {
    let mut findings = Findings::default();
    while let Ok(recorded) = unchecked.recv() {
        let began = Instant::now();
        let verdict = check(&recorded.events, CHECK_TIME_MAX);
        findings.slowest_check = findings.slowest_check.max(began.elapsed());
        findings.note(&recorded.events);
        match verdict {
            Verdict::Linearizable => {}
            Verdict::Undecided => findings.undecided += 1,
            Verdict::Broken => {
                is_broken.store(true, Ordering::Relaxed);
                findings.broken = Some(recorded);
                break;
            }
        }
    }
    findings
}

impl Findings {
    fn note(&mut self, events: &[Event]) {
        self.histories += 1;
        let mut of_clients: Vec<&Event> =
            events.iter().filter(|event| event.client < CLIENTS).collect();
        self.operations += of_clients.len();
        of_clients.sort_by_key(|event| event.called_ns);
        let mut pops = HashMap::new();
        let mut returned_ns = 0;
        for event in of_clients {
            self.overlapping += usize::from(event.called_ns < returned_ns);
            returned_ns = returned_ns.max(event.returned_ns);
            let (operation, reply) = (&event.step.operation, &event.step.reply);
            let answer = match reply {
                Reply::Nil | Reply::NilArray => "nil",
                Reply::WrongType | Reply::NoSuchKey | Reply::Other(_) => "an error",
                _ => "an answer",
            };
            self.count(format!("{}: {answer}", operation.name()));
            match (operation, reply) {
                (Operation::Single(Command::PopOrWait(..)), Reply::Array(parts)) => {
                    pops.extend(parts.iter().map(|part| (part.to_string(), event.called_ns)));
                }
                // Those that are called later come later.
                (Operation::Single(Command::Push(_, values)), _) => {
                    let is_awaited = |value: &i64| pops.contains_key(&value.to_string());
                    if values.iter().any(is_awaited) {
                        self.count(SERVED.to_owned());
                    }
                }
                _ => {}
            }
        }
    }

    fn count(&mut self, kind: String) {
        *self.kinds.entry(kind).or_default() += 1;
    }

    /// Fails the test if something was hardly tried.
    fn must_have_seen_all(&self) {
        let commands = "GET SET SETNX INCR DEL RENAME MSET MGET LPUSH LPOP BLPOP EXEC";
        let commands = commands.split(' ').map(str::to_owned);
        let ways = [Way::Text, Way::Digest, Way::Function, Way::Undeclared];
        let scripts = ["move", "shift", "transfer", "look"];
        let scripts = scripts.iter().flat_map(|name| ways.map(|way| format!("{way} {name}")));
        let watched = ["WATCH and EXEC".to_owned()];
        let names = commands.chain(scripts).chain(watched);
        let others = ["BLPOP: nil", "WATCH and EXEC: nil", "RENAME: an error", SERVED];
        let wanted = names.map(|name| format!("{name}: an answer"));
        for kind in wanted.chain(others.map(str::to_owned)) {
            assert!(self.kinds.contains_key(&kind), "never seen: {kind} of {:#?}", self.kinds);
        }
        let percent = self.overlapping * 100 / self.operations;
        assert!(percent >= OVERLAPPING_PERCENT_MIN, "only {percent} % overlap");
    }
}

/// What is wrong with a history.
fn report(recorded: &Recorded, server: &Server, seed: u64) -> String {
    let least = shrink(&recorded.events);
    let shard_of = |name: &str| server.keyspace().locate(name.as_bytes()).shard;
    format!(
        "history {} of {SEED_VARIABLE}={seed} is not linearizable; {} of its {} operations show \
         it:\n{}",
        recorded.number,
        least.len(),
        recorded.events.len(),
        describe(&least, &recorded.names, shard_of)
    )
}

fn server(shards: usize) -> Server {
    Server::start_in_real_time_with(shards, |options| options.threads = SERVER_THREADS)
}

fn is_linearizable(test: &str, shards: usize, operations: usize) {
    let operations = match std::env::var(OPERATIONS_VARIABLE) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{OPERATIONS_VARIABLE}: {text}")),
        Err(_) => operations,
    };
    let (server, seed, began) = (server(shards), seed(test), Instant::now());
    let findings = run(&server, seed, operations);
    println!(
        "{test}: {} operations in {} histories, {} undecided, {:.1} s; the longest check {} ms; \
         {} operations overlap with one before; {:#?}",
        findings.operations,
        findings.histories,
        findings.undecided,
        began.elapsed().as_secs_f64(),
        findings.slowest_check.as_millis(),
        findings.overlapping,
        findings.kinds
    );
    if let Some(broken) = &findings.broken {
        panic!("{}", report(broken, &server, seed));
    }
    assert_eq!(findings.undecided, 0, "the checker gave histories up");
    if findings.operations >= OPERATIONS_ONE_SHARD {
        findings.must_have_seen_all();
    }
}

#[test]
fn operations_on_keys_of_many_shards_are_linearizable() {
    is_linearizable("linearizability on many shards", MANY_SHARDS, OPERATIONS);
}

#[test]
fn operations_on_keys_of_one_shard_are_linearizable() {
    is_linearizable("linearizability on one shard", 1, OPERATIONS_ONE_SHARD);
}

/// Fails the test unless a plain run finds this bug.
fn is_found(test: &str, bug: Bug) {
    let ended = in_own_process(&format!("linearizability::{test}"), || {
        let _planted = plant(bug);
        let (server, seed) = (server(MANY_SHARDS), seed(test));
        let findings = run(&server, seed, OPERATIONS);
        let operations = findings.operations;
        let Some(broken) = &findings.broken else {
            panic!("{bug:?} was not found in {operations} operations");
        };
        println!("{bug:?}: found in {operations} operations");
        println!("{}", report(broken, &server, seed));
    });
    if let Some(Ended { has_passed, text }) = ended {
        println!("{text}");
        assert!(has_passed, "{text}");
    }
}

#[test]
fn a_write_of_several_keys_that_is_not_one_is_found() {
    is_found("a_write_of_several_keys_that_is_not_one_is_found", Bug::TornWrite);
}

#[test]
fn a_script_that_lets_go_between_two_calls_is_found() {
    is_found("a_script_that_lets_go_between_two_calls_is_found", Bug::ScriptLetsGo);
}

#[test]
fn an_exec_that_lets_go_between_two_commands_is_found() {
    is_found("an_exec_that_lets_go_between_two_commands_is_found", Bug::ExecLetsGo);
}

#[test]
fn an_exec_that_looks_at_its_watched_keys_too_early_is_found() {
    is_found("an_exec_that_looks_at_its_watched_keys_too_early_is_found", Bug::EarlyWatch);
}

#[test]
fn an_element_that_is_lost_on_its_way_to_a_waiting_client_is_found() {
    let test = "an_element_that_is_lost_on_its_way_to_a_waiting_client_is_found";
    is_found(test, Bug::TakenBeforeDecided);
}

#[test]
fn a_client_that_waits_though_an_element_is_there_is_found() {
    is_found("a_client_that_waits_though_an_element_is_there_is_found", Bug::LateWait);
}

/// Else they would lock all shards, and prove nothing of those that lock few.
#[test]
fn the_scripts_that_declare_their_keys_lock_only_the_shards_of_these() {
    let test = "the_scripts_that_declare_their_keys_lock_only_the_shards_of_these";
    let ended = in_own_process(&format!("linearizability::{test}"), || {
        let server = server(MANY_SHARDS);
        let mut wire = server.wire();
        session::load_scripts(&mut wire);
        let names = session::names(&server, 0);
        let _planted = plant(Bug::FirstKeyOnly);
        for command in session::declaring_scripts() {
            assert_eq!(wire.run(&format!("DEL {} {}", names[0], names[1]))[..1], b":"[..]);
            let key = if command.to_string().contains("shift") { "LPUSH" } else { "SET" };
            wire.run(&format!("{key} {} 1", names[0]));
            let reply = wire.command(&session::arguments(&command, &names));
            let text = escape(&reply);
            assert!(text.contains("whose shard is not locked"), "{command}: {text}");
        }
    });
    if let Some(Ended { has_passed, text }) = ended {
        assert!(has_passed, "{text}");
    }
}
