//! MONITOR: what is told of commands, to whom and until when.

use super::OK;
use crate::harness::wire::{Wire, shown};
use crate::it;

/// The next line without its time, and with `CLIENT` for the address of a client.
#[track_caller]
fn told(wire: &mut Wire) -> String {
    let line = String::from_utf8(wire.reply()).unwrap();
    let (time, rest) =
        line.strip_prefix('+').unwrap_or_else(|| panic!("{line}")).split_once(' ').unwrap();
    let (seconds, micros) = time.split_once('.').unwrap();
    assert!(seconds.parse::<u64>().unwrap() > 1_000_000_000 && micros.len() == 6, "{line}");
    let (client, command) = rest.split_once("] ").unwrap();
    let (database, address) = client.split_once(' ').unwrap();
    assert!(address.parse::<std::net::SocketAddr>().is_ok(), "{line}");
    format!("{database}] {}", command.trim_end())
}

#[track_caller]
fn expect_told(wire: &mut Wire, lines: &[&str]) {
    for line in lines {
        assert_eq!(told(wire), *line);
    }
}

transcript!(
    every_command_is_told_as_it_was_sent,
    several | addr | {
        let (mut monitor, mut wire) = (Wire::connect(addr), Wire::connect(addr));
        monitor.expect("MONITOR", OK);
        wire.raw("*3\r\n$3\r\nSeT\r\n$1\r\nk\r\n$8\r\na \"\\\r\n\x00\x7f\r\n").reply();
        wire.expect("GET k", "$8\r\na \"\\\r\n\0\x7f\r\n").expect("INCR n", ":1\r\n");
        for line in
            ["LPUSH k x", "NOSUCH", "GET", "CONFIG GET port", "CLIENT ID", "SELECT 3", "PING"]
        {
            wire.run(line);
        }
        expect_told(
            &mut monitor,
            &[
                r#"[0] "SeT" "k" "a \"\\\r\n\x00\x7f""#,
                r#"[0] "GET" "k""#,
                r#"[0] "INCR" "n""#,
                r#"[0] "LPUSH" "k" "x""#,
                r#"[0] "CLIENT" "ID""#,
                r#"[3] "SELECT" "3""#,
                r#"[3] "PING""#,
            ],
        );
        for line in ["MULTI", "SET k 1", "INCR k", "EXEC"] {
            wire.run(line);
        }
        expect_told(
            &mut monitor,
            &[r#"[3] "MULTI""#, r#"[3] "SET" "k" "1""#, r#"[3] "INCR" "k""#, r#"[3] "EXEC""#],
        );
    }
);

transcript!(
    secrets_are_not_told,
    several | addr | {
        let (mut monitor, mut wire) = (Wire::connect(addr), Wire::connect(addr));
        monitor.expect("MONITOR", OK);
        for line in ["AUTH secret", "AUTH default secret", "HELLO 2 AUTH default secret SETNAME n"]
        {
            wire.run(line);
        }
        wire.run("CONFIG SET requirepass \"\"");
        wire.run("PING");
        expect_told(
            &mut monitor,
            &[
                r#"[0] "AUTH" "(redacted)""#,
                r#"[0] "AUTH" "(redacted)" "(redacted)""#,
                r#"[0] "HELLO" "2" "AUTH" "(redacted)" "(redacted)" "SETNAME" "n""#,
                r#"[0] "PING""#,
            ],
        );
    }
);

transcript!(
    who_monitors_may_not_use_keys_until_a_reset,
    several | addr | {
        let (mut monitor, mut wire) = (Wire::connect(addr), Wire::connect(addr));
        monitor.expect("MONITOR", OK);
        let refused = "-ERR Replica can't interact with the keyspace\r\n";
        for line in ["GET k", "SET k 1", "DBSIZE", "DEL k"] {
            monitor.expect(line, refused);
        }
        // It is told of itself, too.
        monitor.expect("PING", "+PONG\r\n");
        expect_told(&mut monitor, &[r#"[0] "PING""#]);
        // A second time there is no answer.
        monitor.send("MONITOR").expect("ECHO a", "$1\r\na\r\n");
        expect_told(&mut monitor, &[r#"[0] "ECHO" "a""#]);
        let list = String::from_utf8(wire.run("CLIENT LIST")).unwrap();
        assert!(list.contains(" flags=O ") && list.contains(" cmd=echo "), "{list}");
        monitor.expect("RESET", "+RESET\r\n").expect("GET k", "$-1\r\n");
        wire.expect("PING", "+PONG\r\n");
        monitor.expect_silence(50);
        monitor.expect("MULTI", OK).expect("MONITOR", "+QUEUED\r\n");
        let error = "-ERR MONITOR isn't allowed for DENY BLOCKING client\r\n";
        monitor.expect("EXEC", format!("*1\r\n{error}"));
        monitor.expect("MONITOR", OK).expect("QUIT", OK);
    }
);

it!(many_clients_are_told_to_many_monitors_without_a_gap, |server| {
    const CLIENTS: usize = 4;
    const COMMANDS: usize = 250;
    let mut monitors: Vec<Wire> = (0..3).map(|_| server.wire()).collect();
    for (number, monitor) in monitors.iter_mut().enumerate() {
        if number == 1 {
            monitor.expect_start("HELLO 3", "%7\r\n");
        }
        monitor.expect("MONITOR", OK);
    }
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut wire = server.wire();
                (0..COMMANDS).for_each(|number| drop(wire.run(&format!("SET k{client} {number}"))));
            });
        }
    });
    server.wire().run("PING");
    for monitor in &mut monitors {
        let mut next = [0; CLIENTS];
        let mut count = 0;
        while count < CLIENTS * COMMANDS {
            let line = told(monitor);
            if line.contains("HELLO") {
                continue;
            }
            let words: Vec<&str> = line.split('"').collect();
            let client: usize = words[3][1..].parse().unwrap();
            assert_eq!(words[5].parse::<usize>().unwrap(), next[client], "{line}");
            next[client] += 1;
            count += 1;
        }
    }
});

it!(a_monitor_that_does_not_read_is_closed_at_its_limit, |server| {
    let (mut monitor, mut wire) = (server.wire(), server.wire());
    wire.expect("CONFIG SET client-output-buffer-limit \"normal 1mb 0 0\"", OK);
    monitor.expect("MONITOR", OK);
    let value = "x".repeat(100_000);
    for number in 0..200 {
        wire.expect(&format!("SET k{number} {value}"), OK);
    }
    let rest = monitor.read_to_close();
    assert!(rest.len() < 20_000_000, "{}", shown(&rest));
    assert!(!server.services().monitors.any());
});
