//! EVAL, EVALSHA, their forms for reading, and SCRIPT.

use super::{NULL, OK};
use crate::harness::oracle::Oracle;
use crate::harness::server::{MANY_SHARDS, Server};
use crate::harness::wire::{Wire, encode, shown};
use crate::it;

/// Fails the test unless one of our servers and a real redis-server answer every request alike.
#[track_caller]
pub fn expect_same(resp3: bool, requests: &[&[&str]]) {
    let server = Server::start_with(MANY_SHARDS, |options| options.databases = 16);
    let oracle = Oracle::start_with(&["--databases", "16"]);
    let connect = if resp3 { Wire::connect_resp3 } else { Wire::connect };
    let (mut ours, mut redis) = (connect(server.addr()), connect(oracle.addr()));
    for request in requests {
        let (got, expected) = (ours.command(request), redis.command(request));
        let (got, expected) = (shown(&got), shown(&expected));
        assert_eq!(got, expected, "{request:?}");
    }
}

/// Requests whose replies hold everything that can be said without a clock.
const SESSION: &[&[&str]] = &[
    &["EVAL", "return {1, 2.9, 'x', true, false, {KEYS[1], ARGV[1]}}", "1", "k", "a"],
    &["EVAL", "return redis.call('set', KEYS[1], ARGV[1])", "1", "k", "v"],
    &["EVAL", "return redis.call('get', KEYS[1])", "1", "k"],
    &["EVAL", "return redis.call('get', KEYS[1])", "1", "none"],
    &["EVAL", "return {redis.call('get', KEYS[1])}", "1", "none"],
    &["EVAL", "return redis.status_reply('FINE')", "0"],
    &["EVAL", "return redis.error_reply('MY error')", "0"],
    &["EVAL", "return {err='MY error'}", "0"],
    &["EVAL", "error('boom')", "0"],
    &["EVAL", "error({err='MY boom'})", "0"],
    &["EVAL", "return {ok='fine', 1}", "0"],
    &["EVAL", "return {1, nil, 3}", "0"],
    &["EVAL", "return redis.pcall('incr', KEYS[1])", "1", "k"],
    &["EVAL", "return redis.call('incr', KEYS[1])", "1", "k"],
    &["EVAL", "local r = redis.pcall('incr', KEYS[1]) return r.err", "1", "k"],
    &["EVAL", "return type(redis.pcall('nosuch'))", "0"],
    &["EVAL", "return redis.call('nosuch')", "0"],
    &["EVAL", "return redis.call('get')", "0"],
    &["EVAL", "return redis.call('get', 'a', 'b')", "0"],
    &["EVAL", "return redis.call('config')", "0"],
    &["EVAL", "return redis.call('config', 'get', 'save')", "0"],
    &["EVAL", "return redis.call('object', 'nosuch', 'k')", "0"],
    &["EVAL", "return redis.call('object', 'encoding', KEYS[1])", "1", "k"],
    &["EVAL", "return redis.call()", "0"],
    &["EVAL", "return redis.call({})", "0"],
    &["EVAL", "return redis.call('set', KEYS[1])", "1", "k"],
    &["EVAL", "return redis.call('set', KEYS[1], {})", "1", "k"],
    &["EVAL", "return redis.call('multi')", "0"],
    &["EVAL", "return redis.call('eval', 'return 1', '0')", "0"],
    &["EVAL", "return redis.call('subscribe', 'c')", "0"],
    &["EVAL", "return redis.call('watch', 'c')", "0"],
    &["EVAL", "return redis.call('script', 'flush')", "0"],
    &["EVAL", "return redis.call('blpop', KEYS[1], 0)", "1", "nolist"],
    &["EVAL", "return redis.call('blmove', 'a', 'b', 'left', 'left', 0)", "0"],
    &["EVAL", "return redis.call('bzpopmin', 'a', 0)", "0"],
    &["EVAL", "return redis.call('ping')", "0"],
    &["EVAL", "return redis.call('echo', 'x')", "0"],
    &["EVAL", "return redis.call('select', 1)", "0"],
    &["EVAL", "redis.call('select', 1) return redis.call('set', 'in1', 'x')", "0"],
    &["EXISTS", "in1"],
    &["DBSIZE"],
    &["EVAL", "redis.call('select', 1) return redis.call('get', 'in1')", "0"],
    &["EVAL", "redis.call('select', 99)", "0"],
    &[
        "EVAL",
        "redis.call('mset', KEYS[1], 1, KEYS[2], 2) return redis.call('mget', unpack(KEYS))",
        "2",
        "a",
        "b",
    ],
    &["EVAL", "return redis.call('dbsize')", "0"],
    &["EVAL", "redis.call('flushall') return redis.call('dbsize')", "0"],
    &[
        "EVAL",
        "for i = 1, 5 do redis.call('rpush', KEYS[1], 6 - i) end return redis.call('sort', KEYS[1])",
        "1",
        "l",
    ],
    &["EVAL", "return redis.call('sort', KEYS[1], 'by', 'nosort', 'get', '#')", "1", "l"],
    &[
        "EVAL",
        "redis.call('sadd', KEYS[1], 'b', 'c', 'a') return redis.call('sort', KEYS[1], 'by', 'x')",
        "1",
        "s",
    ],
    &["EVAL", "return redis.call('rename', 'l', 'other')", "0"],
    &["EVAL", "return redis.call('copy', 'other', 'l', 'db', 2)", "0"],
    &["EVAL", "return redis.call('move', KEYS[1], 3)", "1", "other"],
    &["EVAL", "return redis.call('hset', KEYS[1], 'f', 1.5, 'g', 10)", "1", "h"],
    &["EVAL", "return redis.call('hget', KEYS[1], 'f')", "1", "h"],
    &["EVAL", "redis.setresp(3) return redis.call('hgetall', KEYS[1])", "1", "h"],
    &["EVAL", "return redis.sha1hex('x')", "0"],
    &["EVAL", "return redis.acl_check_cmd('set', 'k', 'v')", "0"],
    &["EVAL", "return redis.REDIS_VERSION", "0"],
    &["EVAL", "x = 5", "0"],
    &["EVAL", "return y", "0"],
    &["EVAL", "return {", "0"],
    &["EVAL", "return 1", "x"],
    &["EVAL", "return 1", "-1"],
    &["EVAL", "return 1", "2", "k"],
    &["EVAL", "return 1", "9223372036854775807", "k"],
    &["EVAL"],
    &["EVAL", "return 1"],
    &["EVALSHA", "x", "0"],
    &["EVALSHA", "ffffffffffffffffffffffffffffffffffffffff", "0"],
    &["EVALSHA", "ffffffffffffffffffffffffffffffffffffffff", "x"],
    &["EVALSHA", "x", "x"],
    &["EVALSHA", "E0E1F9FABFC9D4800C877A703B823AC0578FF8DB", "0"],
    &["EVAL", "return 1", "0"],
    &["EVALSHA", "E0E1F9FABFC9D4800C877A703B823AC0578FF8DB", "0"],
    &["EVALSHA_RO", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "0"],
    &["EVAL_RO", "return redis.call('set', KEYS[1], 'x')", "1", "k"],
    &["EVAL_RO", "return redis.pcall('set', KEYS[1], 'x')", "1", "k"],
    &["EVAL_RO", "return redis.call('publish', 'c', 'x')", "0"],
    &["EVAL_RO", "return redis.call('pfcount', KEYS[1])", "1", "none"],
    &["EVAL_RO", "return redis.call('hlen', KEYS[1])", "1", "h"],
    &["EVAL", "#!lua flags=no-writes\nreturn redis.call('set', KEYS[1], 'x')", "1", "k"],
    &["EVAL", "#!lua flags=no-writes,allow-stale\nreturn 1", "0"],
    &["EVAL", "#!lua flags=allow-oom,no-cluster,allow-cross-slot-keys\nreturn 1", "0"],
    &["EVAL", "#!lua flags=\nreturn 1", "0"],
    &["EVAL", "#!lua\nreturn redis.call('get', KEYS[1])", "1", "none"],
    &["EVAL_RO", "#!lua\nreturn 1", "0"],
    &["EVAL_RO", "#!lua flags=no-writes\nreturn 1", "0"],
    &["EVAL", "#!lua flags=NO-WRITES\nreturn 1", "0"],
    &["EVAL", "#!lua flags=no-writes,x\nreturn 1", "0"],
    &["EVAL", "#!lua name=x\nreturn 1", "0"],
    &["EVAL", "#!python\nreturn 1", "0"],
    &["EVAL", "#!lua", "0"],
    &["EVAL", "#!\nreturn 1", "0"],
    &["EVAL", "#!lua 'x\nreturn 1", "0"],
    &["SCRIPT", "LOAD", "return 2"],
    &["SCRIPT", "LOAD", "return 2"],
    &["SCRIPT", "LOAD", "return {"],
    &["SCRIPT", "LOAD", "#!lua flags=x\nreturn 1"],
    &[
        "SCRIPT",
        "EXISTS",
        "7f923f79fe76194c868d7e1d0820de36700eb649",
        "x",
        "7F923F79FE76194C868D7E1D0820DE36700EB649",
    ],
    &["SCRIPT", "FLUSH", "ASYNC"],
    &["SCRIPT", "EXISTS", "7f923f79fe76194c868d7e1d0820de36700eb649"],
    &["SCRIPT", "FLUSH", "sync"],
    &["SCRIPT", "FLUSH", "x"],
    &["SCRIPT", "FLUSH", "sync", "x"],
    &["SCRIPT", "KILL"],
    &["SCRIPT", "DEBUG", "no"],
    &["SCRIPT", "DEBUG", "x"],
    &["SCRIPT", "HELP"],
    &["SCRIPT"],
    &["SCRIPT", "x"],
    &["SCRIPT", "LOAD"],
    &["SCRIPT", "EXISTS"],
    &["COMMAND", "GETKEYS", "EVAL", "return 1", "2", "a", "b", "c"],
    &["COMMAND", "GETKEYS", "FCALL", "f", "1", "a", "b"],
    &["COMMAND", "GETKEYS", "EVAL", "return 1", "0", "a"],
    &["MULTI"],
    &["EVAL", "return redis.call('incr', KEYS[1])", "1", "n"],
    &["EVAL", "return redis.call('incr', 'n')", "0"],
    &["SCRIPT", "LOAD", "return redis.call('incr', KEYS[1])"],
    &["EVALSHA", "9dd3aa6d0e1dd4fd3a5d1a9bde5ec6b7d0a5c1c2", "1", "n"],
    &["EVAL", "redis.call('nosuch')", "0"],
    &["GET", "n"],
    &["EXEC"],
];

