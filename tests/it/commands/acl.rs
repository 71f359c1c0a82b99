//! ACL: users and their rules, and every gate that asks for them, compared with Redis.
//!
//! A line of a session begins with the name of the connection that sends it; each server has its
//! own connections by these names.

use super::{OK, elements, expect_alike, introspection::NEWER};
use crate::harness::oracle::Oracle;
use crate::harness::process::{Process, refusal};
use crate::harness::random::{Random, seed};
use crate::harness::server::{Folder, MANY_SHARDS, Server};
use crate::harness::wire::{Wire, encode, shown};
use my_redis::command::spec::Arity;
use my_redis::command::table;
use std::collections::HashMap;
use std::net::SocketAddr;

/// Fails the test unless both servers answer all lines alike, and close the same connections.
#[track_caller]
fn session_between(ours: SocketAddr, redis: SocketAddr, lines: &[&str]) {
    let mut wires: HashMap<String, [Wire; 2]> = HashMap::new();
    for line in lines {
        let (who, request) = line.split_once(": ").unwrap();
        let both = wires
            .entry(who.to_owned())
            .or_insert_with(|| [Wire::connect(ours), Wire::connect(redis)]);
        let [got, expected] = both.each_mut().map(|wire| match request {
            "(message)" => wire.try_reply(),
            _ => wire.send(request).try_reply(),
        });
        let text = |reply: &Result<Vec<u8>, String>| match reply {
            Ok(reply) => shown(reply),
            Err(reason) => reason.split(',').next().unwrap().to_owned(),
        };
        // What follows in the answer to HELLO has the number of the client.
        let compared_len = if request.starts_with("HELLO") { 60 } else { usize::MAX };
        let [got, wanted] = [&got, &expected]
            .map(|reply| text(reply).chars().take(compared_len).collect::<String>());
        assert_eq!(got, wanted, "{line}");
        if expected.is_err() {
            wires.remove(who);
        }
    }
}

#[track_caller]
fn session(lines: &[&str]) {
    let oracle = Oracle::start();
    for shards in [1, MANY_SHARDS] {
        let mut oracle_again = Wire::connect(oracle.addr());
        for name in ["alice", "bob", "carol"] {
            oracle_again.run(&format!("ACL DELUSER {name}"));
        }
        for line in [
            "ACL SETUSER default reset on nopass ~* &* +@all",
            "ACL LOG RESET",
            "FLUSHALL",
            "CONFIG RESETSTAT",
        ] {
            oracle_again.expect(line, OK);
        }
        let server = Server::start(shards);
        let mut admin = server.wire();
        admin.expect("ACL SETUSER default reset on nopass ~* &* +@all", OK);
        session_between(server.addr(), oracle.addr(), lines);
    }
}

