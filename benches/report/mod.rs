//! From figures to documents: which targets are met, the tables of docs/benchmarks.md, the drawing.
//!
//! What is written depends on the figures alone, so a test can compare the documents with the
//! figures that are stored beside them.

#![allow(dead_code, reason = "the bench and the test each use their own part")]

pub mod drawing;
pub mod tables;
pub mod targets;

/// About three digits that count.
pub fn readable(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
