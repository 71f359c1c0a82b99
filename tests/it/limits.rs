//! What a client may ask for, and what becomes of one that asks for more: beside redis-server
//! wherever the two do the same. docs/security.md names the test of each limit.

use crate::harness::oracle::Oracle;
use crate::harness::process::Process;
use crate::harness::server::{Folder, MANY_SHARDS, Server};
use crate::harness::wire::{Wire, encode};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const OK: &str = "+OK\r\n";
const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";
const STEP_TIMEOUT: Duration = Duration::from_secs(20);

/// Runs a session on a redis-server and on ours, with one shard and with many.
fn on_both(options: &[&str], session: fn(SocketAddr)) {
    session(Oracle::start_with(options).addr());
    for shards in ["1", "16"] {
        let folder = Folder::new();
        let all = [&["--save", "", "--shards", shards], options].concat();
        session(Process::start(folder.path(), &all).addr());
    }
}

#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + STEP_TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(5));
    }
}

fn text(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).into_owned()
}

fn info(wire: &mut Wire, field: &str) -> u64 {
    let all = text(&wire.run("INFO everything"));
    let value = all.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {field} in {all}"))
}

/// True while a client of this name is connected.
fn is_connected(control: &mut Wire, name: &str) -> bool {
    text(&control.run("CLIENT LIST")).contains(&format!("name={name} "))
}

/// A field of the line of a client.
fn client(control: &mut Wire, name: &str, field: &str) -> Option<usize> {
    let all = text(&control.run("CLIENT LIST"));
    let line = all.lines().find(|line| line.contains(&format!("name={name} ")))?;
    let value = line.split(' ').find_map(|pair| pair.strip_prefix(&format!("{field}=")));
    value.map(|value| value.parse().unwrap())
}

#[test]
fn before_a_password_was_given_requests_are_small() {
    on_both(&["--requirepass", "secret"], |addr| {
        let closed = [
            ("*11\r\n", "unauthenticated multibulk length"),
            ("*1\r\n$16385\r\n", "unauthenticated bulk length"),
            ("*2\r\n$4\r\nECHO\r\n$16385\r\n", "unauthenticated bulk length"),
        ];
        for (request, why) in closed {
            let mut wire = Wire::connect(addr);
            wire.raw(request).expect_reply(format!("-ERR Protocol error: {why}\r\n"));
            wire.expect_closed();
        }
        let mut wire = Wire::connect(addr);
        let noauth = "-NOAUTH Authentication required.\r\n";
        let large = "x".repeat(16_384);
        assert_eq!(text(&wire.command(&["ECHO", &large])), noauth);
        wire.expect("EXISTS 2 3 4 5 6 7 8 9 10", noauth).expect("AUTH secret", OK);
        let larger = "x".repeat(16_385);
        assert_eq!(wire.command(&["ECHO", &larger]).len(), larger.len() + 10);
        wire.expect("EXISTS 2 3 4 5 6 7 8 9 10 11 12", ":0\r\n");
        // Who is a stranger again is treated as one.
        wire.expect("RESET", "+RESET\r\n").raw("*11\r\n");
        wire.expect_reply("-ERR Protocol error: unauthenticated multibulk length\r\n");
        wire.expect_closed();
    });
}

#[test]
fn lines_that_do_not_end_close_the_connection() {
    on_both(&[], |addr| {
        let long = "1".repeat(70_000);
        let cases = [
            (long.clone(), "too big inline request"),
            (format!("*{long}"), "too big mbulk count string"),
            (format!("*1\r\n${long}"), "too big bulk count string"),
        ];
        for (request, why) in cases {
            let mut wire = Wire::connect(addr);
            let _closed_meanwhile = wire.try_raw(request.as_bytes());
            wire.expect_reply(format!("-ERR Protocol error: {why}\r\n"));
            wire.expect_closed();
        }
    });
}

const REFUSED: &str = "-ERR DEBUG command not allowed. If the enable-debug-command option is set \
to \"local\", you can run it from a local connection, otherwise you need to set this option in the \
configuration file, and then restart the server.\r\n";

