//! One task per client: read, run every complete request, send all replies at once.
//!
//! The task gives the core away after a bounded amount of work, and stops running commands while
//! too many replies wait to be sent, so that no client can starve the others or fill the memory.

use crate::command::clients::ClientRecord;
use crate::command::context::{Context, Deferred};
use crate::command::dispatch::{Gate, Scratch};
use crate::command::error::CommandError;
use crate::keyspace::LOOK_AHEAD_MAX;
use crate::net::{Connection, Exchange};
use crate::protocol::{ProtocolError, ReplyWriter, Request, RequestDecoder};
use crate::stats::Counter;
use smallvec::SmallVec;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// Commands that run before other tasks of the thread get their turn.
const BATCH_COMMANDS_MAX: usize = 1_024;
/// No further command runs while this many bytes of replies wait to be sent.
const OUTPUT_BATCH_BYTES: usize = 256 * 1024;
/// No further input is read while this many bytes of replies wait to be sent.
pub const OUTPUT_PENDING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Replies that are still to be sent when a connection is closed are given up after this.
const LAST_REPLIES_TIMEOUT: Duration = Duration::from_secs(5);

/// How a batch of commands ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batch {
    /// All complete requests have run.
    Drained,
    /// There may be more, but it is the turn of others.
    TurnOver,
    /// No commands may run now.
    Paused,
    /// The connection is to be closed once the replies are sent.
    Close,
}

/// Serves one client until either side ends the connection.
pub async fn serve<S>(gate: Arc<Gate>, stream: S, record: Arc<ClientRecord>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let context = Context::new(Arc::clone(gate.services()), Arc::clone(&record));
    let mut task = ConnectionTask {
        connection: Connection::new(stream),
        decoder: RequestDecoder::new(),
        context,
        scratch: Scratch::default(),
        gate,
        record,
    };
    poll_fn(|cx| {
        task.record.set_waker(cx.waker());
        Poll::Ready(())
    })
    .await;
    task.run().await;
}

/// Some requests that were decoded before the first of them runs.
struct Decoded {
    /// Where each begins in the input.
    requests: SmallVec<[(usize, Request); LOOK_AHEAD_MAX]>,
    /// Whether the input has no further complete request, or is none at all.
    end: Result<bool, ProtocolError>,
}

impl Decoded {
    /// Decodes what begins at `start`. For a stranger only one request: it may authenticate the
    /// client, to whom other limits apply then.
    fn ahead(
        decoder: &mut RequestDecoder,
        input: &[u8],
        mut start: usize,
        authenticated: bool,
    ) -> Self {
        decoder.set_authenticated(authenticated);
        let requests_max = if authenticated { LOOK_AHEAD_MAX } else { 1 };
        let mut decoded = Self { requests: SmallVec::new(), end: Ok(false) };
        while decoded.requests.len() < requests_max {
            match decoder.decode(input.get(start..).unwrap_or_default()) {
                Ok(Some(request)) => {
                    decoded.requests.push((start, request));
                    start += request.length;
                }
                Ok(None) => {
                    decoded.end = Ok(true);
                    break;
                }
                Err(error) => {
                    decoded.end = Err(error);
                    break;
                }
            }
        }
        decoded
    }
}

