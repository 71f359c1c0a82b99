//! Every figure of docs/benchmarks.md, by one command.
//!
//! `cargo bench --bench all` runs the other benches in turn, gathers the figures that they write
//! as lines of JSON, tells which targets are met, and writes the document's tables and the drawing
//! from them. Figures of benches that were not run stay as they are stored in
//! docs/benchmarks.jsonl. Without `--write` the documents go to target/benchmarks, so that a look
//! does not change what is committed.
//!
//! The benches of parts (without a server) are criterion's; what they measured is read from the
//! files that it leaves.

mod report;
mod support;

use report::{drawing, tables, targets};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use structopt::StructOpt;
use support::figure::Figure;
use support::options::{Who, chosen};
use support::{Common, Outcome, Record, Rounds, text};

/// The folder of what is committed, and that of a look.
const DOCUMENTS: &str = "docs";
const LOOKS: &str = "target/benchmarks";
const FIGURES_FILE: &str = "benchmarks.jsonl";
const TEXT_FILE: &str = "benchmarks.md";
const DRAWING_FILE: &str = "benchmarks.svg";
/// Where criterion leaves what a part measured.
const CRITERION: &str = "target/benchmarks/criterion";

/// A bench: its name, the arguments of a full run, and whether it is criterion's.
struct Part {
    name: &'static str,
    bench: &'static str,
    args: &'static [&'static str],
    is_criterion: bool,
}

/// In the order of what a reader wants to know first.
#[rustfmt::skip]
const PARTS: &[Part] = &[
    Part::servers("compare", "compare", &[]),
    Part::servers("both", "compare", &["--both", "--rounds", "3"]),
    Part::servers("clients", "clients", &[]),
    Part::servers("memory", "memory", &[]),
    Part::servers("pubsub", "pubsub", &[]),
    Part::servers("walk", "walk", &[]),
    Part::servers("even", "even", &[]),
    Part::criterion("shard"),
    Part::servers("blocking", "blocking", &["--rounds", "3"]),
    Part::servers("snapshot", "snapshot", &[]),
    Part::servers("eviction", "eviction", &[]),
    Part::servers("dump", "dump", &["--rounds", "3"]),
    Part::criterion("table"),
    Part::criterion("protocol"),
    Part::criterion("persist"),
    Part::criterion("expiry"),
];

impl Part {
    const fn servers(
        name: &'static str,
        bench: &'static str,
        args: &'static [&'static str],
    ) -> Self {
        Self { name, bench, args, is_criterion: false }
    }

    const fn criterion(name: &'static str) -> Self {
        Self { name, bench: name, args: &[], is_criterion: true }
    }

    fn criterion_folder(&self) -> PathBuf {
        Path::new(CRITERION).join(self.name)
    }
}

/// Runs all benches, tells which targets are met, writes tables and drawing.
#[derive(StructOpt)]
struct Options {
    #[structopt(flatten)]
    common: Common,
    /// Of compare,both,clients,memory,pubsub,walk,even,shard,blocking,snapshot,eviction,dump,
    /// table,protocol,persist,expiry [default: all]
    #[structopt(long, value_name = "LIST", require_delimiter = true)]
    only: Vec<String>,
    /// Measure nothing: write the documents from the stored figures
    #[structopt(long)]
    render: bool,
    /// Write docs/benchmarks.{jsonl,md,svg}, not those in target/benchmarks
    #[structopt(long)]
    write: bool,
}

/// Runs a bench, whose output goes where that of this one goes.
fn run_bench(part: &Part, args: &[String]) -> Outcome<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    println!("\n# {}\n", part.name);
    let mut command = Command::new(cargo);
    command.args(["bench", "--quiet", "--bench", part.bench, "--"]).args(args);
    command.env("CRITERION_HOME", part.criterion_folder());
    let status = command.status().map_err(|e| format!("cargo: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", part.name)) }
}

