//! One task per client: read, run every complete request, send all replies at once.
//!
//! The task gives the core away after a bounded amount of work, and runs no commands while many
//! replies wait to be sent, so that no client can starve the others or fill the memory.

use crate::command::blocking::{Ending, Wait};
use crate::command::clients::ClientRecord;
use crate::command::context::{Context, Decoded, Deferred, Services};
use crate::command::dispatch::{Gate, Scratch};
use crate::command::error::CommandError;
use crate::config::Config;
use crate::keyspace::LOOK_AHEAD_MAX;
use crate::net::{Connection, Exchange, Until};
use crate::protocol::limits::UNAUTHENTICATED_OUTPUT_BYTES_MAX;
use crate::protocol::{OutputBuffer, ProtocolError, ReplyWriter, Request, RequestDecoder};
use crate::server::reload;
use crate::stats::Counter;
use bytes::Bytes;
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
/// A request of so many bytes is worth a way of its own, if the input has little else.
const LARGE_REQUEST_BYTES_MIN: usize = 32 * 1024;
/// An argument of so many bytes may become a value together with the buffer in which it stands; a
/// smaller buffer is of more use to the next connection.
const SHARED_BYTES_MIN: usize = 256 * 1024;
/// One part in so many of a large request may be wasted to save a copy of it.
const SPARE_PART: usize = 8;
/// A peer that has not authenticated and does not take its replies is closed after this.
const STRANGER_SEND_TIMEOUT: Duration = Duration::from_secs(5);
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

/// Serves one client until either side ends the connection. The client's subscriptions and
/// `listed` go before the connection does: whoever sees it closed finds that the client is gone.
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
    drop(task.context);
    drop(listed);
}

/// Bytes of replies that wait to be sent with which no further command is run.
#[inline]
fn output_batch_bytes(context: &Context) -> usize {
    if context.is_trusted() { OUTPUT_BATCH_BYTES } else { UNAUTHENTICATED_OUTPUT_BYTES_MAX }
}

/// Takes over the limits of requests as the options have them now.
fn set_limits(decoder: &mut RequestDecoder, config: &Config) {
    decoder.set_request_bytes_max(config.request_bytes_max());
    let bulk_bytes_max = config.string_bytes_max();
    decoder.set_bulk_bytes_max(i64::try_from(bulk_bytes_max).unwrap_or(i64::MAX));
}

/// Some requests that were decoded before the first of them runs.
struct Ahead {
    /// Where each begins in the input.
    requests: SmallVec<[(usize, Request); LOOK_AHEAD_MAX]>,
    /// Whether the input has no further complete request, or is none at all.
    end: Result<bool, ProtocolError>,
}

impl Ahead {
    /// Decodes what begins at `start`. For a stranger only one request: it may authenticate the
    /// client, to whom other limits apply then.
    fn decode(
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

    /// The one request there is, if it is large and the input, of so many bytes, has little else.
    #[inline]
    fn large(&self, input_bytes: usize) -> Option<(usize, Request)> {
        let &[(start, request)] = self.requests.as_slice() else { return None };
        let is_large = request.length >= LARGE_REQUEST_BYTES_MIN
            && !request.is_inline()
            && input_bytes - (start + request.length) <= request.length / SPARE_PART
            && self.end.is_ok();
        is_large.then_some((start, request))
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
                    let waiting = self.connection.output_len();
                    let goes_on = waiting < output_batch_bytes(&self.context)
                        || self.send_before_more().await;
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
            tracing::warn!("closed {address}: more waits for it than its output limit allows");
        } else {
            let is_over = |_| record.is_killed() && !*owes_reply;
            let sent = connection.exchange(Until::Sent { input_bytes_max: 0 }, is_over);
            drop(tokio::time::timeout(LAST_REPLIES_TIMEOUT, sent).await);
        }
    }

