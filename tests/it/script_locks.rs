//! Scripts beside everything else: nothing is seen by halves, and a script that does not end holds
//! up only those who need what it holds.

use crate::harness::dump::read_dump;
use crate::harness::planted::{Ended, in_own_process};
use crate::harness::process::Process;
use crate::harness::server::{Folder, MANY_SHARDS, Server};
use crate::harness::wire::{Wire, shown};
use crate::it;
use my_redis::keyspace::planted::{Bug, plant};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const ACCOUNTS: usize = 12;
const TOTAL: i64 = 1_200;

/// Moves an amount if there is enough; what it is given are keys.
const TRANSFER: &str = "local have = tonumber(redis.call('get', KEYS[1])) \
    local amount = tonumber(ARGV[1]) if have < amount then return 0 end \
    redis.call('decrby', KEYS[1], amount) redis.call('incrby', KEYS[2], amount) return 1";
/// The same with keys that it makes up itself.
const TRANSFER_UNDECLARED: &str = "local from, to = 'account:' .. ARGV[2], 'account:' .. ARGV[3] \
    local have = tonumber(redis.call('get', from)) \
    local amount = tonumber(ARGV[1]) if have < amount then return 0 end \
    redis.call('decrby', from, amount) redis.call('incrby', to, amount) return 1";
const LIBRARY: &str = "#!lua name=bank\nredis.register_function('transfer', function(keys, args) \
    redis.call('decrby', keys[1], args[1]) redis.call('incrby', keys[2], args[1]) end)";
const MOVE_TOKEN: &str = "if redis.call('exists', KEYS[1]) == 1 then \
    redis.call('rename', KEYS[1], KEYS[2]) end";

fn account(number: usize) -> String {
    format!("account:{}", number % ACCOUNTS)
}

/// The sum of all numbers in a reply.
fn sum_of(reply: &[u8]) -> i64 {
    let text = String::from_utf8(reply.to_vec()).unwrap();
    let lines = text.lines().skip(1).filter(|line| !line.starts_with('$') && !line.is_empty());
    lines.map(|line| line.parse::<i64>().unwrap_or_else(|_| panic!("{text}"))).sum()
}

#[track_caller]
fn check(reply: &[u8]) {
    assert!(!reply.starts_with(b"-"), "{}", shown(reply));
}

/// Scripts, transactions and functions move amounts, and a token, between shards; readers see the
/// same sum at any moment, and so do dumps that are taken meanwhile.
fn money_is_neither_lost_nor_made(server: &Server, rounds: usize) {
    let mut wire = server.wire();
    for number in 0..ACCOUNTS {
        wire.expect(&format!("SET {} 100", account(number)), "+OK\r\n");
    }
    wire.expect("SET token:a x", "+OK\r\n");
    check(&wire.command(&["FUNCTION", "LOAD", LIBRARY]));
    let all: Vec<String> = (0..ACCOUNTS).map(account).collect();
    let stop = &AtomicBool::new(false);
    thread::scope(|scope| {
        let movers: Vec<_> = (0..5_usize)
            .map(|kind| scope.spawn(move || (0..rounds).for_each(|n| step(server, kind, n))))
            .collect();
        let readers = [format!("MGET {}", all.join(" ")), "EXISTS token:a token:b".to_owned()];
        for line in readers {
            scope.spawn(move || {
                let mut wire = server.wire();
                while !stop.load(Ordering::Relaxed) {
                    let reply = wire.run(&line);
                    let is_whole = match line.starts_with("MGET") {
                        true => sum_of(&reply) == TOTAL,
                        false => reply == b":1\r\n",
                    };
                    assert!(is_whole, "{line}: {}", shown(&reply));
                }
            });
        }
        let saver = scope.spawn(move || {
            let mut wire = server.wire();
            while !stop.load(Ordering::Relaxed) {
                wire.expect("SAVE", "+OK\r\n");
                let dump = read_dump(&server.dump_path());
                let value = |value: &Vec<u8>| String::from_utf8_lossy(value).parse::<i64>();
                let accounts = dump.iter().filter(|(key, _)| key.starts_with(b"account:"));
                let sum: i64 = accounts.map(|(_, number)| value(number).unwrap()).sum();
                let tokens = dump.keys().filter(|key| key.starts_with(b"token:")).count();
                assert_eq!((sum, tokens), (TOTAL, 1), "a dump of no moment");
            }
        });
        let failed = movers.into_iter().filter_map(|mover| mover.join().err()).count();
        stop.store(true, Ordering::Relaxed);
        assert!(failed == 0 && saver.join().is_ok());
    });
    let reply = wire.run(&format!("MGET {}", all.join(" ")));
    assert_eq!(sum_of(&reply), TOTAL);
}