#[test]
fn debug_is_refused_before_anything_else_is_looked_at() {
    on_both(&["--requirepass", "secret"], |addr| {
        let mut wire = Wire::connect(addr);
        wire.expect("DEBUG SLEEP 0", REFUSED).expect("DEBUG nosuch", REFUSED);
        wire.expect("DEBUG", "-ERR wrong number of arguments for 'debug' command\r\n");
        wire.expect("AUTH secret", OK).expect("DEBUG SLEEP 0", REFUSED);
        wire.expect("ACL SETUSER limited on >pw +@all -debug ~*", OK);
        let mut limited = Wire::connect(addr);
        limited.expect("AUTH limited pw", OK).expect("DEBUG SLEEP 0", REFUSED);
        wire.expect("MULTI", OK).expect("DEBUG OBJECT k", REFUSED);
        wire.expect("EXEC", ABORTED);
        let stats = text(&wire.run("INFO commandstats"));
        let line = stats.lines().find(|line| line.starts_with("cmdstat_debug:")).unwrap();
        assert!(line.contains("calls=0,") && line.contains("rejected_calls=6,"), "{line}");
    });
    on_both(&["--requirepass", "secret", "--enable-debug-command", "local"], |addr| {
        let mut wire = Wire::connect(addr);
        let noauth = "-NOAUTH Authentication required.\r\n";
        wire.expect("DEBUG SLEEP 0", noauth).expect("DEBUG nosuch", noauth);
        wire.expect("AUTH secret", OK).expect("DEBUG SLEEP 0", OK);
        wire.expect("ACL SETUSER limited on >pw +@all -debug ~*", OK);
        let mut limited = Wire::connect(addr);
        limited.expect("AUTH limited pw", OK);
        let denied = "-NOPERM this user has no permissions to run the 'debug' command\r\n";
        limited.expect("DEBUG SLEEP 0", denied);
    });
}

#[test]
fn a_reply_longer_than_the_hard_limit_closes_the_connection_without_a_byte() {
    on_both(&[], |addr| {
        let mut control = Wire::connect(addr);
        control.expect("CONFIG SET client-output-buffer-limit \"normal 100000 0 0\"", OK);
        for _ in 0..150 {
            control.run(&format!("RPUSH list {}", "x".repeat(1_000)));
        }
        control.expect("HSET hash field value", ":1\r\n").expect("SADD set member", ":1\r\n");
        control.expect("ZADD zset 1 member", ":1\r\n");
        let asks = [
            "LRANGE list 0 -1",
            "HRANDFIELD hash -999999999",
            "SRANDMEMBER set -999999999",
            "ZRANDMEMBER zset -999999999",
        ];
        for ask in asks {
            let mut wire = Wire::connect(addr);
            wire.expect("CLIENT SETNAME greedy", OK).send(ask).expect_closed();
            eventually("it is gone", || !is_connected(&mut control, "greedy"));
        }
        // What is below the limit is not, as often as it is asked for.
        let mut wire = Wire::connect(addr);
        for _ in 0..50 {
            assert!(wire.run("LRANGE list 0 80").len() > 80_000);
        }
        // A transaction is carried out as a whole all the same.
        wire.expect("MULTI", OK).expect("SET before 1", "+QUEUED\r\n");
        wire.expect("LRANGE list 0 -1", "+QUEUED\r\n").expect("SET behind 1", "+QUEUED\r\n");
        wire.send("EXEC").expect_closed();
        control.expect("MGET before behind", "*2\r\n$1\r\n1\r\n$1\r\n1\r\n");
    });
}

#[test]
fn replies_of_a_pipeline_count_together() {
    on_both(&["--enable-debug-command", "yes"], |addr| {
        let (mut control, mut wire) = (Wire::connect(addr), Wire::connect(addr));
        control.expect("CONFIG SET client-output-buffer-limit \"normal 100000 0 0\"", OK);
        assert_eq!(text(&control.command(&["SET", "key", &"x".repeat(10_000)])), OK);
        wire.expect("CLIENT SETNAME pipeline", OK);
        let mut sleeper = Wire::connect(addr);
        // All requests have come before the first is carried out.
        sleeper.send("DEBUG SLEEP 0.5");
        sleep(Duration::from_millis(100));
        wire.raw(encode(&["GET", "key"]).repeat(15)).expect_closed();
        sleeper.expect_reply(OK);
        eventually("it is gone", || !is_connected(&mut control, "pipeline"));
    });
}