struct ConnectionTask<S> {
    connection: Connection<S>,
    decoder: RequestDecoder,
    context: Context,
    scratch: Scratch,
    gate: Arc<Gate>,
    record: Arc<ClientRecord>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ConnectionTask<S> {
    async fn run(&mut self) {
        loop {
            let batch = self.run_batch();
            if let Some(deferred) = self.context.deferred.take() {
                if self.send_all().await.is_err() {
                    return;
                }
                self.wait_for(deferred).await;
                continue;
            }
            match batch {
                Batch::Close => {
                    let sent = tokio::time::timeout(LAST_REPLIES_TIMEOUT, self.send_all()).await;
                    drop(sent);
                    return;
                }
                Batch::Paused => self.wait_until_resumed().await,
                Batch::TurnOver => {
                    let pending = OUTPUT_PENDING_BYTES_MAX;
                    if self.connection.output().len() >= OUTPUT_BATCH_BYTES
                        && !self.exchange(pending).await
                    {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
                Batch::Drained => {
                    if !self.exchange(OUTPUT_PENDING_BYTES_MAX).await {
                        return;
                    }
                }
            }
            if self.record.is_killed() {
                return;
            }
        }
    }

    /// Sends and reads until something came; false when the connection has ended.
    async fn exchange(&mut self, pending_max: usize) -> bool {
        let before = self.connection.input().len();
        let pending = self.connection.output().len();
        let record = &self.record;
        let exchanged = self.connection.exchange(true, pending_max, || record.is_killed()).await;
        let stats = &self.gate.services().stats;
        if pending > 0 {
            stats.add(Counter::Writes, 1);
            stats.add(Counter::OutputBytes, pending as u64);
        }
        match exchanged {
            Ok(Exchange::Received) => {
                stats.add(Counter::Reads, 1);
                let received = self.connection.input().len() - before;
                stats.add(Counter::InputBytes, received as u64);
                let (input, output) =
                    (self.connection.input_capacity(), self.connection.output().len());
                self.record.note_activity(input, output);
                true
            }
            Ok(Exchange::Sent) => true,
            Ok(Exchange::Closed | Exchange::Interrupted) | Err(_) => false,
        }
    }

    async fn send_all(&mut self) -> std::io::Result<()> {
        let record = &self.record;
        self.connection.exchange(false, usize::MAX, || record.is_killed()).await.map(|_| ())
    }

    /// Runs the complete requests that have come.
    fn run_batch(&mut self) -> Batch {
        self.record.set_busy(true);
        let batch = if self.gate.services().clients.is_paused() {
            Batch::Paused
        } else {
            self.run_requests()
        };
        self.record.set_busy(false);
        self.gate.flush_counts(&mut self.scratch);
        batch
    }

    fn run_requests(&mut self) -> Batch {
        let services = Arc::clone(self.gate.services());
        let Self { connection, decoder, context, scratch, gate, .. } = self;
        let bulk_bytes_max = services.config.string_bytes_max();
        decoder.set_bulk_bytes_max(i64::try_from(bulk_bytes_max).unwrap_or(i64::MAX));
        let (input, output) = connection.buffers();
        let (mut used, mut commands) = (0, 0);
        let batch = loop {
            let decoded = Decoded::ahead(decoder, input, used, context.authenticated);
            let requests = decoded.requests.iter();
            let args = |(start, request): &(usize, Request)| {
                decoder.args(*request, input.get(*start..).unwrap_or_default())
            };
            if decoded.requests.len() > 1 {
                gate.look_ahead(scratch, requests.clone().map(args));
            }
            let now = services.clock.now();
            for (start, request) in requests {
                let args = args(&(*start, *request));
                used = start + request.length;
                commands += 1;
                if !args.is_empty() {
                    gate.execute(context, scratch, args, now, output);
                }
                if context.close || context.deferred.is_some() {
                    break;
                }
            }
            decoder.forget();
            if context.close {
                break Batch::Close;
            }
            if context.deferred.is_some() {
                decoder.restart();
                break Batch::TurnOver;
            }
            match decoded.end {
                Ok(true) => break Batch::Drained,
                Ok(false) => {}
                Err(error) => {
                    services.stats.add(Counter::ProtocolErrors, 1);
                    let mut reply = ReplyWriter::new(output, context.protocol);
                    let text = format!("ERR {error}");
                    reply.error(text.as_bytes());
                    services.stats.note_error(text.as_bytes());
                    context.close = true;
                    break Batch::Close;
                }
            }
            if commands >= BATCH_COMMANDS_MAX || output.len() >= OUTPUT_BATCH_BYTES {
                break Batch::TurnOver;
            }
        };
        self.connection.consume(used);
        batch
    }

    async fn wait_until_resumed(&mut self) {
        let clients = &self.gate.services().clients;
        poll_fn(|_| {
            if clients.is_paused() && !self.record.is_killed() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }

    /// Waits for what a command asked to wait for, and writes the command's reply.
    async fn wait_for(&mut self, deferred: Deferred) {
        let refused = match deferred {
            Deferred::Save(ticket) => match ticket.await {
                Ok(Ok(())) => None,
                Ok(Err(_)) | Err(_) => Some(CommandError::Text("ERR")),
            },
            Deferred::Shutdown(failed) => {
                if failed.await.is_err() {
                    // The server ends; there is nothing to say any more.
                    self.context.close = true;
                    return;
                }
                Some(CommandError::Text("ERR Errors trying to SHUTDOWN. Check logs."))
            }
        };
        let protocol = self.context.protocol;
        let mut reply = ReplyWriter::new(self.connection.output(), protocol);
        match refused {
            None => reply.ok(),
            Some(error) => reply.error(&error.text()),
        }
    }
}
