//! XREAD and XREADGROUP that wait. Sessions of several clients are run on both servers.

use super::blocking::{blocked, until_blocked};
use super::stream::{bulk, bulks};
use super::{NULL, OK, expect_all};
use crate::harness::wire::Wire;
use std::time::{Duration, Instant};

const NULL_ARRAY: &str = "*-1\r\n";
const QUEUED: &str = "+QUEUED\r\n";
const UNBLOCKED: &str = "-UNBLOCKED the stream key no longer exists\r\n";
const NO_GROUP: &str =
    "-NOGROUP the consumer group this client was blocked on no longer exists\r\n";

/// What one stream has that is new: entries with the pair `f v`.
fn news(key: &str, ids: &[&str]) -> String {
    let entries: String =
        ids.iter().map(|id| format!("*2\r\n{}{}", bulk(id), bulks(&["f", "v"]))).collect();
    format!("*1\r\n*2\r\n{}*{}\r\n{entries}", bulk(key), ids.len())
}

transcript!(
    one_entry_serves_all_who_read_for_themselves,
    several | addr | {
        let mut wire = Wire::connect(addr);
        wire.expect("XADD s 1-1 f v", bulk("1-1"));
        let mut waiting = blocked(
            addr,
            &[
                "XREAD BLOCK 0 STREAMS s $",
                "XREAD BLOCK 0 COUNT 1 STREAMS other s $ $",
                "XREAD BLOCK 0 STREAMS s 1-1",
                "XREAD BLOCK 0 STREAMS s 5",
                "XREAD BLOCK 0 STREAMS s $",
            ],
        );
        wire.expect("XADD s 2-1 f v", bulk("2-1"));
        for number in [0, 1, 2, 4] {
            waiting[number].expect_reply(news("s", &["2-1"]));
        }
        until_blocked(addr, 1);
        wire.expect("XADD s 5-0 f v", bulk("5-0")).expect("XADD s 5-1 f v", bulk("5-1"));
        waiting[3].expect_reply(news("s", &["5-1"]));
        wire.expect("XADD other 1-1 f v", bulk("1-1")).expect("XLEN other", ":1\r\n");
        for wire in &mut waiting {
            wire.expect("PING", "+PONG\r\n");
        }
    }
);

transcript!(
    a_group_serves_its_consumers_in_turn,
    several | addr | {
        let mut wire = Wire::connect(addr);
        wire.expect("XGROUP CREATE s g $ MKSTREAM", OK).expect("XGROUP CREATE s h $", OK);
        let mut waiting = blocked(
            addr,
            &[
                "XREADGROUP GROUP g one BLOCK 0 STREAMS s >",
                "XREADGROUP GROUP g two BLOCK 0 STREAMS s >",
                "XREADGROUP GROUP h one BLOCK 0 STREAMS s >",
                "XREAD BLOCK 0 STREAMS s $",
                "XREADGROUP GROUP g three BLOCK 0 NOACK STREAMS s >",
            ],
        );
        wire.expect("XADD s 1-1 f v", bulk("1-1"));
        waiting[0].expect_reply(news("s", &["1-1"]));
        waiting[2].expect_reply(news("s", &["1-1"]));
        waiting[3].expect_reply(news("s", &["1-1"]));
        until_blocked(addr, 2);
        wire.expect("MULTI", OK);
        expect_all(&mut wire, &["XADD s 1-2 f v", "XADD s 1-3 f v"], QUEUED);
        wire.expect("EXEC", format!("*2\r\n{}{}", bulk("1-2"), bulk("1-3")));
        waiting[1].expect_reply(news("s", &["1-2", "1-3"]));
        until_blocked(addr, 1);
        wire.expect("XADD s 1-4 f v", bulk("1-4"));
        waiting[4].expect_reply(news("s", &["1-4"]));
        let pending = format!("*4\r\n:3\r\n{}{}*2\r\n", bulk("1-1"), bulk("1-3"));
        let consumers =
            format!("*2\r\n{}{}*2\r\n{}{}", bulk("one"), bulk("1"), bulk("two"), bulk("2"));
        wire.expect("XPENDING s g", format!("{pending}{consumers}"));
    }
);

transcript!(
    what_a_consumer_has_yet_to_acknowledge_is_given_at_once,
    several | addr | {
        let mut wire = Wire::connect(addr);
        wire.expect("XGROUP CREATE s g $ MKSTREAM", OK).expect("XADD s 1-1 f v", bulk("1-1"));
        wire.expect("XREADGROUP GROUP g c BLOCK 0 STREAMS s >", news("s", &["1-1"]));
        wire.expect("XREADGROUP GROUP g c BLOCK 0 STREAMS s 0", news("s", &["1-1"]));
        wire.expect("XREADGROUP GROUP g d BLOCK 0 STREAMS s 0", news("s", &[]));
        let began = Instant::now();
        wire.expect("XREADGROUP GROUP g c BLOCK 20 STREAMS s >", NULL_ARRAY);
        wire.expect("XREAD BLOCK 20 STREAMS s none $ $", NULL_ARRAY);
        assert!(began.elapsed() >= Duration::from_millis(39));
    }
);