#[test]
fn a_subscriber_has_limits_of_its_own() {
    on_both(&[], |addr| {
        let (mut control, mut stuck) = (Wire::connect(addr), Wire::connect(addr));
        control.expect("CONFIG SET client-output-buffer-limit \"pubsub 100000 0 0\"", OK);
        stuck.expect("CLIENT SETNAME stuck", OK).send("SUBSCRIBE channel").reply();
        let (message, mut most) = ("x".repeat(1_000), 0);
        for number in 0.. {
            control.run(&format!("PUBLISH channel {message}"));
            match client(&mut control, "stuck", "omem") {
                Some(waiting) => most = most.max(waiting),
                None => break,
            }
            assert!(number < 100_000, "it was not closed: {most}");
        }
        // Some of it is in the buffers of the system.
        assert!((70_000..200_000).contains(&most), "closed with {most} bytes");
    });
}

#[test]
fn the_soft_limit_acts_after_its_time_even_when_nothing_happens() {
    on_both(&[], |addr| {
        let (mut control, mut stuck) = (Wire::connect(addr), Wire::connect(addr));
        control.expect("CONFIG SET client-output-buffer-limit \"pubsub 0 100000 2\"", OK);
        stuck.expect("CLIENT SETNAME stuck", OK).send("SUBSCRIBE channel").reply();
        let message = "x".repeat(10_000);
        while client(&mut control, "stuck", "omem").is_some_and(|waiting| waiting <= 110_000) {
            control.run(&format!("PUBLISH channel {message}"));
        }
        let began = Instant::now();
        assert!(is_connected(&mut control, "stuck"), "closed at once");
        eventually("it is closed", || !is_connected(&mut control, "stuck"));
        let lasted = began.elapsed();
        let expected = Duration::from_millis(1_500)..Duration::from_secs(8);
        assert!(expected.contains(&lasted), "{lasted:?}");
    });
}

#[test]
fn a_client_that_does_not_take_its_replies_is_closed_by_the_soft_limit() {
    let server = Server::start_in_real_time(MANY_SHARDS);
    let (mut control, mut stuck) = (server.wire(), Wire::connect_with_little_room(server.addr()));
    control.expect("CONFIG SET client-output-buffer-limit \"normal 0 100000 1\"", OK);
    control.expect("SETRANGE key 29999999 x", ":30000000\r\n");
    stuck.expect("CLIENT SETNAME stuck", OK);
    // The system's send buffer takes some megabytes; what is more waits in the server. Of many
    // small replies less than the limit might: no more are made while some wait.
    stuck.send("GET key");
    eventually("it is closed", || !is_connected(&mut control, "stuck"));
    let closed = "my_redis_output_limit_disconnections";
    eventually("that is counted", || info(&mut control, closed) == 1);
}

#[test]
fn a_smaller_limit_for_all_clients_acts_at_once() {
    on_both(&[], |addr| {
        let mut control = Wire::connect(addr);
        control.expect("CLIENT NO-EVICT ON", OK).expect("CONFIG SET maxmemory 100mb", OK);
        let mut clients: Vec<Wire> = (0..4).map(|_| Wire::connect(addr)).collect();
        for wire in &mut clients {
            wire.expect("CLIENT SETNAME large", OK);
            wire.raw(format!("*2\r\n$3\r\nGET\r\n$1000000\r\n{}", "x".repeat(900_000)));
        }
        let large =
            |control: &mut Wire| text(&control.run("CLIENT LIST")).matches("name=large ").count();
        let has_come = |control: &mut Wire| {
            let list = text(&control.run("CLIENT LIST"));
            let unread = list.lines().filter(|line| line.contains("name=large "));
            unread.filter(|line| line.contains(" qbuf=9000")).count() == 4
        };
        eventually("all has come", || has_come(&mut control));
        assert_eq!(large(&mut control), 4);
        // A part of the memory, and then less memory: room for two of them and for none.
        control.expect("CONFIG SET maxmemory-clients 3%", OK);
        let left = large(&mut control);
        assert!((1..4).contains(&left), "{left}");
        control.expect("CONFIG SET maxmemory 10mb", OK);
        assert_eq!(large(&mut control), 0);
    });
}

