//! The documents of the benchmarks follow from the figures that are stored beside them.
//!
//! `cargo bench --bench all -- --render --write` writes them anew.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    reason = "a test that meets the unexpected fails"
)]

#[path = "../benches/support"]
mod support {
    pub mod figure;
}
#[path = "../benches/report/mod.rs"]
mod report;

use report::targets::{Bound, TARGETS, target_of};
use report::{drawing, readable, tables};
use std::path::Path;
use support::figure::{Figure, Run};

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn figure(name: &str, redis: Option<f64>, redis8: Option<f64>, ours: f64) -> Figure {
    Figure {
        name: name.to_owned(),
        title: format!("title of {name}"),
        unit: "µs".to_owned(),
        more_is_better: false,
        redis,
        redis8,
        ours,
        ratio: redis.map(|redis| ours / redis),
        ratio8: redis8.map(|redis8| ours / redis8),
        run: Run {
            date: "2026-01-31".to_owned(),
            machine: "a machine".to_owned(),
            servers: "two <servers>".to_owned(),
            is_quick: false,
        },
    }
}

#[test]
fn stored_documents_are_those_of_the_stored_figures() {
    let figures = Figure::read_all(&document("benchmarks.jsonl")).unwrap();
    let text = document("benchmarks.md");
    let hint = "is stale; write it with cargo bench --bench all -- --render --write";
    assert!(tables::fill(&text, &figures).unwrap() == text, "docs/benchmarks.md {hint}");
    let svg = document("benchmarks.svg");
    assert!(drawing::draw(&figures) == svg, "docs/benchmarks.svg {hint}");
}

#[test]
fn a_figure_is_read_as_it_was_written() {
    let whole = Figure { more_is_better: true, ..figure("a/b", Some(2.0), Some(4.0), 1.0) };
    let bare = figure("a/c", None, None, 123_456.0);
    for figure in [whole, bare] {
        assert_eq!(Figure::from_line(&figure.to_line()), Ok(figure));
    }
    // Four digits are kept, and all of a large whole number.
    let line = figure("a", Some(1_234_567.0), None, 0.123_456).to_line();
    let read = Figure::from_line(&line).unwrap();
    assert_eq!((read.redis, read.ours), (Some(1_234_567.0), 0.1235));
    assert!(Figure::from_line("{}").is_err());
}

#[test]
fn of_two_figures_of_one_name_the_last_counts() {
    let lines = [("a", 1.0), ("b", 2.0), ("a", 3.0)];
    let lines = lines.map(|(name, ours)| figure(name, None, None, ours).to_line());
    let figures = Figure::read_all(&lines.join("\n")).unwrap();
    let read: Vec<(&str, f64)> =
        figures.iter().map(|figure| (figure.name.as_str(), figure.ours)).collect();
    assert_eq!(read, [("a", 3.0), ("b", 2.0)]);
}

#[test]
fn targets_are_met_or_missed_or_unknown() {
    let cases = [
        (Bound::RatioAtMost(0.5), Some(10.0), None, 5.0, Some(true)),
        (Bound::RatioAtMost(0.5), Some(10.0), None, 5.1, Some(false)),
        (Bound::RatioAtMost(0.5), None, None, 5.0, None),
        (Bound::RatioAtLeast(3.0), Some(10.0), None, 30.0, Some(true)),
        (Bound::RatioAtLeast(3.0), Some(10.0), None, 29.0, Some(false)),
        (Bound::AtMost(45.0), None, None, 45.0, Some(true)),
        (Bound::AtMost(45.0), None, None, 46.0, Some(false)),
        (Bound::AtLeast(1.8), None, None, 1.7, Some(false)),
        (Bound::BelowRedis8, Some(1.0), Some(50.0), 49.0, Some(true)),
        (Bound::BelowRedis8, Some(1.0), Some(50.0), 50.0, Some(false)),
        (Bound::BelowRedis8, Some(1.0), None, 1.0, None),
    ];
    for (bound, redis, redis8, ours, expected) in cases {
        assert_eq!(bound.is_met(&figure("a", redis, redis8, ours)), expected, "{bound:?} {ours}");
    }
}

#[test]
fn no_target_hides_another() {
    for (number, target) in TARGETS.iter().enumerate() {
        let name = target.figure.replace('*', "x");
        let found = target_of(&figure(&name, None, None, 1.0)).unwrap();
        assert_eq!(found.figure, TARGETS[number].figure, "{name}");
    }
}

#[test]
fn a_table_stands_between_its_markers_and_nothing_else_changes() {
    let text = "before\n<!-- figures: memory/set8 -->\nold\n<!-- end of figures -->\nafter\n";
    let figures = [
        figure("memory/set8", Some(20.0), Some(10.0), 9.0),
        figure("memory/set80", None, None, 1.0),
    ];
    let filled = tables::fill(text, &figures).unwrap();
    assert!(filled.starts_with("before\n<!-- figures: memory/set8 -->\n\n| figure | unit |"));
    assert!(filled.ends_with("\n<!-- end of figures -->\nafter\n"));
    let row = "| title of memory/set8 | µs | 20.0 | 10.0 | 9.00 | 0.45 | below Redis 8 | yes |\n";
    assert!(filled.contains(row), "{filled}");
    assert!(!filled.contains("old") && !filled.contains("set80"), "{filled}");
    assert_eq!(tables::fill(&filled, &figures).unwrap(), filled);
    assert!(tables::fill("<!-- figures: a -->\nno end", &figures).is_err());
}

#[test]
fn the_drawing_has_a_row_for_what_can_be_compared_and_stays_inside_its_frame() {
    let far = figure("clients/cpu/50/set", Some(1.0), Some(0.5), 1e6);
    let near = figure("clients/cpu/50/get", Some(1.0), None, 1e-6);
    let figures =
        [far, near, figure("walk/slower", None, None, 3.0), figure("other", None, None, 1.0)];
    let svg = drawing::draw(&figures);
    assert_eq!(svg.matches("title of").count(), 2, "{svg}");
    assert!(svg.contains("two &lt;servers&gt;"));
    let xs = svg.split(" cx=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    for x in xs.map(|x| x.parse::<f64>().unwrap()) {
        assert!((460.0..=1000.0).contains(&x), "{x}");
    }
    assert_eq!(svg, drawing::draw(&figures));
}

#[test]
fn numbers_are_short() {
    let texts = [1234.6, 99.96, 12.34, 1.234, 0.0, 0.012_34].map(readable);
    assert_eq!(texts, ["1235", "100.0", "12.3", "1.23", "0.00", "0.0123"]);
}