    /// Sends the replies there are, as no more may be made before; false when the connection has
    /// ended. Requests are left: to wait for more would be to wait for ever. Of a stranger nothing
    /// is taken in meanwhile, and it has to take its replies soon.
    async fn send_before_more(&mut self) -> bool {
        if self.context.is_trusted() {
            let sent = Until::Sent { input_bytes_max: INPUT_AHEAD_BYTES_MAX };
            return self.exchange(sent).await == Some(Exchange::Sent);
        }
        let sent = self.exchange(Until::Sent { input_bytes_max: 0 });
        match tokio::time::timeout(STRANGER_SEND_TIMEOUT, sent).await {
            Ok(sent) => sent == Some(Exchange::Sent),
            Err(_) => {
                self.gate.services().stats.add(Counter::OutputLimitDisconnections, 1);
                let address = self.record.address;
                tracing::warn!("closed {address}: not authenticated, it takes no replies");
                self.record.kill();
                false
            }
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
        let pending = self.connection.output_len();
        let record = &self.record;
        let takes_mail = until == Until::Received;
        let interrupted = |output_bytes: usize| {
            record.note_output(output_bytes);
            let takes_mail = takes_mail && output_bytes < OUTPUT_BATCH_BYTES;
            record.is_killed() || is_over() || (takes_mail && record.mailbox.has_mail())
        };
        let exchanged = self.connection.exchange(until, interrupted).await;
        record.note_output(self.connection.output_len());
        let stats = &self.gate.services().stats;
        if pending > 0 {
            stats.add(Counter::Writes, 1);
            stats.add(Counter::OutputBytes, pending as u64);
        }
        let received = self.connection.input().len() - before;
        if received > 0 {
            stats.add(Counter::Reads, 1);
            stats.add(Counter::InputBytes, received as u64);
            let (input, output) = (self.input_bytes(), self.connection.output_len());
            self.record.note_activity(input, output);
            self.record.note_unread(before + received);
            self.note_memory();
        }
        self.owes_reply &= self.connection.output_len() > 0;
        exchanged.ok()
    }

    /// Sends all replies and takes nothing in.
    async fn send_all(&mut self) -> std::io::Result<()> {
        let record = &self.record;
        let sent = Until::Sent { input_bytes_max: 0 };
        let is_over = |output_bytes: usize| {
            record.note_output(output_bytes);
            record.is_killed()
        };
        self.connection.exchange(sent, is_over).await.map(|_| ())
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
        self.note_memory();
        batch
    }

    /// Has its memory counted if that of all clients is limited, and ends those that use most if it
    /// is too much, itself maybe.
    fn note_memory(&self) {
        let services = self.gate.services();
        if services.config.memory().clients_bytes_max() > 0 {
            let output = self.connection.output_len();
            self.record.note_memory(self.input_bytes(), output, self.context.held_bytes());
            services.clients.note_memory(&self.record);
            services.limit_clients();
        }
    }

    /// Bytes of the input buffer; an empty one is the thread's.
    fn input_bytes(&self) -> usize {
        if self.connection.input().is_empty() { 0 } else { self.connection.input_capacity() }
    }

    /// Bytes of replies with which the client is closed (client-output-buffer-limit).
    fn waiting_bytes_max(&self) -> usize {
        let is_subscriber = self.record.mailbox.is_subscriber();
        self.gate.services().config.waiting_bytes_max(is_subscriber)
    }

    /// Runs one request that has all of the input, or nearly all. Its longest argument becomes a
    /// string of its own before any lock is taken: a copy, or, if little else is in the buffer, a
    /// part of that, which is not the connection's any more then.
    fn run_large(&mut self, start: usize, request: Request) -> Batch {
        let Self { connection, decoder, context, scratch, gate, .. } = self;
        let (input, buffer_bytes) = connection.take_input();
        let args = decoder.args(request, input.get(start..).unwrap_or_default());
        let longest = args.iter_from(0).enumerate().max_by_key(|(_, argument)| argument.len());
        let decoded = longest.map(|(number, argument)| {
            let spare_bytes = buffer_bytes.saturating_sub(argument.len());
            let is_shared =
                argument.len() >= SHARED_BYTES_MIN && spare_bytes <= argument.len() / SPARE_PART;
            let copy = || Bytes::copy_from_slice(argument);
            Decoded::Argument(number, if is_shared { input.slice_ref(argument) } else { copy() })
        });
        let now = gate.services().clock.now();
        gate.start_clock(scratch);
        gate.execute_decoded(context, scratch, args, decoded, now, connection.output());
        let postponed = std::mem::take(&mut context.postponed);
        connection.put_back(input, if postponed { start } else { start + request.length });
        decoder.forget();
        decoder.restart();
        connection.want(0);
        self.record.note_unread(self.connection.input().len());
        let waiting = self.connection.output_len();
        let is_too_much = waits_too_much(&self.record, waiting, self.waiting_bytes_max());
        match (self.context.close || is_too_much, postponed) {
            (true, _) => Batch::Close,
            (false, true) => Batch::Postponed,
            (false, false) => Batch::TurnOver,
        }
    }

    fn run_requests(&mut self) -> Batch {
        let services = Arc::clone(self.gate.services());
        let waiting_bytes_max = self.waiting_bytes_max();
        let Self { connection, decoder, context, scratch, gate, .. } = self;
        set_limits(decoder, &services.config);
        let (input, output) = connection.buffers();
        let (mut used, mut commands) = (0, 0);
        let batch = loop {
            if !context.refresh_access() {
                break Batch::Close;
            }
            let decoded = Ahead::decode(decoder, input, used, context.is_trusted());
            if let Some((start, request)) = decoded.large(input.len()) {
                return self.run_large(start, request);
            }
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
                let enough = output.len() >= output_batch_bytes(context).min(waiting_bytes_max);
                if enough || context.close || context.deferred.is_some() {
                    break;
                }
            }
            decoder.forget();
            gate.end_look_ahead(scratch);
            if waits_too_much(&self.record, output.len(), waiting_bytes_max) || context.close {
                break Batch::Close;
            }
            if std::mem::take(&mut context.postponed) {
                decoder.restart();
                break Batch::Postponed;
            }
            if context.deferred.is_some() || output.len() >= output_batch_bytes(context) {
                decoder.restart();
                break Batch::TurnOver;
            }
            match decoded.end {
                Ok(true) => break Batch::Drained,
                Ok(false) => {}
                Err(error) => {
                    refuse(error, context, output);
                    break Batch::Close;
                }
            }
            if commands >= BATCH_COMMANDS_MAX {
                break Batch::TurnOver;
            }
        };
        connection.consume(used);
        connection.want(decoder.wanted_bytes());
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
        self.record.note_alive();
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
                record.note_output(output_bytes);
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
        self.record.note_alive();
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
        self.record.set_awaited(true);
        let ended = end_of(deferred, &self.context.services, &self.record).await;
        self.record.note_alive();
        self.record.set_awaited(false);
        let Some(refused) = ended else { return false };
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

/// True, and noted, when so many bytes wait for a client that it is to be closed.
fn waits_too_much(record: &ClientRecord, waiting_bytes: usize, bytes_max: usize) -> bool {
    let is_too_much = waiting_bytes >= bytes_max;
    if is_too_much {
        record.mailbox.overflow();
    }
    is_too_much
}

/// Answers bytes that are no request, which end the connection.
#[cold]
fn refuse(error: ProtocolError, context: &mut Context, output: &mut OutputBuffer) {
    let stats = &context.services.stats;
    stats.add(Counter::ProtocolErrors, 1);
    let text = format!("ERR {error}");
    ReplyWriter::new(output, context.protocol).error(text.as_bytes());
    stats.note_error(text.as_bytes());
    context.close = true;
}

/// Waits for what does not block, and returns why the command failed if it did; `None` when there
/// is nothing more to do for the client.
async fn end_of(
    deferred: Deferred,
    services: &Services,
    record: &ClientRecord,
) -> Option<Option<CommandError>> {
    Some(match deferred {
        Deferred::Save(ticket) => match unless_killed(record, ticket).await {
            Some(Ok(Ok(()))) => None,
            Some(_) => Some(CommandError::Text("ERR")),
            None => return None,
        },
        // Without an answer the server ends, and there is nothing to say any more.
        Deferred::Shutdown(failed) => match unless_killed(record, failed).await {
            Some(Ok(())) => Some(CommandError::Text("ERR Errors trying to SHUTDOWN. Check logs.")),
            Some(Err(_)) | None => return None,
        },
        // What has begun is ended also when the client is killed meanwhile.
        Deferred::Reload { saves } => {
            reload::reload(services, saves).await.err().map(CommandError::Text)
        }
        Deferred::Sleep(duration) => {
            reload::sleep(services, duration).await;
            None
        }
        Deferred::Block(_) => None,
    })
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
