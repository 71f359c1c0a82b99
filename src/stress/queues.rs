//! Queues: does every element arrive once, and those of one producer in order?
//!
//! Clients are divided into groups; each group has two lists, one for each direction, and a stream
//! with a consumer group, and everyone in it produces and consumes. A producer numbers its
//! elements. The numbers that arrive go into a [`Ledger`]; and what one consumer gets of one
//! producer must come in ascending order, because queues are first in, first out.

use crate::protocol::response::Value;
use crate::stress::figures::Kind;
use crate::stress::ledger::Ledger;
use crate::stress::pairs::times;
use crate::stress::peer::{Answer, Peer};
use crate::stress::run::{Run, Stop};
use crate::util::number::parse_u64;
use crate::util::random::Random;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Clients that share queues.
const GROUP_CLIENTS: usize = 8;
/// Elements in a queue with which nothing is added any more.
const WAITING_MAX: i64 = 200;
/// Elements that are taken by one command.
const TAKEN_MAX: &[u8] = b"5";
/// How long a consumer waits for an element, in seconds and in milliseconds.
const WAIT_SECONDS: &[u8] = b"0.02";
const WAIT_MS: &[u8] = b"20";
/// Arrivals of a queue that are remembered, to show them.
const ARRIVALS_KEPT_MAX: usize = 1_024;
/// Elements that are taken at once when all clients have ended.
const DRAINED_AT_ONCE: &[u8] = b"100";
const CONSUMER_GROUP: &[u8] = b"group";

/// A kind of queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// In on the left, out on the right.
    Rightward,
    /// In on the right, out on the left.
    Leftward,
    Stream,
}

const SORTS: [Sort; 3] = [Sort::Rightward, Sort::Leftward, Sort::Stream];

/// The commands of a list in one direction.
struct ListCommands {
    push: Kind,
    pop: Kind,
    wait: Kind,
    from: &'static [u8],
    to: &'static [u8],
}

const RIGHTWARD: ListCommands =
    ListCommands { push: "LPUSH", pop: "RPOP", wait: "BRPOP", from: b"RIGHT", to: b"LEFT" };
const LEFTWARD: ListCommands =
    ListCommands { push: "RPUSH", pop: "LPOP", wait: "BLPOP", from: b"LEFT", to: b"RIGHT" };

/// What one producer has put into one queue.
#[derive(Debug, Default)]
struct Line {
    issued: u64,
    came: Ledger,
}

/// An element that has come to a client.
#[derive(Debug, Clone)]
struct Arrival {
    client: usize,
    kind: Kind,
    called_ns: u64,
    returned_ns: u64,
    producer: usize,
    number: u64,
}

#[derive(Debug)]
struct Queue {
    key: Vec<u8>,
    sort: Sort,
    /// One for each producer of the group.
    lines: Vec<Mutex<Line>>,
    /// What each consumer has got last of each producer.
    last: Vec<Mutex<[u64; GROUP_CLIENTS]>>,
    waiting: AtomicI64,
    arrivals: Mutex<VecDeque<Arrival>>,
}

/// All queues.
#[derive(Debug)]
pub struct Queues {
    run: Arc<Run>,
    groups: Vec<Vec<Queue>>,
    arrived: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    fn new(run: &Run, group: usize, sort: Sort) -> Self {
        let name = match sort {
            Sort::Rightward => "rightward",
            Sort::Leftward => "leftward",
            Sort::Stream => "stream",
        };
        Self {
            key: run.key(&format!("queue:{group}:{name}")),
            sort,
            lines: (0..GROUP_CLIENTS).map(|_| Mutex::default()).collect(),
            // One more for who looks what is left.
            last: (0..=GROUP_CLIENTS).map(|_| Mutex::default()).collect(),
            waiting: AtomicI64::new(0),
            arrivals: Mutex::default(),
        }
    }

