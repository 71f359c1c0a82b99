//! What one run and the functions that it calls share: who executes the commands, the limits, and
//! whether the script has to end.
//!
//! Functions that Lua calls live as long as the interpreter, the host only as long as the run. So
//! the host is not stored in the interpreter but lent to the thread (`scoped_tls_hkt`), and
//! [`State::host`] reaches it.
//!
//! A script that has to end is told so by an error, and whoever catches errors on behalf of the
//! script raises it again while [`State::is_over`]. The same goes for a panic of the host: it is
//! kept here, ends the script as an error, and goes on unwinding from outside of the interpreter.

use crate::protocol::output::OutputBuffer;
use crate::protocol::reply::Protocol;
use crate::protocol::request::ArgsBuffer;
use crate::script::host::{Host, Stopped};
use crate::script::json::Settings;
use crate::script::raised::Raised;
use crate::script::source::LibraryFunction;
use crate::util::random::Random;
use mlua::{Error, Function, Lua, Result};
use scoped_tls_hkt::scoped_thread_local;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// Steps of a long function between two questions whether to go on.
const STEPS_PER_POLL: u32 = 100_000;

scoped_thread_local!(static mut HOST: for<'a> &'a mut (dyn Host + 'a));

/// What the interpreter is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing, or it is being built.
    Idle,
    /// It runs the body of a library.
    Loading,
    /// It runs a script or a function.
    Running,
}

/// State that the functions of one interpreter share.
pub struct State {
    pub mode: Cell<Mode>,
    /// The protocol in which commands reply to the script.
    pub protocol: Cell<Protocol>,
    /// The whole of the interpreter's memory may not pass this; 0: no run.
    pub memory_bytes_max: Cell<usize>,
    /// Bytes that a reply, or what a library builds outside of Lua, may have.
    pub output_bytes_max: Cell<usize>,
    pub stopped: Cell<Option<Stopped>>,
    /// Something was compiled since the last full collection.
    pub has_compiled: Cell<bool>,
    panic: RefCell<Option<Box<dyn Any + Send>>>,
    has_panicked: Cell<bool>,
    steps: Cell<u32>,
    pub random: RefCell<Drand48>,
    pub registered: RefCell<Vec<(LibraryFunction, Function)>>,
    pub arguments: RefCell<ArgsBuffer>,
    pub reply: RefCell<OutputBuffer>,
    /// Room in which texts are put together.
    pub scratch: RefCell<Vec<u8>>,
    /// The settings of the `cjson` that all scripts share.
    pub json_settings: RefCell<Rc<Cell<Settings>>>,
}

impl State {
    pub fn new() -> Self {
        Self {
            mode: Cell::new(Mode::Idle),
            protocol: Cell::new(Protocol::Resp2),
            memory_bytes_max: Cell::new(0),
            output_bytes_max: Cell::new(usize::MAX),
            stopped: Cell::new(None),
            has_compiled: Cell::new(true),
            panic: RefCell::new(None),
            has_panicked: Cell::new(false),
            steps: Cell::new(0),
            random: RefCell::new(Drand48::anywhere()),
            registered: RefCell::default(),
            arguments: RefCell::default(),
            reply: RefCell::default(),
            scratch: RefCell::default(),
            json_settings: RefCell::default(),
        }
    }

    /// Lends `host` to what runs inside of `run`.
    pub fn lend<R>(host: &mut dyn Host, run: impl FnOnce() -> R) -> R {
        HOST.set(host, run)
    }

    /// True when the script has to end, whatever it catches.
    pub fn is_over(&self) -> bool {
        self.stopped.get().is_some() || self.has_panicked.get()
    }

    /// Why the script has to end.
    pub fn why_over(&self) -> &'static str {
        self.stopped.get().map_or("the script was ended", |stopped| stopped.text)
    }

    /// Asks something of the host.
    ///
    /// # Errors
    /// The script is over, or it is now because the host has panicked.
    pub fn host<R>(&self, ask: impl FnOnce(&mut dyn Host) -> R) -> Result<R> {
        if self.is_over() || !HOST.is_set() {
            return Err(Raised::Over.into());
        }
        catch_unwind(AssertUnwindSafe(|| HOST.with(|host| ask(host)))).map_err(|panic| {
            *self.panic.borrow_mut() = Some(panic);
            self.has_panicked.set(true);
            Raised::Over.into()
        })
    }

    /// Asks the host whether to go on.
    ///
    /// # Errors
    /// The script has to end.
    pub fn poll(&self) -> Result<()> {
        // Between the runs only the prelude runs, which ends.
        if !HOST.is_set() {
            return Ok(());
        }
        self.host(|host| host.poll())?.map_err(|stopped| {
            self.stopped.set(Some(stopped));
            Raised::Over.into()
        })
    }

    /// Counts `steps` of a long function, and asks the host every so often.
    ///
    /// # Errors
    /// The script has to end.
    #[inline]
    pub fn spend(&self, steps: u32) -> Result<()> {
        let sum = self.steps.get().saturating_add(steps);
        if sum < STEPS_PER_POLL {
            self.steps.set(sum);
            return Ok(());
        }
        self.steps.set(0);
        self.poll()
    }

    /// Refuses to build more than the script may use.
    ///
    /// # Errors
    /// "not enough memory"
    #[inline]
    pub fn check_output(&self, bytes: usize) -> Result<()> {
        if bytes > self.output_bytes_max.get() { Err(out_of_memory()) } else { Ok(()) }
    }

    /// Runs `build` without the limit of the interpreter's memory, which makes each step of it
    /// cheaper, and looks at the limit afterwards. For what is no larger than bytes that are there.
    ///
    /// # Errors
    /// Those of `build`, or "not enough memory".
    #[inline]
    pub fn unlimited<R>(&self, lua: &Lua, build: impl FnOnce() -> Result<R>) -> Result<R> {
        lua.set_memory_limit(0)?;
        let built = build();
        let limit = self.memory_bytes_max.get();
        if limit > 0 && lua.used_memory() > limit {
            // Lua does not collect when it runs out of memory, and the error needs some.
            drop(built);
            lua.gc_collect()?;
            lua.set_memory_limit(limit)?;
            return Err(out_of_memory());
        }
        lua.set_memory_limit(limit)?;
        built
    }

    /// Forgets the last run; returns its panic.
    pub fn finish(&self) -> Option<Box<dyn Any + Send>> {
        self.mode.set(Mode::Idle);
        self.protocol.set(Protocol::Resp2);
        self.memory_bytes_max.set(0);
        self.stopped.set(None);
        self.has_panicked.set(false);
        self.steps.set(0);
        self.random.borrow_mut().end_run();
        self.json_settings.borrow().set(Settings::default());
        self.registered.borrow_mut().clear();
        self.reply.borrow_mut().clear();
        self.panic.borrow_mut().take()
    }
}