#[test]
fn scripts_answer_as_those_of_redis() {
    expect_same(false, SESSION);
}

#[test]
fn scripts_answer_a_client_of_resp3_as_those_of_redis() {
    expect_same(true, SESSION);
}

/// What a client of a library of locks, limits or queues sends: scripts from the wild.
#[test]
fn scripts_of_well_known_programs_do_their_work() {
    let release = "if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) \
                   else return 0 end";
    let limit = "local current current = redis.call('incrby', KEYS[1], ARGV[2]) \
                 if tonumber(current) == tonumber(ARGV[2]) then \
                 redis.call('expire', KEYS[1], ARGV[1]) end return current";
    let due = "local jobs = redis.call('zrangebyscore', KEYS[1], '-inf', ARGV[1], 'limit', 0, 2) \
               for _, job in ipairs(jobs) do redis.call('zrem', KEYS[1], job) \
               redis.call('lpush', 'queue:' .. job, job) end return jobs";
    expect_same(
        false,
        &[
            &["SET", "lock", "me"],
            &["EVAL", release, "1", "lock", "you"],
            &["EVAL", release, "1", "lock", "me"],
            &["EXISTS", "lock"],
            &["EVAL", limit, "1", "hits", "100", "1"],
            &["EVAL", limit, "1", "hits", "100", "1"],
            &["TTL", "hits"],
            &["ZADD", "jobs", "1", "a", "2", "b", "3", "c", "9", "d"],
            &["EVAL", due, "1", "jobs", "5"],
            &["EVAL", due, "1", "jobs", "5"],
            &["EVAL", due, "1", "jobs", "5"],
            &["LRANGE", "queue:c", "0", "-1"],
        ],
    );
}

