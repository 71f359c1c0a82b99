//! Single keys: is each linearizable?
//!
//! A key's history is checked in windows. A window is closed when enough was done: no client begins
//! anything on the key until all that is under way has ended; the last of them reads the key, which
//! ends the window and says what the next one begins with. So a window needs no other one, and the
//! memory for it is given back. At most a few clients are at one key at a time, because the search
//! for an order takes time that grows fast with how many overlap.
//!
//! Each written value is written once, so that an answer tells which write it has seen.

use crate::protocol::response::Value;
use crate::stress::checker::{Action, Broken, OPERATIONS_MAX, Operation, State, Verdict, check};
use crate::stress::peer::{Answer, Peer, integer, is_ok};
use crate::stress::run::{Run, Stop};
use crate::util::random::Random;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

/// Clients at one key at a time.
const CLIENTS_AT_A_KEY_MAX: usize = 12;
/// Operations of a window, without the read that ends it.
const WINDOW_OPERATIONS: usize = OPERATIONS_MAX - 1;
/// Windows that wait to be checked; then the clients wait.
const WINDOWS_WAITING_MAX: usize = 64;
/// Between two values that are written; what INCR adds stays below.
const VALUE_STEP: i64 = 1_000_000;
/// Keys that a client looks at until it finds one that is open.
const LOOKS_MAX: usize = 16;

/// Operations on a key since it was last read alone.
#[derive(Debug, Default)]
struct Window {
    key: Vec<u8>,
    initial: State,
    operations: Vec<Operation>,
}

#[derive(Debug, Default)]
struct Slot {
    initial: State,
    operations: Vec<Operation>,
    begun: usize,
    under_way: usize,
}

#[derive(Debug)]
struct Register {
    key: Vec<u8>,
    slot: Mutex<Slot>,
}

impl Register {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was checked.
#[derive(Debug, Default)]
pub struct Checked {
    /// Windows.
    pub windows: AtomicU64,
    /// Operations in them.
    pub operations: AtomicU64,
    /// Windows that were given up.
    pub undecided: AtomicU64,
}

/// All single keys.
#[derive(Debug)]
pub struct Registers {
    run: Arc<Run>,
    registers: Vec<Register>,
    next_value: AtomicI64,
    windows: Mutex<Option<mpsc::Sender<Window>>>,
    checker: Mutex<Option<JoinHandle<()>>>,
    checked: Arc<Checked>,
}

impl Registers {
    /// Keys that are not there yet, and the thread that checks them.
    pub fn new(run: &Arc<Run>) -> Self {
        let register = |number: usize| Register {
            key: run.key(&format!("register:{number}")),
            slot: Mutex::default(),
        };
        let (sender, receiver) = mpsc::channel(WINDOWS_WAITING_MAX);
        let checked = Arc::<Checked>::default();
        let (its_run, its_checked) = (Arc::clone(run), Arc::clone(&checked));
        let thread = std::thread::Builder::new().name("checker".to_owned());
        let checker = thread.spawn(move || check_all(receiver, &its_run, &its_checked));
        let checker = match checker {
            Ok(checker) => Some(checker),
            Err(error) => {
                run.fail(format!("cannot start a thread: {error}"));
                None
            }
        };
        Self {
            run: Arc::clone(run),
            registers: (0..run.settings.keys).map(register).collect(),
            next_value: AtomicI64::new(1),
            windows: Mutex::new(Some(sender)),
            checker: Mutex::new(checker),
            checked,
        }
    }

    /// What was checked so far.
    pub fn checked(&self) -> &Checked {
        &self.checked
    }

    /// All keys that may be there.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.registers.iter().map(|register| register.key.clone()).collect()
    }

