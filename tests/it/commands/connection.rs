//! The connection: the handshake, who may come in, and what is known of clients.

use super::{expect_alike, expect_wrong_arity};
use crate::harness::oracle::Oracle;
use crate::harness::server::Server;
use crate::harness::wire::Wire;
use crate::it;
use std::time::{Duration, Instant};

const REFUSALS: &[&str] = &[
    "PING",
    "PING a",
    "PING a b",
    "PING \"\\x00\\xff\"",
    "ECHO",
    "ECHO a",
    "ECHO a b",
    "SELECT 0",
    "SELECT 1",
    "SELECT -1",
    "SELECT abc",
    "SELECT 99999999999",
    "SELECT 99999999999999999999999",
    "SELECT",
    "AUTH",
    "AUTH a",
    "AUTH default a",
    "AUTH u p",
    "AUTH a b c",
    "HELLO a",
    "HELLO 4",
    "HELLO 1",
    "HELLO -3",
    "HELLO 2 FOO",
    "HELLO 2 AUTH a",
    "HELLO 2 AUTH nobody x",
    "HELLO 2 SETNAME",
    "HELLO 2 SETNAME \"a b\"",
    "HELLO 2 SETNAME \"a\\n\"",
    "CLIENT",
    "CLIENT FOO",
    "CLIENT \"a\\r\\nb\"",
    "CLIENT ID x",
    "CLIENT SETNAME",
    "CLIENT SETNAME \"a b\"",
    "CLIENT SETNAME name",
    "CLIENT GETNAME",
    "CLIENT SETNAME \"\"",
    "CLIENT GETNAME",
    "CLIENT KILL",
    "CLIENT KILL 1.2.3.4:5",
    "CLIENT KILL ID",
    "CLIENT KILL ID 0",
    "CLIENT KILL ID x y",
    "CLIENT KILL ID 1000000",
    "CLIENT KILL TYPE foo SKIPME yes",
    "CLIENT KILL TYPE pubsub",
    "CLIENT KILL TYPE master",
    "CLIENT KILL TYPE replica SKIPME no",
    "CLIENT KILL USER foo SKIPME yes",
    "CLIENT KILL USER default",
    "CLIENT KILL SKIPME maybe",
    "CLIENT KILL SKIPME maybe ID 1",
    "CLIENT KILL LADDR 1.2.3.4:5 ADDR 1.2.3.4:6",
    "CLIENT KILL FOO a b",
    "CLIENT LIST TYPE foo",
    "CLIENT LIST TYPE master",
    "CLIENT LIST ID",
    "CLIENT LIST ID a",
    "CLIENT LIST ID 100000",
    "CLIENT LIST FOO BAR",
    "CLIENT NO-EVICT maybe",
    "CLIENT NO-EVICT ON",
    "CLIENT NO-EVICT off",
    "CLIENT REPLY maybe",
    "CLIENT REPLY ON",
    "CLIENT HELP x",
    "RESET x",
];

#[test]
fn the_handshake_and_its_refusals_are_those_of_redis() {
    expect_alike(false, REFUSALS);
    expect_alike(true, REFUSALS);
}

it!(hello_tells_what_the_server_is_and_changes_the_protocol, |server| {
    let mut wire = server.wire();
    let id = String::from_utf8(wire.run("CLIENT ID")).unwrap();
    let parts = |proto: u8| {
        format!(
            "$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:{proto}\r\n\
             $2\r\nid\r\n{id}$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
             $7\r\nmodules\r\n*0\r\n"
        )
    };
    wire.expect("HELLO", format!("*14\r\n{}", parts(2)));
    wire.expect("HELLO 3 SETNAME me", format!("%7\r\n{}", parts(3)));
    wire.expect("CLIENT GETNAME", "$2\r\nme\r\n");
    wire.expect("GET none", "_\r\n");
    // A refused HELLO changes nothing.
    wire.expect_start("HELLO 2 FOO", "-ERR Syntax error");
    wire.expect("GET none", "_\r\n");
    wire.expect("HELLO", format!("%7\r\n{}", parts(3)));
    wire.expect("RESET", "+RESET\r\n");
    wire.expect("GET none", "$-1\r\n");
    wire.expect("CLIENT GETNAME", "$-1\r\n");
});

