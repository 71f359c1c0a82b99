//! What LATENCY DOCTOR says and LATENCY GRAPH draws, in the words of Redis.
//!
//! Advice that would not help here is not given: large values are freed in the background, and
//! expired keys are found whatever `hz` is.

use crate::command::context::Services;
use crate::stats::{EventFigures, huge_page_bytes};
use std::fmt::Write;

/// Columns and rows of a graph.
const GRAPH_COLUMNS: usize = 80;
const GRAPH_ROWS: usize = 4;
/// The steps within one row of a graph.
const GRAPH_CHARACTERS: [char; 3] = ['_', 'o', '#'];

const DISABLED: &str = "\
I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Redis instance. \
You may use \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in order to enable \
it. If we weren't in a deep space mission I'd suggest to take a look at \
https://redis.io/topics/latency-monitor.\n";
const GREETING: &str = "\
Dave, I have observed latency spikes in this Redis instance. You don't mind talking about \
it, do you Dave?\n\
\n";
const NO_SPIKES: &str = "\
Dave, no latency spike was observed during the lifetime of this Redis instance, not in the \
slightest bit. I honestly think you ought to sit down calmly, take a stress pill, and \
think things over.\n";
const NO_ADVICE: &str = "\
\n\
While there are latency events logged, I'm not able to suggest any easy fix. Please use \
the Redis community to get some help, providing this report in your help request.\n";
const LOOK_AT_SLOW_LOG: &str = "\
- Check your Slow Log to understand what are the commands you are running which are too \
slow to execute. Please check https://redis.io/commands/slowlog for more information.\n";
const SCHEDULER: &str = "\
- The system is slow to execute Redis code paths not containing system calls. This usually \
means the system does not provide Redis CPU time to run for long periods. You should try \
to:\n\
\x20\x201) Lower the system load.\n\
\x20\x202) Use a computer / VM just for Redis if you are running other software in the same \
system.\n\
\x20\x203) Check if you have a \"noisy neighbour\" problem.\n\
\x20\x204) Check with 'redis-cli --intrinsic-latency 100' what is the intrinsic latency in your \
system.\n";
const HUGE_PAGES: &str = "\
- I detected a non zero amount of anonymous huge pages used by your process. This creates \
very serious latency events in different conditions, especially when Redis is persisting \
on disk. To disable THP support use the command 'echo never > \
/sys/kernel/mm/transparent_hugepage/enabled', make sure to also add it into /etc/rc.local \
so that the command will be executed again after a reboot. Note that even if you have \
already disabled THP, you still need to restart the Redis process to get rid of the huge \
pages already created.\n";

/// What can be advised about the events that have happened, in the order in which it is told.
#[derive(Debug, Default)]
struct Advice {
    /// The slow log is off.
    enable_slow_log: bool,
    /// The slow log begins only above the threshold of latency.
    tune_slow_log: bool,
    look_at_slow_log: bool,
    scheduler: bool,
    huge_pages: bool,
}

impl Advice {
    fn about(&mut self, event: &str, services: &Services) {
        match event {
            "command" => {
                let observation = services.config.observation();
                let threshold = observation.latency_threshold_ms();
                match observation.slow_log_nanos() {
                    None => self.enable_slow_log = true,
                    Some(nanos) if nanos / 1_000_000 > threshold => self.tune_slow_log = true,
                    Some(_) => {}
                }
                self.look_at_slow_log = true;
            }
            "fast-command" => self.scheduler = true,
            _ => {}
        }
    }

    /// The sentences, those about the slow log with the setting that they advise.
    fn text(&self, slow_log_micros: u64) -> String {
        let enable = format!(
            "- There are latency issues with potentially slow commands you are using. Try to \
             enable the Slow Log Redis feature using the command 'CONFIG SET \
             slowlog-log-slower-than {slow_log_micros}'. If the Slow log is disabled Redis is not \
             able to log slow commands execution for you.\n"
        );
        let tune = format!(
            "- Your current Slow Log configuration only logs events that are slower than your \
             configured latency monitor threshold. Please use 'CONFIG SET slowlog-log-slower-than \
             {slow_log_micros}'.\n"
        );
        let all = [
            (self.enable_slow_log, enable.as_str()),
            (self.tune_slow_log, &tune),
            (self.look_at_slow_log, LOOK_AT_SLOW_LOG),
            (self.scheduler, SCHEDULER),
            (self.huge_pages, HUGE_PAGES),
        ];
        all.iter().filter_map(|(is_due, text)| is_due.then_some(*text)).collect()
    }
}

