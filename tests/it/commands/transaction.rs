//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.

use super::{NOT_AN_INTEGER, NULL, OK, WRONG_TYPE, expect_wrong_arity};
use crate::harness::flag::raise_at_end;
use crate::harness::server::{MANY_SHARDS, Server};
use crate::harness::wire::Wire;
use crate::it;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const QUEUED: &str = "+QUEUED\r\n";
const REFUSED: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";
/// What EXEC says when a watched key has changed.
const CHANGED: &str = "*-1\r\n";

fn queue(wire: &mut Wire, lines: &[&str]) {
    wire.expect("MULTI", OK);
    for line in lines {
        wire.expect(line, QUEUED);
    }
}

transcript!(queued_commands_run_in_order_and_are_answered_together, |wire| {
    queue(&mut wire, &["SET a 1", "INCR a", "GET a", "MSET b x c y", "MGET a b c none", "PING"]);
    wire.expect(
        "EXEC",
        "*6\r\n+OK\r\n:2\r\n$1\r\n2\r\n+OK\r\n\
         *4\r\n$1\r\n2\r\n$1\r\nx\r\n$1\r\ny\r\n$-1\r\n+PONG\r\n",
    );
    wire.expect("MULTI", OK).expect("EXEC", "*0\r\n");
    queue(&mut wire, &["DEL a b c", "RENAME none x", "DBSIZE", "KEYS *", "SCAN 0", "ECHO e"]);
    wire.expect(
        "EXEC",
        "*6\r\n:3\r\n-ERR no such key\r\n:0\r\n*0\r\n*2\r\n$1\r\n0\r\n*0\r\n$1\r\ne\r\n",
    );
    queue(&mut wire, &["RPUSH l a b", "RENAME l m", "LRANGE m 0 -1", "TYPE m", "EXISTS l m m"]);
    wire.expect("EXEC", "*5\r\n:2\r\n+OK\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n+list\r\n:2\r\n");
});

transcript!(commands_that_find_their_keys_late_run_in_a_transaction, |wire| {
    wire.expect("RPUSH l a b c", ":3\r\n").expect("MSET w_a 3 w_b 1 w_c 2", OK);
    queue(&mut wire, &["SORT l BY w_* GET w_*", "SET w_a 0", "SORT l BY w_* STORE l", "SORT_RO l"]);
    wire.expect("LRANGE l 0 -1", QUEUED);
    let text = "ERR One or more scores can't be converted into double";
    wire.expect(
        "EXEC",
        format!(
            "*5\r\n*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n+OK\r\n:3\r\n-{text}\r\n\
             *3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"
        ),
    );
    queue(&mut wire, &["FLUSHALL", "RANDOMKEY", "SET k v", "RANDOMKEY", "COPY k j", "DEL k"]);
    wire.expect("RANDOMKEY", QUEUED);
    wire.expect("EXEC", "*7\r\n+OK\r\n$-1\r\n+OK\r\n$1\r\nk\r\n:1\r\n:1\r\n$1\r\nj\r\n");
});

transcript!(values_are_restored_in_a_transaction, |wire| {
    let payload = "\"\\x00\\x03abc\\x0a\\x00\\xd9\\xac0=Ar\\xa2\\xe2\"";
    let line = format!("RESTORE k 0 {payload}");
    queue(&mut wire, &["DUMP k", &line, "GET k", &line, "RESTORE j 0 x", "EXISTS j"]);
    let busy = "-BUSYKEY Target key name already exists.\r\n";
    let footer = "-ERR DUMP payload version or checksum are wrong\r\n";
    wire.expect("EXEC", format!("*6\r\n$-1\r\n+OK\r\n$3\r\nabc\r\n{busy}{footer}:0\r\n"));
});

it!(a_dump_in_a_transaction_is_of_its_moment, |server| {
    let mut wire = server.wire();
    wire.expect("SET k old", OK);
    let (before, _) = (wire.run("DUMP k"), wire.expect("SET k new", OK));
    let after = wire.run("DUMP k");
    queue(&mut wire, &["SET k old", "DUMP k", "SET k new", "DUMP k"]);
    let mut expected = b"*4\r\n+OK\r\n".to_vec();
    for part in [before.as_slice(), b"+OK\r\n", after.as_slice()] {
        expected.extend_from_slice(part);
    }
    wire.expect("EXEC", expected);
});

