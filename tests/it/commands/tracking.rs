//! CLIENT TRACKING, CACHING, GETREDIR and TRACKINGINFO.

use super::OK;
use crate::harness::server::{MANY_SHARDS, Server};
use crate::harness::wire::Wire;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;

/// What a client of RESP3 is told: these keys have changed.
fn invalidation(keys: &[&str]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("${}\r\n{key}\r\n", key.len())).collect();
    format!(">2\r\n$10\r\ninvalidate\r\n*{}\r\n{}", keys.len(), keys.concat())
}

const FLUSHED: &str = ">2\r\n$10\r\ninvalidate\r\n_\r\n";

transcript!(
    a_reader_is_told_of_the_next_change,
    several | addr | {
        let (mut reader, mut other) = (Wire::connect_resp3(addr), Wire::connect(addr));
        reader.expect("CLIENT TRACKING ON", OK);
        other.expect("MSET a 1 b 1 c 1", OK);
        reader.expect("GET a", "$1\r\n1\r\n").expect("MGET b c", "*2\r\n$1\r\n1\r\n$1\r\n1\r\n");
        other.expect("SET a 2", OK).expect("SET a 3", OK);
        reader.expect_reply(invalidation(&["a"]));
        other.expect("DEL b none", ":1\r\n");
        reader.expect_reply(invalidation(&["b"])).expect("PING", "+PONG\r\n");
        reader.expect("GET a", "$1\r\n3\r\n").expect("EXISTS none", ":0\r\n");
        other.expect("SET none x", OK);
        reader.expect_reply(invalidation(&["none"]));
        other.expect("EXPIRE a 100", ":1\r\n");
        reader.expect_reply(invalidation(&["a"])).expect("GET a", "$1\r\n3\r\n");
        other.expect("PEXPIREAT a 1", ":1\r\n");
        reader.expect_reply(invalidation(&["a"]));
        // What it changes itself it is told, too, behind the reply.
        reader.expect("GET c", "$1\r\n1\r\n").expect("SET c 2", OK);
        reader.expect_reply(invalidation(&["c"]));
        reader.expect("GET c", "$1\r\n2\r\n");
        other.expect("FLUSHALL", OK);
        reader.expect_reply(FLUSHED).expect("CLIENT TRACKING OFF", OK).expect("GET c", "_\r\n");
        other.expect("SET c 3", OK);
        reader.expect("PING", "+PONG\r\n");
    }
);

transcript!(
    every_kind_of_change_is_told,
    several | addr | {
        let (mut reader, mut other) = (Wire::connect_resp3(addr), Wire::connect(addr));
        reader.expect("CLIENT TRACKING ON", OK);
        let changes = [
            "SET k a",
            "APPEND k b",
            "SETRANGE k 0 x",
            "SETBIT k 7 1",
            "GETSET k 1",
            "INCR k",
            "INCRBYFLOAT k 1",
            "GETEX k EX 100",
            "PERSIST k",
            "RENAME k l",
            "RENAME l k",
            "DEL k",
            "RPUSH k a b c",
            "LSET k 0 z",
            "LPOP k",
            "LTRIM k 1 1",
            "LREM k 1 c",
            "HSET k a 1",
            "HINCRBY k a 1",
            "HDEL k a",
            "SADD k a b",
            "SMOVE k t a",
            "SPOP k",
            "ZADD k 1 a 2 b",
            "ZINCRBY k 1 a",
            "ZREM k a",
            "ZPOPMIN k",
            "PFADD k a",
            "COPY t k REPLACE",
            "MOVE k 1",
            "MSET k 1 m 2",
            "MSETNX k 1",
            "GETDEL k",
            "SUNIONSTORE k t",
            "ZUNIONSTORE k 1 t",
            "SORT t ALPHA STORE k",
            "EXPIRE k 100",
            "UNLINK k",
        ];
        for change in changes {
            reader.send("TYPE k").reply();
            let reply = other.run(change);
            assert!(!reply.starts_with(b"-"), "{change}");
            if change != "MSETNX k 1" {
                let told = reader.reply();
                assert_eq!(told, invalidation(&["k"]).into_bytes(), "{change}");
            }
        }
    }
);

