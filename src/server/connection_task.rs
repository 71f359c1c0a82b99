//! One task per client: read, run every complete request, send all replies at once.
//!
//! The task gives the core away after a bounded amount of work, and stops running commands while
//! too many replies wait to be sent, so that no client can starve the others or fill the memory.

use crate::command::clients::ClientRecord;
use crate::command::context::{Context, Deferred};
use crate::command::dispatch::{Gate, Scratch};
use crate::command::error::CommandError;
use crate::net::{Connection, Exchange};
use crate::protocol::{ReplyWriter, RequestDecoder};
use crate::stats::Counter;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// Commands that run before other tasks of the thread get their turn.
const BATCH_COMMANDS_MAX: usize = 1_024;
/// Commands that may share one look at the clock.
const COMMANDS_PER_MOMENT: usize = 16;
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
        let mut now = services.clock.now();
        let bulk_bytes_max = services.config.string_bytes_max();
        self.decoder.set_bulk_bytes_max(i64::try_from(bulk_bytes_max).unwrap_or(i64::MAX));
        let mut used = 0;
        let mut batch = Batch::TurnOver;
        let (input, output) = self.connection.buffers();
        for number in 1..=BATCH_COMMANDS_MAX {
            self.decoder.set_authenticated(self.context.authenticated);
            let rest = input.get(used..).unwrap_or_default();
            match self.decoder.decode(rest) {
                Ok(None) => {
                    batch = Batch::Drained;
                    break;
                }
                Ok(Some(length)) => {
                    used += length;
                    let args = self.decoder.args(rest);
                    if !args.is_empty() {
                        let (context, scratch) = (&mut self.context, &mut self.scratch);
                        self.gate.execute(context, scratch, args, now, output);
                    }
                }
                Err(error) => {
                    services.stats.add(Counter::ProtocolErrors, 1);
                    let mut reply = ReplyWriter::new(output, self.context.protocol);
                    let text = format!("ERR {error}");
                    reply.error(text.as_bytes());
                    services.stats.note_error(text.as_bytes());
                    self.context.close = true;
                }
            }
            if self.context.close {
                batch = Batch::Close;
                break;
            }
            if self.context.deferred.is_some() || output.len() >= OUTPUT_BATCH_BYTES {
                break;
            }
            if number % COMMANDS_PER_MOMENT == 0 {
                now = services.clock.now();
            }
        }
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