pub fn out_of_memory() -> Error {
    Error::MemoryError("not enough memory".to_owned())
}

/// The numbers of `math.random`: those of C's `drand48` family, as Redis has them.
pub struct Drand48 {
    state: u64,
    /// What a run that called `randomseed` found.
    before: Option<u64>,
}

impl Drand48 {
    const BITS: u64 = (1 << 48) - 1;
    const FACTOR: u64 = 0x0005_deec_e66d;
    const SUM: u64 = 0xb;
    const SEED_LOW: u64 = 0x330e;
    /// One more than the largest number.
    pub const LIMIT: u32 = i32::MAX as u32;

    fn anywhere() -> Self {
        Self { state: Random::seeded().next_bits() & Self::BITS, before: None }
    }

    /// A number of 31 bits.
    pub fn draw(&mut self) -> u32 {
        let next = self.state.wrapping_mul(Self::FACTOR).wrapping_add(Self::SUM);
        self.state = next & Self::BITS;
        (self.state >> 17) as u32
    }

    /// Begins the sequence of `seed`, until the run ends.
    pub fn seed(&mut self, seed: i32) {
        self.before.get_or_insert(self.state);
        self.state = (u64::from(seed as u32) << 16) | Self::SEED_LOW;
    }

    fn end_run(&mut self) {
        if let Some(before) = self.before.take() {
            self.state = before;
        }
    }
}