transcript!(an_error_in_one_command_does_not_stop_the_others, |wire| {
    queue(&mut wire, &["SET s x", "INCR s", "LPUSH s a", "APPEND s y"]);
    wire.expect("GET s", QUEUED);
    let not_an_integer = NOT_AN_INTEGER;
    wire.expect("EXEC", format!("*5\r\n+OK\r\n{not_an_integer}{WRONG_TYPE}:2\r\n$2\r\nxy\r\n"));
});

transcript!(a_refused_command_refuses_the_transaction, |wire| {
    for line in ["NOSUCH a", "GET", "SET a", "CLIENT NOSUCH", "SAVE", "SHUTDOWN NOSAVE"] {
        queue(&mut wire, &["SET a 1"]);
        let refused = wire.run(line);
        assert!(refused.starts_with(b"-ERR "), "{line}");
        wire.expect("SET b 1", QUEUED).expect("EXEC", REFUSED);
        wire.expect("EXISTS a b", ":0\r\n").expect("EXEC", "-ERR EXEC without MULTI\r\n");
    }
    queue(&mut wire, &["SET a 1"]);
    let text = "wrong number of arguments for 'exec' command";
    wire.expect("EXEC now", format!("-EXECABORT Transaction discarded because of: {text}\r\n"));
    wire.expect("EXEC", "-ERR EXEC without MULTI\r\n");
    queue(&mut wire, &["SET a 1"]);
    expect_wrong_arity(&mut wire, &["DISCARD now", "MULTI now"]);
    wire.expect("EXEC", REFUSED).expect("EXISTS a", ":0\r\n");
});

transcript!(multi_and_watch_do_not_nest_and_discard_forgets, |wire| {
    wire.expect("DISCARD", "-ERR DISCARD without MULTI\r\n");
    queue(&mut wire, &["SET a 1"]);
    wire.expect("MULTI", "-ERR MULTI calls can not be nested\r\n");
    wire.expect("WATCH a", "-ERR WATCH inside MULTI is not allowed\r\n");
    wire.expect("SET a 2", QUEUED).expect("EXEC", "*2\r\n+OK\r\n+OK\r\n");
    queue(&mut wire, &["SET a 3", "FLUSHALL"]);
    wire.expect("DISCARD", OK)
        .expect("GET a", "$1\r\n2\r\n")
        .expect("EXEC", "-ERR EXEC without MULTI\r\n");
    queue(&mut wire, &["SET a 3"]);
    wire.expect("RESET", "+RESET\r\n").expect("EXEC", "-ERR EXEC without MULTI\r\n");
    wire.expect("GET a", "$1\r\n2\r\n");
    expect_wrong_arity(&mut wire, &["MULTI x", "DISCARD x", "UNWATCH x", "WATCH"]);
    let text = "wrong number of arguments for 'exec' command";
    wire.expect("EXEC x", format!("-EXECABORT Transaction discarded because of: {text}\r\n"));
});

transcript!(
    databases_change_inside_a_transaction,
    several | addr | {
        let mut wire = Wire::connect(addr);
        queue(&mut wire, &["SET k 0", "SELECT 5", "SET k 5", "MOVE k 6", "SELECT 6", "GET k"]);
        wire.expect("EXEC", "*6\r\n+OK\r\n+OK\r\n+OK\r\n:1\r\n+OK\r\n$1\r\n5\r\n");
        wire.expect("GET k", "$1\r\n5\r\n");
        queue(&mut wire, &["SWAPDB 0 6", "GET k", "DBSIZE", "SELECT 99", "FLUSHDB", "DBSIZE"]);
        wire.expect(
            "EXEC",
            "*6\r\n+OK\r\n$1\r\n0\r\n:1\r\n-ERR DB index is out of range\r\n+OK\r\n:0\r\n",
        );
        wire.expect("SELECT 0", OK).expect("GET k", "$1\r\n5\r\n");
        queue(&mut wire, &["SET a b", "FLUSHALL", "DBSIZE", "MOVE k 99"]);
        wire.expect("EXEC", "*4\r\n+OK\r\n+OK\r\n:0\r\n-ERR DB index is out of range\r\n");
    }
);

