//! What the server tells of its own commands: INFO commandstats, errorstats and latencystats,
//! SLOWLOG and LATENCY.

use super::{OK, expect_wrong_arity};
use crate::harness::server::{MANY_SHARDS, Server};
use crate::harness::wire::{Wire, encode, shown, split};
use crate::it;
use my_redis::config::DebugAccess;
use std::time::Duration;

/// The text of INFO.
fn info(wire: &mut Wire, sections: &str) -> String {
    let reply = String::from_utf8(wire.run(&format!("INFO {sections}"))).unwrap();
    reply.split_once("\r\n").unwrap().1.to_owned()
}

/// A field of INFO.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(&format!("{name}:")))
}

/// Calls, refused calls and failed calls of a command.
fn calls(info: &str, command: &str) -> Option<[u64; 3]> {
    let line = field(info, &format!("cmdstat_{command}"))?;
    let names = ["calls", "usec", "usec_per_call", "rejected_calls", "failed_calls"];
    let values: Vec<&str> = line
        .split(',')
        .zip(names)
        .map(|(part, name)| part.strip_prefix(&format!("{name}=")).unwrap())
        .collect();
    assert_eq!(values.len(), names.len(), "{line}");
    assert!(values[2].split('.').nth(1).unwrap().len() == 2, "{line}");
    Some([values[0], values[3], values[4]].map(|value| value.parse().unwrap()))
}

const COUNTED: &[(&str, [u64; 3])] = &[
    ("set", [3, 1, 0]),
    ("get", [2, 0, 0]),
    ("lpush", [1, 0, 1]),
    ("incr", [2, 0, 1]),
    ("client|id", [2, 0, 0]),
    ("client|setname", [1, 0, 1]),
    ("client", [0, 1, 0]),
    ("multi", [1, 0, 0]),
    ("exec", [1, 0, 0]),
    ("config|resetstat", [1, 0, 0]),
];

transcript!(every_command_is_counted_with_its_failures, |wire| {
    wire.expect("SET a 0", OK).expect("CONFIG RESETSTAT", OK);
    for line in ["SET a 1", "SET b 1", "GET a", "GET none", "SET a", "LPUSH a x", "NOSUCH"] {
        wire.run(line);
    }
    for line in ["CLIENT ID", "client id", "CLIENT NOSUCH", "CLIENT SETNAME \"a b\"", "CLIENT"] {
        wire.run(line);
    }
    for line in ["MULTI", "SET c x", "INCR c", "INCR d", "EXEC"] {
        wire.run(line);
    }
    let text = info(&mut wire, "commandstats");
    assert!(text.starts_with("# Commandstats\r\n"), "{text}");
    for (command, expected) in COUNTED {
        assert_eq!(calls(&text, command), Some(*expected), "{command} in {text}");
    }
    assert_eq!(calls(&text, "info"), None, "{text}");
    assert_eq!(text.matches("cmdstat_").count(), COUNTED.len(), "{text}");
    let text = info(&mut wire, "errorstats");
    assert_eq!(field(&text, "errorstat_ERR"), Some("count=6"), "{text}");
    assert_eq!(field(&text, "errorstat_WRONGTYPE"), Some("count=1"), "{text}");
    wire.expect("CONFIG RESETSTAT", OK);
    let text = info(&mut wire, "commandstats errorstats latencystats");
    assert_eq!(calls(&text, "config|resetstat"), Some([1, 0, 0]));
    assert_eq!(text.matches("cmdstat_").count(), 1, "{text}");
    assert!(!text.contains("errorstat_"), "{text}");
});

transcript!(commands_of_one_pipeline_are_told_of_by_those_behind_them, |wire| {
    wire.expect("CONFIG RESETSTAT", OK);
    let mut bytes = Vec::new();
    for line in ["SET a 1", "SET a 2", "GET a", "INFO commandstats", "GET a"] {
        bytes.extend(encode(&split(line)));
    }
    wire.raw(bytes);
    for _ in 0..3 {
        wire.reply();
    }
    let text = String::from_utf8(wire.reply()).unwrap();
    assert_eq!(calls(&text, "set"), Some([2, 0, 0]), "{text}");
    assert_eq!(calls(&text, "get"), Some([1, 0, 0]), "{text}");
    wire.reply();
});

