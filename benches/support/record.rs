//! The figures of a run: gathered round by round, printed as rows of one table, written as JSON.

use super::figure::{Figure, Run};
use super::options::{Common, Who};
use super::{Outcome, median, output_of, text};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// What each server had in each round.
pub struct Rounds {
    name: String,
    title: String,
    unit: &'static str,
    more_is_better: bool,
    values: [Vec<f64>; Who::ALL.len()],
}

impl Rounds {
    /// Of something of which less is better.
    pub fn new(name: impl Into<String>, title: impl Into<String>, unit: &'static str) -> Self {
        let (name, title) = (name.into(), title.into());
        Self { name, title, unit, more_is_better: false, values: Default::default() }
    }

    /// Of something of which more is better.
    pub fn more(name: impl Into<String>, title: impl Into<String>, unit: &'static str) -> Self {
        Self { more_is_better: true, ..Self::new(name, title, unit) }
    }

    /// Adds what a server had in its next round.
    pub fn add(&mut self, who: Who, value: f64) {
        if let Some(values) = self.values.get_mut(who as usize) {
            values.push(value);
        }
    }

    /// The medians, and the medians of the rounds' own ratios.
    fn figure(&self, run: &Run) -> Outcome<Figure> {
        let [redis, redis8, ours] = &self.values;
        let of = |values: &[f64]| (!values.is_empty()).then(|| median(values.iter().copied()));
        let ratio = |others: &[f64]| {
            let ratios = ours.iter().zip(others).map(|(ours, other)| ours / other);
            (!others.is_empty()).then(|| median(ratios))
        };
        Ok(Figure {
            name: self.name.clone(),
            title: self.title.clone(),
            unit: self.unit.to_owned(),
            more_is_better: self.more_is_better,
            redis: of(redis),
            redis8: of(redis8),
            ours: of(ours).ok_or_else(|| format!("{}: not measured", self.name))?,
            ratio: ratio(redis),
            ratio8: ratio(redis8),
            run: run.clone(),
        })
    }
}

/// Where the figures of a bench go.
pub struct Record {
    run: Run,
    file: Option<File>,
}

impl Record {
    /// Prints which servers and which machine the figures are of, and makes the file anew if there
    /// is to be one.
    pub fn open(common: &Common) -> Outcome<Self> {
        let versions: Vec<String> =
            common.programs().iter().map(|(_, program)| version(program)).collect();
        let run = Run {
            date: output_of("date", &["-u", "+%Y-%m-%d"]),
            machine: machine(),
            servers: versions.join(", "),
            is_quick: common.quick,
        };
        println!("## {}\n\n{}, {}.\n", run.servers, run.date, run.machine);
        let file = common.json.as_ref().map(|path| File::create(path).map_err(text)).transpose()?;
        Ok(Self { run, file })
    }

    /// Writes a figure.
    pub fn keep(&mut self, rounds: &Rounds) -> Outcome<Figure> {
        let figure = rounds.figure(&self.run)?;
        if let Some(file) = &mut self.file {
            writeln!(file, "{}", figure.to_line()).map_err(text)?;
        }
        Ok(figure)
    }

    /// Prints the head of a table of [`note`](Self::note).
    pub fn head(&self) {
        println!("| figure | unit | Redis | Redis 8 | ours | ratio |\n|---|---|--:|--:|--:|--:|");
    }

    /// Writes a figure and prints it as a row.
    pub fn note(&mut self, rounds: &Rounds) -> Outcome<()> {
        let figure = self.keep(rounds)?;
        let cell = |value: Option<f64>| value.map_or("-".to_owned(), readable);
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            figure.title,
            figure.unit,
            cell(figure.redis),
            cell(figure.redis8),
            cell(Some(figure.ours)),
            figure.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
        );
        Ok(())
    }
}

/// About three digits.
fn readable(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The version that a server tells.
pub fn version(program: &Path) -> String {
    let output = Command::new(program).arg("--version").output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    let line = String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned();
    let version = line.split_whitespace().find_map(|word| word.strip_prefix("v="));
    version.map_or(line.clone(), |version| format!("Redis {version}"))
}

fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let model = model.unwrap_or("unknown processor").trim();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    // The two numbers that name a kernel; what follows them is a build's own.
    let kernel = output_of("uname", &["-r"]);
    let kernel: Vec<&str> = kernel.split('.').take(2).collect();
    format!("{model}, {cores} cores, Linux {}", kernel.join("."))
}