#[test]
fn without_the_password_a_client_may_only_authenticate() {
    let server = Server::start_with(4, |options| options.password = Some("secret".to_owned()));
    let oracle = Oracle::start_with(&["--requirepass", "secret"]);
    let (mut ours, mut redis) = (server.wire(), Wire::connect(oracle.addr()));
    for line in [
        "PING",
        "NOSUCH",
        "GET",
        "GET a",
        "CLIENT ID",
        "CLIENT NOSUCH",
        "HELLO",
        "HELLO 3",
        "HELLO 3 AUTH default wrong",
        "HELLO 3 AUTH other secret",
        "AUTH wrong",
        "AUTH \"\"",
        "AUTH secre",
        "AUTH secrets",
        "AUTH other secret",
        "AUTH default secret",
        "PING",
        "AUTH wrong",
        "PING",
        "RESET",
        "PING",
        "AUTH secret",
        "PING",
        "CONFIG GET requirepass",
        "CONFIG SET requirepass \"\"",
        "RESET",
        "PING",
        "CONFIG SET requirepass other",
        "PING",
        "RESET",
        "PING",
        "AUTH secret",
        "AUTH other",
        "PING",
    ] {
        let expected = redis.run(line);
        ours.expect(line, expected);
    }
    let mut wire = server.wire();
    wire.expect_start("HELLO 3 AUTH default other SETNAME me", "%7\r\n");
    wire.expect("CLIENT GETNAME", "$2\r\nme\r\n");
}

it!(a_password_that_is_taken_away_is_no_longer_asked_for, |server| {
    let mut admin = server.wire();
    admin.expect("CONFIG SET requirepass secret", "+OK\r\n");
    let mut wire = server.wire();
    wire.expect("PING", "-NOAUTH Authentication required.\r\n");
    admin.expect("CONFIG SET requirepass ''", "+OK\r\n");
    wire.expect("PING", "+PONG\r\n");
});

it!(quit_answers_and_closes_and_nothing_behind_it_runs, |server| {
    let mut wire = server.wire();
    wire.raw("*1\r\n$4\r\nQUIT\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n");
    wire.expect_reply("+OK\r\n");
    wire.expect_closed();
    server.wire().expect("GET k", "$-1\r\n");
});

/// The value of a field in a line of CLIENT LIST.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let value = line.split(' ').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    value.unwrap_or_else(|| panic!("no {name} in {line}"))
}

fn bulk_text(reply: Vec<u8>) -> String {
    let text = String::from_utf8(reply).unwrap();
    let (_, text) = text.split_once("\r\n").unwrap();
    text.trim_end_matches("\r\n").to_owned()
}

it!(a_line_of_client_list_has_the_fields_of_redis_in_their_order, |server| {
    let oracle = Oracle::start();
    let names = |mut wire: Wire| -> Vec<String> {
        let line = bulk_text(wire.run("CLIENT INFO"));
        line.trim_end().split(' ').map(|pair| pair.split('=').next().unwrap().to_owned()).collect()
    };
    let ours = names(server.wire());
    let redis = names(Wire::connect(oracle.addr()));
    assert_eq!(ours[..redis.len()], redis);
    assert_eq!(ours[redis.len()..], ["lib-name", "lib-ver"]);
});

it!(clients_are_listed_with_what_they_said_of_themselves, |server| {
    let (mut first, mut second) = (server.wire(), server.wire3());
    first.expect("CLIENT SETINFO LIB-NAME tests", "+OK\r\n");
    first.expect("CLIENT SETINFO lib-ver 1.2", "+OK\r\n");
    first.expect("CLIENT SETINFO other 1.2", "-ERR Unrecognized option 'other'\r\n");
    let refused = "-ERR lib-name cannot contain spaces, newlines or special characters.\r\n";
    first.expect("CLIENT SETINFO lib-name 'a b'", refused);
    second.expect("CLIENT SETNAME second", "+OK\r\n");
    second.expect("CLIENT NO-EVICT on", "+OK\r\n");
    let list = bulk_text(first.run("CLIENT LIST"));
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(field(lines[0], "addr"), first.local_addr().to_string());
    assert_eq!(field(lines[0], "laddr"), server.addr().to_string());
    assert_eq!((field(lines[0], "lib-name"), field(lines[0], "lib-ver")), ("tests", "1.2"));
    assert_eq!((field(lines[0], "cmd"), field(lines[0], "flags")), ("client|list", "N"));
    assert_eq!((field(lines[1], "name"), field(lines[1], "flags")), ("second", "e"));
    assert_eq!((field(lines[1], "cmd"), field(lines[1], "resp")), ("client|no-evict", "3"));
    let id = field(lines[1], "id");
    let one = bulk_text(first.run(&format!("CLIENT LIST ID {id} {id} 1000")));
    assert_eq!(one.lines().filter(|line| field(line, "id") == id).count(), 2);
    assert_eq!(bulk_text(first.run("CLIENT LIST TYPE normal")).lines().count(), 2);
    assert!(second.run("CLIENT LIST").starts_with(b"="));
});

