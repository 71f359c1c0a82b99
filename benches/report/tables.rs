//! The tables of docs/benchmarks.md.
//!
//! The document says where a table goes: between `<!-- figures: NAME -->` and
//! `<!-- end of figures -->` stands what is written from the figures whose names begin with NAME;
//! for the name `targets`, all that have a target. What is around it is written by hand.

use super::readable;
use super::targets::{Target, target_of, without_figure};
use crate::support::figure::Figure;
use std::fmt::Write as _;

const START: &str = "<!-- figures: ";
const START_END: &str = " -->\n";
const END: &str = "<!-- end of figures -->";
const LINE_CHARS_MAX: usize = 120;
/// The name of the table of all targets.
const TARGETS_NAME: &str = "targets";

/// The document with its tables written anew.
pub fn fill(document: &str, figures: &[Figure]) -> Result<String, String> {
    let (mut filled, mut rest) = (String::new(), document);
    while let Some((before, after)) = rest.split_once(START) {
        let (name, after) = after.split_once(START_END).ok_or("a marker without its end")?;
        let (_, after) = after.split_once(END).ok_or_else(|| format!("{name}: no end"))?;
        let table = if name == TARGETS_NAME { targets(figures) } else { section(figures, name) };
        let _ = write!(filled, "{before}{START}{name}{START_END}\n{table}\n{END}");
        rest = after;
    }
    Ok(filled + rest)
}

/// All figures that have a target, and whether it is met.
pub fn targets(figures: &[Figure]) -> String {
    let aimed: Vec<&Figure> = figures.iter().filter(|figure| target_of(figure).is_some()).collect();
    let met = aimed.iter().filter(|figure| is_met(figure) == Some(true)).count();
    let missing = without_figure(figures);
    let mut text = format!("{met} of {} figures that have a target meet it.\n\n", aimed.len());
    if !missing.is_empty() {
        let words = format!("Not measured: {}.", missing.join(", "));
        let _ = writeln!(text, "{}\n", wrapped(&words));
    }
    text.push_str(&table(&aimed));
    text
}

/// Words in lines of the length that documents have.
fn wrapped(words: &str) -> String {
    let mut lines: Vec<String> = vec![String::new()];
    for word in words.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < LINE_CHARS_MAX => {
                line.push_str(if line.is_empty() { "" } else { " " });
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

/// The figures whose names begin with `name`.
pub fn section(figures: &[Figure], name: &str) -> String {
    let is_of = |figure: &&Figure| {
        figure.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let chosen: Vec<&Figure> = figures.iter().filter(is_of).collect();
    if chosen.is_empty() { "Not measured.\n".to_owned() } else { table(&chosen) }
}

fn is_met(figure: &Figure) -> Option<bool> {
    target_of(figure)?.bound.is_met(figure)
}

/// A row for each figure, and a line for each run that they are of.
fn table(figures: &[&Figure]) -> String {
    let has_redis8 = figures.iter().any(|figure| figure.redis8.is_some());
    let has_targets = figures.iter().any(|figure| target_of(figure).is_some());
    let mut columns = vec![("figure", false), ("unit", false), ("Redis", true)];
    columns.extend(has_redis8.then_some(("Redis 8", true)));
    columns.extend([("ours", true), ("ratio", true)]);
    columns.extend(has_targets.then_some(("target", false)));
    columns.extend(has_targets.then_some(("met", false)));
    let mut text = String::new();
    row(&mut text, columns.iter().map(|(name, _)| (*name).to_owned()));
    text.push('|');
    columns
        .iter()
        .for_each(|(_, is_number)| text.push_str(if *is_number { "--:|" } else { "---|" }));
    text.push('\n');
    for figure in figures {
        let cell = |value: Option<f64>| value.map_or("-".to_owned(), readable);
        let mut cells = vec![figure.title.clone(), figure.unit.clone(), cell(figure.redis)];
        cells.extend(has_redis8.then(|| cell(figure.redis8)));
        cells.push(cell(Some(figure.ours)));
        cells.push(figure.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")));
        if has_targets {
            let target: Option<&Target> = target_of(figure);
            cells.push(target.map_or(String::new(), |target| target.bound.text()));
            cells.push(match (target, is_met(figure)) {
                (None, _) => String::new(),
                (_, Some(true)) => "yes".to_owned(),
                (_, Some(false)) => "**no**".to_owned(),
                (_, None) => "unknown".to_owned(),
            });
        }
        row(&mut text, cells.into_iter());
    }
    text + "\n" + &runs(figures)
}

fn row(text: &mut String, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

/// The days, machines and servers that the figures are of.
fn runs(figures: &[&Figure]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for figure in figures {
        let run = &figure.run;
        let quick = if run.is_quick { " A first look: `--quick`." } else { "" };
        let line = format!("{}, {}:\n{}.{quick}", run.date, run.machine, run.servers);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.iter().fold(String::new(), |text, line| text + line + "\n")
}
