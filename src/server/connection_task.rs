//! One task per client: read, run every complete request, send all replies at once.
//!
//! The task gives the core away after a bounded amount of work, and runs no commands while many
//! replies wait to be sent, so that no client can starve the others or fill the memory.

use crate::command::blocking::{Ending, Wait};
use crate::command::clients::ClientRecord;
use crate::command::context::{Context, Deferred};
use crate::command::dispatch::{Gate, Scratch};
use crate::command::error::CommandError;
use crate::keyspace::LOOK_AHEAD_MAX;
use crate::net::{Connection, Exchange, Until};
use crate::protocol::{ProtocolError, ReplyWriter, Request, RequestDecoder};
use crate::server::reload;
use crate::stats::Counter;
use smallvec::SmallVec;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};

/// Commands that run before other tasks of the thread get their turn.
const BATCH_COMMANDS_MAX: usize = 1_024;
/// A command that leaves this many bytes of replies waiting to be sent is the last of its batch.
const OUTPUT_BATCH_BYTES: usize = 256 * 1024;
/// While that many wait, at most this many bytes of further requests are taken in: a client may
/// send a large pipeline before it reads the first reply.
const INPUT_AHEAD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a client is told whose wait CLIENT UNBLOCK has fail.
const UNBLOCKED: &[u8] = b"UNBLOCKED client unblocked via CLIENT UNBLOCK";
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
    /// The next one may not run before the end of a pause.
    Postponed,
    /// The connection is to be closed once the replies are sent.
    Close,
}