transcript!(a_script_may_read_a_stream_but_not_wait_for_it, |wire| {
    let refused = "-ERR xread command is not allowed with BLOCK option from scripts";
    wire.expect("XADD s 1-1 f v", "$3\r\n1-1\r\n");
    wire.expect_start(
        "EVAL \"return redis.pcall('xread','BLOCK',0,'STREAMS',KEYS[1],'$')\" 1 s",
        refused,
    );
    wire.expect("EVAL \"return #redis.call('xread','STREAMS',KEYS[1],'0')\" 1 s", ":1\r\n");
});

transcript!(an_error_of_a_script_says_where_it_was, |wire| {
    let reply = wire.command(&["EVAL", "\n\nreturn redis.call('nosuch')", "0"]);
    let text = String::from_utf8(reply).unwrap();
    assert!(text.starts_with("-ERR Unknown Redis command called from script script: "), "{text}");
    assert!(text.ends_with(", on @user_script:3.\r\n"), "{text}");
});

transcript!(
    a_watched_key_that_a_script_changes_has_changed,
    several | addr | {
        let (mut watcher, mut other) = (Wire::connect(addr), Wire::connect(addr));
        watcher.expect("WATCH k", OK).expect("MULTI", OK).expect("PING", "+QUEUED\r\n");
        let request = ["EVAL", "return redis.call('set', KEYS[1], 'x')", "1", "k"];
        assert_eq!(other.command(&request), OK.as_bytes());
        watcher.expect("EXEC", "*-1\r\n");
    }
);