#[test]
fn rules_are_read_and_shown_as_by_redis() {
    let lines = &[
        "ACL",
        "ACL NOSUCH",
        "ACL WHOAMI",
        "ACL WHOAMI x",
        "ACL USERS",
        "ACL LIST",
        "ACL GETUSER default",
        "ACL GETUSER nosuch",
        "ACL SETUSER",
        "ACL SETUSER 'a b'",
        "ACL SETUSER \"a\\x00b\"",
        "ACL SETUSER a",
        "ACL GETUSER a",
        "ACL SETUSER a on >pass >pass >other #9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "ACL GETUSER a",
        "ACL SETUSER a <pass <nopass",
        "ACL GETUSER a",
        "ACL SETUSER a <pass !9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "ACL SETUSER a #abc",
        "ACL SETUSER a #9F86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "ACL SETUSER a !zz",
        "ACL GETUSER a",
        "ACL SETUSER a nopass",
        "ACL GETUSER a",
        "ACL SETUSER a resetpass",
        "ACL SETUSER a skip-sanitize-payload",
        "ACL GETUSER a",
        "ACL SETUSER a sanitize-payload",
        "ACL SETUSER a ~x* ~x* %R~y* %w~y* %RW~z %R~only %W~only2 &c1 &c2 &c1",
        "ACL GETUSER a",
        "ACL LIST",
        "ACL SETUSER a %RR~x",
        "ACL SETUSER a %X~x",
        "ACL SETUSER a %~x",
        "ACL SETUSER a %",
        "ACL SETUSER a %R",
        "ACL SETUSER a '~a b'",
        "ACL SETUSER a '&a b'",
        "ACL SETUSER a allkeys",
        "ACL SETUSER a ~after",
        "ACL SETUSER a %R~after",
        "ACL SETUSER a allchannels &after",
        "ACL SETUSER a resetkeys resetchannels",
        "ACL SETUSER a +get +SET -get",
        "ACL GETUSER a",
        "ACL SETUSER a -set +config|get +config|set -config|get",
        "ACL GETUSER a",
        "ACL SETUSER a -config",
        "ACL SETUSER a +nosuch",
        "ACL SETUSER a -nosuch",
        "ACL SETUSER a +@nosuch",
        "ACL SETUSER a +config|nosuch",
        "ACL SETUSER a +config|get|x",
        "ACL SETUSER a +get|",
        "ACL SETUSER a +nosuch|x",
        "ACL SETUSER a -select|0",
        "ACL SETUSER a +select|0 +select|1 +SELECT|0",
        "ACL GETUSER a",
        "ACL SETUSER a +select",
        "ACL GETUSER a",
        "ACL SETUSER a nonsense",
        "ACL SETUSER a \"non\\r\\nsense\"",
        "ACL SETUSER a ''",
        "ACL SETUSER a (",
        "ACL SETUSER a )",
        "ACL SETUSER a ( +get",
        "ACL SETUSER a () (+get ~a) '(+set ~b &c)' (+del ~d )",
        "ACL GETUSER a",
        "ACL LIST",
        "ACL SETUSER a (+nosuch)",
        "ACL SETUSER a (on)",
        "ACL SETUSER a (+get (+set))",
        "ACL SETUSER a clearselectors",
        "ACL GETUSER a",
        "ACL SETUSER a ALLCOMMANDS -GET +get nocommands ON Off RESET",
        "ACL GETUSER a",
        "ACL SETUSER a +@all -get",
        "ACL GETUSER a",
        "ACL SETUSER a +get",
        "ACL GETUSER a",
        "ACL SETUSER half +get -nosuch",
        "ACL GETUSER half",
        "ACL DELUSER",
        "ACL DELUSER default",
        "ACL DELUSER a default",
        "ACL DELUSER nosuch",
        "ACL DELUSER a nosuch a",
        "ACL USERS",
        "ACL CAT",
        "ACL CAT nosuch",
        "ACL CAT a b",
        "ACL GENPASS 0",
        "ACL GENPASS -5",
        "ACL GENPASS 4097",
        "ACL GENPASS x",
        "ACL GENPASS 1 2",
        "ACL LOG",
        "ACL LOG x",
        "ACL LOG 1 2",
        "ACL LOG RESET",
        "ACL LOAD",
        "ACL SAVE",
        "ACL HELP",
        "ACL DRYRUN",
        "ACL DRYRUN default",
        "ACL DRYRUN nosuch get a",
        "ACL DRYRUN default nosuch a",
        "ACL DRYRUN default get",
        "ACL DRYRUN default get a",
        "ACL DRYRUN default config nosuch",
        "ACL DRYRUN default config|get x",
        "ACL DRYRUN \"a\\r\\nb\" get a",
    ];
    expect_alike(false, lines);
    expect_alike(true, lines);
}

