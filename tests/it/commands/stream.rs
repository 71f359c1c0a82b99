//! XADD, XLEN, XRANGE, XREVRANGE, XDEL, XTRIM, XSETID, XREAD, XREADGROUP, XGROUP, XACK, XPENDING,
//! XCLAIM, XAUTOCLAIM and XINFO, where nobody waits.
//!
//! Most sessions are lines that both servers are to answer alike. What tells a time is blotted out:
//! moments, which have more than nine digits, and how long ago something was.

use super::{NULL, OK, WRONG_TYPE, expect_wrong_arity};
use crate::harness::oracle::Oracle;
use crate::harness::server::{MANY_SHARDS, Server};
use crate::harness::wire::{Wire, shown};
use crate::it;

const NULL_ARRAY: &str = "*-1\r\n";
const EMPTY: &str = "*0\r\n";

/// A byte string as it is sent.
pub(super) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// Several of them in an array.
pub(super) fn bulks(texts: &[&str]) -> String {
    let all: String = texts.iter().map(|text| bulk(text)).collect();
    format!("*{}\r\n{all}", texts.len())
}

/// A reply without what the clock says.
fn without_times(line: &str, reply: &[u8]) -> String {
    let text = String::from_utf8_lossy(reply).into_owned();
    let words: Vec<&str> = line.split(' ').collect();
    let tells_idle = words[0] == "XPENDING" && words.len() > 3;
    let mut before = ["", "", ""];
    let mut parts: Vec<String> = Vec::new();
    for part in text.split("\r\n") {
        let is_moment = part.starts_with(':') && part.len() > 10;
        // Behind the id and the name of the consumer, or behind the word.
        let is_idle = part.starts_with(':')
            && !before[2].starts_with(':')
            && (tells_idle || before[2] == "idle");
        let blotted = is_moment || (is_idle && !before[2].starts_with('*'));
        parts.push(if blotted { ":T".to_owned() } else { part.to_owned() });
        before = [before[1], before[2], part];
    }
    parts.join("\r\n")
}

/// Fails the test unless ours, on one shard and on many, and a real redis-server answer every line
/// alike, in both protocols.
#[track_caller]
fn alike(lines: &[&str]) {
    for resp3 in [false, true] {
        let (one, many, oracle) = (Server::start(1), Server::start(MANY_SHARDS), Oracle::start());
        let connect = if resp3 { Wire::connect_resp3 } else { Wire::connect };
        let mut redis = connect(oracle.addr());
        let mut ours = [connect(one.addr()), connect(many.addr())];
        for line in lines {
            let expected = without_times(line, &redis.run(line));
            for wire in &mut ours {
                let got = wire.run(line);
                assert_eq!(without_times(line, &got), expected, "{line}: {}", shown(&got));
            }
        }
    }
}