transcript!(
    those_who_wait_are_served_after_the_script,
    several | addr | {
        let (mut waiter, mut other) = (Wire::connect(addr), Wire::connect(addr));
        waiter.send("BLPOP l 0");
        std::thread::sleep(std::time::Duration::from_millis(50));
        let script = "redis.call('rpush', KEYS[1], 'a') redis.call('del', KEYS[1]) \
                      redis.call('rpush', KEYS[1], 'b', 'c') return redis.call('llen', KEYS[1])";
        assert_eq!(other.command(&["EVAL", script, "1", "l"]), b":2\r\n");
        waiter.expect_reply("*2\r\n$1\r\nl\r\n$1\r\nb\r\n");
        other.expect("LRANGE l 0 -1", "*1\r\n$1\r\nc\r\n");
    }
);

transcript!(
    events_of_a_script_come_in_their_order,
    several | addr | {
        let (mut listener, mut wire) = (Wire::connect(addr), Wire::connect(addr));
        wire.expect("CONFIG SET notify-keyspace-events KEA", OK);
        let subscribed = "*3\r\n$10\r\npsubscribe\r\n$15\r\n__keyevent@0__*\r\n:1\r\n";
        listener.expect("PSUBSCRIBE __keyevent@0__*", subscribed);
        let script = "redis.call('set', KEYS[1], 1) redis.call('incr', KEYS[1]) \
                      redis.call('del', KEYS[1])";
        assert_eq!(wire.command(&["EVAL", script, "1", "k"]), NULL.as_bytes());
        for event in ["set", "incrby", "del"] {
            let channel = format!("__keyevent@0__:{event}");
            listener.expect_reply(format!(
                "*4\r\n$8\r\npmessage\r\n$15\r\n__keyevent@0__*\r\n${}\r\n{channel}\r\n$1\r\nk\r\n",
                channel.len()
            ));
        }
    }
);

transcript!(
    monitors_see_the_script_and_what_it_runs,
    several | addr | {
        let (mut monitor, mut wire) = (Wire::connect(addr), Wire::connect(addr));
        monitor.expect("MONITOR", OK);
        let script = "redis.call('set', KEYS[1], ARGV[1]) return redis.call('get', KEYS[1])";
        wire.command(&["EVAL", script, "1", "k", "v"]);
        let lines: Vec<String> =
            (0..3).map(|_| String::from_utf8(monitor.reply()).unwrap()).collect();
        assert!(lines[0].contains(" \"EVAL\" \"redis.call("), "{lines:?}");
        assert!(lines[1].ends_with(" [0 lua] \"set\" \"k\" \"v\"\r\n"), "{lines:?}");
        assert!(lines[2].ends_with(" [0 lua] \"get\" \"k\"\r\n"), "{lines:?}");
    }
);