/// The arguments of a bench that starts servers.
fn server_args(part: &Part, common: &Common, json: &Path) -> Vec<String> {
    let mut args: Vec<String> = Vec::new();
    let mut put = |name: &str, value: &Path| {
        args.extend([name.to_owned(), value.to_string_lossy().into_owned()]);
    };
    put("--json", json);
    put("--ours", &common.ours);
    put("--redis", &common.redis);
    if let Some(redis8) = &common.redis8 {
        put("--redis8", redis8);
    }
    if common.quick {
        args.push("--quick".to_owned());
    } else {
        args.extend(part.args.iter().map(|arg| (*arg).to_owned()));
    }
    if part.args.contains(&"--both") && common.quick {
        args.push("--both".to_owned());
    }
    args
}

/// Runs a part; gives its figures.
fn measure(part: &Part, common: &Common) -> Outcome<Vec<Figure>> {
    let json = Path::new(LOOKS).join(format!("{}.jsonl", part.name));
    if part.is_criterion {
        // What is left from before is no figure of today.
        let _ = std::fs::remove_dir_all(part.criterion_folder());
        let seconds = if common.quick { ["0.2", "0.3"] } else { ["1", "2"] };
        let [warm_up, length] = seconds.map(str::to_owned);
        let args = ["--warm-up-time".to_owned(), warm_up, "--measurement-time".to_owned(), length];
        run_bench(part, &args)?;
        let alone = common.alone(json.clone());
        criterion_figures(part, &mut Record::open(&alone)?)?;
    } else {
        run_bench(part, &server_args(part, common, &json))?;
    }
    Figure::read_all(&std::fs::read_to_string(&json).map_err(text)?)
}

/// A measurement of criterion: its group, its function, and a second's worth in millions, or in GB
/// if bytes are counted; milliseconds if nothing is.
struct Measured {
    group: String,
    function: String,
    value: f64,
    unit: &'static str,
}

impl Measured {
    fn read(folder: &Path) -> Option<Self> {
        let json = |name: &str| {
            let text = std::fs::read_to_string(folder.join(name)).ok()?;
            serde_json::from_str::<Value>(&text).ok()
        };
        let (benchmark, estimates) = (json("benchmark.json")?, json("estimates.json")?);
        let word = |name: &str| benchmark.get(name).and_then(Value::as_str).unwrap_or_default();
        let nanos = estimates.get("median")?.get("point_estimate")?.as_f64()?;
        let per_pass = |name: &str| benchmark.get("throughput")?.get(name)?.as_f64();
        let (value, unit) = match (per_pass("Elements"), per_pass("Bytes")) {
            (Some(elements), _) => (elements / nanos * 1e3, "million/s"),
            (_, Some(bytes)) => (bytes / nanos, "GB/s"),
            _ => (nanos / 1e6, "ms"),
        };
        let (group, function) = (word("group_id").to_owned(), word("function_id").to_owned());
        Some(Self { group, function, value, unit })
    }

    fn name(&self, bench: &str) -> String {
        let slug = |words: &str| {
            let words = words.split(|c: char| !c.is_ascii_alphanumeric());
            words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
        };
        format!("{bench}/{}/{}", slug(&self.group), slug(&self.function))
    }
}

/// Folders named `new`, in which criterion leaves what it measured.
fn result_folders(below: &Path, found: &mut Vec<PathBuf>) -> Outcome<()> {
    for entry in std::fs::read_dir(below).map_err(text)? {
        let path = entry.map_err(text)?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name == "new") {
            found.push(path);
        } else if path.is_dir() {
            result_folders(&path, found)?;
        }
    }
    found.sort();
    Ok(())
}

fn criterion_figures(part: &Part, record: &mut Record) -> Outcome<()> {
    let mut folders = Vec::new();
    result_folders(&part.criterion_folder(), &mut folders)?;
    let measured: Vec<Measured> =
        folders.iter().filter_map(|folder| Measured::read(folder)).collect();
    for one in &measured {
        let title = format!("{}: {}", one.group, one.function);
        let mut rounds = match one.unit {
            "ms" => Rounds::new(one.name(part.bench), title, one.unit),
            _ => Rounds::more(one.name(part.bench), title, one.unit),
        };
        rounds.add(Who::Ours, one.value);
        record.keep(&rounds)?;
    }
    if part.bench == "shard" {
        gains(&measured, record)?;
    }
    Ok(())
}