/// One change by one of the ways in which there are any.
fn step(server: &Server, kind: usize, n: usize) {
    thread_local! {
        static WIRE: std::cell::RefCell<Option<Wire>> = const { std::cell::RefCell::new(None) };
    }
    WIRE.with_borrow_mut(|wire| {
        let wire = wire.get_or_insert_with(|| server.wire());
        let (from, to) = (n * 7 + kind, n * 5 + kind * 3 + 1);
        let (amount, names) = ((n % 9).to_string(), [account(from), account(to)]);
        let [from_name, to_name] = names.each_ref().map(String::as_str);
        match kind {
            0 => check(&wire.command(&["EVAL", TRANSFER, "2", from_name, to_name, &amount])),
            1 => {
                let numbers = [from, to].map(|number| (number % ACCOUNTS).to_string());
                let request = ["EVAL", TRANSFER_UNDECLARED, "0", &amount, &numbers[0], &numbers[1]];
                check(&wire.command(&request));
            }
            2 => {
                wire.send("MULTI").send(&format!("DECRBY {from_name} {amount}"));
                wire.send_args(&["EVAL", TRANSFER, "2", to_name, from_name, "1"]);
                wire.send(&format!("INCRBY {to_name} {amount}")).send("EXEC");
                (0..4).for_each(|_| drop(wire.reply()));
                check(&wire.reply());
            }
            3 => check(&wire.command(&["FCALL", "transfer", "2", from_name, to_name, &amount])),
            _ => {
                let (here, there) = if n.is_multiple_of(2) { ("a", "b") } else { ("b", "a") };
                let (here, there) = (format!("token:{here}"), format!("token:{there}"));
                match n % 4 {
                    0 | 3 => check(&wire.command(&["EVAL", MOVE_TOKEN, "2", &here, &there])),
                    _ => drop(wire.run(&format!("RENAME {here} {there}"))),
                }
            }
        }
    });
}

it!(what_scripts_move_between_shards_is_neither_lost_nor_doubled, |server| {
    money_is_neither_lost_nor_made(server, 600);
});

#[test]
fn a_script_that_locks_too_little_is_found() {
    let path = "script_locks::a_script_that_locks_too_little_is_found";
    let ended = in_own_process(path, || {
        let _planted = plant(Bug::FirstKeyOnly);
        money_is_neither_lost_nor_made(&Server::start(MANY_SHARDS), 100);
    });
    if let Some(Ended { has_passed, text }) = ended {
        assert!(!has_passed, "the planted bug was not found");
        assert!(text.contains("a key was asked for whose shard is not locked"), "{text}");
    }
}

#[test]
fn a_script_that_was_wrongly_proved_gets_an_error_and_no_lock() {
    let path = "script_locks::a_script_that_was_wrongly_proved_gets_an_error_and_no_lock";
    let ended = in_own_process(path, || {
        let _planted = plant(Bug::WrongProof);
        let server = Server::start(MANY_SHARDS);
        let mut wire = server.wire();
        let [here, there] = keys_of_two_shards(&server);
        let script = "redis.call('set', KEYS[1], 'x') local got = redis.pcall('get', ARGV[1]) \
                      local all = redis.pcall('dbsize') return {got.err, all.err}";
        let reply = wire.command(&["EVAL", script, "1", &here, &there]);
        let reply = String::from_utf8(reply).unwrap();
        assert_eq!(reply.matches("ERR a key was asked for whose shard is not locked").count(), 2);
        wire.expect(&format!("GET {here}"), "$1\r\nx\r\n");
        wire.expect(&format!("GET {there}"), "$-1\r\n");
    });
    assert!(ended.is_none_or(|ended| ended.has_passed));
}