transcript!(percentiles_of_latency_are_told_as_configured, |wire| {
    wire.expect("CONFIG RESETSTAT", OK);
    for _ in 0..100 {
        wire.run("SET a 1");
    }
    let text = info(&mut wire, "latencystats");
    assert!(text.starts_with("# Latencystats\r\n"), "{text}");
    let names = |line: &str| -> Vec<String> {
        line.split(',').map(|part| part.split('=').next().unwrap().to_owned()).collect()
    };
    let line = field(&text, "latency_percentiles_usec_set").unwrap();
    assert_eq!(names(line), ["p50", "p99", "p99.9"]);
    let values: Vec<f64> =
        line.split(',').map(|part| part.split_once('=').unwrap().1.parse().unwrap()).collect();
    assert!(values[0] > 0.0 && values.is_sorted(), "{line}");
    wire.expect("CONFIG SET latency-tracking-info-percentiles \"0 25.5 100\"", OK);
    let text = info(&mut wire, "latencystats");
    let line = field(&text, "latency_percentiles_usec_config|resetstat").unwrap();
    assert_eq!(names(line), ["p0", "p25.5", "p100"]);
    wire.expect("CONFIG SET latency-tracking no", OK).expect("CONFIG RESETSTAT", OK);
    wire.run("SET a 1");
    assert_eq!(info(&mut wire, "latencystats"), "# Latencystats\r\n\r\n");
    assert!(info(&mut wire, "commandstats").contains("cmdstat_set:calls=1,"));
    wire.expect("CONFIG SET latency-tracking yes", OK).expect("CONFIG RESETSTAT", OK);
});

transcript!(info_has_all_sections_only_on_demand, |wire| {
    let titles = |wire: &mut Wire, sections: &str| -> Vec<String> {
        let text = info(wire, sections);
        let titles = text.lines().filter_map(|line| line.strip_prefix("# "));
        titles.map(str::to_owned).collect()
    };
    let usual = [
        "Server",
        "Clients",
        "Memory",
        "Persistence",
        "Stats",
        "Replication",
        "CPU",
        "Modules",
        "Errorstats",
        "Cluster",
        "Keyspace",
    ];
    assert_eq!(titles(&mut wire, ""), usual);
    assert_eq!(titles(&mut wire, "default"), usual);
    let mut all = usual.to_vec();
    all.insert(8, "Commandstats");
    all.insert(10, "Latencystats");
    assert_eq!(titles(&mut wire, "everything"), all);
    assert_eq!(titles(&mut wire, "all"), all);
    assert_eq!(titles(&mut wire, "commandstats cpu"), ["CPU", "Commandstats"]);
    assert_eq!(titles(&mut wire, "latencystats default").len(), usual.len() + 1);
});

transcript!(durations_are_told_as_a_histogram, |wire| {
    wire.expect("CONFIG RESETSTAT", OK);
    for line in ["SET a 1", "set a 2", "CLIENT ID", "CLIENT GETNAME", "HSET h f v"] {
        wire.run(line);
    }
    let calls = |name: &str, count: u64| {
        format!(
            "${}\r\n{name}\r\n*4\r\n$5\r\ncalls\r\n:{count}\r\n$14\r\nhistogram_usec\r\n*",
            name.len()
        )
    };
    let text = |reply: Vec<u8>| String::from_utf8(reply).unwrap();
    let reply = text(wire.run("LATENCY HISTOGRAM SET HSET nosuch client|nosuch client|id|x"));
    assert!(reply.starts_with("*4\r\n"), "{reply}");
    assert!(reply.contains(&calls("set", 2)) && reply.contains(&calls("hset", 1)), "{reply}");
    assert!(reply.ends_with(":1\r\n") || reply.ends_with(":2\r\n"), "{reply}");
    let reply = text(wire.run("LATENCY HISTOGRAM CLIENT"));
    assert!(reply.starts_with("*4\r\n"), "{reply}");
    assert!(reply.contains(&calls("client|id", 1)), "{reply}");
    assert!(reply.contains(&calls("client|getname", 1)), "{reply}");
    let reply = text(wire.run("LATENCY HISTOGRAM client|ID"));
    assert!(reply.starts_with(&format!("*2\r\n{}", calls("client|id", 1))), "{reply}");
    let reply = text(wire.run("LATENCY HISTOGRAM"));
    assert!(reply.starts_with("*12\r\n"), "{reply}");
    assert!(reply.contains(&calls("config|resetstat", 1)), "{reply}");
    wire.expect("LATENCY HISTOGRAM nosuch", "*0\r\n");
});