    fn commands(&self) -> &'static ListCommands {
        if self.sort == Sort::Leftward { &LEFTWARD } else { &RIGHTWARD }
    }

    /// What the client has put into this queue.
    fn line(&self, client: usize) -> Option<MutexGuard<'_, Line>> {
        self.lines.get(client % GROUP_CLIENTS).map(lock)
    }

    /// A new element of a client.
    fn issue(&self, client: usize) -> (u64, Vec<u8>) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let number = self.line(client).map_or(0, |mut line| {
            line.issued += 1;
            line.issued
        });
        (number, format!("{}:{number}", client % GROUP_CLIENTS).into_bytes())
    }

    /// Notes that an element was refused: it must not arrive.
    fn withdraw(&self, client: usize, number: u64, now_ns: u64) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        if let Some(mut line) = self.line(client) {
            let _is_new = line.came.add(number, now_ns);
        }
    }

    /// The lines of a history: how an element came, and those of its producer around it.
    fn history(&self, producer: usize, number: u64) -> Vec<String> {
        let near = number.saturating_sub(1)..=number + 1;
        let arrivals = lock(&self.arrivals);
        let arrivals =
            arrivals.iter().filter(|one| one.producer == producer && near.contains(&one.number));
        let mut arrivals: Vec<&Arrival> = arrivals.collect();
        arrivals.sort_by_key(|arrival| arrival.called_ns);
        let line = |one: &&Arrival| {
            let times = times(one.called_ns, one.returned_ns);
            format!("client {:>3}  {times}  {} -> element {}", one.client, one.kind, one.number)
        };
        arrivals.iter().map(line).collect()
    }
}

fn parse_element(element: &[u8]) -> Option<(usize, u64)> {
    let mut words = element.splitn(2, |byte| *byte == b':');
    let producer = usize::try_from(parse_u64(words.next()?)?).ok()?;
    let number = parse_u64(words.next()?)?;
    (producer < GROUP_CLIENTS).then_some((producer, number))
}

impl Queues {
    /// Queues that are not there yet.
    pub fn new(run: &Arc<Run>) -> Self {
        let groups = run.settings.clients.div_ceil(GROUP_CLIENTS);
        let group = |group| SORTS.into_iter().map(|sort| Queue::new(run, group, sort)).collect();
        let groups = (0..groups).map(group).collect();
        Self { run: Arc::clone(run), groups, arrived: AtomicU64::new(0) }
    }