#[test]
fn rules_for_categories_are_told_again_so_that_they_give_the_same() {
    let server = Server::start(1);
    let mut wire = server.wire();
    let mut random = Random::new(seed("acl rules"));
    let names: Vec<&str> = table::numbered().iter().map(|row| row.name()).collect();
    let categories = elements(&wire.run("ACL CAT"));
    for _ in 0..200 {
        let mut rules = Vec::new();
        for _ in 0..random.below(6) + 1 {
            let sign = if random.below(2) == 0 { "+" } else { "-" };
            let category = String::from_utf8(categories[random.below(categories.len())].clone());
            rules.push(match random.below(4) {
                0 => format!("{sign}@all"),
                1 => format!("{sign}@{}", category.unwrap()),
                _ => format!("{sign}{}", names[random.below(names.len())]),
            });
        }
        wire.expect(&format!("ACL SETUSER a reset {}", rules.join(" ")), OK);
        let told = String::from_utf8(elements(&wire.run("ACL LIST"))[0].clone()).unwrap();
        let told_rules = told.strip_prefix("user a ").unwrap();
        wire.expect(&format!("ACL SETUSER b reset {told_rules}"), OK);
        for name in &names {
            let request = format!("ACL DRYRUN {{}} {} x x x x x x", name.replace('|', " "));
            let [a, b] = ["a", "b"].map(|user| wire.run(&request.replace("{}", user)));
            assert_eq!(shown(&a), shown(&b), "{name} after {rules:?}, told as {told}");
        }
        let again = elements(&wire.run("ACL LIST"));
        assert_eq!(&again[1][b"user b ".len()..], told_rules.as_bytes(), "{rules:?}");
        assert_eq!(wire.run("ACL DELUSER b"), b":1\r\n");
    }
}

#[test]
fn categories_have_the_commands_of_redis() {
    let (server, oracle) = (Server::start(1), Oracle::start());
    let (mut ours, mut redis) = (server.wire(), Wire::connect(oracle.addr()));
    let known: Vec<Vec<u8>> =
        table::numbered().iter().map(|row| row.name().as_bytes().to_vec()).collect();
    let newer: Vec<Vec<u8>> = NEWER.iter().map(|name| name.to_lowercase().into_bytes()).collect();
    let categories = elements(&redis.run("ACL CAT"));
    assert_eq!(elements(&ours.run("ACL CAT")), categories);
    let mut compared = 0;
    for category in categories {
        for request in ["ACL CAT", "COMMAND LIST FILTERBY ACLCAT"] {
            let request = format!("{request} {}", String::from_utf8_lossy(&category));
            let (mut got, mut expected) =
                (elements(&ours.run(&request)), elements(&redis.run(&request)));
            got.retain(|name| !newer.contains(name));
            expected.retain(|name| known.contains(name));
            got.sort();
            expected.sort();
            assert_eq!(got, expected, "{request}");
            compared += got.len();
        }
    }
    assert!(compared > 1_000, "only {compared} names");
}

/// Words that the arguments of a request are put together from.
const WORDS: &[&str] = &[
    "r1",
    "r2",
    "w1",
    "w2",
    "rw1",
    "rw2",
    "x1",
    "1",
    "2",
    "3",
    "0",
    "STORE",
    "GET",
    "COUNT",
    "BY",
    "LIMIT",
    "STREAMS",
    "KEYS",
    "ch1",
    "ch2",
    "STOREDIST",
    "GROUP",
    "SET",
    "INCRBY",
    "u8",
    "0",
    "OVERFLOW",
    "WRAP",
    "*",
    "-1",
    "ASC",
];

/// Every command that both have, with random arguments: what would be refused and why.
#[test]
fn every_command_is_checked_as_by_redis() {
    let (server, oracle) = (Server::start(1), Oracle::start());
    let (mut ours, mut redis) = (server.wire(), Wire::connect(oracle.addr()));
    let users = [
        "a on +@all ~rw* %R~r* %W~w* &ch1",
        "b on +@read +@write +config|get %R~* &ch*",
        "c on +@all -@dangerous %W~* (+@all ~r1 &*) (+@pubsub +sort ~* &ch2)",
    ];
    for user in users {
        for wire in [&mut ours, &mut redis] {
            wire.expect(&format!("ACL SETUSER {user}"), OK);
        }
    }
    let mut random = Random::new(seed("acl requests"));
    let (mut compared, mut allowed) = (0, 0);
    for row in table::numbered() {
        // Of an XREAD that is not well formed no key is found here: it is refused anyway.
        let is_left_out = ["xread", "xreadgroup"].contains(&row.name());
        if is_left_out || NEWER.contains(&row.name().to_uppercase().as_str()) {
            continue;
        }
        let (Arity::Exact(least) | Arity::AtLeast(least)) = row.spec.arity;
        for round in 0..60 {
            let mut request: Vec<String> = row.name().split('|').map(str::to_owned).collect();
            let wanted = least + if round % 2 == 0 { 0 } else { random.below(5) };
            while request.len() < wanted {
                request.push(WORDS[random.below(WORDS.len())].to_owned());
            }
            // Without a source Redis 7.0 does not look at the destination.
            if request.len() == 2 && request[0] == "pfmerge" {
                continue;
            }
            for user in ["a", "b", "c"] {
                let line = format!("ACL DRYRUN {user} {}", request.join(" "));
                let (got, expected) = (ours.run(&line), redis.run(&line));
                assert_eq!(shown(&got), shown(&expected), "{line}");
                compared += 1;
                allowed += usize::from(expected == OK.as_bytes());
            }
        }
    }
    assert!(compared > 10_000 && allowed > compared / 10, "{allowed} of {compared}");
}

