//! The figures that have a target as a drawing: what each costs as a multiple of Redis.
//!
//! Every figure is turned so that less is better, and all share one logarithmic axis: left of the
//! line at 1 this server is ahead. A row has a dot for this server, a ring for the third, a stroke
//! for the target. The colours follow the reader's theme; the text uses the fonts that are there.

use super::targets::{Bound, target_of};
use crate::support::figure::Figure;
use std::fmt::Write as _;

const WIDTH: f64 = 1000.0;
const ROW_HEIGHT: f64 = 19.0;
/// Space above the first row, and below the last.
const HEAD: f64 = 84.0;
const FOOT: f64 = 40.0;
/// Where the axis begins and ends.
const LEFT: f64 = 460.0;
const RIGHT: f64 = 910.0;
/// The multiples at its ends; what is beyond stands at the end.
const LEAST: f64 = 0.02;
const MOST: f64 = 5.0;
const STROKES: &[(f64, &str)] = &[
    (0.02, "1/50"),
    (0.05, "1/20"),
    (0.1, "1/10"),
    (0.2, "1/5"),
    (0.5, "1/2"),
    (1.0, "1"),
    (2.0, "2"),
    (5.0, "5"),
];

const STYLE: &str = "\
text{fill:#1f2328;font:12px sans-serif}.title{font-size:15px;font-weight:bold}.back{fill:#fff}\
.grid{stroke:#d1d9e0}.one,.other{stroke:#59636e;stroke-width:1.5}.other{fill:none}\
.good{fill:#1a7f37;stroke:#1a7f37}.bad{fill:#cf222e;stroke:#cf222e}\
.target{stroke:#1f2328;stroke-width:2}.end{text-anchor:end}.middle{text-anchor:middle}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.back{fill:#0d1117}.grid{stroke:#30363d}\
.one,.other{stroke:#9198a1}.good{fill:#3fb950;stroke:#3fb950}.bad{fill:#ff7b72;stroke:#ff7b72}\
.target{stroke:#f0f6fc}}";

/// A figure's place on the axis, with those of its target and of the third server.
struct Point {
    ours: f64,
    redis8: Option<f64>,
    target: Option<f64>,
    is_met: Option<bool>,
}

impl Point {
    /// None if there is no Redis to compare with.
    fn of(figure: &Figure) -> Option<Self> {
        let redis = figure.redis.filter(|redis| *redis > 0.0)?;
        // Less is better, of every figure.
        let turn = |ratio: f64| if figure.more_is_better { 1.0 / ratio } else { ratio };
        let bound = target_of(figure)?.bound;
        let target = match bound {
            Bound::RatioAtMost(ratio) | Bound::RatioAtLeast(ratio) => Some(turn(ratio)),
            Bound::AtMost(value) | Bound::AtLeast(value) => Some(turn(value / redis)),
            Bound::BelowRedis8 => figure.redis8.map(|redis8| turn(redis8 / redis)),
        };
        Some(Self {
            ours: turn(figure.ratio.unwrap_or(figure.ours / redis)),
            redis8: figure.redis8.map(|redis8| turn(redis8 / redis)),
            target,
            is_met: bound.is_met(figure),
        })
    }
}

/// Where a multiple stands.
fn place(multiple: f64) -> f64 {
    let share = (multiple.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    LEFT + share * (RIGHT - LEFT)
}

/// A multiple in a few characters.
fn multiple(value: f64) -> String {
    match value {
        v if v >= 10.0 => format!("{v:.0}"),
        v if v >= 0.1 || v <= 0.0 => format!("{v:.2}"),
        v => format!("1/{:.0}", 1.0 / v),
    }
}

/// The drawing of all figures that have a target and a counterpart in Redis.
pub fn draw(figures: &[Figure]) -> String {
    let rows: Vec<(&Figure, Point)> =
        figures.iter().filter_map(|figure| Some((figure, Point::of(figure)?))).collect();
    let height = HEAD + ROW_HEIGHT * rows.len() as f64 + FOOT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<title>What requests and keys cost \
         beside Redis</title>\n<style>{STYLE}</style>\n\
         <rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\"/>\n"
    );
    legend(&mut svg, rows.first().map(|(figure, _)| *figure));
    for (multiple, name) in STROKES {
        let (x, end) = (place(*multiple), height - FOOT + 6.0);
        let class = if *multiple == 1.0 { "one" } else { "grid" };
        line(&mut svg, class, (x, HEAD - 8.0), (x, end));
        text(&mut svg, "middle", (x, HEAD - 14.0), name);
        text(&mut svg, "middle", (x, end + 16.0), name);
    }
    for (number, (figure, point)) in rows.iter().enumerate() {
        row(&mut svg, HEAD + ROW_HEIGHT * (number as f64 + 0.5), figure, point);
    }
    svg + "</svg>\n"
}

fn row(svg: &mut String, y: f64, figure: &Figure, point: &Point) {
    text(svg, "end", (LEFT - 12.0, y + 4.0), &escaped(&figure.title));
    let class = if point.is_met == Some(true) { "good" } else { "bad" };
    let (one, ours) = (place(1.0), place(point.ours));
    line(svg, class, (one, y), (ours, y));
    if let Some(target) = point.target {
        line(svg, "target", (place(target), y - 6.0), (place(target), y + 6.0));
    }
    if let Some(redis8) = point.redis8 {
        circle(svg, "other", (place(redis8), y));
    }
    circle(svg, class, (ours, y));
    text(svg, "end", (WIDTH - 16.0, y + 4.0), &multiple(point.ours));
}

fn legend(svg: &mut String, first: Option<&Figure>) {
    text(svg, "title", (16.0, 26.0), "What requests and keys cost, Redis = 1: less is better");
    let servers = first.map(|figure| format!("{}: {}", figure.run.date, figure.run.servers));
    text(svg, "", (16.0, 46.0), &escaped(&servers.unwrap_or_default()));
    let mut x = 560.0;
    for (class, name) in [("good", "target met"), ("bad", "missed"), ("other", "Redis 8")] {
        circle(svg, class, (x, 22.0));
        text(svg, "", (x + 9.0, 26.0), name);
        x += 30.0 + 7.0 * name.len() as f64;
    }
    line(svg, "target", (x, 16.0), (x, 28.0));
    text(svg, "", (x + 9.0, 26.0), "target");
}

fn text(svg: &mut String, class: &str, (x, y): (f64, f64), words: &str) {
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>");
}

fn line(svg: &mut String, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    );
}

fn circle(svg: &mut String, class: &str, (x, y): (f64, f64)) {
    let _ = writeln!(svg, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>");
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
