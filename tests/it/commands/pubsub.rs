//! SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE and their opposites, PUBLISH, SPUBLISH, PUBSUB.

use super::{OK, elements, expect_wrong_arity};
use crate::harness::server::{MANY_SHARDS, Server};
use crate::harness::wire::Wire;
use crate::it;
use std::time::{Duration, Instant};

/// What a client of RESP2 gets: an array of byte strings, of which a number stands as it is.
fn message(marker: char, parts: &[&str]) -> String {
    let part = |part: &&str| match part.strip_prefix(':') {
        Some(number) => format!(":{number}\r\n"),
        None if *part == "(nil)" && marker == '*' => "$-1\r\n".to_owned(),
        None if *part == "(nil)" => "_\r\n".to_owned(),
        None => format!("${}\r\n{part}\r\n", part.len()),
    };
    let parts: Vec<String> = parts.iter().map(part).collect();
    format!("{marker}{}\r\n{}", parts.len(), parts.concat())
}

/// Sends one line and checks all the replies that it has.
#[track_caller]
fn expect_messages(wire: &mut Wire, marker: char, line: &str, messages: &[&[&str]]) {
    wire.send(line);
    for parts in messages {
        wire.expect_reply(message(marker, parts));
    }
}

fn a_conversation(addr: std::net::SocketAddr, marker: char) {
    let connect = if marker == '*' { Wire::connect } else { Wire::connect_resp3 };
    let (mut a, mut b, mut other) = (connect(addr), connect(addr), Wire::connect(addr));
    let subscribed: &[&[&str]] = &[&["subscribe", "c", ":1"], &["subscribe", "d", ":2"]];
    expect_messages(&mut a, marker, "SUBSCRIBE c d", subscribed);
    expect_messages(&mut a, marker, "SUBSCRIBE c", &[&["subscribe", "c", ":2"]]);
    let subscribed: &[&[&str]] = &[&["psubscribe", "c*", ":3"], &["psubscribe", "[d]", ":4"]];
    expect_messages(&mut a, marker, "PSUBSCRIBE c* [d]", subscribed);
    expect_messages(&mut b, marker, "SUBSCRIBE c", &[&["subscribe", "c", ":1"]]);
    expect_messages(&mut b, marker, "SSUBSCRIBE c", &[&["ssubscribe", "c", ":1"]]);
    other.expect("PUBLISH c 1", ":3\r\n").expect("PUBLISH cd 2", ":1\r\n");
    other.expect("PUBLISH e 3", ":0\r\n").expect("SPUBLISH c 4", ":1\r\n");
    other.expect("SPUBLISH d 4", ":0\r\n").expect("PUBLISH C 5", ":0\r\n");
    other.expect("PUBLISH d \"\"", ":2\r\n");
    a.expect_reply(message(marker, &["message", "c", "1"]));
    a.expect_reply(message(marker, &["pmessage", "c*", "c", "1"]));
    a.expect_reply(message(marker, &["pmessage", "c*", "cd", "2"]));
    a.expect_reply(message(marker, &["message", "d", ""]));
    a.expect_reply(message(marker, &["pmessage", "[d]", "d", ""]));
    b.expect_reply(message(marker, &["message", "c", "1"]));
    b.expect_reply(message(marker, &["smessage", "c", "4"]));
    let ended: &[&[&str]] = &[&["unsubscribe", "c", ":3"], &["unsubscribe", "x", ":3"]];
    expect_messages(&mut a, marker, "UNSUBSCRIBE c x", ended);
    expect_messages(&mut a, marker, "UNSUBSCRIBE", &[&["unsubscribe", "d", ":2"]]);
    expect_messages(&mut a, marker, "UNSUBSCRIBE", &[&["unsubscribe", "(nil)", ":2"]]);
    expect_messages(&mut a, marker, "PUNSUBSCRIBE c*", &[&["punsubscribe", "c*", ":1"]]);
    expect_messages(&mut a, marker, "PUNSUBSCRIBE", &[&["punsubscribe", "[d]", ":0"]]);
    expect_messages(&mut a, marker, "PUNSUBSCRIBE", &[&["punsubscribe", "(nil)", ":0"]]);
    expect_messages(&mut a, marker, "SUNSUBSCRIBE", &[&["sunsubscribe", "(nil)", ":0"]]);
    expect_messages(&mut b, marker, "SUNSUBSCRIBE c", &[&["sunsubscribe", "c", ":0"]]);
    other.expect("PUBLISH c 6", ":1\r\n").expect("PUBLISH d 6", ":0\r\n");
    other.expect("SPUBLISH c 6", ":0\r\n");
    b.expect_reply(message(marker, &["message", "c", "6"]));
    a.expect("ECHO back", "$4\r\nback\r\n");
}

transcript!(messages_reach_their_subscribers, several | addr | { a_conversation(addr, '*') });

transcript!(messages_are_pushes_in_resp3, several | addr | { a_conversation(addr, '>') });