#[test]
fn clients_come_in_by_their_passwords_and_see_who_they_are() {
    session(&[
        "admin: ACL SETUSER alice >secret +@all ~*",
        "alice: AUTH alice secret",
        "admin: ACL SETUSER alice on",
        "alice: AUTH alice wrong",
        "alice: AUTH nosuch secret",
        "alice: AUTH alice secret",
        "alice: ACL WHOAMI",
        "alice: HELLO 3 AUTH alice wrong",
        "alice: ACL WHOAMI",
        "alice: HELLO 2 AUTH default any",
        "alice: ACL WHOAMI",
        "alice: HELLO 2 AUTH alice secret SETNAME",
        "alice: ACL WHOAMI",
        "alice: AUTH default x",
        "alice: ACL WHOAMI",
        "alice: AUTH alice secret",
        "alice: RESET",
        "alice: ACL WHOAMI",
        "alice: AUTH alice secret",
        "admin: ACL SETUSER alice off",
        "alice: GET k",
        "other: AUTH alice secret",
        "admin: ACL SETUSER alice on nopass",
        "other: AUTH alice whatever",
        "other: ACL WHOAMI",
        "admin: ACL SETUSER default >p",
        "new: PING",
        "new: HELLO 3",
        "new: AUTH p",
        "new: PING",
        "admin: PING",
        "admin: ACL SETUSER default off",
        "newer: PING",
        "newer: AUTH p",
        "newer: AUTH alice x",
        "newer: PING",
        "newer: RESET",
        "newer: PING",
        "admin: ACL SETUSER default on nopass",
        "newer: PING",
        "newer: HELLO 3",
        "admin: CONFIG SET requirepass one",
        "newer: AUTH one",
        "admin: CONFIG GET requirepass",
        "admin: ACL SETUSER default nopass",
        "admin: CONFIG SET requirepass one",
        "newest: PING",
        "admin: CONFIG SET requirepass two",
        "newest: RESET",
        "newest: PING",
        "admin: CONFIG SET requirepass ''",
        "newest: PING",
        "admin: ACL DELUSER alice",
    ]);
}