/// What LATENCY DOCTOR says.
pub(super) fn report(services: &Services) -> String {
    let events = services.stats.latency.events();
    let threshold_ms = services.config.observation().latency_threshold_ms();
    if events.is_empty() && threshold_ms == 0 {
        return DISABLED.to_owned();
    }
    let now_seconds = services.clock.now().0.div_euclid(1_000);
    let mut text = String::new();
    let mut advice = Advice { huge_pages: huge_page_bytes() > 0, ..Advice::default() };
    for (number, (event, figures)) in events.iter().enumerate() {
        if number == 0 {
            text.push_str(GREETING);
        }
        describe(&mut text, number + 1, event, figures, now_seconds);
        advice.about(event, services);
    }
    let advice = advice.text(threshold_ms.saturating_mul(1_000));
    match (events.is_empty(), advice.is_empty()) {
        (true, true) => text.push_str(NO_SPIKES),
        (false, true) => text.push_str(NO_ADVICE),
        (_, false) => {
            text.push_str("\nI have a few advices for you:\n\n");
            text.push_str(&advice);
        }
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "two digits behind the point are shown")]
fn describe(text: &mut String, number: usize, event: &str, figures: &EventFigures, now: i64) {
    let samples = figures.samples.len();
    let first = figures.samples.front().map_or(now, |sample| sample.unix_seconds);
    let period = now.saturating_sub(first).max(1) as f64 / samples.max(1) as f64;
    // Writing to a String cannot fail.
    let _infallible = writeln!(
        text,
        "{number}. {event}: {samples} latency spikes (average {}ms, mean deviation {}ms, period \
         {period:.2} sec). Worst all time event {}ms.",
        figures.mean_millis(),
        figures.deviation_millis(),
        figures.longest_millis
    );
}

/// What LATENCY GRAPH draws of an event: a column for each sample, with its age below it.
pub(super) fn graph(event: &str, figures: &EventFigures, now_seconds: i64) -> String {
    let millis = || figures.samples.iter().map(|sample| sample.millis);
    let (high, low) = (millis().max().unwrap_or(0), millis().min().unwrap_or(0));
    let longest = figures.longest_millis;
    let mut text = format!("{event} - high {high} ms, low {low} ms (all time high {longest} ms)\n");
    text.extend(std::iter::repeat_n('-', GRAPH_COLUMNS));
    text.push('\n');
    let steps = GRAPH_CHARACTERS.len() * GRAPH_ROWS;
    let columns: Vec<(usize, String)> = figures
        .samples
        .iter()
        .map(|sample| {
            let part = (sample.millis - low).saturating_mul(steps as u64) / (high - low).max(1);
            let step = usize::try_from(part).unwrap_or(steps).min(steps - 1);
            (step, age(now_seconds.saturating_sub(sample.unix_seconds)))
        })
        .collect();
    for (number, columns) in columns.chunks(GRAPH_COLUMNS).enumerate() {
        if number > 0 {
            text.push('\n');
        }
        draw(&mut text, columns);
    }
    text
}

/// Rows of bars, an empty row, and the labels from top to bottom.
fn draw(text: &mut String, columns: &[(usize, String)]) {
    for row in 0..GRAPH_ROWS {
        let base = (GRAPH_ROWS - row - 1) * GRAPH_CHARACTERS.len();
        text.extend(columns.iter().map(|(step, _)| match step.checked_sub(base) {
            None => ' ',
            Some(within) => GRAPH_CHARACTERS.get(within).copied().unwrap_or('|'),
        }));
        text.push('\n');
    }
    text.extend(columns.iter().map(|_| ' '));
    text.push('\n');
    let longest = columns.iter().map(|(_, label)| label.len()).max().unwrap_or(0);
    for number in 0..longest {
        text.extend(columns.iter().map(|(_, label)| label.chars().nth(number).unwrap_or(' ')));
        text.push('\n');
    }
}

/// How long ago something happened.
fn age(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}