#[test]
fn what_is_carried_out_does_not_count_twice() {
    on_both(&[], |addr| {
        let mut control = Wire::connect(addr);
        control.expect("CLIENT NO-EVICT ON", OK);
        control.expect("CONFIG SET maxmemory-clients 3000000", OK);
        let mut wire = Wire::connect(addr);
        let value = "v".repeat(750_000);
        for _ in 0..3 {
            wire.expect("MULTI", OK);
            for _ in 0..2 {
                assert_eq!(text(&wire.command(&["SET", "k", &value])), "+QUEUED\r\n");
            }
            wire.expect("EXEC", "*2\r\n+OK\r\n+OK\r\n");
        }
        wire.expect("MULTI", OK);
        let request = encode(&["SET", "k", &value]);
        let queued = |_: &usize| wire.try_raw(&request).is_ok() && wire.try_reply().is_ok();
        let count = (0..10).take_while(queued).count();
        assert!((2..5).contains(&count), "{count} of 750 KB were queued");
    });
}

#[test]
fn who_waits_listens_or_takes_a_long_answer_is_not_silent() {
    on_both(&[], |addr| {
        let mut control = Wire::connect(addr);
        control.expect("CONFIG SET timeout 1", OK);
        let large = vec![b'x'; 30_000_000];
        assert_eq!(text(&control.command(&[&b"SET"[..], b"large", &large])), OK);
        let [mut silent, mut waits, mut listens, mut watches, mut reads, mut paused] =
            [(); 6].map(|()| Wire::connect(addr));
        waits.send("BLPOP list 0");
        listens.send("SUBSCRIBE channel").reply();
        watches.expect("MONITOR", OK);
        reads.send("GET large");
        control.expect("CLIENT PAUSE 2500 WRITE", OK);
        paused.send("SET paused 1");
        let mut slow = reads.clone_stream();
        slow.set_read_timeout(Some(STEP_TIMEOUT)).unwrap();
        let (began, mut read) = (Instant::now(), 0);
        let mut chunk = vec![0; 200_000];
        while began.elapsed() < Duration::from_millis(3_000) {
            read += std::io::Read::read(&mut slow, &mut chunk).unwrap();
            control.expect("PING", "+PONG\r\n");
            sleep(Duration::from_millis(50));
        }
        assert!(read < large.len(), "it read too fast to show anything");
        while read < large.len() + 13 {
            let more = std::io::Read::read(&mut slow, &mut chunk).unwrap();
            assert!(more > 0, "closed after {read} bytes");
            read += more;
        }
        silent.expect_closed();
        paused.expect_reply(OK).expect("PING", "+PONG\r\n");
        control.expect("RPUSH list a", ":1\r\n");
        waits.expect_reply("*2\r\n$4\r\nlist\r\n$1\r\na\r\n");
        sleep(Duration::from_millis(400));
        waits.expect("PING", "+PONG\r\n");
        control.expect("PUBLISH channel message", ":1\r\n");
        listens.expect_reply("*3\r\n$7\r\nmessage\r\n$7\r\nchannel\r\n$7\r\nmessage\r\n");
        assert!(watches.reply().starts_with(b"+"));
    });
}

/// The lines of the system's tables of connections whose local port is this, in words.
fn connections(port: u16) -> Vec<Vec<String>> {
    let files = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap());
    let local = format!(":{port:04X}");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines = files.iter().flat_map(|file| file.lines().skip(1).map(words));
    lines.filter(|words| words[1].ends_with(&local)).collect()
}