transcript!(a_client_that_asks_sees_its_request_in_its_buffer, |wire| {
    wire.expect("PING", "+PONG\r\n");
    let line = bulk_text(wire.run("CLIENT INFO"));
    assert_eq!(field(&line, "qbuf"), "26", "{line}");
    wire.raw("*1\r\n$4\r\nPING\r\n*2\r\n$6\r\nCLIENT\r\n$4\r\nLIST\r\n*1\r\n");
    wire.expect_reply("+PONG\r\n");
    let list = bulk_text(wire.reply());
    // The connection that found redis-server ready may still be there.
    let own = list.lines().find(|line| field(line, "cmd") == "client|list").unwrap();
    assert_eq!(field(own, "qbuf"), "44", "{list}");
});

it!(clients_are_killed_by_what_they_are, |server| {
    let mut admin = server.wire();
    let mut victim = server.wire();
    victim.expect("PING", "+PONG\r\n");
    admin.expect(&format!("CLIENT KILL {}", victim.local_addr()), "+OK\r\n");
    victim.expect_closed();
    let mut victim = server.wire();
    let id = String::from_utf8(victim.run("CLIENT ID")).unwrap();
    let id = id.trim_matches([':', '\r', '\n']);
    admin.expect(&format!("CLIENT KILL ID {id} ADDR 1.2.3.4:5"), ":0\r\n");
    admin.expect(&format!("CLIENT KILL ID {id} USER default"), ":1\r\n");
    victim.expect_closed();
    let mut victims = [server.wire(), server.wire()];
    for victim in &mut victims {
        victim.expect("PING", "+PONG\r\n");
    }
    admin.expect(&format!("CLIENT KILL LADDR {} TYPE normal", server.addr()), ":2\r\n");
    victims.iter_mut().for_each(Wire::expect_closed);
    admin.expect("PING", "+PONG\r\n");
    // A client that kills itself gets its answer.
    admin.expect("CLIENT KILL TYPE normal SKIPME no", ":1\r\n");
    admin.expect_closed();
    let mut own = server.wire();
    own.expect(&format!("CLIENT KILL {}", own.local_addr()), "+OK\r\n");
    own.expect_closed();
});

it!(replies_can_be_switched_off, |server| {
    let mut wire = server.wire();
    wire.send("CLIENT REPLY SKIP").send("SET a 1").expect("GET a", "$1\r\n1\r\n");
    wire.send("CLIENT REPLY OFF").send("SET a 2").send("NOSUCH").send("CLIENT REPLY SKIP");
    wire.expect("CLIENT REPLY ON", "+OK\r\n");
    wire.expect("GET a", "$1\r\n2\r\n");
});

#[test]
fn clients_beyond_the_limit_are_told_and_closed() {
    let server = Server::start_with(4, |options| options.clients_max = 2);
    let mut kept = [server.wire(), server.wire()];
    for wire in &mut kept {
        wire.expect("PING", "+PONG\r\n");
    }
    let mut refused = server.wire();
    refused.expect_reply("-ERR max number of clients reached\r\n");
    refused.expect_closed();
    kept[0].expect("CONFIG SET maxclients 3", "+OK\r\n");
    server.wire().expect("PING", "+PONG\r\n");
}

#[test]
fn silent_clients_are_disconnected_after_the_timeout() {
    let server = Server::start(4);
    let (mut silent, mut busy) = (server.wire(), server.wire());
    silent.expect("CONFIG SET timeout 1", "+OK\r\n");
    let began = Instant::now();
    let closer = std::thread::spawn(move || silent.expect_closed());
    while !closer.is_finished() {
        busy.expect("PING", "+PONG\r\n");
        std::thread::sleep(Duration::from_millis(50));
    }
    closer.join().unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    busy.expect("PING", "+PONG\r\n");
}

it!(wrong_numbers_of_arguments_are_refused, |server| {
    expect_wrong_arity(&mut server.wire(), &["ECHO", "SELECT", "AUTH", "RESET x", "PING a b"]);
});