/// Two keys that are not in the same shard.
fn keys_of_two_shards(server: &Server) -> [String; 2] {
    let shard = |key: &str| server.keyspace().locate(key.as_bytes()).shard;
    let other = (0..).map(|n| format!("other:{n}")).find(|key| shard(key) != shard("held"));
    ["held".to_owned(), other.unwrap()]
}

const BUSY: &str = "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or \
                    SHUTDOWN NOSAVE.\r\n";
const BUSY_FUNCTION: &str = "-BUSY Redis is busy running a script. You can only call FUNCTION \
                             KILL or SHUTDOWN NOSAVE.\r\n";
const FOR_EVER: &str = "while true do end";

fn server_with_threads(threads: usize) -> Server {
    Server::start_with(MANY_SHARDS, |options| options.threads = threads)
}

/// Waits until a script is busy.
#[track_caller]
fn wait_until_busy(wire: &mut Wire) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while wire.run("PING") == b"+PONG\r\n" {
        assert!(Instant::now() < deadline, "no script is busy");
        thread::sleep(Duration::from_millis(5));
    }
}

fn a_busy_script_holds_up_only_its_keys(threads: usize) {
    let server = server_with_threads(threads);
    let [held, other] = keys_of_two_shards(&server);
    let (mut boss, mut script, mut early) = (server.wire(), server.wire(), server.wire());
    boss.expect("CONFIG SET busy-reply-threshold 200", "+OK\r\n");
    boss.expect("SCRIPT KILL", "-NOTBUSY No scripts in execution right now.\r\n");
    let mut watcher = server.wire();
    watcher.expect(&format!("WATCH {held}"), "+OK\r\n");
    script.send_args(&["EVAL", FOR_EVER, "1", &held]);
    // Somebody waits for the key already when the script becomes busy.
    thread::sleep(Duration::from_millis(50));
    early.send(&format!("GET {held}"));
    wait_until_busy(&mut boss);
    early.expect_reply(BUSY);
    for line in [
        format!("GET {held}"),
        format!("SET {held} x"),
        format!("MGET {other} {held}"),
        format!("MSET {other} x {held} x"),
        format!("WATCH {held}"),
        format!("BLPOP {held} 0"),
        format!("SORT {other} BY x_*"),
        "KEYS *".to_owned(),
        "FLUSHALL".to_owned(),
        "INFO".to_owned(),
        "SHUTDOWN SAVE".to_owned(),
        format!("EVAL \"return 1\" 1 {held}"),
    ] {
        early.expect(&line, BUSY);
    }
    early.expect("MULTI", "+OK\r\n").expect(&format!("GET {held}"), "+QUEUED\r\n");
    let aborted = BUSY.replace("-BUSY", "-EXECABORT Transaction discarded because of: BUSY");
    early.expect("EXEC", &aborted);
    watcher.expect("MULTI", "+OK\r\n").expect(&format!("GET {held}"), "+QUEUED\r\n");
    watcher.expect("EXEC", &aborted);
    // The watched key is forgotten, though its shard is still held.
    watcher.expect("MULTI", "+OK\r\n").expect(&format!("SET {other} 0"), "+QUEUED\r\n");
    watcher.expect("EXEC", "*1\r\n+OK\r\n");
    // Other shards are as they ever were, also for scripts and transactions.
    early.expect(&format!("SET {other} 1"), "+OK\r\n");
    let request = ["EVAL", "return redis.call('incr', KEYS[1])", "1", &other];
    assert_eq!(early.command(&request), b":2\r\n");
    early.expect("MULTI", "+OK\r\n").expect(&format!("INCR {other}"), "+QUEUED\r\n");
    early.expect("EXEC", "*1\r\n:3\r\n");
    early.expect("FUNCTION STATS", BUSY).expect("FUNCTION KILL", BUSY);
    script.expect_silence(50);
    boss.expect("SCRIPT KILL", "+OK\r\n");
    let killed = String::from_utf8(script.reply()).unwrap();
    assert!(killed.starts_with("-ERR Script killed by user with SCRIPT KILL..."), "{killed}");
    early.expect(&format!("GET {held}"), "$-1\r\n");
    boss.expect("PING", "+PONG\r\n");
    boss.expect("SCRIPT KILL", "-NOTBUSY No scripts in execution right now.\r\n");
}

