//! Requests as they arrive: in pieces, in batches, malformed, and from strangers.

use crate::harness::random::{Random, seed};
use crate::harness::server::Server;
use crate::harness::wire::{Wire, bulk, encode};
use crate::it;
use my_redis::command::clients::ClientRecord;
use std::sync::Arc;
use std::time::{Duration, Instant};

it!(replies_of_a_pipeline_come_in_order, |server| {
    let mut wire = server.wire();
    let mut input = Vec::new();
    for n in 0..5_000 {
        input.extend(encode(&["SET", "key", &n.to_string()]));
        input.extend(encode(&["GET", "key"]));
    }
    wire.raw(&input);
    for n in 0..5_000 {
        let text = n.to_string();
        wire.expect_reply("+OK\r\n").expect_reply(format!("${}\r\n{text}\r\n", text.len()));
    }
});

it!(a_pipeline_finds_its_own_keys_where_another_one_stood_before, |server| {
    let mut wire = server.wire();
    let key = |round: usize, n: usize| format!("key:{round:03}:{n:03}");
    for round in 0..20 {
        // Both names are of one length, so the keys of the two pipelines stand in the same places
        // of the input. Those of MGET are looked at ahead, and found in another way.
        for name in ["MGET", "INCR"] {
            let other = if name == "MGET" { 500 } else { 0 };
            let requests = (0..10).map(|n| encode(&[name, &key(round + other, n)]));
            wire.raw(requests.collect::<Vec<_>>().concat());
            for _ in 0..10 {
                wire.expect_reply(if name == "MGET" { "*1\r\n$-1\r\n" } else { ":1\r\n" });
            }
        }
        for n in 0..10 {
            wire.expect(&format!("GET {}", key(round, n)), "$1\r\n1\r\n");
        }
    }
});

it!(a_request_in_single_bytes_is_answered_once, |server| {
    let mut wire = server.wire();
    for byte in encode(&["SET", "key", "value"]) {
        wire.raw([byte]);
    }
    wire.expect_reply("+OK\r\n").expect_silence(20);
});

it!(inline_requests_are_answered, |server| {
    let mut wire = server.wire();
    wire.raw("\r\nPING\r\n  set key \"a b\"  \nGET key\r\n");
    wire.expect_reply("+PONG\r\n").expect_reply("+OK\r\n").expect_reply("$3\r\na b\r\n");
});

it!(empty_requests_get_no_reply, |server| {
    let mut wire = server.wire();
    wire.raw("*0\r\n\r\n*-1\r\nPING\r\n*0\r\n");
    wire.expect_reply("+PONG\r\n").expect_silence(20);
});