transcript!(
    durations_are_maps_for_resp3,
    resp3 | wire | {
        wire.expect("CONFIG RESETSTAT", OK);
        wire.run("SET a 1");
        let start =
            "%1\r\n$3\r\nset\r\n%2\r\n$5\r\ncalls\r\n:1\r\n$14\r\nhistogram_usec\r\n%1\r\n:";
        wire.expect_start("LATENCY HISTOGRAM set", start);
    }
);

/// The entries of the slow log from their arguments on, and without the port of the client.
fn slow_calls(wire: &mut Wire, request: &str) -> Vec<String> {
    let reply = String::from_utf8(wire.run(request)).unwrap();
    let mut calls: Vec<String> = Vec::new();
    for entry in reply.split("*6\r\n:").skip(1) {
        let mut parts = entry.splitn(4, "\r\n");
        let (_number, seconds) = (parts.next().unwrap(), parts.next().unwrap());
        assert!(seconds[1..].parse::<i64>().unwrap() > 1_000_000_000, "{entry}");
        assert!(parts.next().unwrap()[1..].parse::<u64>().is_ok(), "{entry}");
        let rest = parts.next().unwrap();
        let (arguments, client) = rest.split_once("\r\n127.0.0.1:").unwrap();
        let name = client.split_once("\r\n").unwrap().1;
        calls.push(format!("{}|{name}", arguments.rsplit_once("\r\n").unwrap().0));
    }
    assert!(reply.starts_with(&format!("*{}\r\n", calls.len())), "{reply}");
    calls
}

fn slow_call(line: &str, name: &str) -> String {
    let arguments = String::from_utf8(encode(&split(line))).unwrap();
    format!("{}|${}\r\n{name}\r\n", arguments.trim_end_matches("\r\n"), name.len())
}

transcript!(the_slow_log_keeps_what_took_too_long, |wire| {
    wire.expect("CONFIG SET slowlog-log-slower-than -1", OK).expect("SLOWLOG RESET", OK);
    wire.expect("SET a 1", OK).expect("SLOWLOG LEN", ":0\r\n").expect("SLOWLOG GET", "*0\r\n");
    wire.expect("CONFIG SET slowlog-log-slower-than 0", OK);
    wire.expect("SET a 1", OK).expect("CLIENT SETNAME me", OK);
    wire.run("LPUSH a x");
    // What never got to run is not there.
    for line in ["NOSUCH", "GET", "CLIENT NOSUCH x"] {
        wire.run(line);
    }
    let expected = [
        slow_call("LPUSH a x", "me"),
        slow_call("CLIENT SETNAME me", "me"),
        slow_call("SET a 1", ""),
        slow_call("CONFIG SET slowlog-log-slower-than 0", ""),
    ];
    assert_eq!(slow_calls(&mut wire, "SLOWLOG GET"), expected);
    // Asking is a command like any other.
    wire.expect("SLOWLOG LEN", ":5\r\n");
    assert_eq!(slow_calls(&mut wire, "SLOWLOG GET 1"), [slow_call("SLOWLOG LEN", "me")]);
    wire.expect("SLOWLOG GET 0", "*0\r\n");
    for line in ["MULTI", "SET b 1", "GET b", "EXEC"] {
        wire.run(line);
    }
    let expected = [slow_call("GET b", "me"), slow_call("SET b 1", "me"), slow_call("MULTI", "me")];
    assert_eq!(slow_calls(&mut wire, "SLOWLOG GET 3"), expected);
    assert_eq!(slow_calls(&mut wire, "SLOWLOG GET -1").len(), 12);
    wire.expect("SLOWLOG RESET", OK).expect("SLOWLOG LEN", ":1\r\n");
    expect_wrong_arity(&mut wire, &["SLOWLOG"]);
    for word in ["len", "reset", "help"] {
        let text = format!("wrong number of arguments for 'slowlog|{word}' command");
        wire.expect(&format!("SLOWLOG {word} x"), format!("-ERR {text}\r\n"));
    }
});

