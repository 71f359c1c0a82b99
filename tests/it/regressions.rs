//! One test for every bug that was found once, named after what went wrong.

use crate::harness::wire::encode;
use crate::it;

// A connection's turn ended with replies to send and requests left: it sent, then waited for more
// input, though the rest of the pipeline had come already.
it!(a_pipeline_of_large_replies_hung_once_all_of_it_had_arrived, |server| {
    let mut wire = server.wire();
    let value = "x".repeat(100_000);
    wire.command(&["SET", "key", &value]);
    wire.raw(encode(&["GET", "key"]).repeat(100));
    for _ in 0..100 {
        assert_eq!(wire.reply().len(), value.len() + 11);
    }
});

// Replies still to be sent were dropped when the client had said that no more requests come, and
// so were requests that had come but not run.
it!(a_client_that_finished_sending_lost_replies, |server| {
    let mut wire = server.wire();
    let value = "x".repeat(100_000);
    wire.command(&["SET", "key", &value]);
    wire.raw(encode(&["GET", "key"]).repeat(100)).finish_sending();
    let replies = wire.read_to_close();
    assert_eq!(replies.len(), 100 * (value.len() + 11));
});

// The reply of a command that waits was written without regard to CLIENT REPLY.
it!(save_answered_a_client_that_wants_no_replies, |server| {
    let mut wire = server.wire();
    wire.send("CLIENT REPLY OFF").send("SAVE").expect_silence(50);
    wire.expect("CLIENT REPLY ON", "+OK\r\n").expect("PING", "+PONG\r\n");
    wire.send("CLIENT REPLY SKIP").send("SAVE").expect("PING", "+PONG\r\n");
});