/// What another client does to the watched key `k`, whether it is a change, and how `k` is before.
const CHANGES: &[(&str, &str, bool)] = &[
    ("SET k 1", "SET k 1", true),
    ("SET k 1", "SET other 1", false),
    ("SET k 1", "GET k", false),
    ("SET k 1", "DEL k", true),
    ("SET k 1", "DEL other none", false),
    ("DEL k", "DEL k", false),
    ("DEL k", "SET k 1", true),
    ("DEL k", "SET k 1 EX 100", true),
    ("SET k 1", "INCR k", true),
    ("SET k x", "INCR k", false),
    ("SET k 1", "APPEND k x", true),
    ("SET k 1", "APPEND k ''", true),
    ("SET k 1", "SETBIT k 0 0", false),
    ("SET k 1", "BITFIELD k SET u8 0 49", false),
    ("SET k 1", "BITFIELD k SET u8 0 50", true),
    ("SET k 1", "BITFIELD k INCRBY u8 0 0", false),
    ("SET k 1", "BITFIELD k SET u8 8 0", true),
    ("SET k 1", "EXPIRE k 1000", true),
    ("SET k 1", "PERSIST k", false),
    ("SET k 1 EX 1000", "PERSIST k", true),
    ("SET k 1", "EXPIRE k -1", true),
    ("SET k 1", "RENAME k other", true),
    ("SET k 1", "RENAME other k", true),
    ("SET k 1", "RENAME k k", false),
    ("SET k 1", "RENAME none k", false),
    ("SET k 1", "MSET a 1 k 2 b 3", true),
    ("SET k 1", "FLUSHALL", true),
    ("DEL k", "FLUSHALL", false),
    ("SET k 1", "FLUSHDB", true),
    ("SET k 1", "MOVE k 3", true),
    ("SET k 1", "MOVE other 3", false),
    ("SET k 1", "SWAPDB 0 4", true),
    ("SET k 1", "SWAPDB 3 4", false),
    ("DEL k", "SWAPDB 0 4", false),
    ("DEL k", "SWAPDB 0 9", true),
    ("RPUSH k a b", "RPUSH k c", true),
    ("RPUSH k a b", "LPOP k", true),
    ("RPUSH k a b", "LREM k 0 none", false),
    ("RPUSH k a b", "LREM k 0 a", true),
    ("RPUSH k a b", "LSET k 0 a", true),
    ("RPUSH k a b", "LSET k 9 a", false),
    ("RPUSH k a b", "LRANGE k 0 -1", false),
    ("RPUSH k a b", "LPOP k 0", false),
    ("HSET k f v", "HSET k f v", true),
    ("HSET k f v", "HDEL k none", false),
    ("HSET k f v", "HDEL k f", true),
    ("HSET k f v", "HINCRBY k f 1", false),
    ("HSET k f 1", "HINCRBY k f 1", true),
    ("HSET k f 1", "LPUSH k 1", false),
    ("SET k 1", "SET k 2 NX", false),
    ("SET k 1", "SET k 2 XX", true),
    ("SET k 1", "SET k 2 GET", true),
];

transcript!(
    exec_runs_unless_a_watched_key_has_changed,
    several | addr | {
        let (mut wire, mut other) = (Wire::connect(addr), Wire::connect(addr));
        for (before, change, changes) in CHANGES {
            let case = format!("{before}, {change}");
            other.expect("SELECT 9", OK).expect("FLUSHALL", OK).expect("SET k far", OK);
            other.expect("SELECT 0", OK).expect("SET other o", OK).run(before);
            wire.expect("WATCH unrelated k", OK).expect("WATCH k", OK);
            other.run(change);
            queue(&mut wire, &["PING"]);
            let reply = wire.run("EXEC");
            let expected = if *changes { CHANGED } else { "*1\r\n+PONG\r\n" };
            assert_eq!(String::from_utf8_lossy(&reply), expected, "{case}");
            // Whatever it was, nothing is watched any more.
            other.run("SET k again");
            queue(&mut wire, &["PING"]);
            wire.expect("EXEC", "*1\r\n+PONG\r\n");
        }
    }
);

