//! CONFIG: what it refuses as Redis does, and that what acts acts.

use super::{OK, expect_alike};
use crate::harness::server::Server;
use crate::it;

#[test]
fn values_are_read_refused_and_printed_as_redis_does() {
    let lines = &[
        "CONFIG",
        "CONFIG FOO",
        "CONFIG GET",
        "CONFIG GET nosuch",
        "CONFIG GET nosuch*",
        "CONFIG GET SAVE save Save",
        "CONFIG GET hash-max-listpack-val?e",
        "CONFIG SET a",
        "CONFIG SET a b",
        "CONFIG SET a b c",
        "CONFIG SET dir /x",
        "CONFIG SET maxclients 10 DIR /x",
        "CONFIG SET dbfilename x",
        "CONFIG SET databases 3",
        "CONFIG SET maxclients 1 maxclients 2",
        "CONFIG SET maxclients 0",
        "CONFIG SET maxclients x",
        "CONFIG SET MAXCLIENTS 9000 timeout foo",
        "CONFIG GET maxclients",
        "CONFIG SET save 1",
        "CONFIG SET save \"0 1\"",
        "CONFIG SET save \"1 -1\"",
        "CONFIG SET save \"10  1\"",
        "CONFIG SET save \"10 x\"",
        "CONFIG SET save \"+10 1\"",
        "CONFIG GET save",
        "CONFIG SET save \"3600 1 300 100\"",
        "CONFIG GET save",
        "CONFIG SET save \"\"",
        "CONFIG GET save",
        "CONFIG SET notify-keyspace-events KEA",
        "CONFIG GET notify-keyspace-events",
        "CONFIG SET notify-keyspace-events nmtKx$g",
        "CONFIG GET notify-keyspace-events",
        "CONFIG SET notify-keyspace-events Q",
        "CONFIG SET client-output-buffer-limit \"normal 1mb 2mb 10 replica 1 2 3\"",
        "CONFIG GET client-output-buffer-limit",
        "CONFIG SET client-output-buffer-limit \"foo 1mb 2mb 10\"",
        "CONFIG SET client-output-buffer-limit \"normal 1mb 2mb x\"",
        "CONFIG SET client-output-buffer-limit normal",
        "CONFIG SET latency-tracking-info-percentiles \"50 99.95 100 0.1\"",
        "CONFIG GET latency-tracking-info-percentiles",
        "CONFIG SET latency-tracking-info-percentiles \"101\"",
        "CONFIG SET shutdown-on-sigint \"save never\"",
        "CONFIG SET maxmemory-clients 101%",
        "CONFIG SET maxmemory-clients -5%",
        "CONFIG SET maxmemory -1",
        "CONFIG SET hash-max-listpack-value 1kb",
        "CONFIG GET hash-max-listpack-value",
        "CONFIG GET hash-max-ziplist-value",
        "CONFIG SET hash-max-ziplist-value 1k",
        "CONFIG GET hash-max-listpack-value",
        "CONFIG SET hash-max-listpack-value 1KiB",
        "CONFIG SET lazyfree-lazy-user-del YES",
        "CONFIG GET lazyfree-lazy-user-del",
        "CONFIG SET lazyfree-lazy-user-del maybe",
        "CONFIG SET maxmemory-policy ALLKEYS-LRU",
        "CONFIG GET maxmemory-policy",
        "CONFIG SET maxmemory-policy nosuch",
        "CONFIG SET loglevel loud",
        "CONFIG SET slowlog-log-slower-than \"-1\"",
        "CONFIG GET slowlog-log-slower-than",
        "CONFIG SET proto-max-bulk-len 1mb",
        "CONFIG GET proto-max-bulk-len",
        "CONFIG REWRITE",
        "CONFIG RESETSTAT",
        "CONFIG RESETSTAT x",
        "CONFIG HELP",
    ];
    expect_alike(false, lines);
    expect_alike(true, lines);
}

it!(what_the_server_cannot_keep_is_refused, |server| {
    let mut wire = server.wire();
    for (name, value) in [
        ("appendonly", "yes"),
        ("maxmemory", "100mb"),
        ("maxmemory-clients", "5%"),
        ("min-replicas-to-write", "1"),
        ("shutdown-on-sigterm", "nosave"),
        ("tls-port", "6380"),
    ] {
        let before = wire.run(&format!("CONFIG GET {name}"));
        let refused = format!("-ERR CONFIG SET failed (possibly related to argument '{name}') - ");
        wire.expect_start(&format!("CONFIG SET {name} {value}"), refused);
        wire.expect(&format!("CONFIG GET {name}"), before);
    }
    wire.expect("CONFIG SET appendonly no maxmemory 0", OK);
});

it!(the_string_limit_acts_at_once, |server| {
    let mut wire = server.wire();
    let long = vec![b'x'; (1 << 20) + 1];
    wire.expect("CONFIG SET proto-max-bulk-len 1mb", OK);
    assert_eq!(wire.command(&[&b"SET"[..], b"k", &long[..1 << 20]]), OK.as_bytes());
    wire.expect_start("APPEND k x", "-ERR string exceeds maximum allowed size");
    // Only what announces the length: what came after it would be lost with the connection.
    wire.raw("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048577\r\n");
    wire.expect_reply("-ERR Protocol error: invalid bulk length\r\n");
    server.wire().expect("CONFIG SET proto-max-bulk-len 2mb", OK);
    assert_eq!(server.wire().command(&[&b"SET"[..], b"k", &long]), OK.as_bytes());
});

#[test]
fn the_start_options_can_be_read() {
    let server = Server::start_with(16, |options| {
        options.save = my_redis::config::parse_save_rules(b"60 5").unwrap();
        options.clients_max = 77;
    });
    let mut wire = server.wire();
    let port = server.addr().port().to_string();
    let folder = server.folder().path().canonicalize().unwrap();
    for (name, value) in [
        ("save", "60 5"),
        ("maxclients", "77"),
        ("port", &port),
        ("dir", folder.to_str().unwrap()),
        ("dbfilename", "dump.my_rdb"),
        ("my-redis-shards", "16"),
        ("databases", "1"),
        ("appendonly", "no"),
    ] {
        let expected =
            format!("*2\r\n${}\r\n{name}\r\n${}\r\n{value}\r\n", name.len(), value.len());
        wire.expect(&format!("CONFIG GET {name}"), expected);
    }
}