    /// Elements that have arrived.
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    /// All keys that may be there.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        let queues = self.groups.iter().flatten().map(|queue| queue.key.clone());
        queues.chain((0..=self.run.settings.clients).map(|client| self.own_list(client))).collect()
    }

    fn own_list(&self, client: usize) -> Vec<u8> {
        self.run.key(&format!("processing:{client}"))
    }

    /// Makes the consumer groups.
    ///
    /// # Errors
    /// `Stop`.
    pub async fn prepare(&self, peer: &mut Peer) -> Result<(), Stop> {
        for queue in self.groups.iter().flatten().filter(|queue| queue.sort == Sort::Stream) {
            let words: [&[u8]; 6] =
                [b"XGROUP", b"CREATE", &queue.key, CONSUMER_GROUP, b"0", b"MKSTREAM"];
            peer.setup(&words).await?;
        }
        Ok(())
    }

    /// Puts elements into a queue, or takes some.
    ///
    /// # Errors
    /// `Stop`.
    pub async fn turn(&self, peer: &mut Peer, random: &mut Random) -> Result<(), Stop> {
        let group = self.groups.get(peer.client() / GROUP_CLIENTS);
        let queue = group.and_then(|queues| queues.get(random.below(queues.len())));
        let Some(queue) = queue else { return Ok(()) };
        let is_full = queue.waiting.load(Ordering::Relaxed) > WAITING_MAX;
        if !is_full && random.below(2) == 0 {
            return self.produce(queue, peer, random).await;
        }
        match (queue.sort, random.below(10)) {
            (Sort::Stream, _) => self.read_stream(queue, peer, b"5").await.map(drop),
            (_, 0..5) => self.pop(queue, peer).await,
            (_, 5..7) => self.wait(queue, peer).await,
            (_, 7) => self.pop_several(queue, peer, TAKEN_MAX).await.map(drop),
            _ => self.process(queue, peer).await,
        }
    }

    async fn produce(
        &self,
        queue: &Queue,
        peer: &mut Peer,
        random: &mut Random,
    ) -> Result<(), Stop> {
        let client = peer.client();
        let several = if random.below(4) == 0 { 3 } else { 1 };
        let mut requests = Vec::new();
        for _ in 0..self.run.settings.pipeline {
            let elements: Vec<(u64, Vec<u8>)> = match queue.sort {
                Sort::Stream => vec![queue.issue(client)],
                _ => (0..several).map(|_| queue.issue(client)).collect(),
            };
            let name = if queue.sort == Sort::Stream { "XADD" } else { queue.commands().push };
            let mut words: Vec<&[u8]> = vec![name.as_bytes(), &queue.key];
            if queue.sort == Sort::Stream {
                words.extend([&b"*"[..], &b"element"[..]]);
            }
            words.extend(elements.iter().map(|(_, element)| element.as_slice()));
            peer.queue(name, &words);
            requests.push(elements.into_iter().map(|(number, _)| number).collect::<Vec<_>>());
        }
        let answers = peer.answers().await?;
        for (numbers, answer) in requests.into_iter().zip(answers) {
            for number in numbers.into_iter().filter(|_| answer.value.is_error()) {
                queue.withdraw(client, number, self.run.now_ns());
            }
        }
        Ok(())
    }

    async fn pop(&self, queue: &Queue, peer: &mut Peer) -> Result<(), Stop> {
        let kind = queue.commands().pop;
        for _ in 0..self.run.settings.pipeline {
            peer.queue(kind, &[kind.as_bytes(), &queue.key]);
        }
        for answer in peer.answers().await? {
            match &answer.value {
                Value::Null => {}
                Value::Bulk(element) => self.arrive(queue, peer, kind, &answer, element)?,
                other => peer.unexpected(kind, other)?,
            }
        }
        Ok(())
    }

    /// Takes several elements by one command; false when there was none.
    async fn pop_several(
        &self,
        queue: &Queue,
        peer: &mut Peer,
        count: &[u8],
    ) -> Result<bool, Stop> {
        let kind = queue.commands().pop;
        let answer = peer.ask(kind, &[kind.as_bytes(), &queue.key, count]).await?;
        let Some(elements) = answer.value.elements() else {
            if answer.value != Value::Null {
                peer.unexpected(kind, &answer.value)?;
            }
            return Ok(false);
        };
        for element in elements {
            let element = element.text().unwrap_or_default();
            self.arrive(queue, peer, kind, &answer, element)?;
        }
        Ok(true)
    }

    async fn wait(&self, queue: &Queue, peer: &mut Peer) -> Result<(), Stop> {
        let kind = queue.commands().wait;
        let answer = peer.ask(kind, &[kind.as_bytes(), &queue.key, WAIT_SECONDS]).await?;
        match answer.value.elements() {
            Some([_, Value::Bulk(element)]) => self.arrive(queue, peer, kind, &answer, element),
            _ if answer.value == Value::Null => Ok(()),
            _ => peer.unexpected(kind, &answer.value),
        }
    }

    /// Moves an element into a list of the client's own, and takes it from there.
    async fn process(&self, queue: &Queue, peer: &mut Peer) -> Result<(), Stop> {
        let own = self.own_list(peer.client());
        let ListCommands { from, to, .. } = *queue.commands();
        let words: [&[u8]; 6] = [b"BLMOVE", &queue.key, &own, from, to, WAIT_SECONDS];
        let moved = peer.ask("BLMOVE", &words).await?;
        let element = match &moved.value {
            Value::Bulk(element) => element,
            Value::Null => return Ok(()),
            other => return peer.unexpected("BLMOVE", other),
        };
        self.arrive(queue, peer, "BLMOVE", &moved, element)?;
        let taken = peer.ask("LPOP", &[b"LPOP", &own]).await?;
        if taken.value == moved.value || taken.value.is_error() {
            return Ok(());
        }
        let text = format!(
            "{} was moved to {}, where it was not the only one",
            element.escape_ascii(),
            own.escape_ascii()
        );
        self.run.fault("queues", text, vec![format!("LPOP answers {:?}", taken.value)])
    }

    /// Reads what is new in a stream, acknowledges and deletes it; false when there was nothing.
    async fn read_stream(
        &self,
        queue: &Queue,
        peer: &mut Peer,
        count: &[u8],
    ) -> Result<bool, Stop> {
        let kind = "XREADGROUP";
        let consumer = format!("consumer:{}", peer.client());
        let words: [&[u8]; 11] = [
            kind.as_bytes(),
            b"GROUP",
            CONSUMER_GROUP,
            consumer.as_bytes(),
            b"COUNT",
            count,
            b"BLOCK",
            WAIT_MS,
            b"STREAMS",
            &queue.key,
            b">",
        ];
        let answer = peer.ask(kind, &words).await?;
        if answer.value == Value::Null {
            return Ok(false);
        }
        let Some(entries) = entries_of(&answer.value) else {
            return peer.unexpected(kind, &answer.value).map(|()| false);
        };
        for (_, element) in &entries {
            self.arrive(queue, peer, kind, &answer, element)?;
        }
        let ids = || entries.iter().map(|(id, _)| *id);
        let group: [&[u8]; 3] = [b"XACK", &queue.key, CONSUMER_GROUP];
        peer.queue("XACK", &group.into_iter().chain(ids()).collect::<Vec<_>>());
        let delete: [&[u8]; 2] = [b"XDEL", &queue.key];
        peer.queue("XDEL", &delete.into_iter().chain(ids()).collect::<Vec<_>>());
        for (kind, answer) in ["XACK", "XDEL"].into_iter().zip(peer.answers().await?) {
            let expected = i64::try_from(entries.len()).ok();
            if answer.integer() != expected && !answer.value.is_error() {
                let text = format!("{kind} of {} own entries answers otherwise", entries.len());
                self.run.fault("queues", text, vec![format!("{:?}", answer.value)])?;
            }
        }
        Ok(true)
    }

    /// Notes that an element has come to a client.
    fn arrive(
        &self,
        queue: &Queue,
        peer: &Peer,
        kind: Kind,
        answer: &Answer,
        element: &[u8],
    ) -> Result<(), Stop> {
        queue.waiting.fetch_sub(1, Ordering::Relaxed);
        self.arrived.fetch_add(1, Ordering::Relaxed);
        let name = queue.key.escape_ascii();
        let Some((producer, number)) = parse_element(element) else {
            let text = format!("{name} has handed over what nobody put in");
            return self.run.fault("queues", text, vec![element.escape_ascii().to_string()]);
        };
        let Answer { called_ns, returned_ns, .. } = *answer;
        let client = peer.client();
        let mut arrivals = lock(&queue.arrivals);
        if arrivals.len() == ARRIVALS_KEPT_MAX {
            arrivals.pop_front();
        }
        arrivals.push_back(Arrival { client, kind, called_ns, returned_ns, producer, number });
        drop(arrivals);
        let (was_put, is_new) = queue.line(producer).map_or((false, false), |mut line| {
            (number <= line.issued, line.came.add(number, self.run.now_ns()))
        });
        let consumer = match client < self.run.settings.clients {
            true => client % GROUP_CLIENTS,
            false => GROUP_CLIENTS,
        };
        let last = queue.last.get(consumer).and_then(|last| {
            lock(last).get_mut(producer).map(|last| std::mem::replace(last, number))
        });
        let what = format!("element {number} of producer {producer}");
        let text = if !was_put {
            format!("{name} has handed over {what}, who did not put it in")
        } else if !is_new {
            format!("{name} has handed over {what} twice")
        } else if let Some(last) = last.filter(|last| *last > number) {
            format!("{name} has handed {what} to client {client} behind its element {last}")
        } else {
            return Ok(());
        };
        self.run.fault("queues", text, queue.history(producer, number))
    }

    /// Looks for elements that nobody got.
    ///
    /// # Errors
    /// `Stop`.
    pub fn look(&self) -> Result<(), Stop> {
        let oldest_ns = self.run.oldest_turn_ns();
        for queue in self.groups.iter().flatten() {
            for (producer, line) in queue.lines.iter().enumerate() {
                let lost = lock(line).came.lost(oldest_ns);
                if let Some(number) = lost {
                    self.lost(queue, producer, number)?;
                }
            }
        }
        Ok(())
    }

    fn lost(&self, queue: &Queue, producer: usize, number: u64) -> Result<(), Stop> {
        let name = queue.key.escape_ascii();
        let text = format!("nobody got element {number} that producer {producer} put into {name}");
        self.run.fault("queues", text, queue.history(producer, number))
    }

    /// Takes what is left, and looks whether all has come.
    ///
    /// # Errors
    /// `Stop`.
    pub async fn finish(&self, peer: &mut Peer) -> Result<(), Stop> {
        if !self.run.settings.check {
            return Ok(());
        }
        for queue in self.groups.iter().flatten() {
            match queue.sort {
                Sort::Stream => while self.read_stream(queue, peer, DRAINED_AT_ONCE).await? {},
                _ => while self.pop_several(queue, peer, DRAINED_AT_ONCE).await? {},
            }
        }
        for queue in self.groups.iter().flatten() {
            for (producer, line) in queue.lines.iter().enumerate() {
                let (issued, floor) = {
                    let line = lock(line);
                    (line.issued, line.came.floor())
                };
                if floor < issued {
                    self.lost(queue, producer, floor + 1)?;
                }
            }
        }
        Ok(())
    }
}

/// The names and elements of entries of one stream.
fn entries_of(answer: &Value) -> Option<Vec<(&[u8], &[u8])>> {
    let [stream] = answer.elements()? else { return None };
    let [_, entries] = stream.elements()? else { return None };
    entries.elements()?.iter().map(entry_of).collect()
}

fn entry_of(entry: &Value) -> Option<(&[u8], &[u8])> {
    let [id, fields] = entry.elements()? else { return None };
    let [_, element] = fields.elements()? else { return None };
    Some((id.text()?, element.text()?))
}
