//! What every command costs: where the gate counts calls, time, failures and slow commands.
//!
//! The clock is read once after each command, and what passed since the last reading is the
//! command's: so the look-up of the command and the wait for its locks count to it, decoding does
//! not. Calls of one command are added up here and counted together, for a few commands at a time.

use crate::command::context::{Context, Deferred};
use crate::command::dispatch::{Gate, Scratch};
use crate::command::spec::{CommandSpec, Flags};
use crate::command::table;
use crate::protocol::{Args, OwnedArgs};
use crate::stats::{CallCounts, CommandStats, Sample, SlowCall, shortened};
use crate::util::clock::Stopwatch;
use crate::util::text::push_quoted;
use std::borrow::Cow;

/// In the place of a secret.
const REDACTED: &[u8] = b"(redacted)";

/// Calls of one command that are counted together at most, if their durations are.
const COUNTED_MAX: usize = 16;
/// Commands whose calls are added up at a time: those of a script, or of a pipeline.
const COMMANDS_MAX: usize = 8;

/// Calls of one command that have not been counted yet.
#[derive(Debug)]
struct Counted {
    spec: &'static CommandSpec,
    /// The number of the command.
    number: usize,
    counts: CallCounts,
    /// How long each of them took.
    durations: [u64; COUNTED_MAX],
    /// How many durations there are.
    timed: usize,
}

/// Measures the commands of one task.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Runs since the last command ended, or the first of a group could begin.
    watch: Stopwatch,
    /// The command that runs.
    running: Option<&'static CommandSpec>,
    counted: Vec<Counted>,
    /// Where the command was found that ran last.
    last: usize,
}

/// A command that began before its task had to wait.
#[derive(Debug)]
pub struct Unfinished {
    spec: &'static CommandSpec,
    watch: Stopwatch,
    args: OwnedArgs,
}

impl Meter {
    /// What comes next begins now.
    #[inline]
    pub(super) fn start(&mut self) {
        self.watch.restart();
    }

    /// A command gets to run.
    #[inline]
    pub(super) fn begin(&mut self, spec: &'static CommandSpec) {
        self.running = Some(spec);
    }

    /// The clock of the command that runs.
    pub(super) fn watch(&self) -> Stopwatch {
        self.watch.clone()
    }

    /// Goes on with a command whose parts were measured meanwhile.
    pub(super) fn resume(&mut self, spec: &'static CommandSpec, watch: Stopwatch) {
        (self.running, self.watch) = (Some(spec), watch);
    }

    #[inline]
    fn add(
        &mut self,
        stats: &CommandStats,
        spec: &'static CommandSpec,
        nanos: Option<u64>,
        call: CallCounts,
    ) {
        if !self.counted.get(self.last).is_some_and(|counted| std::ptr::eq(counted.spec, spec)) {
            self.last = self.place_of(stats, spec);
        }
        let Some(counted) = self.counted.get_mut(self.last) else { return };
        if counted.timed == COUNTED_MAX {
            counted.flush(stats);
        }
        counted.counts.calls += call.calls;
        counted.counts.nanos += call.nanos;
        counted.counts.failed += call.failed;
        if let Some(nanos) = nanos
            && let Some(place) = counted.durations.get_mut(counted.timed)
        {
            *place = nanos;
            counted.timed += 1;
        }
    }

    /// Where the calls of a command that was not the last one are added up.
    #[inline(never)]
    fn place_of(&mut self, stats: &CommandStats, spec: &'static CommandSpec) -> usize {
        let is_it = |counted: &Counted| std::ptr::eq(counted.spec, spec);
        // Most commands are followed by the same ones as before.
        let next = if self.last + 1 < self.counted.len() { self.last + 1 } else { 0 };
        if self.counted.get(next).is_some_and(is_it) {
            return next;
        }
        if let Some(at) = self.counted.iter().position(is_it) {
            return at;
        }
        if self.counted.len() == COMMANDS_MAX {
            self.flush(stats);
            self.counted.clear();
        }
        self.counted.reserve_exact(1);
        self.counted.push(Counted {
            spec,
            number: table::number_of(spec),
            counts: CallCounts::default(),
            durations: [0; COUNTED_MAX],
            timed: 0,
        });
        self.counted.len() - 1
    }

