//! What the command lines of all benches that start servers have in common.

use super::{OURS, Outcome, bare};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use structopt::StructOpt;
use structopt::clap::AppSettings;

/// The environment variable that names a third server.
const REDIS8_VARIABLE: &str = "MY_REDIS_REDIS8";

/// A server's column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// redis-server of the system.
    Redis,
    /// A newer one beside it.
    Redis8,
    /// The one that this is about.
    Ours,
}

impl Who {
    /// In the order of their columns.
    pub const ALL: [Self; 3] = [Self::Redis, Self::Redis8, Self::Ours];

    /// As it stands in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Redis8 => "Redis 8",
            Self::Ours => "ours",
        }
    }
}

// What every bench takes. Documentation of it would become that of each bench.
#[derive(StructOpt)]
pub struct Common {
    /// The server to measure [default: the release build]
    #[structopt(
        long,
        value_name = "PROGRAM",
        default_value = OURS,
        hide_default_value = true,
        parse(from_os_str)
    )]
    pub ours: PathBuf,
    /// The server to measure it against
    #[structopt(long, value_name = "PROGRAM", default_value = "redis-server", parse(from_os_str))]
    pub redis: PathBuf,
    /// A third server, for example Redis 8.2; not in walk and dump
    #[structopt(
        long,
        value_name = "PROGRAM",
        env = REDIS8_VARIABLE,
        hide_env_values = true,
        parse(from_os_str)
    )]
    pub redis8: Option<PathBuf>,
    /// Write each figure as a line of JSON
    #[structopt(long, value_name = "FILE", parse(from_os_str))]
    pub json: Option<PathBuf>,
    /// A first look: fewer rounds, smaller sizes
    #[structopt(long)]
    pub quick: bool,
    /// Cargo's own, for every bench.
    #[structopt(long = "bench", hidden = true)]
    _is_bench: bool,
}

impl Common {
    /// The servers, in the order in which they take turns.
    pub fn programs(&self) -> Vec<(Who, &Path)> {
        let all = [
            (Who::Redis, Some(&self.redis)),
            (Who::Redis8, self.redis8.as_ref()),
            (Who::Ours, Some(&self.ours)),
        ];
        let all = all.into_iter().filter_map(|(who, program)| Some((who, program?.as_path())));
        all.filter(|(_, program)| !program.as_os_str().is_empty()).collect()
    }

    /// The same for what has no counterpart in Redis.
    pub fn alone(&self, json: PathBuf) -> Self {
        let (ours, redis) = (self.ours.clone(), PathBuf::new());
        Self { ours, redis, redis8: None, json: Some(json), quick: self.quick, _is_bench: true }
    }

    /// What was asked for, or what goes with a full run or a first look.
    pub fn pick(&self, asked: Option<usize>, full: usize, quick: usize) -> usize {
        asked.unwrap_or(if self.quick { quick } else { full })
    }
}

/// Names that were asked for, or all; one that there is not is an error.
pub fn chosen<'a>(asked: &[String], all: &[&'a str]) -> Outcome<Vec<&'a str>> {
    if let Some(name) = asked.iter().find(|name| !all.contains(&name.as_str())) {
        return Err(format!("there is no {name}; there are {}", all.join(", ")));
    }
    let is_asked = |name: &&&str| asked.is_empty() || asked.iter().any(|asked| asked == **name);
    Ok(all.iter().filter(is_asked).copied().collect())
}

/// Runs a bench on its command line; what goes wrong is said in a line.
pub fn main<T: StructOpt>(name: &str, run: impl FnOnce(&T) -> Outcome<()>) -> ExitCode {
    let outcome = bare::serve_if_asked().unwrap_or_else(|| {
        let settings = [AppSettings::UnifiedHelpMessage, AppSettings::DeriveDisplayOrder];
        let app = T::clap().name(name).settings(&settings).set_term_width(100);
        run(&T::from_clap(&app.get_matches()))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{name}: {reason}");
            ExitCode::FAILURE
        }
    }
}
