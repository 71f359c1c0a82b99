//! A client's connection: requests out together, answers in with their times.

use crate::net::responses::{ReceiveError, TcpResponses};
use crate::protocol::response::Value;
use crate::stress::figures::{Kind, PART};
use crate::stress::run::{Run, Stop};
use crate::util::number::parse_i64;
use std::sync::Arc;
use std::time::Duration;

/// A request that takes longer ends the run.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server may load its data before the run begins.
const LOADING_TIMEOUT: Duration = Duration::from_secs(600);
/// A client rests for so long when it was answered by an error.
const ERROR_REST: Duration = Duration::from_millis(5);
/// What a move from a name that is not there is answered by.
const NO_SUCH_KEY: &[u8] = b"ERR no such key";

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// What was answered.
    pub value: Value,
    /// When the request was sent, with those before and behind it.
    pub called_ns: u64,
    /// When it was here.
    pub returned_ns: u64,
}

impl Answer {
    /// The integer that was answered, also as text; `None` for anything else.
    pub fn integer(&self) -> Option<i64> {
        integer(&self.value)
    }
}

/// The integer that a value is, also as text.
pub fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(*number),
        other => parse_i64(other.text()?),
    }
}

/// True for a plain OK.
pub fn is_ok(value: &Value) -> bool {
    matches!(value, Value::Simple(text) if text == b"OK")
}

/// A connection of one client.
#[derive(Debug)]
pub struct Peer {
    run: Arc<Run>,
    responses: TcpResponses,
    queued: Vec<Kind>,
    asked: u64,
    client: usize,
}

impl Peer {
    /// Connects, authenticates, and waits until the server has loaded its data.
    ///
    /// # Errors
    /// When the server cannot be used; the run has ended.
    pub async fn connect(run: &Arc<Run>, client: usize) -> Result<Self, Stop> {
        let settings = &run.settings;
        let place = format!("{}:{}", settings.host, settings.port);
        let responses = TcpResponses::connect(&settings.host, settings.port);
        let responses = match tokio::time::timeout(ANSWER_TIMEOUT, responses).await {
            Ok(Ok(responses)) => responses,
            Ok(Err(error)) => return Err(run.fail(format!("cannot connect to {place}: {error}"))),
            Err(_) => return Err(run.fail(format!("cannot connect to {place}: no answer"))),
        };
        let mut peer =
            Self { run: Arc::clone(run), responses, queued: Vec::new(), asked: 0, client };
        if let Some(password) = &settings.password {
            let user = settings.username.as_deref();
            let words: Vec<&str> = ["AUTH"].into_iter().chain(user).chain([&**password]).collect();
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            peer.setup(&words).await?;
        }
        peer.wait_until_loaded().await?;
        Ok(peer)
    }

    /// Asks for something without which nothing goes on.
    ///
    /// # Errors
    /// When there is no answer, or an error.
    pub async fn setup(&mut self, arguments: &[&[u8]]) -> Result<Value, Stop> {
        let value = self.exchange(arguments).await?;
        match &value {
            Value::Error(text) => {
                let name = arguments.first().copied().unwrap_or_default().escape_ascii();
                let text = text.escape_ascii();
                Err(self.run.fail(format!("the server answers {name} by an error: {text}")))
            }
            _ => Ok(value),
        }
    }

