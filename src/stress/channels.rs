//! Channels: does every subscriber get every message once, in the order of its publisher?
//!
//! Subscribers have connections of their own, half of them by channel and half by pattern. A
//! publisher numbers its messages in each channel and expects that as many get each of them as
//! there are subscribers. Publishers wait when a subscriber is far behind, because a server closes
//! subscribers that do not read.

use crate::protocol::response::Value;
use crate::stress::peer::Peer;
use crate::stress::run::{Run, Stop};
use crate::util::number::parse_u64;
use crate::util::random::Random;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

const CHANNELS: usize = 4;
/// Clients for each subscriber, and subscribers at most.
const CLIENTS_PER_SUBSCRIBER: usize = 4;
const SUBSCRIBERS_MAX: usize = 8;
/// Messages that a subscriber may be behind.
const BEHIND_MAX: u64 = 10_000;
/// How long subscribers have for the last messages.
const LAST_MESSAGES_WAIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);

/// All channels, their publishers and subscribers.
#[derive(Debug)]
pub struct Channels {
    run: Arc<Run>,
    channels: Vec<Vec<u8>>,
    /// The last number of each publisher in each channel.
    numbers: Vec<[AtomicU64; CHANNELS]>,
    published: AtomicU64,
    /// True once a PUBLISH was answered by an error.
    has_refused: AtomicBool,
    /// Messages that each subscriber has got.
    received: Vec<AtomicU64>,
    subscribers: Mutex<JoinSet<()>>,
}

impl Channels {
    /// Channels without subscribers.
    pub fn new(run: &Arc<Run>) -> Self {
        let clients = run.settings.clients;
        let subscribers = (clients / CLIENTS_PER_SUBSCRIBER).clamp(1, SUBSCRIBERS_MAX);
        Self {
            run: Arc::clone(run),
            channels: (0..CHANNELS).map(|n| run.key(&format!("channel:{n}"))).collect(),
            numbers: (0..clients).map(|_| Default::default()).collect(),
            published: AtomicU64::new(0),
            has_refused: AtomicBool::new(false),
            received: (0..subscribers).map(|_| AtomicU64::new(0)).collect(),
            subscribers: Mutex::default(),
        }
    }

    /// Messages that subscribers have got, all together.
    pub fn received(&self) -> u64 {
        self.received.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    fn least_received(&self) -> u64 {
        let counts = self.received.iter().map(|count| count.load(Ordering::Relaxed));
        counts.min().unwrap_or(0)
    }

    /// Subscribes all subscribers, and has them listen.
    ///
    /// # Errors
    /// `Stop`.
    pub async fn prepare(self: &Arc<Self>) -> Result<(), Stop> {
        for subscriber in 0..self.received.len() {
            let mut peer = Peer::connect(&self.run, self.run.settings.clients).await?;
            let pattern = self.run.key("channel:*");
            let names: Vec<&[u8]> = match subscriber % 2 {
                0 => self.channels.iter().map(Vec::as_slice).collect(),
                _ => vec![&pattern],
            };
            let name: &[u8] = if subscriber % 2 == 0 { b"SUBSCRIBE" } else { b"PSUBSCRIBE" };
            let words: Vec<&[u8]> = [name].into_iter().chain(names.iter().copied()).collect();
            peer.setup(&words).await?;
            for _ in 1..names.len() {
                peer.message().await?;
            }
            let channels = Arc::clone(self);
            let listening = async move {
                let _ended = channels.listen(subscriber, &mut peer).await;
            };
            let mut tasks = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.spawn(listening);
        }
        Ok(())
    }

    async fn listen(&self, subscriber: usize, peer: &mut Peer) -> Result<(), Stop> {
        let mut last = vec![[0_u64; CHANNELS]; self.run.settings.clients];
        loop {
            let message = peer.message().await?;
            let Some((channel, publisher, number)) = self.parse(&message) else {
                peer.unexpected("a subscription", &message)?;
                continue;
            };
            if let Some(count) = self.received.get(subscriber) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            let last = last.get_mut(publisher).and_then(|last| last.get_mut(channel));
            let Some(last) = last else { continue };
            let before = std::mem::replace(last, number);
            // The number of a message that was refused does not come.
            let may_skip = self.has_refused.load(Ordering::Relaxed);
            if number <= before || (number > before + 1 && !may_skip) {
                let text = format!(
                    "subscriber {subscriber} has got message {number} of publisher {publisher} in \
                     channel {channel} behind message {before}"
                );
                self.run.fault("channels", text, vec![format!("{message:?}")])?;
            }
        }
    }

    /// The channel, publisher and number of a message.
    fn parse(&self, message: &Value) -> Option<(usize, usize, u64)> {
        let (channel, payload) = match message.elements()? {
            [_, channel, payload] | [_, _, channel, payload] => (channel.text()?, payload.text()?),
            _ => return None,
        };
        let channel = self.channels.iter().position(|name| name == channel)?;
        let mut words = payload.splitn(2, |byte| *byte == b':');
        let publisher = usize::try_from(parse_u64(words.next()?)?).ok()?;
        Some((channel, publisher, parse_u64(words.next()?)?))
    }

    /// Publishes some messages in one channel.
    ///
    /// # Errors
    /// `Stop`.
    pub async fn turn(&self, peer: &mut Peer, random: &mut Random) -> Result<(), Stop> {
        if self.published.load(Ordering::Relaxed) > self.least_received() + BEHIND_MAX {
            tokio::time::sleep(PAUSE).await;
            return Ok(());
        }
        let index = random.below(CHANNELS);
        let number = self.numbers.get(peer.client()).and_then(|numbers| numbers.get(index));
        let (Some(channel), Some(number)) = (self.channels.get(index), number) else {
            return Ok(());
        };
        for _ in 0..self.run.settings.pipeline {
            let number = number.fetch_add(1, Ordering::Relaxed) + 1;
            let message = format!("{}:{number}", peer.client());
            peer.queue("PUBLISH", &[b"PUBLISH", channel, message.as_bytes()]);
        }
        for answer in peer.answers().await? {
            let subscribers = self.received.len();
            match answer.integer() {
                Some(receivers) if usize::try_from(receivers) == Ok(subscribers) => {
                    self.published.fetch_add(1, Ordering::Relaxed);
                }
                Some(receivers) => {
                    let text = format!("PUBLISH to {subscribers} subscribers reached {receivers}");
                    self.run.fault("channels", text, Vec::new())?;
                }
                None if answer.value.is_error() => self.has_refused.store(true, Ordering::Relaxed),
                None => peer.unexpected("PUBLISH", &answer.value)?,
            }
        }
        Ok(())
    }

    /// Waits for the last messages, and looks whether all have come.
    ///
    /// # Errors
    /// `Stop`.
    pub async fn finish(&self) -> Result<(), Stop> {
        let published = self.published.load(Ordering::Relaxed);
        let deadline = tokio::time::Instant::now() + LAST_MESSAGES_WAIT;
        while self.least_received() < published && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(PAUSE).await;
        }
        let least = self.least_received();
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        if least != published {
            let text = format!("a subscriber has got {least} of {published} messages");
            self.run.fault("channels", text, Vec::new())?;
        }
        Ok(())
    }
}