it!(bytes_that_are_no_request_close_the_connection, |server| {
    let cases = [
        ("*2147483648\r\n", "invalid multibulk length"),
        ("*x\r\n", "invalid multibulk length"),
        ("*1\r\n$536870913\r\n", "invalid bulk length"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n*1\r\n", "expected '$', got '*'"),
        ("PING \"open\r\n", "unbalanced quotes in request"),
    ];
    for (input, text) in cases {
        let mut wire = server.wire();
        wire.raw(format!("PING\r\n{input}"));
        wire.expect_reply("+PONG\r\n").expect_reply(format!("-ERR Protocol error: {text}\r\n"));
        wire.expect_closed();
    }
});

it!(http_is_closed_without_an_answer_that_a_page_could_read, |server| {
    for head in ["POST / HTTP/1.1\r\n", "Host: localhost\r\n"] {
        let mut wire = server.wire();
        wire.raw(format!("{head}SET key value\r\n"));
        wire.expect_closed();
    }
    server.wire().expect("GET key", "$-1\r\n");
});

it!(a_nested_array_of_any_depth_is_refused_without_recursion, |server| {
    let mut wire = server.wire();
    let _closed_meanwhile = wire.try_raw("*1\r\n".repeat(100_000).as_bytes());
    let reply = wire.reply();
    assert!(reply.starts_with(b"-ERR Protocol error: expected '$'"));
});

it!(announced_lengths_reserve_no_memory, |server| {
    let mut wires: Vec<_> = (0..100).map(|_| server.wire()).collect();
    for wire in &mut wires {
        wire.expect("PING", "+PONG\r\n");
        wire.raw("*2\r\n$3\r\nGET\r\n$536870912\r\nabc");
    }
    for piece in ["def", "ghi"] {
        std::thread::sleep(Duration::from_millis(20));
        for wire in &mut wires {
            wire.raw(piece);
        }
    }
    std::thread::sleep(Duration::from_millis(20));
    let buffered = |record: &Arc<ClientRecord>| record.buffered_bytes().0;
    let records = server.services().clients.all();
    assert_eq!(records.len(), 100);
    assert!(records.iter().all(|record| buffered(record) > 0));
    let most = records.iter().map(buffered).max();
    assert!(most <= Some(64 * 1024), "{most:?} bytes for an announced length");
});

it!(a_client_that_sends_a_million_requests_before_it_reads_gets_every_reply, |server| {
    let mut wire = server.wire();
    wire.expect("SET key 0123456789", "+OK\r\n");
    let input = encode(&["GET", "key"]).repeat(300_000);
    wire.raw(&input);
    for _ in 0..300_000 {
        wire.expect_reply("$10\r\n0123456789\r\n");
    }
});

/// Requests of a client, which only it can have sent, and the replies to them.
fn own_requests(random: &mut Random, client: u8) -> (Vec<u8>, Vec<Vec<u8>>) {
    let lens = [1, 100, 5_000, 17_000, 70_000, 200_000, 300_000];
    let values: Vec<Vec<u8>> = (0..1 + random.below(10))
        .map(|_| vec![b'a' + client; lens[random.below(lens.len())] + random.below(100)])
        .collect();
    let input = values.iter().flat_map(|value| encode(&[b"ECHO", &value[..]])).collect();
    (input, values.iter().map(bulk).collect())
}

#[test]
fn clients_that_share_the_buffers_of_a_thread_see_nothing_of_each_other() {
    let server = Server::start_with(1, |options| options.threads = 1);
    let mut random = Random::new(seed("buffers of a thread"));
    let mut other = server.wire();
    let mut clients: Vec<Wire> =
        (0..8).map(|_| Wire::connect_with_little_room(server.addr())).collect();
    for round in 0..32 {
        let mut requests: Vec<(Vec<u8>, Vec<Vec<u8>>)> =
            (0..8).map(|client| own_requests(&mut random, client)).collect();
        if round % 8 == 0 {
            // One is owed more than the system takes, in replies that stand in the buffer itself.
            let (input, replies) = &mut requests[round / 8];
            let value = vec![b'A'; 5_000];
            input.extend(encode(&[b"SET", b"key", &value[..]]));
            input.extend(encode(&["GET", "key"]).repeat(700));
            replies.push(b"+OK\r\n".to_vec());
            replies.extend(vec![bulk(value); 700]);
        }
        // Most are in the middle of a request, or take no replies, while others are served.
        while requests.iter().any(|(input, _)| !input.is_empty()) {
            let client = random.below(clients.len());
            let input = &mut requests[client].0;
            let len_max = *random.pick(&[1_000, 100_000, 400_000]);
            let len = random.between(1, len_max).min(input.len());
            clients[client].raw(input.drain(..len).collect::<Vec<u8>>());
            other.expect("PING", "+PONG\r\n");
        }
        for (client, (_, replies)) in clients.iter_mut().zip(requests) {
            for reply in replies {
                assert!(client.reply() == reply, "round {round}");
            }
        }
    }
}

it!(line_ends_in_a_request_cannot_forge_a_reply, |server| {
    let mut wire = server.wire();
    wire.send_args(&["NO\r\n+OK", "a\r\n:1"]);
    wire.expect_reply("-ERR unknown command 'NO  +OK', with args beginning with: 'a  :1' \r\n");
    wire.expect("PING", "+PONG\r\n");
});

// Whatever an error repeats of a request: behind it comes the answer to the next one.
it!(no_argument_of_any_command_can_forge_a_reply, |server| {
    let mut wire = server.wire();
    let forged = "x\r\n+FORGED\r\n$1\r\n\r\n-ERR \n\r";
    let mut refused = 0;
    for row in my_redis::command::table::numbered() {
        let name = row.name();
        // These end the connection, or are answered more than once.
        let is_left_out = ["shutdown", "quit", "monitor", "multi", "client|reply"];
        if is_left_out.contains(&name) || name.ends_with("subscribe") {
            continue;
        }
        for count in 0..8 {
            let mut request: Vec<&str> = name.split('|').collect();
            if count == 7 {
                // The name of a subcommand itself.
                request.truncate(1);
            }
            request.extend(std::iter::repeat_n(forged, count));
            let reply = wire.send_args(&request).send_args(&["ECHO", "marker"]).reply();
            refused += usize::from(reply.starts_with(b"-"));
            wire.expect_reply("$6\r\nmarker\r\n");
        }
    }
    assert!(refused > 1_000, "only {refused} errors");
});

#[test]
fn a_stranger_who_takes_no_replies_is_closed_and_one_who_does_gets_them_all() {
    let server = Server::start_with(1, |options| options.password = Some("secret".to_owned()));
    let mut reader = server.wire();
    reader.raw("PING\r\n".repeat(1_000));
    for _ in 0..1_000 {
        reader.expect_reply("-NOAUTH Authentication required.\r\n");
    }
    reader.raw("AUTH secret\r\n".to_owned() + &"PING\r\n".repeat(1_000));
    reader.expect_reply("+OK\r\n");
    for _ in 0..1_000 {
        reader.expect_reply("+PONG\r\n");
    }
    let mut stranger = server.wire();
    let requests = "PING\r\n".repeat(10_000);
    let deadline = Instant::now() + Duration::from_secs(60);
    while stranger.try_raw_for(requests.as_bytes(), Duration::from_secs(10)) {
        assert!(Instant::now() < deadline, "it is served for ever");
    }
    let info = String::from_utf8(reader.run("INFO stats")).unwrap();
    assert!(info.contains("my_redis_output_limit_disconnections:1\r\n"), "{info}");
    reader.expect_start("CLIENT LIST", "$");
    assert_eq!(server.services().clients.all().len(), 1);
}

it!(a_request_may_be_as_long_as_the_limit_says, |server| {
    let mut wire = server.wire();
    wire.expect("CONFIG SET client-query-buffer-limit 1mb", "+OK\r\n");
    let long = "x".repeat(600_000);
    wire.send_args(&["ECHO", &long]);
    assert_eq!(wire.reply().len(), 600_011);
    let _closed_meanwhile = wire.try_raw(&encode(&["MSET", "a", &long, "b", &long]));
    let text = "-ERR Protocol error: request larger than the query buffer limit\r\n";
    wire.expect_reply(text).expect_closed();
    let mut wire = server.wire();
    wire.expect_start("CONFIG SET client-query-buffer-limit 1023kb", "-ERR CONFIG SET failed");
    wire.expect("CONFIG SET client-query-buffer-limit 1gb", "+OK\r\n");
    wire.send_args(&["MSET", "a", &long, "b", &long]).expect_reply("+OK\r\n");
});

it!(every_command_survives_every_number_of_garbage_arguments, |server| {
    let garbage = ["", "\r\n", "-1", "9223372036854775808", "\u{0}\u{1}", "nan", "*", "KEY", "0"];
    for spec in my_redis::command::table::all() {
        // After MULTI no PONG comes, and after the other two nothing.
        if matches!(spec.name, "SHUTDOWN" | "QUIT" | "MULTI") {
            continue;
        }
        for count in 0..12 {
            let mut wire = server.wire();
            let args: Vec<&str> = (0..count).map(|n| garbage[(n + count) % 9]).collect();
            let mut request = vec![spec.name];
            request.extend(&args);
            wire.send_args(&request);
            let mut replies_max = 2;
            if spec.name.ends_with("SUBSCRIBE") {
                // One reply for each channel, and then no PONG without a reset.
                wire.send("RESET");
                replies_max += count.max(1);
            }
            wire.send("PING");
            let replies = wire.read_until_pong();
            assert!(
                replies <= replies_max,
                "{} with {count} arguments: {replies} replies",
                spec.name
            );
        }
    }
});
