//! The report at the end: for a person, and as JSON for a program.

use crate::stress::figures::milliseconds;
use crate::stress::load::Load;
use crate::stress::run::{Ending, Run};
use crate::stress::watch::Drift;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// Everything that a run has come to.
pub struct Report<'a> {
    /// The run.
    pub run: &'a Run,
    /// What it did.
    pub load: &'a Load,
    /// What the server calls itself.
    pub server: &'a str,
    /// How long requests were sent.
    pub seconds: f64,
    /// What changed meanwhile, if that was looked at.
    pub drift: Option<Drift>,
    /// Why it has ended, if not by its time.
    pub ending: Option<Ending>,
}

/// The latencies that are told.
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// Latencies for a person.
pub fn latencies(taken: &Histogram<u64>) -> String {
    let word = |(name, quantile): (&str, f64)| {
        format!("{name} {}", milliseconds(taken.value_at_quantile(quantile)))
    };
    QUANTILES.map(word).join("  ") + " ms"
}

fn latencies_json(taken: &Histogram<u64>) -> Value {
    let pairs = QUANTILES
        .map(|(name, quantile)| (format!("{name}_us"), json!(taken.value_at_quantile(quantile))));
    let count = ("count".to_owned(), json!(taken.len()));
    Value::Object(pairs.into_iter().chain([count]).collect())
}

/// What was checked, and how often.
fn checked(load: &Load) -> Vec<(&'static str, u64)> {
    let mut checked = Vec::new();
    if let Some(registers) = &load.registers {
        let counts = registers.checked();
        checked.push(("register_windows", counts.windows.load(Ordering::Relaxed)));
        checked.push(("register_operations", counts.operations.load(Ordering::Relaxed)));
        checked.push(("register_windows_undecided", counts.undecided.load(Ordering::Relaxed)));
    }
    if let Some(pairs) = &load.pairs {
        checked.push(("pair_reads", pairs.reads()));
    }
    if let Some(tokens) = &load.tokens {
        let (moves, totals) = tokens.counts();
        checked.push(("moves", moves));
        checked.push(("totals", totals));
    }
    if let Some(queues) = &load.queues {
        checked.push(("queue_elements", queues.arrived()));
    }
    if let Some(counters) = &load.counters {
        checked.push(("counter_numbers", counters.given()));
    }
    if let Some(channels) = &load.channels {
        checked.push(("channel_messages", channels.received()));
    }
    checked
}

impl Report<'_> {
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    fn rate(&self) -> f64 {
        self.run.figures.requests() as f64 / self.seconds.max(0.001)
    }

    /// In one word.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match &self.ending {
            Some(Ending::Fault(_)) => "broken",
            Some(Ending::Failure(_)) => "failed",
            None if !self.run.figures.errors().is_empty() => "errors",
            None => "good",
        }
    }

    /// For a person.
    #[must_use]
    pub fn text(&self) -> String {
        let settings = &self.run.settings;
        let kinds = self.run.figures.kinds();
        let mut lines = vec![
            format!(
                "{}:{} ({}), mix {}, {} clients, pipeline {}, seed {}, {:.1} s",
                settings.host,
                settings.port,
                self.server,
                settings.mix,
                settings.clients,
                settings.pipeline,
                settings.seed,
                self.seconds
            ),
            format!(
                "requests          {}, {:.0} a second",
                self.run.figures.requests(),
                self.rate()
            ),
            format!("all latencies     {}", latencies(&self.run.figures.all())),
        ];
        for (kind, taken) in &kinds {
            lines.push(format!("{kind:<12} {:>10}   {}", taken.len(), latencies(taken)));
        }
        if settings.check {
            let counts = checked(self.load);
            let counts =
                counts.iter().map(|(name, count)| format!("{count} {}", name.replace('_', " ")));
            lines.push(format!("checked           {}", counts.collect::<Vec<_>>().join(", ")));
        } else {
            lines.push("nothing was checked (--check)".to_owned());
        }
        lines.extend(self.drift.iter().flat_map(Drift::lines));
        for (error, count) in self.run.figures.errors() {
            lines.push(format!("{count} times the answer was an error: {error}"));
        }
        lines.extend(self.ending_lines());
        lines.join("\n") + "\n"
    }

    fn ending_lines(&self) -> Vec<String> {
        match &self.ending {
            Some(Ending::Fault(fault)) => {
                let mut lines = vec![format!("BROKEN ({}): {}", fault.check, fault.text)];
                lines.extend(fault.history.iter().cloned());
                lines
            }
            Some(Ending::Failure(text)) => vec![format!("FAILED: {text}")],
            None if self.verdict() == "errors" => {
                vec!["FAILED: requests were answered by errors".to_owned()]
            }
            None => vec!["nothing was found".to_owned()],
        }
    }

    /// For a program.
    #[must_use]
    pub fn json(&self) -> Value {
        let settings = &self.run.settings;
        let kinds = self.run.figures.kinds();
        let by_kind: serde_json::Map<String, Value> =
            kinds.iter().map(|(kind, taken)| ((*kind).to_owned(), latencies_json(taken))).collect();
        let counts = checked(self.load).into_iter();
        let counts: serde_json::Map<String, Value> =
            counts.map(|(name, count)| (name.to_owned(), json!(count))).collect();
        let ending = match &self.ending {
            Some(Ending::Fault(fault)) => json!({
                "check": fault.check, "text": fault.text, "history": fault.history,
            }),
            Some(Ending::Failure(text)) => json!({ "text": text }),
            None => Value::Null,
        };
        json!({
            "verdict": self.verdict(),
            "ending": ending,
            "server": self.server,
            "host": settings.host,
            "port": settings.port,
            "mix": settings.mix.name(),
            "clients": settings.clients,
            "keys": settings.keys,
            "pipeline": settings.pipeline,
            "rate": settings.rate,
            "seed": settings.seed,
            "seconds": self.seconds,
            "requests": self.run.figures.requests(),
            "requests_per_second": self.rate(),
            "latency": latencies_json(&self.run.figures.all()),
            "latency_by_request": by_kind,
            "is_checked": settings.check,
            "checked": if settings.check { Value::Object(counts) } else { Value::Null },
            "errors": self.run.figures.errors(),
            "watched": self.drift.as_ref().map(Drift::json),
        })
    }
}