transcript!(
    a_transaction_is_told_as_what_it_does,
    several | addr | {
        let (mut reader, mut other) = (Wire::connect_resp3(addr), Wire::connect(addr));
        reader.expect("CLIENT TRACKING ON", OK);
        reader.expect("MULTI", OK).expect("GET a", "+QUEUED\r\n").expect("GET b", "+QUEUED\r\n");
        reader.expect("EXEC", "*2\r\n_\r\n_\r\n");
        other.expect("MULTI", OK).expect("SET a 1", "+QUEUED\r\n").expect("SET b 1", "+QUEUED\r\n");
        other.expect("EXEC", "*2\r\n+OK\r\n+OK\r\n");
        reader.expect_reply(invalidation(&["a"])).expect_reply(invalidation(&["b"]));
    }
);

transcript!(
    options_choose_what_is_told,
    several | addr | {
        let (mut reader, mut other) = (Wire::connect_resp3(addr), Wire::connect(addr));
        reader.expect("CLIENT TRACKING ON OPTIN", OK);
        reader.expect("GET a", "_\r\n").expect("CLIENT CACHING YES", OK).expect("GET b", "_\r\n");
        reader.expect("GET c", "_\r\n");
        other.expect("MSET a 1 b 1 c 1", OK);
        reader.expect_reply(invalidation(&["b"])).expect("PING", "+PONG\r\n");
        reader.expect("CLIENT CACHING YES", OK).expect("MULTI", OK).expect("GET a", "+QUEUED\r\n");
        reader.expect("GET b", "+QUEUED\r\n").expect("EXEC", "*2\r\n$1\r\n1\r\n$1\r\n1\r\n");
        other.expect("SET a 2", OK).expect("SET b 2", OK);
        reader.expect_reply(invalidation(&["a"])).expect_reply(invalidation(&["b"]));
        reader.expect("CLIENT TRACKING OFF", OK).expect("CLIENT TRACKING ON OPTOUT", OK);
        reader.expect("GET a", "$1\r\n2\r\n").expect("CLIENT CACHING NO", OK);
        reader.expect("GET b", "$1\r\n2\r\n");
        other.expect("MSET b 3 a 3", OK);
        reader.expect_reply(invalidation(&["a"])).expect("PING", "+PONG\r\n");
        reader.expect("CLIENT TRACKING OFF", OK).expect("CLIENT TRACKING ON NOLOOP", OK);
        reader.expect("MGET a b", "*2\r\n$1\r\n3\r\n$1\r\n3\r\n").expect("SET a 4", OK);
        other.expect("SET b 4", OK);
        reader.expect_reply(invalidation(&["b"])).expect("PING", "+PONG\r\n");
    }
);

transcript!(
    prefixes_are_broadcast,
    several | addr | {
        let (mut reader, mut other) = (Wire::connect_resp3(addr), Wire::connect(addr));
        reader.expect("CLIENT TRACKING ON BCAST PREFIX user: PREFIX job:", OK);
        other.expect("SET user:1 a", OK);
        reader.expect_reply(invalidation(&["user:1"]));
        other.expect("SET other a", OK).expect("SET job:1 a", OK);
        reader.expect_reply(invalidation(&["job:1"]));
        reader.expect("CLIENT TRACKING ON BCAST PREFIX more", OK);
        other.expect("SET more a", OK);
        reader.expect_reply(invalidation(&["more"]));
        other.expect("MULTI", OK).expect("SET user:2 a", "+QUEUED\r\n");
        other.expect("SET user:3 a", "+QUEUED\r\n").expect("EXEC", "*2\r\n+OK\r\n+OK\r\n");
        reader.expect_reply(invalidation(&["user:2", "user:3"]));
        reader.expect("CLIENT TRACKING OFF", OK).expect("CLIENT TRACKING ON BCAST NOLOOP", OK);
        other.expect("SET any a", OK);
        reader
            .expect_reply(invalidation(&["any"]))
            .expect("SET own a", OK)
            .expect("PING", "+PONG\r\n");
    }
);