    /// Adds what was counted here to `stats`.
    pub(super) fn flush(&mut self, stats: &CommandStats) {
        self.counted.iter_mut().for_each(|counted| counted.flush(stats));
    }
}

impl Counted {
    fn flush(&mut self, stats: &CommandStats) {
        if self.counts.calls > 0 {
            let durations = self.durations.get(..self.timed).unwrap_or_default();
            stats.add(self.number, std::mem::take(&mut self.counts), durations);
            self.timed = 0;
        }
    }
}

impl Gate {
    /// What runs next begins now, whatever time has passed.
    #[inline]
    pub fn start_clock(&self, scratch: &mut Scratch) {
        scratch.meter.start();
    }

    /// Counts the command that has just run, if one has.
    #[inline]
    pub(super) fn measure(
        &self,
        context: &Context,
        scratch: &mut Scratch,
        args: Args<'_>,
        failed: bool,
    ) {
        let Some(spec) = scratch.meter.running.take() else { return };
        if self.services().monitors.any()
            && !spec.flags.has(Flags::ADMIN)
            && !spec.flags.has(Flags::SKIP_MONITOR)
        {
            self.tell_monitors(context, spec, args);
        }
        if context.deferred.as_ref().is_some_and(Deferred::is_work) {
            let watch = scratch.meter.watch();
            scratch.unfinished = Some(Box::new(Unfinished { spec, watch, args: args.to_owned() }));
            return;
        }
        let nanos = scratch.meter.watch.lap_nanos();
        self.count_call(context, scratch, spec, args, nanos, failed);
    }

    /// Tells those who monitor of a command.
    #[cold]
    pub(super) fn tell_monitors(&self, context: &Context, spec: &CommandSpec, args: Args<'_>) {
        let services = self.services();
        let micros = services.clock.now_micros();
        let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
        let (database, address) = (context.database, context.client.address);
        let mut line = match context.is_in_script {
            true => format!("+{seconds}.{micros:06} [{database} lua]"),
            false => format!("+{seconds}.{micros:06} [{database} {address}]"),
        }
        .into_bytes();
        for argument in without_secrets(spec, args) {
            line.push(b' ');
            push_quoted(&mut line, &argument);
        }
        line.extend_from_slice(b"\r\n");
        services.monitors.tell(line.into(), services.config.output_limits());
    }

    #[inline]
    fn count_call(
        &self,
        context: &Context,
        scratch: &mut Scratch,
        spec: &'static CommandSpec,
        args: Args<'_>,
        nanos: u64,
        failed: bool,
    ) {
        let services = self.services();
        let observation = services.config.observation();
        let call = CallCounts { calls: 1, nanos, failed: u64::from(failed), rejected: 0 };
        let duration = observation.tracks_latency().then_some(nanos);
        scratch.meter.add(&services.stats.commands, spec, duration, call);
        if observation.is_notable(nanos) {
            self.note_slow(context, spec, args, nanos);
        }
    }

    /// Counts a command whose work went on after it had been run, and has ended now.
    pub fn finish(&self, context: &Context, scratch: &mut Scratch, failed: bool) {
        if let Some(unfinished) = scratch.unfinished.take() {
            let Unfinished { spec, watch, args } = *unfinished;
            let nanos = watch.elapsed_nanos();
            self.count_call(context, scratch, spec, args.args(), nanos, failed);
            self.flush_counts(scratch);
        }
    }