/// Serves one client until either side ends the connection. `listed` goes before the connection
/// does: whoever sees it closed finds that the client is gone.
pub async fn serve<S>(gate: Arc<Gate>, stream: S, record: Arc<ClientRecord>, listed: impl Sized)
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
        owes_reply: false,
    };
    poll_fn(|cx| {
        task.record.mailbox.set_waker(cx.waker());
        Poll::Ready(())
    })
    .await;
    task.run().await;
    drop(listed);
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
    /// True while something that was taken for it has not been sent: even if it is killed, that is
    /// tried.
    owes_reply: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ConnectionTask<S> {
    async fn run(&mut self) {
        while !self.record.is_killed() {
            let batch = self.run_batch();
            if let Some(deferred) = self.context.deferred.take() {
                if !self.wait_for(deferred).await {
                    break;
                }
                continue;
            }
            let goes_on = match batch {
                Batch::Close => false,
                Batch::Paused => self.wait_until_resumed().await,
                Batch::Postponed => self.wait_for_pause().await,
                Batch::TurnOver => {
                    let enough = self.connection.output().len() >= OUTPUT_BATCH_BYTES;
                    // There are requests left: to wait for more would be to wait for ever.
                    let sent = Until::Sent { input_bytes_max: INPUT_AHEAD_BYTES_MAX };
                    let goes_on = !enough || self.exchange(sent).await == Some(Exchange::Sent);
                    tokio::task::yield_now().await;
                    goes_on
                }
                Batch::Drained => self.receive().await,
            };
            if !goes_on {
                break;
            }
        }
        let Self { connection, record, owes_reply, .. } = self;
        if record.mailbox.has_overflowed() {
            self.gate.services().stats.add(Counter::OutputLimitDisconnections, 1);
            let address = record.address;
            tracing::warn!("closed {address}: more waited for it than its output limit allows");
        } else {
            let is_over = |_| record.is_killed() && !*owes_reply;
            let sent = connection.exchange(Until::Sent { input_bytes_max: 0 }, is_over);
            drop(tokio::time::timeout(LAST_REPLIES_TIMEOUT, sent).await);
        }
    }

    /// Sends and reads until there is new input, and sends the messages that come meanwhile; false
    /// when the connection has ended.
    async fn receive(&mut self) -> bool {
        loop {
            self.record.mailbox.take_into(self.connection.output(), OUTPUT_BATCH_BYTES);
            match self.exchange(Until::Received).await {
                Some(Exchange::Interrupted) if !self.record.is_killed() => {}
                exchanged => return exchanged == Some(Exchange::Received),
            }
        }
    }

    /// Sends and reads; `None` when the connection has ended.
    async fn exchange(&mut self, until: Until) -> Option<Exchange> {
        self.exchange_unless(until, || false).await
    }

    /// As [`exchange`](Self::exchange), until `is_over`.
    async fn exchange_unless(
        &mut self,
        until: Until,
        is_over: impl Fn() -> bool,
    ) -> Option<Exchange> {
        let before = self.connection.input().len();
        let pending = self.connection.output().len();
        let record = &self.record;
        let takes_mail = until == Until::Received;
        let interrupted = |output_bytes: usize| {
            let takes_mail = takes_mail && output_bytes < OUTPUT_BATCH_BYTES;
            record.is_killed() || is_over() || (takes_mail && record.mailbox.has_mail())
        };
        let exchanged = self.connection.exchange(until, interrupted).await;
        let stats = &self.gate.services().stats;
        if pending > 0 {
            stats.add(Counter::Writes, 1);
            stats.add(Counter::OutputBytes, pending as u64);
        }
        let received = self.connection.input().len() - before;
        if received > 0 {
            stats.add(Counter::Reads, 1);
            stats.add(Counter::InputBytes, received as u64);
            let (input, output) =
                (self.connection.input_capacity(), self.connection.output().len());
            self.record.note_activity(input, output);
            self.record.note_unread(before + received);
        }
        self.owes_reply &= !self.connection.output().is_empty();
        exchanged.ok()
    }

    /// Sends all replies and takes nothing in.
    async fn send_all(&mut self) -> std::io::Result<()> {
        let record = &self.record;
        let sent = Until::Sent { input_bytes_max: 0 };
        self.connection.exchange(sent, |_| record.is_killed()).await.map(|_| ())
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
            let decoded = Decoded::ahead(decoder, input, used, context.is_trusted());
            let requests = decoded.requests.iter();
            let args = |(start, request): &(usize, Request)| {
                decoder.args(*request, input.get(*start..).unwrap_or_default())
            };
            if decoded.requests.len() > 1 {
                gate.look_ahead(context, scratch, requests.clone().map(args));
            }
            let now = services.clock.now();
            gate.start_clock(scratch);
            for (start, request) in requests {
                let args = args(&(*start, *request));
                if !args.is_empty() {
                    gate.execute(context, scratch, args, now, output);
                }
                if context.postponed {
                    break;
                }
                used = start + request.length;
                commands += 1;
                let enough = output.len() >= OUTPUT_BATCH_BYTES;
                if enough || context.close || context.deferred.is_some() {
                    break;
                }
            }
            decoder.forget();
            gate.end_look_ahead(scratch);
            if context.close {
                break Batch::Close;
            }
            if std::mem::take(&mut context.postponed) {
                decoder.restart();
                break Batch::Postponed;
            }
            if context.deferred.is_some() || output.len() >= OUTPUT_BATCH_BYTES {
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
            if commands >= BATCH_COMMANDS_MAX {
                break Batch::TurnOver;
            }
        };
        self.connection.consume(used);
        self.record.note_unread(self.connection.input().len());
        batch
    }

    /// Sends the replies there are and waits; false when the connection has ended.
    async fn wait_until_resumed(&mut self) -> bool {
        let (clients, record) = (&self.gate.services().clients, &self.record);
        let is_over = || record.is_killed() || !clients.is_paused();
        let until = Until::Sent { input_bytes_max: 0 };
        let sent = self.connection.exchange(until, |_| is_over()).await;
        poll_fn(|_| if is_over() { Poll::Ready(()) } else { Poll::Pending }).await;
        sent.is_ok()
    }

    /// Waits for the end of a blocking command, and writes its reply; false when the connection has
    /// ended. Further requests are taken in meanwhile, and wait.
    async fn wait_until_served(&mut self, wait: Wait) -> bool {
        let deadline = wait.timeout().and_then(|timeout| Instant::now().checked_add(timeout));
        let timer = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        let mut timer = pin!(timer);
        while !wait.is_over() {
            tokio::select! {
                is_open = self.exchange_while_waiting(&wait) => if !is_open { break },
                () = &mut timer, if wait.ending() == Ending::Waiting => wait.end(Ending::TimedOut),
            }
        }
        wait.end(Ending::Gone);
        // Whoever is serving it just now leaves the reply in a moment.
        poll_fn(|_| if wait.is_over() { Poll::Ready(()) } else { Poll::Pending }).await;
        self.end_wait(wait)
    }

    /// Sends and reads once, messages too; false when the connection has ended. With much input it
    /// only sends, and waits for the end of the wait.
    async fn exchange_while_waiting(&mut self, wait: &Wait) -> bool {
        self.record.mailbox.take_into(self.connection.output(), OUTPUT_BATCH_BYTES);
        let has_room = self.connection.input().len() < INPUT_AHEAD_BYTES_MAX;
        let until = if has_room { Until::Received } else { Until::Sent { input_bytes_max: 0 } };
        let exchanged = self.exchange_unless(until, || wait.is_over()).await;
        let record = &self.record;
        if exchanged == Some(Exchange::Sent) {
            let is_over = || record.is_killed() || wait.is_over() || record.mailbox.has_mail();
            poll_fn(|_| if is_over() { Poll::Ready(()) } else { Poll::Pending }).await;
        }
        let is_open = exchanged.is_some_and(|exchanged| exchanged != Exchange::Closed);
        is_open && !record.is_killed()
    }

    /// Writes the reply that belongs to the end of a wait; false when the client is gone.
    fn end_wait(&mut self, wait: Wait) -> bool {
        let (ending, protocol) = (wait.ending(), self.context.protocol);
        let is_skipped = self.context.skip_reply;
        let mut reply = ReplyWriter::new(self.connection.output(), protocol);
        match ending {
            Ending::Served => {
                let served = wait.take_reply();
                reply.append(served.filter(|_| !is_skipped).unwrap_or_default());
                self.owes_reply = true;
            }
            Ending::TimedOut if !is_skipped => reply.null_array(),
            Ending::Unblocked => {
                self.gate.services().stats.note_error(UNBLOCKED);
                self.gate.note_failed(wait.spec());
                if !is_skipped {
                    reply.error(UNBLOCKED);
                }
            }
            Ending::TimedOut => {}
            Ending::Waiting | Ending::Gone => return false,
        }
        drop(wait);
        !self.record.is_killed()
    }

    /// Sends the replies there are and waits for the end of a pause; false when the connection has
    /// ended, whose next command then never runs.
    async fn wait_for_pause(&mut self) -> bool {
        let gate = Arc::clone(&self.gate);
        let pause = &gate.services().clients.pause;
        self.record.set_postponed(true);
        let mut goes_on = true;
        while let Some(left) = pause.left().filter(|_| goes_on && !self.record.is_killed()) {
            let record = &self.record;
            record.mailbox.take_into(self.connection.output(), OUTPUT_BATCH_BYTES);
            let is_over = |output_bytes: usize| {
                let takes_mail = output_bytes < OUTPUT_BATCH_BYTES && record.mailbox.has_mail();
                record.is_killed() || takes_mail || pause.left().is_none()
            };
            let until = match self.connection.input().len() {
                ..INPUT_AHEAD_BYTES_MAX => Until::Received,
                _ => Until::Sent { input_bytes_max: 0 },
            };
            let exchanged = self.connection.exchange(until, is_over);
            match tokio::time::timeout(left, exchanged).await {
                Ok(Ok(Exchange::Closed) | Err(_)) => goes_on = false,
                Ok(Ok(Exchange::Sent)) => {
                    let is_over = |_: &mut task::Context<'_>| match is_over(0) {
                        true => Poll::Ready(()),
                        false => Poll::Pending,
                    };
                    let over = poll_fn(is_over);
                    drop(tokio::time::timeout(left, over).await);
                }
                Ok(Ok(Exchange::Received | Exchange::Interrupted)) | Err(_) => {}
            }
        }
        self.record.set_postponed(false);
        goes_on
    }

    /// Waits for what a command asked to wait for, and writes the command's reply; false when
    /// there is nothing more to do for the client.
    async fn wait_for(&mut self, deferred: Deferred) -> bool {
        if let Deferred::Block(wait) = deferred {
            return self.wait_until_served(wait).await;
        }
        if self.send_all().await.is_err() {
            return false;
        }
        let record = &self.record;
        let refused = match deferred {
            Deferred::Save(ticket) => match unless_killed(record, ticket).await {
                Some(Ok(Ok(()))) => None,
                Some(_) => Some(CommandError::Text("ERR")),
                None => return false,
            },
            // Without an answer the server ends, and there is nothing to say any more.
            Deferred::Shutdown(failed) => match unless_killed(record, failed).await {
                Some(Ok(())) => {
                    Some(CommandError::Text("ERR Errors trying to SHUTDOWN. Check logs."))
                }
                Some(Err(_)) | None => return false,
            },
            // What has begun is ended also when the client is killed meanwhile.
            Deferred::Reload { saves } => {
                let reloaded = reload::reload(&self.context.services, saves).await;
                reloaded.err().map(CommandError::Text)
            }
            Deferred::Sleep(duration) => {
                reload::sleep(&self.context.services, duration).await;
                None
            }
            Deferred::Block(_) => None,
        };
        self.gate.finish(&self.context, &mut self.scratch, refused.is_some());
        if self.context.skip_reply {
            return true;
        }
        let protocol = self.context.protocol;
        let mut reply = ReplyWriter::new(self.connection.output(), protocol);
        match refused {
            None => reply.ok(),
            Some(error) => reply.error(&error.text()),
        }
        true
    }
}

/// What `waited` gives, `None` when the client is to be closed before.
async fn unless_killed<F: Future + Unpin>(
    record: &ClientRecord,
    mut waited: F,
) -> Option<F::Output> {
    poll_fn(|cx| {
        if record.is_killed() {
            return Poll::Ready(None);
        }
        Pin::new(&mut waited).poll(cx).map(Some)
    })
    .await
}