transcript!(commands_of_scripts_are_counted_beside_them, |wire| {
    wire.expect("CONFIG RESETSTAT", OK);
    let script = "redis.call('set', KEYS[1], 'x') redis.pcall('incr', KEYS[1]) \
                  redis.pcall('nosuch') return redis.pcall('get', KEYS[1])";
    wire.command(&["EVAL", script, "1", "k"]);
    wire.command(&["EVAL", "return redis.call('incr', KEYS[1])", "1", "k"]);
    wire.command(&["EVAL", "return redis.call('get')", "0"]);
    let info = String::from_utf8(wire.run("INFO commandstats")).unwrap();
    let counts = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:"))).unwrap();
        let fields: Vec<&str> = line.split(',').collect();
        let calls = fields[0].split('=').nth(1).unwrap().to_owned();
        let [rejected, failed] = [3, 4].map(|at| fields[at].split('=').nth(1).unwrap().to_owned());
        (calls, rejected, failed)
    };
    let expected = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    assert_eq!(counts("eval"), expected("3", "0", "2"), "{info}");
    assert_eq!(counts("incr"), expected("2", "0", "2"), "{info}");
    assert_eq!(counts("get"), expected("1", "1", "0"), "{info}");
    assert_eq!(counts("set"), expected("1", "0", "0"), "{info}");
    let info = String::from_utf8(wire.run("INFO errorstats")).unwrap();
    assert!(info.contains("errorstat_ERR:count=4\r\n"), "{info}");
});

it!(time_stands_still_in_a_script, |server| {
    let mut wire = server.wire();
    wire.expect("SET k v PX 50", OK);
    let script = "local n = 0 for i = 1, 3000000 do n = n + i end \
                  return redis.call('exists', KEYS[1])";
    wire.send_args(&["EVAL", script, "1", "k"]);
    std::thread::sleep(std::time::Duration::from_millis(5));
    server.advance_ms(100);
    let reply = wire.reply();
    // It began before the clock was moved, or after it: never in between.
    assert!(reply == b":1\r\n" || reply == b":0\r\n");
    wire.expect("EXISTS k", ":0\r\n");
    let moments = "local a = redis.call('pttl', KEYS[1]) for i = 1, 3000000 do end \
                   return a == redis.call('pttl', KEYS[1])";
    wire.expect("SET k v PX 5000", OK);
    assert_eq!(wire.command(&["EVAL", moments, "1", "k"]), b":1\r\n");
});

it!(scripts_run_in_a_pipeline_and_beside_other_commands, |server| {
    let mut wire = server.wire();
    let mut input = Vec::new();
    for n in 0..200 {
        let key = format!("k{}", n % 7);
        input.extend(encode(&["EVAL", "return redis.call('incr', KEYS[1])", "1", &key]));
        input.extend(encode(&["INCR", &key]));
    }
    wire.raw(&input);
    for n in 0..200 {
        let before = 2 * (n / 7);
        wire.expect_reply(format!(":{}\r\n", before + 1));
        wire.expect_reply(format!(":{}\r\n", before + 2));
    }
});

it!(what_a_script_reads_is_tracked_for_its_client, |server| {
    let (mut reader, mut writer) = (server.wire3(), server.wire());
    reader.expect("CLIENT TRACKING ON", OK);
    reader.command(&["EVAL", "return redis.call('get', KEYS[1])", "1", "k"]);
    writer.expect("SET k v", OK);
    reader.expect_reply(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
});

it!(a_client_that_pauses_writes_holds_up_scripts_that_may_write, |server| {
    let (mut boss, mut wire) = (server.wire(), server.wire());
    boss.expect("CLIENT PAUSE 100000 WRITE", OK);
    let reading = "#!lua flags=no-writes\nreturn redis.call('exists', KEYS[1])";
    assert_eq!(wire.command(&["EVAL", reading, "1", "k"]), b":0\r\n");
    assert_eq!(wire.command(&["EVAL_RO", "return 1", "0"]), b":1\r\n");
    wire.send_args(&["EVAL", "return 1", "0"]);
    wire.expect_silence(100);
    boss.expect("CLIENT UNPAUSE", OK);
    wire.expect_reply(":1\r\n");
});