    /// Operations on some keys, and the end of the windows that are full by then.
    ///
    /// # Errors
    /// `Stop`.
    pub async fn turn(&self, peer: &mut Peer, random: &mut Random) -> Result<(), Stop> {
        let mut begun: Vec<(&Register, Action)> = Vec::new();
        for _ in 0..self.run.settings.pipeline {
            let looks = (0..LOOKS_MAX).filter_map(|_| {
                let register = self.registers.get(random.below(self.registers.len()))?;
                self.may_begin(register).then_some(register)
            });
            let Some(register) = { looks }.next() else { break };
            let action = self.draw(random);
            send(peer, &register.key, action);
            begun.push((register, action));
        }
        if begun.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            return Ok(());
        }
        let answers = peer.answers().await?;
        let mut full = Vec::new();
        for ((register, action), answer) in begun.into_iter().zip(answers) {
            let operation = read_answer(peer, action, &answer)?;
            if self.note(register, operation) {
                full.push(register);
            }
        }
        for register in full {
            self.close(register, peer).await?;
        }
        Ok(())
    }

    fn may_begin(&self, register: &Register) -> bool {
        if !self.run.settings.check {
            return true;
        }
        let mut slot = register.lock();
        let is_open = slot.begun < WINDOW_OPERATIONS && slot.under_way < CLIENTS_AT_A_KEY_MAX;
        if is_open {
            slot.begun += 1;
            slot.under_way += 1;
        }
        is_open
    }

    fn draw(&self, random: &mut Random) -> Action {
        let value = self.next_value.fetch_add(1, Ordering::Relaxed).saturating_mul(VALUE_STEP);
        match random.below(100) {
            0..40 => Action::Get,
            40..55 => Action::Set(value),
            55..62 => Action::SetIfAbsent(value),
            62..67 => Action::SetIfPresent(value),
            67..75 => Action::Delete,
            75..87 => Action::Add(1),
            87..91 => Action::Add(2),
            91..96 => Action::Swap(value),
            _ => Action::Take,
        }
    }

    /// Notes what has ended; true when it was the last of its window.
    fn note(&self, register: &Register, operation: Option<Operation>) -> bool {
        if !self.run.settings.check {
            return false;
        }
        let mut slot = register.lock();
        slot.under_way -= 1;
        slot.operations.extend(operation);
        slot.begun >= WINDOW_OPERATIONS && slot.under_way == 0
    }

    /// Reads a key at which nobody else is, has its window checked, and opens the next one.
    async fn close(&self, register: &Register, peer: &mut Peer) -> Result<(), Stop> {
        let answer = peer.ask("GET", &[b"GET", &register.key]).await?;
        let Some(last) = read_answer(peer, Action::Get, &answer)? else {
            // It was answered by an error: whoever comes next tries again.
            register.lock().begun = WINDOW_OPERATIONS - 1;
            return Ok(());
        };
        let next = Slot { initial: last.answer, ..Slot::default() };
        let full = std::mem::replace(&mut *register.lock(), next);
        let mut operations = full.operations;
        operations.push(last);
        let window = Window { key: register.key.clone(), initial: full.initial, operations };
        let sender = self.windows.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match sender {
            Some(sender) => sender.send(window).await.map_err(|_| Stop),
            None => Ok(()),
        }
    }

    /// Closes all windows once all clients have ended, and waits until they are checked.
    ///
    /// # Errors
    /// `Stop`.
    pub async fn finish(&self, peer: &mut Peer) -> Result<(), Stop> {
        if self.run.settings.check {
            for register in &self.registers {
                let is_used = register.lock().begun > 0;
                if is_used {
                    self.close(register, peer).await?;
                }
            }
        }
        self.windows.lock().unwrap_or_else(PoisonError::into_inner).take();
        let checker = self.checker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(checker) = checker {
            let joined = tokio::task::spawn_blocking(move || checker.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                return Err(self.run.fail("the checker has panicked".to_owned()));
            }
        }
        Ok(())
    }
}

fn check_all(mut windows: mpsc::Receiver<Window>, run: &Run, checked: &Checked) {
    while let Some(window) = windows.blocking_recv() {
        checked.windows.fetch_add(1, Ordering::Relaxed);
        checked.operations.fetch_add(window.operations.len() as u64, Ordering::Relaxed);
        match check(window.initial, &window.operations) {
            Verdict::Linearizable => {}
            Verdict::Undecided => {
                checked.undecided.fetch_add(1, Ordering::Relaxed);
            }
            Verdict::Broken(_) => {
                let Window { key, initial, operations } = window;
                let broken = Broken { initial, operations, earlier: Vec::new() };
                let least = broken.shrink();
                let text = format!(
                    "no order of what was done to {} explains the answers",
                    key.escape_ascii()
                );
                let _ended = run.fault("single keys", text, least.lines());
                return;
            }
        }
    }
}

fn send(peer: &mut Peer, key: &[u8], action: Action) {
    let text = |number: i64| number.to_string().into_bytes();
    match action {
        Action::Get => peer.queue("GET", &[b"GET", key]),
        Action::Set(value) => peer.queue("SET", &[b"SET", key, &text(value)]),
        Action::SetIfAbsent(value) => peer.queue("SETNX", &[b"SETNX", key, &text(value)]),
        Action::SetIfPresent(value) => peer.queue("SET XX", &[b"SET", key, &text(value), b"XX"]),
        Action::Delete => peer.queue("DEL", &[b"DEL", key]),
        Action::Add(1) => peer.queue("INCR", &[b"INCR", key]),
        Action::Add(number) => peer.queue("INCRBY", &[b"INCRBY", key, &text(number)]),
        Action::Swap(value) => peer.queue("GETSET", &[b"GETSET", key, &text(value)]),
        Action::Take => peer.queue("GETDEL", &[b"GETDEL", key]),
    }
}

/// What was done; `None` when it was not, because the answer is an error.
fn read_answer(peer: &Peer, action: Action, answer: &Answer) -> Result<Option<Operation>, Stop> {
    let value = &answer.value;
    let read = match (action, value) {
        (_, Value::Error(_)) => return Ok(None),
        (Action::Set(_), value) if is_ok(value) => Some(None),
        (Action::SetIfPresent(_), value) if is_ok(value) => Some(Some(1)),
        (Action::SetIfPresent(_), Value::Null) => Some(Some(0)),
        (Action::Get | Action::Swap(_) | Action::Take, Value::Null) => Some(None),
        (Action::Get | Action::Swap(_) | Action::Take, Value::Bulk(_)) => integer(value).map(Some),
        (Action::SetIfAbsent(_) | Action::Delete | Action::Add(_), Value::Integer(number)) => {
            Some(Some(*number))
        }
        _ => None,
    };
    let Some(read) = read else {
        peer.unexpected("a request of one key", value)?;
        return Ok(None);
    };
    Ok(Some(Operation {
        client: peer.client(),
        action,
        called_ns: answer.called_ns,
        returned_ns: answer.returned_ns,
        answer: read,
    }))
}