#[test]
fn commands_keys_and_channels_are_refused_where_redis_refuses_them() {
    session(&[
        "admin: ACL SETUSER alice on nopass +@all -@dangerous -flushall ~a* %R~r* %W~w* &c*",
        "alice: AUTH alice x",
        "alice: SET a 1",
        "alice: SET b 1",
        "alice: GET r1",
        "alice: SET r1 1",
        "alice: SET w1 1",
        "alice: SET w1 1 GET",
        "alice: GET w1",
        "alice: MSET a 1 b 2",
        "alice: MSET a 1 w 2",
        "alice: COPY r1 w1",
        "alice: COPY w1 r1",
        "alice: EXISTS r1 w1 a1",
        "alice: EXISTS r1 x1",
        "alice: FLUSHALL",
        "alice: CONFIG GET save",
        "alice: KEYS *",
        "alice: NOSUCH",
        "alice: GET",
        "alice: PUBLISH c1 x",
        "alice: PUBLISH d1 x",
        "alice: SPUBLISH d1 x",
        "alice: SUBSCRIBE c1 d1",
        "alice: PSUBSCRIBE c*",
        "alice: RESET",
        "alice: AUTH alice x",
        "alice: PSUBSCRIBE c1*",
        "alice: SSUBSCRIBE d",
        "alice: UNSUBSCRIBE d",
        "alice: PUBSUB CHANNELS",
        "alice: ZUNIONSTORE a1 2 r1 r2",
        "alice: ZUNIONSTORE r1 2 a1 a2",
        "alice: ZUNIONSTORE b1 99 a1 a2",
        "alice: EVAL 'return 1' 1 b",
        "alice: EVAL 'return 1' 1 a",
        "alice: XREAD STREAMS r1 b1 0 0",
        "alice: XREAD COUNT 1 STREAMS r1 0",
        "alice: BLPOP b 1",
        "alice: OBJECT FREQ b",
        "alice: SORT a",
        "admin: ACL SETUSER alice +sort +config|get",
        "alice: SORT a",
        "alice: SORT a STORE b",
        "alice: SORT a STORE w BY nosort",
        "alice: SORT a BY w_*",
        "alice: SORT a GET #",
        "alice: SORT a BY w_* GET # STORE r1",
        "alice: CONFIG GET save",
        "alice: CONFIG SET save ''",
        "admin: ACL SETUSER alice %R~*",
        "alice: SORT a BY w_* GET #",
        "alice: MULTI",
        "alice: SORT a GET v_*",
        "alice: EXEC",
        "alice: EVAL \"return redis.call('sort', KEYS[1], 'get', 'v_*')\" 1 a",
        "admin: ACL SETUSER alice resetkeys ~a* ~r*",
        "alice: SORT a BY w_*",
        "alice: EVAL \"return redis.pcall('sort', KEYS[1], 'get', 'v_*')\" 1 a",
        "admin: ACL SETUSER alice -@all +select|0 +debug|sleep",
        "alice: SELECT 0",
        "alice: SELECT 1",
        "alice: SELECT",
        "alice: AUTH alice y",
        "alice: HELLO 2",
        "alice: PING",
        "alice: QUIT",
    ]);
}

#[test]
fn rights_that_are_taken_are_gone_at_once_everywhere() {
    session(&[
        "admin: ACL SETUSER alice on nopass +@all ~* &*",
        "alice: AUTH alice x",
        "alice: MULTI",
        "alice: SET k 1",
        "alice: GET other",
        "alice: PUBLISH c x",
        "alice: CONFIG GET save",
        "admin: ACL SETUSER alice -config resetkeys ~k resetchannels",
        "alice: EXEC",
        "alice: MULTI",
        "alice: SET k 2",
        "alice: SET other 2",
        "alice: EXEC",
        "alice: MULTI",
        "admin: ACL SETUSER alice -exec",
        "alice: SET k 3",
        "alice: EXEC",
        "admin: ACL SETUSER alice +@all",
        "alice: GET k",
        "alice: MULTI",
        "alice: ACL SETUSER alice -get -acl",
        "alice: GET k",
        "alice: SET k 4",
        "alice: ACL WHOAMI",
        "alice: EXEC",
        "alice: GET k",
        "alice: EVAL \"return redis.call('get', 'k')\" 0",
        "alice: EVAL \"return redis.pcall('get', 'k')\" 0",
        "alice: EVAL \"return redis.call('set', 'other', 'k')\" 0",
        "alice: EVAL \"return redis.call('publish', 'c', 'k')\" 0",
        "alice: EVAL \"return redis.call('set', 'k', 'k')\" 0",
        "alice: EVAL \"return {redis.acl_check_cmd('set', 'k', 'v'), redis.acl_check_cmd('set', 'x', 'v'), redis.acl_check_cmd('get', 'k'), redis.acl_check_cmd('config|get', 'k')}\" 0",
        "alice: EVAL \"return redis.acl_check_cmd('nosuch', 'k')\" 0",
        "alice: EVAL \"return {redis.acl_check_cmd('config', 'get', 'x'), redis.acl_check_cmd('acl', 'whoami'), redis.acl_check_cmd('get')}\" 0",
        "admin: ACL SETUSER alice -eval",
        "alice: EVAL \"return 1\" 0",
        "admin: INFO errorstats",
        "admin: ACL DELUSER alice",
        "alice: PING",
        "alice: ACL WHOAMI",
    ]);
}