transcript!(
    another_connection_can_be_told,
    several | addr | {
        let (mut reader, mut told) = (Wire::connect(addr), Wire::connect(addr));
        let mut other = Wire::connect(addr);
        let id = String::from_utf8(told.run("CLIENT ID")).unwrap();
        let id = id.trim_start_matches(':').trim_end();
        reader.expect("CLIENT GETREDIR", ":-1\r\n");
        reader.expect(&format!("CLIENT TRACKING ON REDIRECT {id}"), OK);
        reader.expect("CLIENT GETREDIR", format!(":{id}\r\n"));
        reader.expect("GET a", "$-1\r\n");
        // Not subscribed yet: nothing can be told.
        other.expect("SET a 1", OK);
        told.send("SUBSCRIBE __redis__:invalidate").reply();
        reader.expect("GET a", "$1\r\n1\r\n");
        other.expect("SET a 2", OK);
        told.expect_reply(
            "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\na\r\n",
        );
        other.expect("FLUSHALL", OK);
        told.expect_reply("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n");
        let mut third = Wire::connect_resp3(addr);
        third.expect(&format!("CLIENT TRACKING ON REDIRECT {id}"), OK).expect("GET b", "_\r\n");
        told.expect("QUIT", OK).expect_closed();
        other.expect("SET b 1", OK);
        third.expect_reply(format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{id}\r\n"));
        let info = String::from_utf8(third.run("CLIENT TRACKINGINFO")).unwrap();
        assert!(info.contains("broken_redirect"), "{info}");
    }
);

transcript!(
    what_does_not_go_together_is_refused,
    several
        | addr
        | {
            let mut wire = Wire::connect(addr);
            let switch = "before disabling tracking for this client, and then re-enabling it with a \
                  different mode.";
            for (line, text) in [
        ("CLIENT TRACKING maybe", "syntax error".to_owned()),
        ("CLIENT TRACKING ON NONSENSE", "syntax error".to_owned()),
        ("CLIENT TRACKING ON REDIRECT", "syntax error".to_owned()),
        ("CLIENT TRACKING ON REDIRECT x", "value is not an integer or out of range".to_owned()),
        (
            "CLIENT TRACKING ON REDIRECT 99999",
            "The client ID you want redirect to does not exist".to_owned(),
        ),
        (
            "CLIENT TRACKING ON PREFIX a",
            "PREFIX option requires BCAST mode to be enabled".to_owned(),
        ),
        (
            "CLIENT TRACKING ON BCAST OPTIN",
            "OPTIN and OPTOUT are not compatible with BCAST".to_owned(),
        ),
        (
            "CLIENT TRACKING ON OPTIN OPTOUT",
            "You can't specify both OPTIN mode and OPTOUT mode".to_owned(),
        ),
        (
            "CLIENT TRACKING ON BCAST PREFIX ab PREFIX a",
            "Prefix 'ab' overlaps with another provided prefix 'a'. Prefixes for a single client \
             must not overlap."
                .to_owned(),
        ),
        (
            "CLIENT CACHING YES",
            "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or \
             OPTOUT mode enabled"
                .to_owned(),
        ),
    ] {
        wire.expect(line, format!("-ERR {text}\r\n"));
    }
            wire.expect("CLIENT TRACKING ON OPTIN", OK);
            wire.expect(
                "CLIENT TRACKING ON BCAST",
                format!("-ERR You can't switch BCAST mode on/off {switch}\r\n"),
            );
            wire.expect(
                "CLIENT TRACKING ON OPTOUT",
                format!("-ERR You can't switch OPTIN/OPTOUT mode {switch}\r\n"),
            );
            let text = "CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.";
            wire.expect("CLIENT CACHING NO", format!("-ERR {text}\r\n"));
            wire.expect("CLIENT CACHING maybe", "-ERR syntax error\r\n");
            wire.expect("RESET", "+RESET\r\n").expect("CLIENT GETREDIR", ":-1\r\n");
            wire.expect("CLIENT TRACKING ON BCAST PREFIX ab", OK);
            let text = "Prefix 'abc' overlaps with an existing prefix 'ab'. Prefixes for a single client \
                must not overlap.";
            wire.expect("CLIENT TRACKING ON BCAST PREFIX abc", format!("-ERR {text}\r\n"));
        }
);

transcript!(
    clients_can_ask_how_they_are_told,
    several | addr | {
        let mut wire = Wire::connect(addr);
        let info = |wire: &mut Wire, flags: &[&str], redirect: i64, prefixes: &[&str]| {
            let bulks = |texts: &[&str]| -> String {
                texts.iter().map(|text| format!("${}\r\n{text}\r\n", text.len())).collect()
            };
            wire.expect(
            "CLIENT TRACKINGINFO",
            format!(
                "*6\r\n$5\r\nflags\r\n*{}\r\n{}$8\r\nredirect\r\n:{redirect}\r\n$8\r\nprefixes\r\n\
                 *{}\r\n{}",
                flags.len(), bulks(flags), prefixes.len(), bulks(prefixes)
            ),
        );
        };
        info(&mut wire, &["off"], -1, &[]);
        wire.expect("CLIENT TRACKING ON OPTIN NOLOOP", OK);
        info(&mut wire, &["on", "optin", "noloop"], 0, &[]);
        wire.expect("CLIENT CACHING YES", OK);
        info(&mut wire, &["on", "optin", "caching-yes", "noloop"], 0, &[]);
        let list = String::from_utf8(wire.run("CLIENT LIST")).unwrap();
        assert!(list.contains(" flags=t ") && list.contains(" redir=0 "), "{list}");
        let stats = String::from_utf8(wire.run("INFO clients")).unwrap();
        assert!(stats.contains("tracking_clients:1"), "{stats}");
        wire.expect("CLIENT TRACKING OFF", OK)
            .expect("CLIENT TRACKING ON BCAST PREFIX b PREFIX a", OK);
        info(&mut wire, &["on", "bcast"], 0, &["a", "b"]);
        let list = String::from_utf8(wire.run("CLIENT LIST")).unwrap();
        assert!(list.contains(" flags=tB "), "{list}");
    }
);

#[test]
fn the_number_of_remembered_keys_is_bounded() {
    let server = Server::start(MANY_SHARDS);
    let mut reader = Wire::connect_resp3(server.addr());
    reader.expect("CONFIG SET tracking-table-max-keys 100", OK).expect("CLIENT TRACKING ON", OK);
    let mut told = 0;
    for n in 0..1_000 {
        let mut reply = reader.run(&format!("GET key:{n}"));
        while reply.starts_with(b">") {
            told += 1;
            reply = reader.reply();
        }
        assert_eq!(reply, b"_\r\n");
    }
    reader.send("PING");
    while reader.reply() != b"+PONG\r\n" {
        told += 1;
    }
    let info = String::from_utf8(reader.run("INFO stats")).unwrap();
    assert!(info.contains("tracking_total_keys:100\r\n"), "{info}");
    assert_eq!(told, 900);
}

/// Clients keep copies of what they read and drop them when they are told to. However writers and
/// readers interleave, no client may keep a copy that is not the value once all is quiet.
#[test]
fn no_copy_outlives_its_value() {
    let server = Server::start_in_real_time(MANY_SHARDS);
    let (addr, stop) = (server.addr(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut wire = Wire::connect(addr);
                    for n in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        wire.expect(&format!("SET key:{} {writer}-{n}", n % 4), OK);
                    }
                })
            })
            .collect();
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(move || {
                    let mut copies: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
                    let mut wire = Wire::connect_resp3(addr);
                    for n in 0..3_000_u32 {
                        // Now and then the last one switches it off: changes are not noted then.
                        if n % 100 == 0 {
                            wire.send("CLIENT TRACKING OFF");
                            assert_eq!(answer(&mut wire, &mut copies), OK.as_bytes());
                            copies.clear();
                            wire.send("CLIENT TRACKING ON");
                            assert_eq!(answer(&mut wire, &mut copies), OK.as_bytes());
                        }
                        let key = b'0' + u8::try_from(n % 4).unwrap();
                        if !copies.contains_key(&key) {
                            wire.send(&format!("GET key:{}", n % 4));
                            let value = answer(&mut wire, &mut copies);
                            copies.insert(key, value);
                        }
                        wire.send("PING");
                        answer(&mut wire, &mut copies);
                    }
                    (wire, copies)
                })
            })
            .collect();
        let readers: Vec<_> = readers.into_iter().map(ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let mut kept = 0;
        for reader in readers {
            let (mut wire, mut copies) = reader.unwrap();
            wire.send("PING");
            answer(&mut wire, &mut copies);
            for (key, copy) in std::mem::take(&mut copies) {
                let value = Wire::connect(addr).run(&format!("GET key:{}", key - b'0'));
                assert_eq!(copy, value, "an old copy");
                kept += 1;
            }
        }
        println!("{kept} copies are right");
    });
}

/// The next reply; copies that are told to be old are dropped, the one that is asked for as well
/// if that is told in front of the reply.
fn answer(wire: &mut Wire, copies: &mut BTreeMap<u8, Vec<u8>>) -> Vec<u8> {
    loop {
        let reply = wire.reply();
        if !reply.starts_with(b">") {
            return reply;
        }
        let key = reply[reply.len() - 3];
        copies.remove(&key);
    }
}
