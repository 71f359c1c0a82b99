//! Bulk input: requests on standard input, as RESP or inline text, sent as they are.
//!
//! Nothing is parsed on the way out, and responses are read while requests are sent, so that
//! neither side waits for the other. The end of the responses is known by the answer to an ECHO
//! of a random text that is sent behind the input.

use crate::client::Stop;
use crate::client::session::print;
use crate::net::responses::{ReceiveError, TcpResponses};
use crate::protocol::response::Value;
use bytes::Bytes;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Bytes read from standard input at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks read ahead.
const CHUNKS_MAX: usize = 4;
/// Reading pauses while more than this waits to be sent.
const PENDING_BYTES_MAX: usize = 4 * CHUNK_BYTES;
/// Length of the text that marks the end.
const MARK_BYTES: usize = 20;
/// Without a time limit the next check is this far away.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What the responses were.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    errors: u64,
    responses: u64,
}

/// Sends standard input to the server, then shows how many responses and errors came.
///
/// # Errors
/// `Stop::Code(1)` if any response was an error or not all of them came, after saying so.
pub async fn run(mut connection: TcpResponses, timeout: Duration) -> Result<(), Stop> {
    let chunks = read_input();
    let mut tally = Tally::default();
    let finished = transfer(&mut connection, chunks, timeout, &mut tally).await;
    match finished {
        Ok(()) => {}
        Err(PipeError::Stop(stop)) => return Err(stop),
        Err(PipeError::Silent) => {
            eprintln!("No replies for {} seconds: exiting.", timeout.as_secs());
            tally.errors += 1;
        }
        Err(PipeError::Input(error)) => {
            eprintln!("Error reading from stdin: {error}");
            return Err(Stop::Code(1));
        }
        Err(PipeError::Server(error)) => {
            eprintln!("Error reading replies from server: {error}");
            return Err(Stop::Code(1));
        }
    }
    print(format!("errors: {}, replies: {}\n", tally.errors, tally.responses).as_bytes())?;
    if tally.errors > 0 { Err(Stop::Code(1)) } else { Ok(()) }
}

enum PipeError {
    Input(io::Error),
    Server(ReceiveError),
    Silent,
    Stop(Stop),
}

impl From<ReceiveError> for PipeError {
    fn from(error: ReceiveError) -> Self {
        Self::Server(error)
    }
}

impl From<Stop> for PipeError {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

async fn transfer(
    connection: &mut TcpResponses,
    mut chunks: mpsc::Receiver<io::Result<Bytes>>,
    timeout: Duration,
    tally: &mut Tally,
) -> Result<(), PipeError> {
    let mark = random_mark();
    let silence_max = if timeout.is_zero() { FOREVER } else { timeout };
    let mut deadline = Instant::now() + silence_max;
    let mut at_end = false;
    loop {
        let may_read = !at_end && connection.pending_bytes() < PENDING_BYTES_MAX;
        tokio::select! {
            chunk = chunks.recv(), if may_read => match chunk {
                Some(Ok(chunk)) => connection.send_encoded(chunk),
                Some(Err(error)) => return Err(PipeError::Input(error)),
                None => {
                    at_end = true;
                    deadline = Instant::now() + silence_max;
                    // An unfinished inline request would swallow the mark without a line end.
                    connection.send_encoded(Bytes::from_static(b"\r\n"));
                    connection.send(&["ECHO", &mark]);
                    print(b"All data transferred. Waiting for the last reply...\n")?;
                }
            },
            exchanged = connection.exchange() => {
                let ended = exchanged.err();
                while let Some(response) = connection.take_received()? {
                    deadline = Instant::now() + silence_max;
                    if at_end && response == Value::Bulk(mark.as_bytes().to_vec()) {
                        print(b"Last reply received from server.\n")?;
                        return Ok(());
                    }
                    tally.responses += 1;
                    if let Value::Error(text) = response {
                        tally.errors += 1;
                        eprintln!("{}", String::from_utf8_lossy(&text));
                    }
                }
                if let Some(error) = ended {
                    return Err(PipeError::Server(error));
                }
            }
            () = sleep_until(deadline), if at_end => return Err(PipeError::Silent),
        }
    }
}

/// Reads standard input on a thread of its own, since reading a file or a terminal blocks.
fn read_input() -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let read = match input.read(&mut chunk) {
                Ok(0) => return,
                Ok(count) => {
                    chunk.truncate(count);
                    Ok(Bytes::from(chunk))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            if sender.blocking_send(read).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// A text that no stored value equals by chance.
fn random_mark() -> String {
    let mut mark = String::new();
    while mark.len() < MARK_BYTES {
        mark.push_str(&format!("{:016x}", RandomState::new().hash_one(mark.len())));
    }
    mark.truncate(MARK_BYTES);
    mark
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_of_full_length_and_differ() {
        let (one, other) = (random_mark(), random_mark());
        assert_eq!((one.len(), other.len()), (MARK_BYTES, MARK_BYTES));
        assert_ne!(one, other);
    }
}