#[test]
fn entries_are_added_and_read_by_ranges() {
    alike(&[
        "XADD s 1-1 a 1 b two",
        "XADD s 1-2 a 3 b four",
        "XADD s 2-* c 5",
        "XADD s 2-* c -6",
        "XADD s 3 \"\" \"\" long xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "XADD s 3-5 n 123456789012345678 m -9223372036854775808 o 9223372036854775808 p 007",
        "TYPE s",
        "OBJECT ENCODING s",
        "XLEN s",
        "XLEN none",
        "XRANGE s - +",
        "XREVRANGE s + -",
        "XRANGE s 1-2 3",
        "XRANGE s (1-2 (3-5",
        "XRANGE s 2 2",
        "XRANGE s 3 2",
        "XRANGE s - + COUNT 2",
        "XRANGE s - + COUNT 0",
        "XRANGE s - + COUNT -5",
        "XRANGE none - + COUNT 0",
        "XREVRANGE s + - COUNT 2",
        "XREVRANGE s 3-4 (1-1",
        "XRANGE none - +",
        "XADD s 3-5 a b",
        "XADD s 3-4 a b",
        "XADD s 0-0 a b",
        "XADD none 0-0 a b",
        "EXISTS none",
        "XADD none NOMKSTREAM 1-1 a b",
        "XADD none nomkstream MAXLEN 5 1-1 a b",
        "EXISTS none",
        "XADD s NOMKSTREAM 4-1 a b",
        "XADD last 18446744073709551615-18446744073709551615 a b",
        "XADD last * a b",
        "XADD full 5-18446744073709551615 a b",
        "XADD full 6-* a b",
        "XRANGE full (5-18446744073709551614 +",
        "XRANGE full - (6-0",
        "XADD zero 0-* a b",
        "XADD zero 0-* a b",
        "XRANGE zero - +",
        "XDEL s 1-2 9-9 3",
        "XDEL s 1-2",
        "XDEL none 1-2",
        "XRANGE s - +",
        "XREVRANGE s + -",
        "XINFO STREAM s",
        "XDEL s 1-1",
        "XINFO STREAM s",
        "XDEL s 2-0 2-1 3-5 4-1",
        "XINFO STREAM s",
        "XLEN s",
        "EXISTS s",
        "XADD s 4-1 a b",
        "XADD s 4-2 a b",
        "XINFO STREAM s",
        "SORT s",
        "GET s",
        "LPUSH s a",
        "SET other x",
        "XADD other 1-1 a b",
        "XLEN other",
        "XRANGE other - +",
        "XDEL other 1-1",
        "XTRIM other MAXLEN 0",
        "XSETID other 1-1",
        "XREAD STREAMS other 0",
        "XREADGROUP GROUP g c STREAMS other >",
        "XGROUP CREATE other g $ MKSTREAM",
        "XGROUP DESTROY other g",
        "XACK other g 1-1",
        "XPENDING other g",
        "XCLAIM other g c 0 1-1",
        "XAUTOCLAIM other g c 0 0",
        "XINFO STREAM other",
        "XINFO GROUPS other",
        "XINFO CONSUMERS other g",
        "SCAN 0 TYPE stream COUNT 1000 MATCH last",
        "COPY full copy",
        "XRANGE copy - +",
        "XRANGE s - + COUNT 1",
        "RENAME copy moved",
        "XINFO STREAM moved",
        "DEL moved",
    ]);
}