    /// Counts a call that was refused before it ran.
    #[cold]
    pub(super) fn note_rejected(&self, spec: &'static CommandSpec) {
        let counts = CallCounts { rejected: 1, ..CallCounts::default() };
        self.services().stats.commands.add(table::number_of(spec), counts, &[]);
    }

    /// Counts a failure of a call that has been counted when it began to wait.
    pub fn note_failed(&self, spec: &'static CommandSpec) {
        count_failure(&self.services().stats.commands, spec);
    }

    /// Notes a command that took long in the slow log and among the spikes of latency.
    #[cold]
    fn note_slow(&self, context: &Context, spec: &CommandSpec, args: Args<'_>, nanos: u64) {
        let services = self.services();
        let (stats, observation) = (&services.stats, services.config.observation());
        let unix_seconds = services.clock.now().0.div_euclid(1_000);
        if observation.latency_nanos().is_some_and(|least| nanos >= least) {
            let event = if spec.flags.has(Flags::FAST) { "fast-command" } else { "command" };
            stats.latency.add(event, Sample { unix_seconds, millis: nanos / 1_000_000 });
        }
        if observation.slow_log_nanos().is_none_or(|least| nanos < least)
            || spec.flags.has(Flags::SKIP_SLOWLOG)
        {
            return;
        }
        let shown: Vec<Cow<'_, [u8]>> = without_secrets(spec, args);
        let call = SlowCall {
            unix_seconds,
            micros: nanos / 1_000,
            arguments: shortened(shown.iter().map(|argument| &argument[..])),
            address: context.client.address.to_string(),
            client_name: context.client.names().name,
        };
        stats.slow_log.push(call, observation.slow_log_len_max());
    }
}

/// Counts a failure of a call that has been counted when it began to wait.
pub(super) fn count_failure(stats: &CommandStats, spec: &'static CommandSpec) {
    let failed = CallCounts { failed: 1, ..CallCounts::default() };
    stats.add(table::number_of(spec), failed, &[]);
}

/// The arguments of a request with its secrets taken out.
fn without_secrets<'a>(spec: &CommandSpec, args: Args<'a>) -> Vec<Cow<'a, [u8]>> {
    let mut shown: Vec<Cow<'a, [u8]>> = args.iter_from(0).map(Cow::Borrowed).collect();
    let mut hide = |number: usize| {
        if let Some(place) = shown.get_mut(number) {
            *place = Cow::Borrowed(REDACTED);
        }
    };
    let is_word = |number: usize, word: &str| args.at(number).eq_ignore_ascii_case(word.as_bytes());
    match spec.name {
        "AUTH" => (1..args.len()).for_each(hide),
        "HELLO" => {
            let at = (2..args.len()).filter(|number| is_word(*number, "AUTH"));
            at.flat_map(|at| [at + 1, at + 2]).for_each(hide);
        }
        "SET" if is_word(0, "CONFIG") => {
            let secrets = ["requirepass", "masterauth", "masteruser"];
            let names = (2..args.len()).step_by(2);
            names
                .filter(|number| secrets.iter().any(|secret| is_word(*number, secret)))
                .for_each(|number| hide(number + 1));
        }
        "SETUSER" => (2..args.len()).for_each(hide),
        _ => {}
    }
    shown
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::stats::Durations;

    #[test]
    fn every_duration_is_counted_however_many_calls_come_together() {
        let get = table::find(b"GET").unwrap();
        let call = CallCounts { calls: 1, nanos: 5, ..CallCounts::default() };
        for calls in 1..=3 * COUNTED_MAX {
            let stats = CommandStats::new(table::number_of(get) + 1);
            let mut meter = Meter::default();
            (0..calls).for_each(|_| meter.add(&stats, get, Some(5), call));
            meter.flush(&stats);
            let mut durations = Durations::default();
            assert!(stats.read_durations(table::number_of(get), &mut durations));
            assert_eq!(durations.calls(), calls as u64);
            assert_eq!(stats.counts(table::number_of(get)).calls, calls as u64);
        }
    }
}