transcript!(a_subscriber_of_resp2_may_hardly_ask_for_anything, |wire| {
    expect_messages(&mut wire, '*', "PSUBSCRIBE x*", &[&["psubscribe", "x*", ":1"]]);
    let lines = [
        ("GET a", "get"),
        ("SET a 1", "set"),
        ("PUBLISH a 1", "publish"),
        ("MULTI", "multi"),
        ("HELLO 3", "hello"),
        ("CLIENT ID", "client|id"),
        ("PUBSUB NUMPAT", "pubsub|numpat"),
    ];
    for (line, name) in lines {
        wire.expect(
            line,
            format!(
                "-ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / \
                 QUIT / RESET are allowed in this context\r\n"
            ),
        );
    }
    wire.expect("GET", "-ERR wrong number of arguments for 'get' command\r\n");
    wire.expect("PING", message('*', &["pong", ""])).expect("PING x", message('*', &["pong", "x"]));
    wire.expect("PING x y", "-ERR wrong number of arguments for 'ping' command\r\n");
    wire.expect("RESET", "+RESET\r\n").expect("PING", "+PONG\r\n").expect("SET a 1", OK);
    expect_messages(&mut wire, '*', "SSUBSCRIBE s", &[&["ssubscribe", "s", ":1"]]);
    wire.expect("PING", message('*', &["pong", ""])).expect("QUIT", OK).expect_closed();
});

transcript!(
    a_subscriber_of_resp3_may_ask_for_everything,
    resp3 | wire | {
        expect_messages(&mut wire, '>', "SUBSCRIBE c", &[&["subscribe", "c", ":1"]]);
        wire.expect("SET a 1", OK).expect("PING", "+PONG\r\n").expect("GET a", "$1\r\n1\r\n");
        // What it publishes to itself comes before the answer.
        wire.send("PUBLISH c hi").expect_reply(message('>', &["message", "c", "hi"]));
        wire.expect_reply(":1\r\n");
        wire.expect("RESET", "+RESET\r\n").expect("PUBSUB CHANNELS", "*0\r\n");
    }
);

transcript!(subscriptions_work_inside_a_transaction, |wire| {
    wire.expect("MULTI", OK).expect("SUBSCRIBE c", "+QUEUED\r\n");
    wire.expect("PUBLISH c x", "+QUEUED\r\n").expect("PING", "+QUEUED\r\n");
    wire.send("EXEC").raw("");
    let mut expected = "*3\r\n".to_owned() + &message('*', &["subscribe", "c", ":1"]);
    expected += &message('*', &["message", "c", "x"]);
    // The message within the array counts as one of its elements: so it is in Redis 7.0.
    expected += ":1\r\n";
    wire.expect_reply(expected).expect_reply(message('*', &["pong", ""]));
});

transcript!(messages_come_although_replies_are_off, |wire| {
    wire.send("CLIENT REPLY OFF").send("SET a 1");
    expect_messages(&mut wire, '*', "SUBSCRIBE c", &[&["subscribe", "c", ":1"]]);
    wire.send("UNSUBSCRIBE x").expect_reply(message('*', &["unsubscribe", "x", ":1"]));
    wire.send("UNSUBSCRIBE c").expect_reply(message('*', &["unsubscribe", "c", ":0"]));
    wire.send("PING").expect("CLIENT REPLY ON", OK);
});