#[test]
fn listeners_whose_channels_are_taken_are_ended() {
    session(&[
        "admin: ACL SETUSER alice on nopass +@all ~* &a &b* &p*",
        "one: AUTH alice x",
        "one: SUBSCRIBE a",
        "two: AUTH alice x",
        "two: SUBSCRIBE b1",
        "three: AUTH alice x",
        "three: PSUBSCRIBE p*",
        "four: AUTH alice x",
        "four: SSUBSCRIBE b2",
        "five: AUTH alice x",
        "five: PING",
        "admin: ACL SETUSER alice &more",
        "admin: PUBLISH a 1",
        "one: (message)",
        "admin: ACL SETUSER alice resetchannels &b* &p*",
        "one: (message)",
        "admin: PUBLISH b1 1",
        "two: (message)",
        "admin: ACL SETUSER alice resetchannels &b1 &p",
        "three: (message)",
        "four: (message)",
        "admin: PUBLISH b1 2",
        "two: (message)",
        "admin: ACL SETUSER alice allchannels",
        "two: PING",
        "admin: ACL SETUSER alice resetchannels",
        "two: (message)",
        "five: PING",
        "admin: PUBSUB CHANNELS",
        "self: AUTH alice x",
        "admin: ACL DELUSER alice",
        "self: PING",
        "five: PING",
    ]);
}