transcript!(
    a_group_that_ends_ends_the_waits_for_it,
    several | addr | {
        let mut wire = Wire::connect(addr);
        let waits = [
            "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
            "XREADGROUP GROUP g d BLOCK 0 STREAMS s >",
        ];
        let makers: [(&[&str], &str); 9] = [
            (&["XGROUP DESTROY s g"], NO_GROUP),
            (&["DEL s"], UNBLOCKED),
            (&["UNLINK s"], UNBLOCKED),
            (&["SET s x"], UNBLOCKED),
            (&["RENAME s t"], UNBLOCKED),
            (&["MULTI", "DEL s", "SADD s m", "EXEC"], UNBLOCKED),
            (&["MULTI", "DEL s", "XADD s 1-1 f v", "EXEC"], NO_GROUP),
            (&["PEXPIRE s 0"], UNBLOCKED),
            (&["FLUSHALL"], UNBLOCKED),
        ];
        for (lines, ending) in makers {
            wire.run("DEL s");
            wire.expect("XGROUP CREATE s g $ MKSTREAM", OK);
            let mut waiting = blocked(addr, &waits);
            for line in lines {
                wire.run(line);
            }
            waiting[0].expect_reply(ending);
            waiting[1].expect_reply(ending);
            until_blocked(addr, 0);
        }
        wire.expect("SELECT 1", OK)
            .expect("XGROUP CREATE s g $ MKSTREAM", OK)
            .expect("SELECT 0", OK);
        wire.run("DEL s");
        wire.expect("XGROUP CREATE s g $ MKSTREAM", OK);
        let mut waiting = blocked(addr, &waits[..1]);
        wire.expect("SWAPDB 0 2", OK);
        waiting[0].expect_reply(UNBLOCKED);
    }
);

transcript!(
    who_reads_for_himself_waits_on_whatever_happens_to_the_key,
    several | addr | {
        let mut wire = Wire::connect(addr);
        wire.expect("XADD s 1-1 f v", bulk("1-1"));
        let mut waiting =
            blocked(addr, &["XREAD BLOCK 0 STREAMS s $", "XREAD BLOCK 0 STREAMS s 1-1"]);
        for line in
            ["DEL s", "SET s x", "DEL s", "RPUSH s a", "DEL s", "XGROUP CREATE s g 0 MKSTREAM"]
        {
            wire.run(line);
        }
        until_blocked(addr, 2);
        wire.expect("XADD s 1-0 f v", bulk("1-0"));
        until_blocked(addr, 2);
        wire.expect("XADD s 1-2 f v", bulk("1-2"));
        for wire in &mut waiting {
            wire.expect_reply(news("s", &["1-2"]));
        }
    }
);

transcript!(
    an_entry_that_is_gone_again_leaves_an_empty_answer,
    several | addr | {
        let mut wire = Wire::connect(addr);
        wire.expect("XGROUP CREATE s g $ MKSTREAM", OK);
        let mut waiting = blocked(
            addr,
            &["XREAD BLOCK 0 STREAMS s $", "XREADGROUP GROUP g c BLOCK 0 STREAMS s >"],
        );
        wire.expect("MULTI", OK);
        expect_all(&mut wire, &["XADD s 1-1 f v", "XDEL s 1-1"], QUEUED);
        wire.expect("EXEC", format!("*2\r\n{}:1\r\n", bulk("1-1")));
        waiting[0].expect_reply(news("s", &[]));
        waiting[1].expect_reply(news("s", &[]));
    }
);

transcript!(
    however_a_stream_appears_it_serves,
    several | addr | {
        let mut wire = Wire::connect(addr);
        wire.expect("XADD other 1-1 f v", bulk("1-1"));
        let makers: [&[&str]; 5] = [
            &["XADD s 1-1 f v"],
            &["COPY other s"],
            &["COPY other temp", "RENAME temp s"],
            &["SELECT 4", "XADD s 1-1 f v", "MOVE s 0", "SELECT 0"],
            &["XADD s MAXLEN 1 1-1 f v"],
        ];
        for lines in makers {
            let mut waiting = blocked(addr, &["XREAD BLOCK 0 STREAMS s $"]);
            for line in lines {
                wire.run(line);
            }
            waiting[0].expect_reply(news("s", &["1-1"]));
            wire.expect("DEL s", ":1\r\n");
        }
    }
);

transcript!(
    a_wait_ends_in_the_common_ways,
    several | addr | {
        let mut wire = Wire::connect(addr);
        wire.expect("XGROUP CREATE s g $ MKSTREAM", OK);
        for (line, how, reply) in [
            ("XREAD BLOCK 0 STREAMS s $", "TIMEOUT", NULL_ARRAY),
            ("XREADGROUP GROUP g c BLOCK 0 STREAMS s >", "TIMEOUT", NULL_ARRAY),
            (
                "XREAD BLOCK 0 STREAMS s $",
                "ERROR",
                "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n",
            ),
        ] {
            let mut client = Wire::connect(addr);
            let id = String::from_utf8(client.run("CLIENT ID")).unwrap();
            client.send(line);
            until_blocked(addr, 1);
            wire.expect(&format!("CLIENT UNBLOCK {} {how}", id[1..].trim()), ":1\r\n");
            client.expect_reply(reply);
        }
        // The consumer is made when it is given something, and no earlier.
        wire.expect("XINFO CONSUMERS s g", "*0\r\n").expect("GET none", NULL);
    }
);

transcript!(
    resp3_tells_of_streams_in_a_map,
    several | addr | {
        let mut wire = Wire::connect_resp3(addr);
        let mut waiting = Wire::connect_resp3(addr);
        waiting.send("XREAD BLOCK 0 STREAMS s $");
        until_blocked(addr, 1);
        wire.expect("XADD s 1-1 f v", bulk("1-1"));
        let entry = format!("*1\r\n*2\r\n{}{}", bulk("1-1"), bulks(&["f", "v"]));
        waiting.expect_reply(format!("%1\r\n{}{entry}", bulk("s")));
        wire.expect("XREAD STREAMS s 0", format!("%1\r\n{}{entry}", bulk("s")));
        wire.expect("XREAD STREAMS s 9", "_\r\n").expect("XREAD BLOCK 1 STREAMS s 9", "_\r\n");
    }
);