/// What a second thread gives, of each number of shards and share of reads.
fn gains(measured: &[Measured], record: &mut Record) -> Outcome<()> {
    for one in measured {
        let Some(reads) = one.function.strip_prefix("1 threads, ") else { continue };
        let with_two = format!("2 threads, {reads}");
        let is_two = |two: &&Measured| two.group == one.group && two.function == with_two;
        if let Some(two) = measured.iter().find(is_two) {
            let shards = one.group.split(' ').next().unwrap_or_default();
            let percent = reads.split(' ').next().unwrap_or_default();
            let title = format!("{}, {reads}: two threads", one.group);
            let name = format!("shard/gain/{shards}/{percent}");
            let mut rounds = Rounds::more(name, title, "x that of one");
            rounds.add(Who::Ours, two.value / one.value);
            record.keep(&rounds)?;
        }
    }
    Ok(())
}

/// Where the documents of this run are.
fn folder(options: &Options) -> &'static Path {
    Path::new(if options.write { DOCUMENTS } else { LOOKS })
}

/// The figures that are stored, with the new ones in the place of those of their parts.
fn merged(options: &Options, new: &[(&str, Vec<Figure>)]) -> Outcome<Vec<Figure>> {
    let path = folder(options).join(FIGURES_FILE);
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    let stored = Figure::read_all(&stored)?;
    let of_part = |name: &str| -> &str {
        match PARTS.iter().find(|part| name.starts_with(&format!("{}/", part.name))) {
            Some(part) if !name.starts_with("compare/both/") => part.name,
            _ => "both",
        }
    };
    let mut all = Vec::new();
    for part in PARTS {
        match new.iter().find(|(name, _)| *name == part.name) {
            Some((_, figures)) => all.extend(figures.iter().cloned()),
            None => {
                let kept = stored.iter().filter(|figure| of_part(&figure.name) == part.name);
                all.extend(kept.cloned());
            }
        }
    }
    Ok(all)
}

fn write_documents(options: &Options, figures: &[Figure]) -> Outcome<()> {
    let folder = folder(options);
    let lines: Vec<String> = figures.iter().map(Figure::to_line).collect();
    let template = Path::new(DOCUMENTS).join(TEXT_FILE);
    let template = std::fs::read_to_string(&template).map_err(text)?;
    for (name, content) in [
        (FIGURES_FILE, lines.join("\n") + "\n"),
        (TEXT_FILE, tables::fill(&template, figures)?),
        (DRAWING_FILE, drawing::draw(figures)),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, content).map_err(text)?;
        println!("written: {}", path.display());
    }
    Ok(())
}

fn run(options: &Options) -> Outcome<()> {
    std::fs::create_dir_all(LOOKS).map_err(text)?;
    let names: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
    let names = chosen(&options.only, &names)?;
    let (mut new, mut problems) = (Vec::new(), Vec::new());
    for part in PARTS.iter().filter(|part| names.contains(&part.name) && !options.render) {
        let began = Instant::now();
        match measure(part, &options.common) {
            Ok(figures) => new.push((part.name, figures)),
            Err(problem) => problems.push(problem),
        }
        let took = Duration::from_secs(began.elapsed().as_secs());
        println!("\n{} took {took:?}", part.name);
        // A run that is broken off leaves what it has.
        write_documents(options, &merged(options, &new)?)?;
    }
    let figures = merged(options, &new)?;
    if options.render {
        write_documents(options, &figures)?;
    }
    println!("\n# Targets\n\n{}", tables::targets(&figures));
    let missed = figures.iter().filter(|figure| {
        targets::target_of(figure).is_some_and(|target| target.bound.is_met(figure) == Some(false))
    });
    println!("Missed:");
    missed.for_each(|figure| println!("* {} ({})", figure.title, figure.name));
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

fn main() -> ExitCode {
    support::main("all", run)
}