#[test]
fn what_does_not_fit_is_refused_as_by_redis() {
    alike(&[
        "XADD s",
        "XADD s *",
        "XADD s * a",
        "XADD s * a b c",
        "XADD s 1-1 a",
        "XADD s x a b",
        "XADD s 1-x a b",
        "XADD s - a b",
        "XADD s + a b",
        "XADD s $ a b",
        "XADD s (1 a b",
        "XADD s 1-1-1 a b",
        "XADD s 1-** a b",
        "XADD s *-1 a b",
        "XADD s -1 a b",
        "XADD s 18446744073709551616 a b",
        "XADD s MAXLEN",
        "XADD s MAXLEN 5",
        "XADD s MAXLEN x * a b",
        "XADD s MAXLEN -1 * a b",
        "XADD s MAXLEN ~ * a b",
        "XADD s MINID x * a b",
        "XADD s MINID + * a b",
        "XADD s MAXLEN 5 MINID 5 1-1 a b",
        "XADD s MAXLEN 5 MAXLEN 5 1-1 a b",
        "XADD s MAXLEN 5 LIMIT 5 1-1 a b",
        "XADD s MAXLEN = 5 LIMIT 5 1-1 a b",
        "XADD s LIMIT 5 1-1 a b",
        "XADD s LIMIT 0 1-1 a b",
        "XADD s MAXLEN ~ 5 LIMIT -1 1-1 a b",
        "XADD s MAXLEN ~ 5 LIMIT x 1-1 a b",
        "XADD s NOMKSTREAM",
        "XADD s NOMKSTREAM NOMKSTREAM NOMKSTREAM x",
        "EXISTS s",
        "XTRIM s",
        "XTRIM s MAXLEN",
        "XTRIM s FOO 5",
        "XTRIM s MAXLEN 5 FOO",
        "XTRIM s MAXLEN 5 LIMIT 5",
        "XTRIM s LIMIT 5 MAXLEN ~ 5",
        "XTRIM s LIMIT 5 LIMIT 6",
        "XTRIM s MINID ~ 5 LIMIT 5 LIMIT 6",
        "XTRIM s NOMKSTREAM 5",
        "XRANGE s",
        "XRANGE s -",
        "XRANGE s x +",
        "XRANGE s - x",
        "XRANGE s ( +",
        "XRANGE s (- +",
        "XRANGE s - (+",
        "XRANGE s (18446744073709551615-18446744073709551615 +",
        "XRANGE s - (0-0",
        "XRANGE s (0 (0",
        "XRANGE s - + COUNT",
        "XRANGE s - + COUNT x",
        "XRANGE s - + FOO 5",
        "XRANGE s - + COUNT 5 COUNT",
        "XREVRANGE s - x",
        "XDEL s",
        "XDEL s x",
        "XDEL s -",
        "XLEN",
        "XSETID s 1-1",
        "XSETID s x",
        "XADD s 5-5 a b",
        "XADD s 5-6 a b",
        "XDEL s 5-6",
        "XDEL s 5-5 x",
        "XLEN s",
        "XSETID s 5-4",
        "XSETID s 5-5",
        "XSETID s 9 ENTRIESADDED 0",
        "XSETID s 9 ENTRIESADDED -1",
        "XSETID s 9 ENTRIESADDED x",
        "XSETID s 9 ENTRIESADDED",
        "XSETID s 9 MAXDELETEDID 10",
        "XSETID s 9 MAXDELETEDID x",
        "XSETID s 9 FOO 1",
        "XSETID s 9 ENTRIESADDED 7 MAXDELETEDID 5-6",
        "XINFO STREAM s",
        "XSETID s 9 MAXDELETEDID 0",
        "XINFO STREAM s",
        "XREAD",
        "XREAD STREAMS",
        "XREAD STREAMS s",
        "XREAD STREAMS s 0 1",
        "XREAD COUNT 1 s 0",
        "XREAD FOO STREAMS s 0",
        "XREAD COUNT x STREAMS s 0",
        "XREAD BLOCK x STREAMS s 0",
        "XREAD BLOCK -1 STREAMS s 0",
        "XREAD BLOCK 1.5 STREAMS s 0",
        "XREAD STREAMS s x",
        "XREAD STREAMS s >",
        "XREAD STREAMS s -",
        "XREAD STREAMS s +",
        "XREAD GROUP g c STREAMS s >",
        "XREAD NOACK STREAMS s 0",
        "XREADGROUP STREAMS s > a b c",
        "XREADGROUP COUNT 5 BLOCK 1 STREAMS s >",
        "XREADGROUP GROUP g c STREAMS s >",
        "XREADGROUP GROUP g c STREAMS s $",
        "XREADGROUP GROUP g c STREAMS none >",
        "XREADGROUP GROUP g c STREAMS s s >",
        "XGROUP",
        "XGROUP FOO",
        "XGROUP FOO s g",
        "XGROUP CREATE s g",
        "XGROUP CREATE s g x",
        "XGROUP CREATE none g $",
        "XGROUP CREATE none g x MKSTREAM",
        "XGROUP CREATE s g 0 FOO",
        "XGROUP CREATE s g 0 ENTRIESREAD",
        "XGROUP CREATE s g 0 ENTRIESREAD x",
        "XGROUP CREATE s g 0 ENTRIESREAD -2",
        "XGROUP CREATE s g 0 MKSTREAM MKSTREAM MKSTREAM MKSTREAM",
        "XGROUP CREATE s g -",
        "XGROUP CREATE s g 0 MKSTREAM",
        "XGROUP CREATE s g 0",
        "XGROUP SETID s nog 0",
        "XGROUP SETID s g x",
        "XGROUP SETID s g 0 MKSTREAM",
        "XGROUP SETID s g 0 ENTRIESREAD 1 ENTRIESREAD 2",
        "XGROUP SETID none g 0",
        "XGROUP CREATECONSUMER s g",
        "XGROUP CREATECONSUMER s nog c",
        "XGROUP CREATECONSUMER none g c",
        "XGROUP DELCONSUMER s nog c",
        "XGROUP DELCONSUMER none g c",
        "XGROUP DELCONSUMER s g c",
        "XGROUP DESTROY none g",
        "XGROUP DESTROY s nog",
        "XGROUP DESTROY s",
        "XGROUP HELP",
        "XGROUP HELP x",
        "XACK s g",
        "XACK s g x",
        "XACK s nog x",
        "XACK none g x",
        "XPENDING s",
        "XPENDING s nog",
        "XPENDING none g",
        "XPENDING s g -",
        "XPENDING s g - +",
        "XPENDING s g - + x",
        "XPENDING s g x + 5",
        "XPENDING s g - + 5 c d",
        "XPENDING s g IDLE x - + 5",
        "XPENDING s g IDLE 5 - + ",
        "XPENDING s g IDLE 5 - + 5 c d",
        "XPENDING s g - + 5 none",
        "XCLAIM s g c 0",
        "XCLAIM s nog c 0 1-1",
        "XCLAIM none g c 0 1-1",
        "XCLAIM s g c x 1-1",
        "XCLAIM s g c 0 x",
        "XCLAIM s g c 0 1-1 FOO",
        "XCLAIM s g c 0 1-1 IDLE x",
        "XCLAIM s g c 0 1-1 TIME x",
        "XCLAIM s g c 0 1-1 RETRYCOUNT x",
        "XCLAIM s g c 0 1-1 LASTID x",
        "XCLAIM s g c 0 1-1 IDLE",
        "XAUTOCLAIM s g c 0",
        "XAUTOCLAIM s g c x 0",
        "XAUTOCLAIM s g c 0 x",
        "XAUTOCLAIM s g c 0 (18446744073709551615-18446744073709551615",
        "XAUTOCLAIM s g c 0 0 COUNT 0",
        "XAUTOCLAIM s g c 0 0 COUNT x",
        "XAUTOCLAIM s g c 0 0 COUNT 9223372036854775807",
        "XAUTOCLAIM s g c 0 0 COUNT",
        "XAUTOCLAIM s g c 0 0 FOO",
        "XAUTOCLAIM s nog c 0 0",
        "XAUTOCLAIM none g c 0 0",
        "XINFO",
        "XINFO STREAM",
        "XINFO STREAM none",
        "XINFO STREAM s FOO",
        "XINFO STREAM s FULL FOO",
        "XINFO STREAM s FULL COUNT",
        "XINFO STREAM s FULL COUNT x",
        "XINFO STREAM s FULL FOO 5",
        "XINFO STREAM s FULL COUNT 5 6",
        "XINFO GROUPS",
        "XINFO GROUPS none",
        "XINFO GROUPS s x",
        "XINFO CONSUMERS s",
        "XINFO CONSUMERS s nog",
        "XINFO CONSUMERS none g",
        "XINFO FOO s",
        "XINFO HELP",
        "XINFO HELP x",
    ]);
}