#[test]
fn peers_are_asked_for_a_sign_of_life() {
    on_both(&[], |addr| {
        let (established, keepalive) = ("01", "02");
        // The timer that runs, and the hundredths of a second that it still has to go.
        let timer = |wire: &Wire| -> (String, u64) {
            let remote = format!(":{:04X}", wire.local_addr().port());
            let all = connections(addr.port());
            let line = all.iter().find(|words| words[2].ends_with(&remote)).unwrap();
            assert_eq!(line[3], established);
            let (kind, left) = line[5].split_once(':').unwrap();
            (kind.to_owned(), u64::from_str_radix(left, 16).unwrap())
        };
        let connected = || {
            let mut wire = Wire::connect(addr);
            wire.expect("PING", "+PONG\r\n");
            // Until the answer is acknowledged there is another timer.
            sleep(Duration::from_millis(300));
            wire
        };
        let mut wire = connected();
        let (kind, left) = timer(&wire);
        assert!(kind == keepalive && (29_000..=30_000).contains(&left), "{kind} {left}");
        wire.expect("CONFIG SET tcp-keepalive 60", OK);
        let (kind, left) = timer(&connected());
        assert!(kind == keepalive && (5_000..=6_000).contains(&left), "{kind} {left}");
        wire.expect("CONFIG SET tcp-keepalive 0", OK);
        assert_eq!(timer(&connected()).0, "00");
    });
}

#[test]
fn only_this_machine_can_connect_unless_other_addresses_are_named() {
    let folder = Folder::new();
    let listening = |server: &Process| -> Vec<String> {
        let all = connections(server.addr().port()).into_iter();
        let listens = all.filter(|words| words[3] == "0A");
        let mut addresses: Vec<String> =
            listens.map(|words| words[1].split(':').next().unwrap().to_owned()).collect();
        addresses.sort();
        addresses
    };
    let local = ["00000000000000000000000001000000", "0100007F"];
    let listens = listening(&Process::start(folder.path(), &[]));
    assert!(listens.contains(&local[1].to_owned()), "{listens:?}");
    assert!(listens.iter().all(|address| local.contains(&&**address)), "{listens:?}");
    let folder = Folder::new();
    let named = Process::start(folder.path(), &["--bind", "127.0.0.1", "127.0.0.9"]);
    assert_eq!(listening(&named), ["0100007F", "0900007F"]);
}

#[test]
fn with_all_clients_that_may_be_there_are_descriptors_for_the_dump() {
    const DESCRIPTORS: usize = 150;
    let folder = Folder::new();
    let mut command = Command::new("prlimit");
    command.current_dir(folder.path()).arg(format!("--nofile={DESCRIPTORS}:{DESCRIPTORS}"));
    command.arg(PathBuf::from(env!("CARGO_BIN_EXE_my_redis_server"))).args(["--save", ""]);
    let mut server = Process::start_command(command);
    let mut control = server.wire();
    eventually("the first probe is gone", || info(&mut control, "connected_clients") == 1);
    let most = usize::try_from(info(&mut control, "maxclients")).unwrap();
    assert!((50..DESCRIPTORS - 32).contains(&most), "{most} clients with {DESCRIPTORS}");
    assert!(server.log().contains("maxclients is"), "{}", server.log());
    let refused = format!(
        "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating \
         system is not able to handle the specified number of clients, try with {most}\r\n"
    );
    control.expect(&format!("CONFIG SET maxclients {}", most + 1), refused);
    let mut clients: Vec<Wire> = (1..most).map(|_| server.wire()).collect();
    for wire in &mut clients {
        wire.expect("PING", "+PONG\r\n");
    }
    let refused: Vec<Wire> = (0..200).map(|_| server.wire()).collect();
    for mut wire in refused {
        wire.expect_reply("-ERR max number of clients reached\r\n").expect_closed();
    }
    assert_eq!(info(&mut control, "rejected_connections"), 200);
    control.expect("SET key value", OK).expect("SAVE", OK);
    control.expect_start("BGSAVE", "+Background saving started");
    eventually("saved", || info(&mut control, "rdb_saves") == 2);
    assert!(folder.path().join("dump.my_rdb").exists());
    drop(clients);
    eventually("room for others", || server.wire().run("PING") == b"+PONG\r\n");
    assert!(!server.log().contains("cannot accept"), "{}", server.log());
}
