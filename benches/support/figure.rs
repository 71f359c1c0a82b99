//! One figure of a benchmark, as benches note it down and as documents are drawn from it.
//!
//! A file of figures has a line of JSON for each. Its name says what was measured, in parts from
//! the bench to the detail: `clients/10000/get`. A figure carries the run it is of, so that a file
//! can be put together from runs of different days.

use serde_json::{Map, Value, json};

/// A measurement, and what it gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Where it belongs, for example `speed/16/get`; unique.
    pub name: String,
    /// What it is, for a reader.
    pub title: String,
    /// Of the values, and which way is better.
    pub unit: String,
    /// True for what a faster server has more of.
    pub more_is_better: bool,
    /// The values; none of Redis where it has no counterpart.
    pub redis: Option<f64>,
    /// That of the third server.
    pub redis8: Option<f64>,
    /// Ours.
    pub ours: f64,
    /// Ours by that of Redis: the median of the rounds' own ratios.
    pub ratio: Option<f64>,
    /// As `ratio`, by that of the third server.
    pub ratio8: Option<f64>,
    /// The day, the machine, the servers.
    pub run: Run,
}

/// What all figures of a run share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// As 2026-01-31.
    pub date: String,
    /// Processor, cores, system.
    pub machine: String,
    /// The servers, with their versions.
    pub servers: String,
    /// True if sizes and rounds were those of a first look.
    pub is_quick: bool,
}

impl Figure {
    /// A line without its end.
    pub fn to_line(&self) -> String {
        let mut line = Map::new();
        let mut put = |name: &str, value: Value| line.insert(name.to_owned(), value);
        put("figure", json!(self.name));
        put("title", json!(self.title));
        put("unit", json!(self.unit));
        put("better", json!(if self.more_is_better { "more" } else { "less" }));
        let values = [
            ("redis", self.redis),
            ("redis8", self.redis8),
            ("ours", Some(self.ours)),
            ("ratio", self.ratio),
            ("ratio8", self.ratio8),
        ];
        for (name, value) in values {
            if let Some(value) = value.filter(|value| value.is_finite()) {
                put(name, json!(rounded(value)));
            }
        }
        put("date", json!(self.run.date));
        put("machine", json!(self.run.machine));
        put("servers", json!(self.run.servers));
        put("quick", json!(self.run.is_quick));
        Value::Object(line).to_string()
    }

    /// Reads a line; what is wrong with it is the error.
    pub fn from_line(line: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))?;
        let text = |name: &str| {
            let text = value.get(name).and_then(Value::as_str).map(str::to_owned);
            text.ok_or_else(|| format!("no {name}: {line}"))
        };
        let number = |name: &str| value.get(name).and_then(Value::as_f64);
        Ok(Self {
            name: text("figure")?,
            title: text("title")?,
            unit: text("unit")?,
            more_is_better: text("better")? == "more",
            redis: number("redis"),
            redis8: number("redis8"),
            ours: number("ours").ok_or_else(|| format!("no ours: {line}"))?,
            ratio: number("ratio"),
            ratio8: number("ratio8"),
            run: Run {
                date: text("date")?,
                machine: text("machine")?,
                servers: text("servers")?,
                is_quick: value.get("quick").and_then(Value::as_bool).unwrap_or(false),
            },
        })
    }

    /// Reads all lines of a file; of several of one name the last counts, at the place of the first.
    pub fn read_all(text: &str) -> Result<Vec<Self>, String> {
        let mut figures: Vec<Self> = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let figure = Self::from_line(line)?;
            match figures.iter_mut().find(|known| known.name == figure.name) {
                Some(known) => *known = figure,
                None => figures.push(figure),
            }
        }
        Ok(figures)
    }
}

/// Four digits that count, or all of a whole number: more is noise.
fn rounded(value: f64) -> f64 {
    let digits = 3 - value.abs().max(1e-9).log10().floor() as i32;
    let scale = 10_f64.powi(digits.max(0));
    (value * scale).round() / scale
}