transcript!(the_slow_log_has_a_length_and_numbers_that_go_on, |wire| {
    wire.expect("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 10", OK);
    for _ in 0..100 {
        wire.run("PING");
    }
    wire.expect("SLOWLOG LEN", ":10\r\n").expect("SLOWLOG RESET", OK);
    wire.expect_start("SLOWLOG GET", "*1\r\n*6\r\n:102\r\n:");
    wire.expect("CONFIG SET slowlog-max-len 2", OK);
    wire.expect_start("SLOWLOG GET", "*2\r\n");
    wire.expect("CONFIG SET slowlog-max-len 0", OK).expect("SLOWLOG LEN", ":0\r\n");
});

transcript!(the_slow_log_shortens_requests_and_hides_secrets, |wire| {
    wire.expect("CONFIG SET slowlog-log-slower-than 0", OK).expect("SLOWLOG RESET", OK);
    let numbers: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    wire.run(&format!("DEL {}", numbers.join(" ")));
    wire.run(&format!("SET {} {}", "k".repeat(128), "v".repeat(200)));
    for line in [
        "AUTH secret",
        "AUTH default secret",
        "HELLO 2 AUTH default secret SETNAME n",
        "CONFIG SET masterauth secret timeout 0 MASTERUSER secret",
        "CONFIG GET masterauth",
    ] {
        wire.run(line);
    }
    let hidden = "\"(redacted)\"";
    let mut expected = vec![
        slow_call("CONFIG GET masterauth", "n"),
        slow_call(&format!("CONFIG SET masterauth {hidden} timeout 0 MASTERUSER {hidden}"), "n"),
        slow_call(&format!("HELLO 2 AUTH {hidden} {hidden} SETNAME n"), "n"),
        slow_call(&format!("AUTH {hidden} {hidden}"), ""),
        slow_call(&format!("AUTH {hidden}"), ""),
    ];
    let long = format!("SET {} \"{}... (72 more bytes)\"", "k".repeat(128), "v".repeat(128));
    expected.push(slow_call(&long, ""));
    let many = format!("DEL {} \"... (10 more arguments)\"", numbers[..30].join(" "));
    expected.push(slow_call(&many, ""));
    expected.push(slow_call("SLOWLOG RESET", ""));
    assert_eq!(slow_calls(&mut wire, "SLOWLOG GET -1"), expected);
});

transcript!(latency_has_its_texts_and_refusals, |wire| {
    wire.expect("LATENCY LATEST", "*0\r\n").expect("LATENCY HISTORY command", "*0\r\n");
    wire.expect("LATENCY RESET", ":0\r\n").expect("LATENCY RESET a command", ":0\r\n");
    let refused = "-ERR No samples available for event 'com mand'\r\n";
    wire.expect("LATENCY GRAPH \"com mand\"", refused);
    expect_wrong_arity(&mut wire, &["LATENCY"]);
    for (word, given) in
        [("latest", "x"), ("history", ""), ("graph", ""), ("doctor", "x"), ("help", "x")]
    {
        let text = format!("wrong number of arguments for 'latency|{word}' command");
        wire.expect(&format!("LATENCY {word} {given}"), format!("-ERR {text}\r\n"));
    }
    wire.expect_start("LATENCY DOCTOR", "$288\r\nI'm sorry, Dave, I can't do that. Latency");
    wire.expect_start("LATENCY HELP", "*17\r\n+LATENCY <subcommand> [<arg> [value] [opt] ...]. ");
});

