//! OBJECT: Redis' names at Redis' thresholds.

use super::{NULL, OK, expect_alike};
use crate::it;

#[test]
fn encodings_have_the_names_of_redis() {
    let forty_four = "x".repeat(44);
    let mut lines = vec![
        "OBJECT ENCODING none".to_owned(),
        "SET k 12".to_owned(),
        "OBJECT ENCODING k".to_owned(),
        "OBJECT REFCOUNT k".to_owned(),
        "SET k 9223372036854775807".to_owned(),
        "OBJECT ENCODING k".to_owned(),
        "OBJECT REFCOUNT k".to_owned(),
        "SET k 9223372036854775808".to_owned(),
        "OBJECT ENCODING k".to_owned(),
        "SET k 01".to_owned(),
        "OBJECT ENCODING k".to_owned(),
        format!("SET k {forty_four}"),
        "OBJECT ENCODING k".to_owned(),
        format!("SET k {forty_four}x"),
        "OBJECT ENCODING k".to_owned(),
        "OBJECT REFCOUNT k".to_owned(),
        "OBJECT FREQ k".to_owned(),
        "OBJECT FREQ none".to_owned(),
        "OBJECT IDLETIME none".to_owned(),
        "OBJECT IDLETIME k".to_owned(),
        "RPUSH l a".to_owned(),
        "OBJECT ENCODING l".to_owned(),
        "OBJECT REFCOUNT l".to_owned(),
        "HSET h f v".to_owned(),
        "OBJECT ENCODING h".to_owned(),
        format!("HSET h f {}", "x".repeat(64)),
        "OBJECT ENCODING h".to_owned(),
        format!("HSET h f {}", "x".repeat(65)),
        "OBJECT ENCODING h".to_owned(),
        "SADD s 1 2 3".to_owned(),
        "OBJECT ENCODING s".to_owned(),
        "SADD s x".to_owned(),
        "OBJECT ENCODING s".to_owned(),
        "ZADD z 1 a".to_owned(),
        "OBJECT ENCODING z".to_owned(),
        format!("ZADD z 1 {}", "x".repeat(65)),
        "OBJECT ENCODING z".to_owned(),
        "OBJECT".to_owned(),
        "OBJECT x".to_owned(),
        "OBJECT ENCODING".to_owned(),
        "OBJECT ENCODING k x".to_owned(),
        "OBJECT HELP".to_owned(),
        "OBJECT HELP x".to_owned(),
    ];
    for n in 0..512 {
        lines.push(format!("HSET many f{n} v"));
    }
    lines.push("OBJECT ENCODING many".to_owned());
    lines.push("HSET many f512 v".to_owned());
    lines.push("OBJECT ENCODING many".to_owned());
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    expect_alike(false, &lines);
    expect_alike(true, &lines);
}

it!(what_is_not_kept_is_not_told, |server| {
    let mut wire = server.wire();
    wire.expect("SET k v", OK);
    server.advance_ms(100_000);
    wire.expect("OBJECT IDLETIME k", ":0\r\n").expect("OBJECT IDLETIME none", NULL);
});