#[test]
fn who_subscribes_while_the_channel_is_taken_is_ended() {
    let folder = Folder::new();
    let server = Process::start(folder.path(), &["--save", "off", "--threads", "4"]);
    let (mut admin, mut alice, mut other) = (server.wire(), server.wire(), server.wire());
    admin.expect("ACL SETUSER alice on nopass +@all ~* &*", OK);
    alice.expect("AUTH alice x", OK);
    // Whether her rights have changed is looked at once, before the first of both requests.
    let script = "repeat until redis.call('PUBSUB', 'NUMSUB', 'go')[2] > 0";
    alice.raw([encode(&["EVAL", script, "0"]), encode(&["SUBSCRIBE", "c"])].concat());
    let runs = |list: Vec<u8>| String::from_utf8(list).unwrap().contains(" cmd=eval ");
    while !runs(admin.run("CLIENT LIST")) {}
    admin.expect("ACL SETUSER alice resetchannels", OK);
    other.send("SUBSCRIBE go").reply();
    alice.expect_reply("$-1\r\n");
    alice.expect_reply("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    alice.expect_closed();
    admin.expect("PUBLISH c x", ":0\r\n");
}

#[test]
fn users_that_are_removed_take_their_clients_with_them() {
    session(&[
        "admin: ACL SETUSER alice on nopass +@all ~* &*",
        "admin: ACL SETUSER bob on nopass +@all ~* &*",
        "one: AUTH alice x",
        "two: AUTH bob x",
        "three: AUTH alice x",
        "three: CLIENT KILL USER nosuch",
        "two: CLIENT KILL USER alice ID 100000",
        "two: CLIENT KILL USER alice",
        "one: PING",
        "three: PING",
        "two: CLIENT KILL USER bob",
        "two: ACL DELUSER alice bob",
        "two: PING",
        "admin: CLIENT KILL USER bob",
        "admin: CLIENT KILL USER default SKIPME yes",
    ]);
}

#[test]
fn what_is_refused_is_logged_as_by_redis() {
    let fields = |wire: &mut Wire| -> Vec<String> {
        let log = String::from_utf8(wire.run("ACL LOG")).unwrap();
        // The age and the client are this server's own.
        let lines = log.lines().filter(|line| !line.starts_with(['$', '*']));
        let mut kept = Vec::new();
        let mut skip = false;
        for line in lines {
            let is_own = line == "age-seconds" || line == "client-info";
            if !std::mem::replace(&mut skip, is_own) {
                kept.push(line.to_owned());
            }
        }
        kept
    };
    let lines = [
        "ACL SETUSER alice on nopass +@all -config -get ~k* &c*",
        "AUTH alice x",
        "GET x",
        "GET x",
        "CONFIG GET save",
        "SET x 1",
        "SET x 1",
        "SET y 1",
        "PUBLISH d 1",
        "MULTI",
        "SET x 1",
        "DISCARD",
        "EVAL \"return redis.pcall('get', 'k')\" 0",
        "EVAL \"return redis.pcall('set', 'x', 'k')\" 0",
        "AUTH alice",
        "AUTH nosuch secret",
        "hello 2 auth nosuch secret",
        "AUTH default x",
    ];
    let (server, oracle) = (Server::start(1), Oracle::start());
    let (mut ours, mut redis) = (server.wire(), Wire::connect(oracle.addr()));
    for line in lines {
        let expected = redis.run(line);
        ours.expect(line, expected);
    }
    let logged = fields(&mut ours);
    assert_eq!(logged, fields(&mut redis));
    assert!(logged.len() > 80, "{logged:?}");
    let log = String::from_utf8(ours.run("ACL LOG 1")).unwrap();
    assert!(log.contains("client-info\r\n") && log.contains(" user=alice "), "{log}");
    let log = String::from_utf8(ours.run("ACL LOG")).unwrap();
    assert!(!log.contains("secret"));
    ours.expect("CONFIG SET acllog-max-len 2", OK);
    ours.expect_start("ACL LOG 1", "*1\r\n");
    ours.run("AUTH nobody secret");
    ours.expect_start("ACL LOG", "*2\r\n");
    ours.expect("ACL LOG RESET", OK).expect("ACL LOG", "*0\r\n");
}

#[test]
fn passwords_are_generated_in_the_asked_length_and_never_twice() {
    let server = Server::start(1);
    let mut wire = server.wire();
    let mut seen = Vec::new();
    for (line, digits) in [("ACL GENPASS", 64), ("ACL GENPASS 5", 2), ("ACL GENPASS 4096", 1024)] {
        for _ in 0..3 {
            let reply = String::from_utf8(wire.run(line)).unwrap();
            let password = reply.split("\r\n").nth(1).unwrap().to_owned();
            assert_eq!(password.len(), digits, "{line}");
            assert!(password.bytes().all(|byte| b"0123456789abcdef".contains(&byte)));
            if digits >= 64 {
                assert!(!seen.contains(&password));
                seen.push(password);
            }
        }
    }
}

#[test]
fn users_are_kept_in_their_file() {
    let folder = Folder::new();
    let file = folder.path().join("users.acl");
    let config = folder.path().join("server.conf");
    let text = "\nuser alice on >secret ~a* &c resetchannels &d +@all -config (+get ~\"q )\r\n\
                user default on nopass ~* &* +@all\n";
    std::fs::write(&file, text).unwrap();
    std::fs::write(&config, "aclfile users.acl\nsave \"\"\n").unwrap();
    let config = config.to_str().unwrap();
    let options = [config, "--dir", folder.path().to_str().unwrap()];
    let process = Process::start(folder.path(), &options);
    let mut wire = process.wire();
    let before = elements(&wire.run("ACL LIST"));
    assert_eq!(before.len(), 2);
    wire.expect("ACL SETUSER bob on nopass +get (+set '~a\"b' ~c)", OK);
    wire.expect("ACL SAVE", OK);
    let saved = elements(&wire.run("ACL LIST"));
    let mut bob = process.wire();
    bob.expect("AUTH bob x", OK);
    wire.expect("ACL SETUSER bob -@all", OK).expect("ACL DELUSER alice", ":1\r\n");
    wire.expect("ACL LOAD", OK);
    assert_eq!(elements(&wire.run("ACL LIST")), saved);
    // All clients of users from before are ended, but for those of the default user.
    bob.expect_closed();
    let lines: Vec<Vec<u8>> =
        std::fs::read(&file).unwrap().split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    assert_eq!(lines[..lines.len() - 1], saved);
    std::fs::write(&file, "user x\nnouser y\nuser z +nosuch nonsense (+get\nuser x on\n").unwrap();
    wire.expect(
        "ACL LOAD",
        "-ERR users.acl:2 should start with user keyword followed by the username. \
         users.acl:3: Unmatched parenthesis in selector definition.WARNING: Duplicate user 'x' \
         found on line 4. WARNING: ACL errors detected, no change to the previously active ACL \
         rules was performed\r\n",
    );
    assert_eq!(elements(&wire.run("ACL LIST")), saved);
    std::fs::remove_file(&file).unwrap();
    let missing =
        "-ERR Error loading ACLs, opening file 'users.acl': No such file or directory\r\n";
    wire.expect("ACL LOAD", missing);
    drop(process);
    let text = refusal(folder.path(), &options);
    assert!(text.contains("Error loading ACLs, opening file 'users.acl'"), "{text}");
}

#[test]
fn users_are_kept_in_the_configuration_file() {
    let folder = Folder::new();
    let config = folder.path().join("server.conf");
    std::fs::write(&config, "user alice on >x +@all ~*\n# comment\nsave \"\"\n").unwrap();
    let path = config.to_str().unwrap();
    let read = || std::fs::read_to_string(&config).unwrap();
    let process = Process::start(folder.path(), &[path]);
    let mut wire = process.wire();
    let text = read();
    wire.expect("CONFIG REWRITE", OK);
    // The options of the command line are added; nothing else has changed.
    assert!(read().starts_with(&text), "{}", read());
    wire.expect("ACL SETUSER bob on nopass '~a\"b' (+get '~x\"y')", OK);
    wire.expect("CONFIG SET requirepass secret", OK);
    wire.expect("CONFIG REWRITE", OK);
    let list = elements(&wire.run("ACL LIST"));
    let text = read();
    assert_eq!(text.lines().filter(|line| line.starts_with("user ")).count(), 3, "{text}");
    assert!(text.contains("\n# comment\n"), "{text}");
    drop(process);
    let process = Process::start(folder.path(), &[path]);
    let mut wire = process.wire();
    wire.expect("PING", "-NOAUTH Authentication required.\r\n").expect("AUTH secret", OK);
    let shown = |list: &[Vec<u8>]| {
        let text = list.join(&b'\n');
        // A default user that is described begins by `reset`, which says so.
        String::from_utf8(text).unwrap().replace(" sanitize-payload", "")
    };
    assert_eq!(shown(&elements(&wire.run("ACL LIST"))), shown(&list));
    // But for the port, which is another one.
    let others = || {
        let text = read();
        let lines = text.lines().filter(|line| !line.starts_with("port ")).map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    let before = others();
    wire.expect("CONFIG REWRITE", OK);
    assert_eq!(others(), before);
    drop(process);
    for (line, complaint) in [
        ("user a +@all\nuser a on", "Error in user declaration 'a': Duplicate user found."),
        ("user a nonsense", "Error in user declaration 'nonsense': Syntax error"),
        ("user a (+get", "Error in user declaration '(+get': Syntax error"),
        ("user a +nosuch", "Unknown command or category name in ACL"),
        ("user a on\naclfile users.acl", "choose one of the two"),
    ] {
        std::fs::write(&config, format!("{line}\n")).unwrap();
        let text = refusal(folder.path(), &[path]);
        assert!(text.contains(complaint), "{line}: {text}");
    }
}

#[test]
fn new_users_hear_nothing_or_all_as_the_option_says() {
    session(&[
        "admin: CONFIG SET acl-pubsub-default allchannels",
        "admin: ACL SETUSER alice (+get)",
        "admin: ACL GETUSER alice",
        "admin: CONFIG SET acl-pubsub-default resetchannels",
        "admin: ACL GETUSER alice",
        "admin: ACL SETUSER bob (+get)",
        "admin: ACL GETUSER bob",
        "admin: ACL SETUSER alice reset",
        "admin: ACL GETUSER alice",
        "admin: CONFIG SET acl-pubsub-default maybe",
    ]);
}