/// A session in which two commands of 110 and 220 ms are slow, in seconds of their own.
fn spikes(wire: &mut Wire) {
    wire.expect("CONFIG SET latency-monitor-threshold 100 slowlog-log-slower-than 100000", OK);
    wire.expect("CONFIG RESETSTAT", OK).expect("SLOWLOG RESET", OK);
    wire.expect("LATENCY LATEST", "*0\r\n");
    wire.expect("DEBUG SLEEP 0.11", OK);
    std::thread::sleep(Duration::from_millis(1_000));
    wire.expect("DEBUG SLEEP 0.22", OK);
    let line = "*2\r\n*2\r\n:";
    let history = String::from_utf8(wire.run("LATENCY HISTORY command")).unwrap();
    assert!(history.starts_with(line), "{history}");
    let numbers: Vec<u64> = history
        .split("\r\n:")
        .skip(2)
        .step_by(2)
        .map(|n| n.split("\r\n").next().unwrap().parse().unwrap())
        .collect();
    assert!((110..1_000).contains(&numbers[0]), "{history}");
    assert!((220..1_000).contains(&numbers[1]), "{history}");
    wire.expect_start("LATENCY LATEST", "*1\r\n*4\r\n$7\r\ncommand\r\n:");
    let calls = slow_calls(wire, "SLOWLOG GET");
    assert_eq!(calls, [slow_call("DEBUG SLEEP 0.22", ""), slow_call("DEBUG SLEEP 0.11", "")]);
    let text = info(wire, "commandstats");
    let line = field(&text, "cmdstat_debug").unwrap();
    let micros: u64 =
        line.split("usec=").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    assert!(line.starts_with("calls=2,") && (330_000..2_000_000).contains(&micros), "{line}");
    let report = String::from_utf8(wire.run("LATENCY DOCTOR")).unwrap();
    assert!(report.contains("\n1. command: 2 latency spikes (average "), "{report}");
    assert!(report.contains("ms, mean deviation "), "{report}");
    assert!(report.contains("I have a few advices for you:\n\n- Check your Slow Log"), "{report}");
    let graph = String::from_utf8(wire.run("LATENCY GRAPH command")).unwrap();
    let rows: Vec<&str> = graph.split_once("\r\n").unwrap().1.split('\n').collect();
    assert!(rows[0].starts_with("command - high "), "{graph}");
    assert_eq!((rows[1].len(), &rows[2..7]), (80, &[" #", " |", " |", "_|", "  "][..]), "{graph}");
    assert!(rows[8].starts_with('s'), "{graph}");
    wire.expect("LATENCY RESET nosuch COMMAND", ":1\r\n").expect("LATENCY LATEST", "*0\r\n");
}

#[test]
fn spikes_of_latency_are_recorded() {
    let options = |options: &mut my_redis::config::StartOptions| {
        options.debug_access = DebugAccess::Local;
    };
    spikes(&mut Server::start_in_real_time_with(MANY_SHARDS, options).wire());
}

#[test]
fn spikes_of_latency_are_recorded_so_by_redis() {
    let oracle = crate::harness::oracle::Oracle::start_with(&["--enable-debug-command", "yes"]);
    spikes(&mut Wire::connect(oracle.addr()));
}

it!(a_save_counts_until_it_has_ended, |server| {
    let mut wire = server.wire();
    wire.expect("CONFIG SET slowlog-log-slower-than 0", OK).expect("SLOWLOG RESET", OK);
    for _ in 0..3 {
        wire.expect("SAVE", OK);
    }
    assert_eq!(slow_calls(&mut wire, "SLOWLOG GET 1"), [slow_call("SAVE", "")]);
    let text = info(&mut wire, "commandstats");
    assert_eq!(calls(&text, "save"), Some([3, 0, 0]));
    let per_call = field(&text, "cmdstat_save").unwrap().split("usec_per_call=").nth(1).unwrap();
    let per_call: f64 = per_call.split(',').next().unwrap().parse().unwrap();
    // Writing and syncing a file takes longer than merely asking for it.
    assert!(per_call > 50.0, "{text}");
});

it!(counts_of_many_clients_add_up, |server| {
    const CLIENTS: usize = 8;
    const COMMANDS: usize = 500;
    server.wire().expect("CONFIG RESETSTAT", OK);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut wire = server.wire();
                for number in 0..COMMANDS {
                    let line = if number % 2 == 0 { "INCR n" } else { "GET n" };
                    wire.send(&format!("{line}{}", client % 2));
                }
                (0..COMMANDS).for_each(|_| drop(wire.reply()));
            });
        }
    });
    let half = (CLIENTS * COMMANDS / 2) as u64;
    let mut wire = server.wire();
    let text = info(&mut wire, "commandstats");
    assert_eq!(calls(&text, "incr"), Some([half, 0, 0]), "{text}");
    assert_eq!(calls(&text, "get"), Some([half, 0, 0]), "{text}");
    let reply = wire.run("LATENCY HISTOGRAM incr");
    let calls = format!("$5\r\ncalls\r\n:{half}\r\n");
    assert!(String::from_utf8_lossy(&reply).contains(&calls), "{}", shown(&reply));
});