    async fn wait_until_loaded(&mut self) -> Result<(), Stop> {
        let began = std::time::Instant::now();
        loop {
            match self.exchange(&[b"PING"]).await? {
                Value::Error(text) if text.starts_with(b"LOADING") => {
                    if began.elapsed() > LOADING_TIMEOUT {
                        return Err(self.run.fail("the server does not stop loading".to_owned()));
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Value::Error(text) => {
                    let text = text.escape_ascii();
                    return Err(self.run.fail(format!("the server refuses clients: {text}")));
                }
                _ => return Ok(()),
            }
        }
    }

    /// One request that is not counted.
    async fn exchange(&mut self, arguments: &[&[u8]]) -> Result<Value, Stop> {
        self.responses.send(arguments);
        self.receive("this").await
    }

    /// The next message of a subscriber, however long it takes; `None` when the run is over.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn message(&mut self) -> Result<Value, Stop> {
        match self.responses.receive().await {
            Ok(value) => Ok(value),
            Err(error) => Err(self.lost("a subscriber", &error)),
        }
    }

    async fn receive(&mut self, kind: Kind) -> Result<Value, Stop> {
        match tokio::time::timeout(ANSWER_TIMEOUT, self.responses.receive()).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.lost(kind, &error)),
            Err(_) => {
                let seconds = ANSWER_TIMEOUT.as_secs();
                Err(self.run.fail(format!("no answer to {kind} for {seconds} seconds")))
            }
        }
    }

    fn lost(&self, kind: Kind, error: &ReceiveError) -> Stop {
        self.run.fail(format!("client {} waited for {kind}: {error}", self.client))
    }

    /// The number of this client.
    pub fn client(&self) -> usize {
        self.client
    }

    /// Requests so far.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// Queues a request, which is counted as `kind`.
    pub fn queue(&mut self, kind: Kind, arguments: &[&[u8]]) {
        self.asked += 1;
        self.queued.push(kind);
        self.responses.send(arguments);
    }

    /// Sends what is queued and waits for all answers, which come in the same order.
    ///
    /// # Errors
    /// When the connection ends, or an answer takes too long; the run has ended.
    pub async fn answers(&mut self) -> Result<Vec<Answer>, Stop> {
        let called_ns = self.run.now_ns();
        let kinds = std::mem::take(&mut self.queued);
        let mut answers = Vec::with_capacity(kinds.len());
        let mut has_failed = false;
        for kind in &kinds {
            let value = self.receive(kind).await?;
            has_failed |= self.note_errors(kind, &value);
            answers.push(Answer { value, called_ns, returned_ns: self.run.now_ns() });
        }
        let took = kinds.iter().zip(&answers);
        let took = took.map(|(kind, answer)| (*kind, answer.returned_ns - called_ns));
        self.run.figures.add(self.client, took);
        self.queued = kinds;
        self.queued.clear();
        if has_failed {
            tokio::time::sleep(ERROR_REST).await;
        }
        Ok(answers)
    }

    /// Sends one request and waits for its answer.
    ///
    /// # Errors
    /// As [`answers`](Self::answers).
    pub async fn ask(&mut self, kind: Kind, arguments: &[&[u8]]) -> Result<Answer, Stop> {
        self.queue(kind, arguments);
        let answer = self.answers().await?.pop();
        answer.ok_or_else(|| self.run.fail("an answer has vanished".to_owned()))
    }

    /// Sends requests as one transaction and waits for what EXEC answers.
    ///
    /// # Errors
    /// As [`answers`](Self::answers).
    pub async fn transaction(&mut self, requests: &[&[&[u8]]]) -> Result<Answer, Stop> {
        self.queue(PART, &[b"MULTI"]);
        for request in requests {
            self.queue(PART, request);
        }
        self.ask("EXEC", &[b"EXEC"]).await
    }

    /// True if there was one that is not expected.
    fn note_errors(&self, kind: Kind, value: &Value) -> bool {
        let nested = value.elements().unwrap_or_default();
        let texts = [value].into_iter().chain(nested).filter_map(|value| match value {
            Value::Error(text) if text != NO_SUCH_KEY => Some(text),
            _ => None,
        });
        texts.fold(false, |_, text| {
            self.run.figures.add_error(if kind == PART { "MULTI" } else { kind }, text);
            true
        })
    }

    /// Ends the run because an answer is none that the request can have.
    ///
    /// # Errors
    /// `Stop`, unless nothing is checked; an error is no such answer, it was counted.
    pub fn unexpected(&self, kind: Kind, value: &Value) -> Result<(), Stop> {
        if value.is_error() {
            return Ok(());
        }
        let text = format!("{kind} was answered by what it cannot be answered by");
        self.run.fault("answers", text, vec![format!("{value:?}")])
    }
}
