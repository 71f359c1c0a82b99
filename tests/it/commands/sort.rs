//! SORT and SORT_RO: held against redis-server with every option.

use super::{OK, WRONG_TYPE, elements, expect_alike, expect_wrong_arity};
use crate::harness::server::Server;
use crate::harness::wire::{Wire, bulks};
use crate::it;

/// Keys for the patterns of BY and GET.
const SETUP: &[&str] = &[
    "RPUSH l 3 1 10 2 1 -5 2.5",
    "RPUSH t b a C ab \"\" zz a",
    "RPUSH n x 1",
    "MSET w_1 30 w_2 20 w_3 10 w_10 x w_a z w_b y o_1 one o_2 two o_3 three w_-5 -1e3",
    "HSET h_1 name uno n 3",
    "HSET h_2 name dos n 2",
    "HSET h_10 name diez n 1",
    "SET e_*_1 star",
    "SADD si 3 1 10 2 -5",
    "SADD ss b a C ab zz",
    "ZADD z 5 3 4 1 3 10 2 2 1 -5",
];

const OPTIONS: &[&str] = &[
    "",
    "DESC",
    "ASC DESC",
    "ALPHA",
    "ALPHA DESC",
    "LIMIT 1 3",
    "LIMIT 2 -1",
    "LIMIT -3 2",
    "LIMIT 100 2",
    "LIMIT 0 0",
    "LIMIT 9223372036854775807 9223372036854775807",
    "BY nosort",
    "BY nosort DESC",
    "BY nosort LIMIT 1 3",
    "BY nosort DESC LIMIT 1 3",
    "BY nosort DESC LIMIT 0 2",
    "BY nosort DESC LIMIT 3 10",
    "BY nosort LIMIT 5 100 GET #",
    "BY w_* ALPHA",
    "BY w_* ALPHA DESC",
    "BY h_*->n",
    "BY h_*->n DESC LIMIT 0 2",
    "BY h_*->name ALPHA GET #",
    "BY nothing_*",
    "BY nothing_* ALPHA",
    "BY w_* BY nosort",
    "BY nosort BY w_*",
    "GET o_*",
    "GET # GET o_* GET h_*->name GET h_*->nothing GET fixed",
    "GET h_*",
    "GET o_*->name",
    "GET h_*->",
    "GET e_*_*",
    "GET \"o_*\\x00x\"",
    "ALPHA GET # DESC",
    "LIMIT 0",
    "LIMIT x 1",
    "LIMIT 0 x",
    "BY",
    "GET",
    "nothing",
    "ALPHA nothing",
];

#[test]
fn collections_are_sorted_with_every_option() {
    let mut lines: Vec<String> = SETUP.iter().map(|line| (*line).to_owned()).collect();
    for key in ["l", "t", "n", "none", "si", "ss", "z"] {
        for options in OPTIONS {
            // A set has no order in which to leave what is equal or not sorted; Redis looks at a
            // sorted set as at a set, unless nothing is to be sorted.
            let has = |part: &str| options.contains(part);
            let leaves_equal = has("BY") && has("ALPHA");
            let leaves_order = leaves_equal || has("nosort") || has("nothing_");
            if key.starts_with('s') && leaves_order || key == "z" && leaves_equal {
                lines.push(format!("SORT {key} {options} STORE d"));
                lines.push("LLEN d".to_owned());
                continue;
            }
            lines.push(format!("SORT {key} {options}"));
            lines.push(format!("SORT_RO {key} {options}"));
            lines.push(format!("SORT {key} {options} STORE d"));
            lines.push("LRANGE d 0 -1".to_owned());
        }
    }
    lines.push("SORT l BY w_*".to_owned());
    lines.push("SORT_RO l STORE d".to_owned());
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    expect_alike(false, &lines);
    expect_alike(true, &lines);
}

transcript!(sorted_elements_are_stored, |wire| {
    wire.expect("RPUSH l 3 1 2", ":3\r\n").expect("SORT l STORE d", ":3\r\n");
    wire.expect("LRANGE d 0 -1", bulks(&["1", "2", "3"])).expect("EXPIRE d 100", ":1\r\n");
    wire.expect("SORT l DESC STORE d", ":3\r\n").expect("TTL d", ":-1\r\n");
    wire.expect("SORT l STORE l", ":3\r\n").expect("LRANGE l 0 -1", bulks(&["1", "2", "3"]));
    wire.expect("SORT none STORE d", ":0\r\n").expect("EXISTS d", ":0\r\n");
    wire.expect("SORT l GET none_* STORE d", ":3\r\n");
    wire.expect("LRANGE d 0 -1", bulks(&["", "", ""])).expect("SET s v", OK);
    wire.expect("SORT s", WRONG_TYPE).expect("SORT s STORE d", WRONG_TYPE);
    wire.expect("HSET h f v", ":1\r\n")
        .expect("SORT h", WRONG_TYPE)
        .expect("SORT_RO h", WRONG_TYPE);
    wire.expect("SORT l STORE s", ":3\r\n").expect("TYPE s", "+list\r\n");
    expect_wrong_arity(&mut wire, &["SORT", "SORT_RO"]);
});

it!(a_sort_by_other_keys_sees_one_moment, |server| {
    // A writer keeps the weights of both elements apart by turns; in between both are equal, and
    // the sort would tell.
    const ROUNDS: usize = 300;
    let addr = server.addr();
    server.wire().expect("RPUSH l a b", ":2\r\n");
    server.wire().expect("MSET w_a 1 w_b 2", OK);
    let writer = std::thread::spawn(move || {
        let mut wire = Wire::connect(addr);
        for round in 0..ROUNDS {
            wire.expect(&format!("MSET w_a {round} w_b {}", round + 1), OK);
        }
    });
    let mut wire = server.wire();
    for _ in 0..ROUNDS {
        let reply = wire.run("SORT l BY w_* GET w_*");
        let found = elements(&reply);
        let number = |at: usize| String::from_utf8_lossy(&found[at]).parse::<usize>().unwrap();
        assert_eq!(number(1), number(0) + 1);
    }
    writer.join().unwrap();
});

#[test]
fn a_large_list_is_sorted() {
    let server = Server::start(16);
    let mut wire = server.wire();
    let mut request = vec!["RPUSH".to_owned(), "l".to_owned()];
    request.extend((0..20_000_u64).map(|n| (n * 7_919 % 20_011).to_string()));
    wire.send_args(&request).expect_reply(":20000\r\n");
    let found = elements(&wire.run("SORT l"));
    let numbers: Vec<u64> =
        found.iter().map(|text| String::from_utf8_lossy(text).parse().unwrap()).collect();
    assert!(numbers.len() == 20_000 && numbers.is_sorted());
}