#[test]
fn a_busy_script_holds_up_only_its_keys_on_one_thread() {
    a_busy_script_holds_up_only_its_keys(1);
}

#[test]
fn a_busy_script_holds_up_only_its_keys_on_several_threads() {
    a_busy_script_holds_up_only_its_keys(3);
}

/// In a process of its own: the script goes on until that ends.
#[test]
fn a_script_that_has_written_is_not_killed_but_the_server_can_be() {
    for shards in ["1", "16"] {
        let folder = Folder::new();
        let mut server = Process::start(folder.path(), &["--save", "", "--shards", shards]);
        let (mut boss, mut script) = (server.wire(), server.wire());
        boss.expect("CONFIG SET lua-time-limit 50", "+OK\r\n");
        let writes = "redis.call('set', KEYS[1], 'x') while true do end";
        script.send_args(&["EVAL", writes, "1", "held"]);
        wait_until_busy(&mut boss);
        boss.expect(
            "SCRIPT KILL",
            "-UNKILLABLE Sorry the script already executed write commands against the dataset. \
             You can either wait the script termination or kill the server in a hard way using \
             the SHUTDOWN NOSAVE command.\r\n",
        );
        let began = Instant::now();
        boss.send("SHUTDOWN NOSAVE");
        assert!(server.wait().success());
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}

it!(a_script_that_catches_all_errors_is_killed_all_the_same, |server| {
    let (mut boss, mut script) = (server.wire(), server.wire());
    boss.expect("CONFIG SET busy-reply-threshold 50", "+OK\r\n");
    let stubborn = "local f = function() while true do redis.call('get', KEYS[1]) end end \
                    while true do pcall(f) end";
    script.send_args(&["EVAL", stubborn, "1", "held"]);
    wait_until_busy(&mut boss);
    boss.expect("SCRIPT KILL", "+OK\r\n");
    let killed = String::from_utf8(script.reply()).unwrap();
    assert!(killed.contains("Script killed by user"), "{killed}");
});

it!(a_busy_function_is_told_of_and_killed_by_its_own_command, |server| {
    let (mut boss, mut caller) = (server.wire(), server.wire());
    boss.expect("CONFIG SET busy-reply-threshold 50", "+OK\r\n");
    let library = "#!lua name=l\nredis.register_function('spin', function() while true do end end)";
    check(&boss.command(&["FUNCTION", "LOAD", library]));
    caller.send_args(&["FCALL", "spin", "1", "held"]);
    wait_until_busy(&mut boss);
    boss.expect("GET held", BUSY_FUNCTION).expect("SCRIPT KILL", BUSY_FUNCTION);
    let stats = String::from_utf8(boss.run("FUNCTION STATS")).unwrap();
    let expected = "*4\r\n$14\r\nrunning_script\r\n*6\r\n$4\r\nname\r\n$4\r\nspin\r\n\
                    $7\r\ncommand\r\n*4\r\n$5\r\nFCALL\r\n$4\r\nspin\r\n$1\r\n1\r\n$4\r\nheld\r\n\
                    $11\r\nduration_ms\r\n:";
    assert!(stats.starts_with(expected), "{stats}");
    boss.expect("FUNCTION KILL", "+OK\r\n");
    assert!(caller.reply().starts_with(b"-ERR Script killed by user"));
    boss.expect("PING", "+PONG\r\n");
});

#[test]
fn all_busy_scripts_that_have_not_written_are_killed_together() {
    let server = server_with_threads(2);
    let [held, other] = keys_of_two_shards(&server);
    let (mut boss, mut one, mut two) = (server.wire(), server.wire(), server.wire());
    boss.expect("CONFIG SET busy-reply-threshold 50", "+OK\r\n");
    one.send_args(&["EVAL", FOR_EVER, "1", &held]);
    two.send_args(&["EVAL", FOR_EVER, "1", &other]);
    wait_until_busy(&mut boss);
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut reader = server.wire();
    while reader.run(&format!("GET {held}")) != BUSY.as_bytes()
        || reader.run(&format!("GET {other}")) != BUSY.as_bytes()
    {
        assert!(Instant::now() < deadline);
    }
    boss.expect("SCRIPT KILL", "+OK\r\n");
    assert!(one.reply().starts_with(b"-ERR Script killed"));
    assert!(two.reply().starts_with(b"-ERR Script killed"));
}

#[test]
fn a_long_script_holds_up_no_one_who_needs_other_keys() {
    let server = server_with_threads(1);
    let [held, other] = keys_of_two_shards(&server);
    let mut script = server.wire();
    script.send_args(&["EVAL", FOR_EVER, "1", &held]);
    thread::sleep(Duration::from_millis(50));
    // More clients wait for the key than there are threads.
    let mut waiting: Vec<Wire> = (0..4).map(|_| server.wire()).collect();
    for wire in &mut waiting {
        wire.send(&format!("GET {held}"));
    }
    thread::sleep(Duration::from_millis(50));
    let (mut wire, began) = (server.wire(), Instant::now());
    for n in 1..=20 {
        wire.expect(&format!("INCR {other}"), format!(":{n}\r\n"));
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    wire.expect("CONFIG SET busy-reply-threshold 1", "+OK\r\n");
    wait_until_busy(&mut wire);
    for wire in &mut waiting {
        wire.expect_reply(BUSY);
    }
    wire.expect("SCRIPT KILL", "+OK\r\n");
    assert!(script.reply().starts_with(b"-ERR Script killed"));
}

it!(a_client_that_is_killed_leaves_its_script_to_end, |server| {
    let (mut boss, mut script) = (server.wire(), server.wire());
    let id = String::from_utf8(script.run("CLIENT ID")).unwrap();
    let works = "for i = 1, 20000000 do end return redis.call('set', KEYS[1], 'done')";
    script.send_args(&["EVAL", works, "1", "k"]);
    thread::sleep(Duration::from_millis(30));
    boss.expect(&format!("CLIENT KILL ID {}", id[1..].trim_end()), ":1\r\n");
    let _reply_or_none = script.read_to_close();
    let deadline = Instant::now() + Duration::from_secs(20);
    while boss.run("GET k") != b"$4\r\ndone\r\n" {
        assert!(Instant::now() < deadline, "the script did not end");
        thread::sleep(Duration::from_millis(5));
    }
});

it!(a_script_waits_for_nothing_and_a_save_waits_for_it, |server| {
    let (mut boss, mut script) = (server.wire(), server.wire());
    let works = "redis.call('set', KEYS[1], 'x') for i = 1, 20000000 do end \
                 redis.call('set', KEYS[2], 'x')";
    for n in 0..4 {
        let keys = [format!("a{n}"), format!("b{n}")];
        script.send_args(&["EVAL", works, "2", &keys[0], &keys[1]]);
        thread::sleep(Duration::from_millis(10 * n));
        boss.expect("SAVE", "+OK\r\n");
        let dump = read_dump(&server.dump_path());
        let [a, b] = keys.each_ref().map(|key| dump.contains_key(key.as_bytes()));
        assert_eq!(a, b, "half of a script is in the dump");
        script.expect_reply("$-1\r\n");
    }
});
