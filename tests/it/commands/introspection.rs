//! COMMAND: the table says of every command what Redis says of it.

use super::expect_alike;
use crate::harness::oracle::Oracle;
use crate::harness::server::Server;
use crate::harness::wire::{Wire, shown};
use crate::it;
use my_redis::command::table;

/// What Redis got only after 7.0.
#[rustfmt::skip]
pub(super) const NEWER: &[&str] = &[
    "CLIENT|SETINFO", "CLIENT|NO-TOUCH", "HEXPIRE", "HPEXPIRE", "HEXPIREAT", "HPEXPIREAT", "HTTL",
    "HPTTL", "HEXPIRETIME", "HPEXPIRETIME", "HPERSIST", "HGETEX", "HSETEX", "HGETDEL",
];

/// What COMMAND INFO says without the subcommands, which have no order.
fn own_part(reply: &[u8]) -> &[u8] {
    let arrays: Vec<usize> =
        reply.windows(3).enumerate().filter(|(_, w)| *w == b"\r\n*").map(|(at, _)| at).collect();
    arrays.get(1).map_or(reply, |end| &reply[..*end])
}

#[test]
fn containers_and_subcommands_are_described_as_by_redis() {
    let (server, oracle) = (Server::start(1), Oracle::start());
    let (mut ours, mut redis) = (server.wire3(), Wire::connect_resp3(oracle.addr()));
    let mut compared = 0;
    for top in table::all() {
        let names = top.subcommands().iter().map(|spec| format!("{}|{}", top.name, spec.name));
        for name in std::iter::once(top.name.to_owned()).chain(names) {
            if NEWER.contains(&name.as_str()) {
                continue;
            }
            let request = format!("COMMAND INFO {name}");
            let (got, expected) = (ours.run(&request), redis.run(&request));
            let (got, expected) = (own_part(&got), own_part(&expected));
            assert!(got == expected, "{name}\n{}\n{}", shown(got), shown(expected));
            compared += 1;
        }
    }
    assert!(compared > 100, "only {compared} rows");
}

#[test]
fn keys_are_found_in_requests_as_redis_finds_them() {
    let lines = &[
        "COMMAND GETKEYS",
        "COMMAND GETKEYS a b",
        "COMMAND GETKEYS get",
        "COMMAND GETKEYS get a b",
        "COMMAND GETKEYS get a",
        "COMMAND GETKEYS ping x",
        "COMMAND GETKEYS mset a b c d",
        "COMMAND GETKEYS mset a b c",
        "COMMAND GETKEYS del a b c",
        "COMMAND GETKEYS sort a",
        "COMMAND GETKEYS sort a get # store d",
        "COMMAND GETKEYS sort a store no limit store 1 get store by no store d",
        "COMMAND GETKEYS sort a limit 0 1 store",
        "COMMAND GETKEYSANDFLAGS sort a store d",
        "COMMAND GETKEYS rename a b",
        "COMMAND GETKEYS client setname",
        "COMMAND GETKEYS client setname a",
        "COMMAND GETKEYS client nosuch",
        "COMMAND GETKEYSANDFLAGS set a b",
        "COMMAND GETKEYSANDFLAGS set a b GET",
        "COMMAND GETKEYSANDFLAGS rename a b",
        "COMMAND GETKEYSANDFLAGS mset a b c d",
        "COMMAND GETKEYSANDFLAGS ping x",
    ];
    expect_alike(false, lines);
    expect_alike(true, lines);
}

#[test]
fn what_is_not_there_is_answered_as_by_redis() {
    let lines = &[
        "COMMAND COUNT x",
        "COMMAND INFO nosuch",
        "COMMAND INFO nosuch get client|nosuch get|nosuch",
        "COMMAND DOCS nosuch",
        "COMMAND LIST FILTERBY",
        "COMMAND LIST FILTERBY FOO bar",
        "COMMAND LIST FILTERBY PATTERN nosuch",
        "COMMAND LIST FILTERBY PATTERN getx*",
        "COMMAND LIST FILTERBY PATTERN setn",
        "COMMAND LIST FILTERBY PATTERN llen",
        "COMMAND LIST FILTERBY ACLCAT foo",
        "COMMAND LIST FILTERBY MODULE foo",
        "COMMAND LIST FOO",
        "COMMAND FOO",
        "COMMAND HELP",
        "COMMAND HELP x",
    ];
    expect_alike(false, &lines[..8]);
    expect_alike(false, &lines[9..]);
    expect_alike(true, &lines[..8]);
}

it!(the_counts_agree, |server| {
    let mut wire = server.wire();
    let count = table::all().count();
    let with_subcommands = count + table::all().map(|top| top.subcommands().len()).sum::<usize>();
    wire.expect("COMMAND COUNT", format!(":{count}\r\n"));
    for line in ["COMMAND", "COMMAND INFO"] {
        wire.expect_start(line, format!("*{count}\r\n*10\r\n"));
    }
    wire.expect_start("COMMAND LIST", format!("*{with_subcommands}\r\n"));
    wire.expect_start("COMMAND DOCS", format!("*{}\r\n", 2 * count));
    server.wire3().expect_start("COMMAND DOCS", format!("%{count}\r\n"));
});

it!(docs_describe_the_arguments, |server| {
    let expected = "%1\r\n$4\r\nlset\r\n%5\r\n$7\r\nsummary\r\n";
    let mut wire = server.wire3();
    wire.expect_start("COMMAND DOCS lset", expected);
    let reply = String::from_utf8(wire.run("COMMAND DOCS lset")).unwrap();
    let arguments = "$9\r\narguments\r\n*3\r\n\
        %3\r\n$4\r\nname\r\n$3\r\nkey\r\n$4\r\ntype\r\n$3\r\nkey\r\n$14\r\nkey_spec_index\r\n:0\r\n\
        %2\r\n$4\r\nname\r\n$5\r\nindex\r\n$4\r\ntype\r\n$7\r\ninteger\r\n\
        %2\r\n$4\r\nname\r\n$7\r\nelement\r\n$4\r\ntype\r\n$6\r\nstring\r\n";
    assert!(reply.ends_with(arguments), "{reply}");
});