transcript!(
    unwatch_discard_and_a_failed_exec_forget_the_keys,
    several | addr | {
        let (mut wire, mut other) = (Wire::connect(addr), Wire::connect(addr));
        for forget in
            [&["UNWATCH"][..], &["MULTI", "DISCARD"], &["MULTI", "NOSUCH", "EXEC"], &["RESET"]]
        {
            wire.expect("WATCH k", OK);
            for line in forget {
                wire.run(line);
            }
            other.expect("SET k v", OK);
            queue(&mut wire, &["PING"]);
            wire.expect("EXEC", "*1\r\n+PONG\r\n");
        }
        // The client's own changes count like those of others, before MULTI; inside they do not.
        wire.expect("WATCH k", OK).expect("SET k mine", OK);
        queue(&mut wire, &["GET k"]);
        wire.expect("EXEC", CHANGED).expect("WATCH k", OK);
        queue(&mut wire, &["SET k inside", "UNWATCH", "GET k"]);
        wire.expect("EXEC", "*3\r\n+OK\r\n+OK\r\n$6\r\ninside\r\n");
        // A key of another database is another key.
        wire.expect("SELECT 2", OK).expect("WATCH k", OK).expect("SELECT 0", OK);
        other.expect("SET k v", OK);
        queue(&mut wire, &["PING"]);
        wire.expect("EXEC", "*1\r\n+PONG\r\n").expect("SELECT 2", OK).expect("WATCH k", OK);
        other.expect("SELECT 2", OK).expect("SET k v", OK);
        queue(&mut wire, &["PING"]);
        wire.expect("EXEC", CHANGED);
        queue(&mut wire, &["PING"]);
        // A transaction of another one changes keys as well.
        wire.expect("EXEC", "*1\r\n+PONG\r\n").expect("WATCH k", OK);
        queue(&mut other, &["GET k", "DEL k"]);
        other.expect("EXEC", "*2\r\n$1\r\nv\r\n:1\r\n");
        queue(&mut wire, &["PING"]);
        wire.expect("EXEC", CHANGED);
    }
);

it!(a_watched_key_that_expires_has_changed, |server| {
    let mut wire = server.wire();
    wire.expect("SET k v PX 1000", OK).expect("WATCH k", OK);
    server.advance_ms(999);
    queue(&mut wire, &["PING"]);
    wire.expect("EXEC", "*1\r\n+PONG\r\n").expect("WATCH k", OK);
    server.advance_ms(1);
    queue(&mut wire, &["PING"]);
    wire.expect("EXEC", CHANGED);
    // One that had expired before is gone, and stays so.
    wire.expect("SET k v PX 1000", OK);
    server.advance_ms(1_000);
    wire.expect("WATCH k", OK);
    queue(&mut wire, &["GET k"]);
    wire.expect("EXEC", format!("*1\r\n{NULL}"));
});

it!(the_moment_of_a_transaction_is_one, |server| {
    let mut wire = server.wire();
    wire.expect("SET k v PX 1000", OK);
    queue(&mut wire, &["PTTL k", "PEXPIRE k 500", "PTTL k", "GET k"]);
    server.advance_ms(400);
    wire.expect("EXEC", "*4\r\n:600\r\n:1\r\n:500\r\n$1\r\nv\r\n");
    queue(&mut wire, &["GET k", "DBSIZE", "EXISTS k"]);
    server.advance_ms(600);
    let reply = String::from_utf8(wire.run("EXEC")).unwrap();
    assert!(reply.starts_with("*3\r\n$-1\r\n:") && reply.ends_with(":0\r\n"), "{reply}");
});

it!(a_queued_transaction_is_told_and_gone_with_its_client, |server| {
    let (mut wire, mut other) = (server.wire(), server.wire());
    queue(&mut wire, &["SET a 1", "SET b 2"]);
    let list = String::from_utf8(other.run("CLIENT LIST")).unwrap();
    assert!(list.contains(" flags=x ") && list.contains(" multi=2 "), "{list}");
    wire.expect("DISCARD", OK).expect("WATCH a b c", OK);
    let list = String::from_utf8(other.run("CLIENT LIST")).unwrap();
    assert!(!list.contains(" flags=x "), "{list}");
    drop(wire);
    other.expect("SET a 1", OK);
});

it!(hello_inside_changes_the_protocol_from_there_on, |server| {
    let mut wire = server.wire();
    queue(&mut wire, &["GET none", "HELLO 3", "GET none"]);
    wire.send("EXEC");
    let reply = String::from_utf8(wire.reply()).unwrap();
    assert!(reply.starts_with("*3\r\n$-1\r\n%7\r\n") && reply.ends_with("_\r\n"), "{reply}");
});