transcript!(
    pubsub_tells_who_listens_to_what,
    several | addr | {
        let (mut a, mut b, mut other) =
            (Wire::connect(addr), Wire::connect(addr), Wire::connect(addr));
        a.send("SUBSCRIBE c d").reply();
        a.reply();
        a.send("PSUBSCRIBE p*").reply();
        b.send("PSUBSCRIBE p* q").reply();
        b.reply();
        b.send("SUBSCRIBE c").reply();
        b.send("SSUBSCRIBE s").reply();
        let sorted = |other: &mut Wire, line: &str| {
            let mut names = elements(&other.run(line));
            names.sort();
            names.concat()
        };
        assert_eq!(sorted(&mut other, "PUBSUB CHANNELS"), b"cd");
        assert_eq!(sorted(&mut other, "PUBSUB CHANNELS *"), b"cd");
        assert_eq!(sorted(&mut other, "PUBSUB CHANNELS [d]"), b"d");
        assert_eq!(sorted(&mut other, "PUBSUB SHARDCHANNELS"), b"s");
        other.expect("PUBSUB CHANNELS x*", "*0\r\n").expect("PUBSUB NUMPAT", ":2\r\n");
        other.expect("PUBSUB SHARDCHANNELS x*", "*0\r\n");
        other.expect(
            "PUBSUB NUMSUB c d e c",
            "*8\r\n$1\r\nc\r\n:2\r\n$1\r\nd\r\n:1\r\n$1\r\ne\r\n:0\r\n$1\r\nc\r\n:2\r\n",
        );
        other.expect("PUBSUB NUMSUB", "*0\r\n").expect("PUBSUB SHARDNUMSUB", "*0\r\n");
        other.expect("PUBSUB SHARDNUMSUB s c", "*4\r\n$1\r\ns\r\n:1\r\n$1\r\nc\r\n:0\r\n");
        let text =
            "unknown subcommand or wrong number of arguments for 'channels'. Try PUBSUB HELP.";
        other.expect("PUBSUB channels a b", format!("-ERR {text}\r\n"));
        other.expect("PUBSUB nosuch", "-ERR unknown subcommand 'nosuch'. Try PUBSUB HELP.\r\n");
        other.expect(
            "PUBSUB NUMPAT x",
            "-ERR wrong number of arguments for 'pubsub|numpat' command\r\n",
        );
        expect_wrong_arity(
            &mut other,
            &["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "PUBLISH a", "PUBLISH a b c", "SPUBLISH a"],
        );
        let list = other.run("CLIENT LIST TYPE pubsub");
        let list = String::from_utf8_lossy(&list).into_owned();
        assert_eq!(list.lines().filter(|line| line.contains(" flags=P ")).count(), 2, "{list}");
        assert!(list.contains(" sub=2 psub=1 ") && list.contains(" sub=1 psub=2 "), "{list}");
        other.expect("CLIENT KILL TYPE pubsub", ":2\r\n");
        a.expect_closed();
        b.expect_closed();
        let deadline = Instant::now() + Duration::from_secs(5);
        while other.run("PUBSUB NUMPAT") != b":0\r\n" || other.run("PUBSUB CHANNELS") != b"*0\r\n" {
            assert!(Instant::now() < deadline, "closed clients are still listened for");
        }
        other.expect("PUBLISH c x", ":0\r\n");
    }
);

transcript!(
    help_and_the_table_say_the_same,
    several | addr | {
        let mut wire = Wire::connect(addr);
        let help = String::from_utf8_lossy(&wire.run("PUBSUB HELP")).into_owned();
        assert!(help.starts_with("*14\r\n+PUBSUB <subcommand>"), "{help}");
        wire.expect("COMMAND GETKEYS SSUBSCRIBE a b", "-ERR The command has no key arguments\r\n");
        wire.expect("COMMAND GETKEYS SPUBLISH a b", "-ERR The command has no key arguments\r\n");
    }
);

it!(a_message_goes_out_while_the_client_sends_a_long_request, |server| {
    let (mut subscriber, mut other) = (server.wire(), server.wire());
    subscriber.raw("SUBSCRIBE c\r\n").reply();
    subscriber.raw("*2\r\n$4\r\nPING\r\n$100000\r\nbegun");
    other.expect("PUBLISH c now", ":1\r\n");
    subscriber.expect_reply(message('*', &["message", "c", "now"]));
});

it!(messages_and_replies_to_a_pipeline_are_whole, |server| {
    let mut subscriber = Wire::connect_resp3(server.addr());
    subscriber.send("SUBSCRIBE c").reply();
    let addr = server.addr();
    let payload = "x".repeat(20_000);
    let publisher = std::thread::spawn(move || {
        let mut wire = Wire::connect(addr);
        for n in 0..2_000 {
            let payload = if n % 100 == 0 { payload.as_str() } else { "small" };
            wire.expect(&format!("PUBLISH c {n}-{payload}"), ":1\r\n");
        }
    });
    let (mut pushes, mut pongs) = (0, 0);
    while pushes < 2_000 {
        subscriber.raw("PING\r\n".repeat(20));
        let target = pongs + 20;
        while pongs < target {
            match subscriber.reply() {
                reply if reply == b"+PONG\r\n" => pongs += 1,
                reply => {
                    let reply = String::from_utf8_lossy(&reply).into_owned();
                    assert!(reply.contains("$7\r\nmessage\r\n$1\r\nc\r\n"), "{reply}");
                    assert!(reply.contains(&format!("\n{pushes}-")));
                    pushes += 1;
                }
            }
        }
    }
    publisher.join().unwrap();
});

#[test]
fn a_subscriber_that_does_not_read_is_closed_and_costs_no_memory() {
    let server = Server::start(MANY_SHARDS);
    let (mut stuck, mut reader, mut other) = (server.wire(), server.wire(), server.wire());
    let limit = "CONFIG SET client-output-buffer-limit \"pubsub 4mb 0 0\"";
    other.expect(limit, OK);
    stuck.send("SUBSCRIBE c").reply();
    reader.send("SUBSCRIBE c").reply();
    let payload = "x".repeat(100_000);
    let mut published = 0;
    while other.run(&format!("PUBLISH c {payload}")) == b":2\r\n" {
        published += 1;
        assert!(published < 1_000, "the one that does not read is still there");
        reader.reply();
    }
    // Those that were sent before are in the buffers of the system.
    assert!(published > 40, "closed after {published} messages");
    reader.reply();
    reader.expect_silence(10);
    let info = String::from_utf8_lossy(&other.run("INFO stats")).into_owned();
    assert!(info.contains("\r\nmy_redis_output_limit_disconnections:1\r\n"), "{info}");
    assert!(info.contains("\r\npubsub_channels:1\r\n"), "{info}");
    assert!(stuck.try_read_to_close().is_ok() || stuck.try_reply().is_err());
}