#[test]
fn trimming_takes_what_redis_takes() {
    let mut lines: Vec<String> = Vec::new();
    let mut line = |text: &str| lines.push(text.to_owned());
    line("CONFIG SET stream-node-max-entries 10");
    for n in 1..=95 {
        line(&format!("XADD s {n} item {n}"));
    }
    for text in [
        "XINFO STREAM s",
        "XTRIM s MAXLEN ~ 90",
        "XTRIM s MAXLEN ~ 85",
        "XTRIM s MAXLEN ~ 84",
        "XTRIM s MAXLEN 83",
        "XTRIM s MAXLEN = 82",
        "XTRIM s MAXLEN ~ 0 LIMIT 5",
        "XTRIM s MAXLEN ~ 0 LIMIT 15",
        "XTRIM s MAXLEN ~ 0 LIMIT 0 ",
        "XINFO STREAM s",
        "XADD s MAXLEN ~ 3 96 a b",
        "XADD s MAXLEN 3 97 a b",
        "XRANGE s - +",
        "XTRIM s MINID 96",
        "XRANGE s - +",
        "XADD s MINID 97-1 98 a b",
        "XRANGE s - +",
        "XTRIM s MAXLEN 0",
        "XINFO STREAM s",
        "XLEN s",
        "XADD s MAXLEN 0 99 a b",
        "XLEN s",
        "XINFO STREAM s",
        "CONFIG SET stream-node-max-entries 0",
        "CONFIG SET stream-node-max-bytes 300",
    ] {
        line(text);
    }
    for n in 1..=60 {
        let value = "v".repeat(n % 23);
        line(&format!("XADD b {n} field{} {value}{n} other {value}", n % 7 / 5));
        line("XINFO STREAM b");
    }
    for text in [
        "XDEL b 3 4 5 12 13 40",
        "XTRIM b MINID ~ 20",
        "XINFO STREAM b",
        "XTRIM b MINID ~ 33 LIMIT 10",
        "XTRIM b MINID 35",
        "XINFO STREAM b",
        "XTRIM b MINID 41-5",
        "XTRIM b MAXLEN ~ 10",
        "XINFO STREAM b",
        "XRANGE b - +",
        "XREVRANGE b + - COUNT 30",
        "CONFIG SET stream-node-max-bytes 0",
        "XADD b 100 a b",
        "XADD b MAXLEN ~ 1 101 a b",
        "XINFO STREAM b",
    ] {
        line(text);
    }
    alike(&lines.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_group_reads_every_entry_once_and_acknowledges_it() {
    alike(&[
        "XGROUP CREATE s g $ MKSTREAM",
        "XINFO STREAM s",
        "XINFO STREAM s FULL",
        "XREADGROUP GROUP g alice STREAMS s >",
        "XINFO CONSUMERS s g",
        "XADD s 1-1 a 1",
        "XADD s 1-2 a 2",
        "XADD s 2-1 b 3 c 4",
        "XADD s 2-2 a 5",
        "XADD s 2-3 a 6",
        "XREADGROUP GROUP g alice COUNT 2 STREAMS s >",
        "XREADGROUP GROUP g bob COUNT 1 STREAMS s >",
        "XINFO GROUPS s",
        "XREADGROUP GROUP g alice STREAMS s 0",
        "XREADGROUP GROUP g alice STREAMS s 1-1",
        "XREADGROUP GROUP g alice COUNT 1 STREAMS s 0",
        "XREADGROUP GROUP g carol STREAMS s 0",
        "XPENDING s g",
        "XPENDING s g - + 10",
        "XPENDING s g - + 10 alice",
        "XPENDING s g - + 10 carol",
        "XPENDING s g (1-1 (2-1 10",
        "XPENDING s g - + 0",
        "XPENDING s g - + -5",
        "XPENDING s g IDLE 100000 - + 10",
        "XPENDING s g IDLE 0 - + 10 bob",
        "XACK s g 1-1 1-1 9-9",
        "XACK s g 1-1",
        "XPENDING s g",
        "XREADGROUP GROUP g alice NOACK COUNT 1 STREAMS s >",
        "XPENDING s g",
        "XDEL s 1-2",
        "XREADGROUP GROUP g alice STREAMS s 0",
        "XPENDING s g - + 10",
        "XINFO STREAM s FULL",
        "XINFO STREAM s FULL COUNT 1",
        "XINFO STREAM s FULL COUNT 0",
        "XINFO STREAM s FULL COUNT -1",
        "XCLAIM s g carol 0 1-2 2-1 2-2 2-3",
        "XPENDING s g - + 10",
        "XCLAIM s g carol 0 2-2 2-3 FORCE",
        "XCLAIM s g dave 0 2-3 JUSTID",
        "XCLAIM s g dave 100000 2-2",
        "XCLAIM s g dave 0 2-2 RETRYCOUNT 7 IDLE 5000",
        "XCLAIM s g dave 0 2-1 TIME 1000 RETRYCOUNT -3",
        "XCLAIM s g dave 0 2-1 2-2 LASTID 1-0 JUSTID",
        "XCLAIM s g erin 0 9-9 FORCE LASTID 7-7",
        "XINFO GROUPS s",
        "XINFO CONSUMERS s g",
        "XPENDING s g - + 10",
        "XPENDING s g",
        "XAUTOCLAIM s g erin 100000 -",
        "XAUTOCLAIM s g erin 0 -",
        "XAUTOCLAIM s g frank 0 - COUNT 1 JUSTID",
        "XAUTOCLAIM s g frank 0 (2-1 COUNT 1",
        "XDEL s 2-2",
        "XAUTOCLAIM s g alice 0 0-0 COUNT 2",
        "XAUTOCLAIM s g alice 0 0-0 COUNT 2 JUSTID",
        "XPENDING s g - + 10",
        "XGROUP CREATECONSUMER s g zed",
        "XGROUP CREATECONSUMER s g zed",
        "XGROUP DELCONSUMER s g alice",
        "XGROUP DELCONSUMER s g zed",
        "XGROUP DELCONSUMER s g zed",
        "XINFO CONSUMERS s g",
        "XGROUP SETID s g 1-2",
        "XREADGROUP GROUP g bob STREAMS s >",
        "XREADGROUP GROUP g bob STREAMS s >",
        "XGROUP SETID s g 0",
        "XREADGROUP GROUP g new STREAMS s >",
        "XPENDING s g - + 10",
        "XGROUP SETID s g $",
        "XGROUP SETID s g -",
        "XGROUP SETID s g + ENTRIESREAD 3",
        "XINFO GROUPS s",
        "XREADGROUP GROUP g bob STREAMS s >",
        "XREADGROUP GROUP g bob STREAMS s 18446744073709551615-18446744073709551615",
        "XGROUP CREATE s other 2-1 ENTRIESREAD 2",
        "XGROUP CREATE s third 0",
        "XINFO GROUPS s",
        "XGROUP DESTROY s other",
        "XGROUP DESTROY s other",
        "XINFO STREAM s FULL",
        "XTRIM s MAXLEN 0",
        "XREADGROUP GROUP g bob STREAMS s 0",
        "XREADGROUP GROUP third bob STREAMS s >",
        "COPY s copy",
        "XINFO STREAM copy FULL",
        "XGROUP DESTROY copy g",
        "XINFO STREAM s FULL",
        "DEL s",
        "XINFO STREAM copy FULL",
    ]);
}

#[test]
fn several_streams_are_read_together() {
    alike(&[
        "XADD a 1-1 f 1",
        "XADD b 1-1 f 2",
        "XADD b 1-2 f 3",
        "XREAD STREAMS a b c 0 0 0",
        "XREAD COUNT 1 STREAMS b a 1-1 0",
        "XREAD STREAMS a b $ 1",
        "XREAD STREAMS a b $ $",
        "XREAD BLOCK 1 STREAMS a b $ $",
        "XREAD COUNT 0 STREAMS b 0",
        "XREAD COUNT -7 STREAMS b 0",
        "XREAD BLOCK 0 STREAMS a 0",
        "XREAD count 1 block 5 streams b 0-5",
        "XREAD COUNT 1 COUNT 2 STREAMS b 0",
        "XREAD STREAMS a 18446744073709551615-18446744073709551615",
        "XREAD STREAMS none 0",
        "XREAD BLOCK 1 STREAMS none $",
        "SET x y",
        "XREAD STREAMS a x 0 0",
        "XGROUP CREATE a g 0",
        "XGROUP CREATE b g 1-1",
        "XREADGROUP GROUP g c STREAMS a b c > > >",
        "XREADGROUP GROUP g c STREAMS a b > >",
        "XREADGROUP GROUP g c STREAMS a b > >",
        "XREADGROUP GROUP g c BLOCK 1 STREAMS a b > >",
        "XREADGROUP GROUP g c BLOCK 0 STREAMS a b > 0",
        "XREADGROUP GROUP g c BLOCK 0 STREAMS a b 0 0",
        "MULTI",
        "XREAD BLOCK 0 STREAMS a $",
        "XREADGROUP GROUP g c BLOCK 0 STREAMS a >",
        "XREAD BLOCK x STREAMS a $",
        "XADD a 5-5 f 9",
        "XREAD BLOCK 0 STREAMS a 1-1",
        "XREADGROUP GROUP g c BLOCK 0 STREAMS a >",
        "EXEC",
        "COMMAND GETKEYS XREAD STREAMS a b 0 0",
        "COMMAND GETKEYS XREAD COUNT 1 BLOCK 2 STREAMS a b 0 0",
        "COMMAND GETKEYS XREADGROUP GROUP streams streams NOACK STREAMS a >",
        "COMMAND GETKEYS XADD a * f v",
        "COMMAND GETKEYS XGROUP CREATE a g 0",
        "COMMAND GETKEYSANDFLAGS XREAD STREAMS a 0",
    ]);
}

#[test]
fn how_far_a_group_is_behind_is_known_when_it_can_be() {
    let mut lines = vec!["XGROUP CREATE s g $ MKSTREAM", "XINFO GROUPS s"];
    let adds: Vec<String> = (1..=6).map(|n| format!("XADD s {n} a b")).collect();
    lines.extend(adds.iter().map(String::as_str));
    lines.extend([
        "XINFO GROUPS s",
        "XREADGROUP GROUP g c COUNT 1 STREAMS s >",
        "XINFO GROUPS s",
        "XDEL s 2",
        "XREADGROUP GROUP g c COUNT 1 STREAMS s >",
        "XINFO GROUPS s",
        "XGROUP CREATE s middle 4",
        "XGROUP CREATE s future 9",
        "XGROUP CREATE s start 0",
        "XGROUP CREATE s first 1",
        "XINFO GROUPS s",
        "XTRIM s MAXLEN 3",
        "XINFO GROUPS s",
        "XREADGROUP GROUP middle c COUNT 1 STREAMS s >",
        "XREADGROUP GROUP start c COUNT 1 STREAMS s >",
        "XINFO GROUPS s",
        "XDEL s 6",
        "XINFO GROUPS s",
        "XREADGROUP GROUP middle c STREAMS s >",
        "XREADGROUP GROUP g c STREAMS s >",
        "XINFO GROUPS s",
        "XADD s 7 a b",
        "XREADGROUP GROUP middle c STREAMS s >",
        "XINFO GROUPS s",
        "XTRIM s MAXLEN 0",
        "XINFO GROUPS s",
        "XSETID s 10 ENTRIESADDED 100 MAXDELETEDID 1",
        "XINFO GROUPS s",
        "XADD s 11 a b",
        "XINFO GROUPS s",
        "XREADGROUP GROUP start c STREAMS s >",
        "XINFO GROUPS s",
    ]);
    alike(&lines);
}

#[test]
fn ids_may_begin_again_in_a_stream_without_entries() {
    alike(&[
        "XADD s 5-1 a b",
        "XADD s 7-1 c d",
        "XGROUP CREATE s g 0",
        "XREADGROUP GROUP g c STREAMS s >",
        "XDEL s 7-1",
        "XSETID s 6",
        "XADD s 6-5 e f",
        "XRANGE s - +",
        "XREVRANGE s + -",
        "XRANGE s 6 7",
        "XREVRANGE s 7 6",
        "XGROUP SETID s g 5-1",
        "XREADGROUP GROUP g c STREAMS s >",
        "XDEL s 5-1 6-5",
        "XSETID s 0",
        "XADD s 5-1 x y zz 1",
        "XADD s 5-2 x y",
        "XGROUP SETID s g 0",
        "XREADGROUP GROUP g c STREAMS s >",
        "XRANGE s - +",
        "XTRIM s MAXLEN 1",
        "XRANGE s - +",
    ]);
}

#[test]
fn the_rows_say_what_those_of_redis_say() {
    let names = [
        "XADD",
        "XLEN",
        "XRANGE",
        "XREVRANGE",
        "XDEL",
        "XTRIM",
        "XSETID",
        "XREAD",
        "XREADGROUP",
        "XACK",
        "XPENDING",
        "XCLAIM",
        "XAUTOCLAIM",
    ];
    let mut lines: Vec<String> = names.iter().map(|name| format!("COMMAND INFO {name}")).collect();
    for name in ["CREATE", "SETID", "DESTROY", "CREATECONSUMER", "DELCONSUMER", "HELP"] {
        lines.push(format!("COMMAND INFO XGROUP|{name}"));
    }
    for name in ["STREAM", "GROUPS", "CONSUMERS", "HELP"] {
        lines.push(format!("COMMAND INFO XINFO|{name}"));
    }
    alike(&lines.iter().map(String::as_str).collect::<Vec<_>>());
}

it!(the_server_chooses_ids_by_its_clock, |server| {
    let mut wire = server.wire();
    let now = server.now_ms();
    wire.expect("XADD s * a b", bulk(&format!("{now}-0")));
    wire.expect("XADD s * a b", bulk(&format!("{now}-1")));
    server.advance_ms(5);
    wire.expect("XADD s * a b", bulk(&format!("{}-0", now + 5)));
    wire.expect("XADD s 99999999999999-7 a b", bulk("99999999999999-7"));
    wire.expect("XADD s * a b", bulk("99999999999999-8"));
    wire.expect("XGROUP CREATE s g 0", OK);
    wire.run("XREADGROUP GROUP g c COUNT 2 STREAMS s >");
    server.advance_ms(100);
    let pending = format!("*1\r\n*4\r\n{}$1\r\nc\r\n:100\r\n:1\r\n", bulk(&format!("{now}-0")));
    wire.expect("XPENDING s g IDLE 100 - + 1", pending);
    wire.expect("XPENDING s g IDLE 101 - + 1", EMPTY);
    let claimed = format!("*1\r\n{}", bulk(&format!("{now}-1")));
    wire.expect(&format!("XCLAIM s g d 101 {now}-1 JUSTID"), EMPTY);
    wire.expect(&format!("XCLAIM s g d 100 {now}-1 JUSTID"), claimed);
    let idle = |name: &str, ms: u32, pending: u32| {
        let head = format!("*6\r\n{}{}{}", bulk("name"), bulk(name), bulk("pending"));
        format!("{head}:{pending}\r\n{}:{ms}\r\n", bulk("idle"))
    };
    wire.expect("XINFO CONSUMERS s g", format!("*2\r\n{}{}", idle("c", 100, 1), idle("d", 0, 1)));
});

it!(a_group_hears_of_the_deadline_of_its_stream, |server| {
    let (mut wire, mut waiting) = (server.wire(), server.wire());
    wire.expect("XGROUP CREATE s g $ MKSTREAM", OK).expect("PEXPIRE s 1000", ":1\r\n");
    waiting.send("XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    crate::commands::blocking::until_blocked(server.addr(), 1);
    server.advance_ms(1_000);
    waiting.expect_reply("-UNBLOCKED the stream key no longer exists\r\n");
});

transcript!(
    watched_streams_change_by_their_entries_alone,
    several | addr | {
        let (mut wire, mut other) = (Wire::connect(addr), Wire::connect(addr));
        wire.expect("XADD s 1-1 a b", bulk("1-1")).expect("XGROUP CREATE s g 0", OK);
        for (line, aborts) in [
            ("XREADGROUP GROUP g c STREAMS s >", false),
            ("XGROUP CREATECONSUMER s g d", false),
            ("XCLAIM s g d 0 1-1", false),
            ("XAUTOCLAIM s g d 0 0", false),
            ("XACK s g 1-1", false),
            ("XGROUP SETID s g 0", false),
            ("XSETID s 5", false),
            ("XGROUP DESTROY s g", false),
            ("XDEL s 7-7", false),
            ("XTRIM s MAXLEN 100", false),
            ("XADD s 6-1 a b", true),
            ("XDEL s 1-1", true),
            ("XTRIM s MAXLEN 0", true),
            ("DEL s", true),
            ("XGROUP CREATE s g 0 MKSTREAM", true),
        ] {
            wire.expect("WATCH s", OK).expect("MULTI", OK).expect("PING", "+QUEUED\r\n");
            other.run(line);
            let reply = if aborts { NULL_ARRAY } else { "*1\r\n+PONG\r\n" };
            assert_eq!(shown(&wire.run("EXEC")), shown(reply.as_bytes()), "{line}");
        }
    }
);

transcript!(streams_are_dumped_and_restored, |wire| {
    wire.expect("XADD s 1-1 a 1", bulk("1-1")).expect("XADD s 2-1 b two c 3", bulk("2-1"));
    wire.expect("DUMP none", NULL).expect("XLEN s", ":2\r\n");
    wire.expect("COPY s t", ":1\r\n").expect("XDEL t 1-1", ":1\r\n").expect("XLEN s", ":2\r\n");
    wire.expect(
        "XRANGE t - +",
        format!("*1\r\n*2\r\n$3\r\n2-1\r\n{}", bulks(&["b", "two", "c", "3"])),
    );
    wire.expect("SET x y", OK).expect("XADD x * a b", WRONG_TYPE);
    expect_wrong_arity(&mut wire, &["XLEN", "XLEN a b", "XRANGE a -", "XDEL a", "XACK a b"]);
});