#[test]
fn what_cannot_be_part_of_a_transaction_says_so_and_the_rest_runs() {
    let server = Server::start_with(MANY_SHARDS, |options| {
        options.debug_access = my_redis::config::DebugAccess::All;
    });
    let mut wire = server.wire();
    queue(&mut wire, &["SET a 1", "DEBUG SLEEP 0.01", "DEBUG RELOAD", "BGSAVE", "GET a"]);
    let refused = "-ERR Command not allowed inside a transaction\r\n";
    let saves = "+Background saving started\r\n";
    wire.expect("EXEC", format!("*5\r\n+OK\r\n{refused}{refused}{saves}$1\r\n1\r\n"));
}

/// Money goes to and fro between accounts in transactions, with WATCH and without; whoever reads
/// all of them, in a transaction or by MGET, finds the same sum.
#[test]
fn transactions_are_atomic_over_shards() {
    const ACCOUNTS: usize = 20;
    const TOTAL: i64 = 100 * ACCOUNTS as i64;
    let server = Server::start(MANY_SHARDS);
    let names: Vec<String> = (0..ACCOUNTS).map(|n| format!("account:{n}")).collect();
    let pairs: Vec<String> = names.iter().map(|name| format!("{name} 100")).collect();
    server.wire().expect(&format!("MSET {}", pairs.join(" ")), OK);
    let stopped = AtomicBool::new(false);
    let sum = |reply: &[u8]| -> i64 {
        let text = std::str::from_utf8(reply).unwrap();
        let numbers = text.lines().filter(|line| !line.starts_with(['*', '$']));
        numbers.map(|line| line.parse::<i64>().unwrap()).sum()
    };
    let transfer = |seed: usize, wire: &mut Wire| {
        let (from, to) = (&names[seed % ACCOUNTS], &names[(seed / 7 + 1) % ACCOUNTS]);
        if seed.is_multiple_of(3) {
            // By value, which only WATCH makes safe.
            wire.expect(&format!("WATCH {from} {to}"), OK);
            let values = [from, to].map(|name| sum(&wire.run(&format!("GET {name}"))));
            if from == to {
                wire.expect("UNWATCH", OK);
                return;
            }
            wire.expect("MULTI", OK);
            wire.run(&format!("SET {from} {}", values[0] - 1));
            wire.run(&format!("SET {to} {}", values[1] + 1));
        } else {
            wire.expect("MULTI", OK);
            wire.run(&format!("DECR {from}"));
            wire.run(&format!("INCR {to}"));
        }
        wire.run("EXEC");
    };
    std::thread::scope(|scope| {
        let at_end = raise_at_end(&stopped);
        for number in 0..4 {
            let (server, stopped) = (&server, &stopped);
            scope.spawn(move || {
                let (mut wire, mut seed) = (server.wire(), number * 1_001);
                while !stopped.load(Ordering::Relaxed) {
                    transfer(seed, &mut wire);
                    seed += 11;
                }
            });
        }
        let (mut wire, began, mut reads) = (server.wire(), Instant::now(), 0);
        let all = format!("MGET {}", names.join(" "));
        while began.elapsed() < Duration::from_secs(2) {
            let reply = if reads % 2 == 0 {
                wire.run(&all)
            } else {
                wire.expect("MULTI", OK);
                for name in &names {
                    wire.expect(&format!("GET {name}"), QUEUED);
                }
                wire.run("EXEC")
            };
            reads += 1;
            assert_eq!(sum(&reply), TOTAL, "read {reads}");
        }
        drop(at_end);
        assert!(reads > 20, "only {reads} reads");
    });
}

// Only what removed something counted as a change for who watches.
transcript!(a_list_that_was_trimmed_of_nothing_has_changed_for_who_watches, |wire| {
    wire.expect("RPUSH l a b", ":2\r\n").expect("WATCH l", OK).expect("LTRIM l 0 -1", OK);
    wire.expect("MULTI", OK).expect("EXEC", CHANGED);
    wire.expect("WATCH none", OK).expect("LTRIM none 0 -1", OK);
    wire.expect("MULTI", OK)
        .expect("EXEC", "*0\r\n")
        .expect("LRANGE l 0 -1", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
});
