//! The stress tool's command line: its one file that knows the option parser.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use structopt::StructOpt;
use structopt::clap::{AppSettings, ErrorKind};

/// The environment variable that may hold the password.
const PASSWORD_VARIABLE: &str = "REDISCLI_AUTH";
/// Clients at most: each has a connection.
const CLIENTS_MAX: usize = 10_000;
/// Registers at most: each keeps a window of its history.
const KEYS_MAX: usize = 100_000;
/// Requests at most that a client sends before it reads.
const PIPELINE_MAX: usize = 1_000;

/// The code of an end for which the server's data is not to blame: usage, connection, errors.
pub const FAILED: u8 = 2;

/// What kind of load is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Single keys, pairs of keys, deadlines.
    Cache,
    /// Lists and streams from producers to consumers.
    Queue,
    /// Channels.
    PubSub,
    /// Counters and transfers between keys.
    Counter,
    /// All of them.
    Mixed,
}

impl Mix {
    const ALL: [Self; 5] = [Self::Cache, Self::Queue, Self::PubSub, Self::Counter, Self::Mixed];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Queue => "queue",
            Self::PubSub => "pubsub",
            Self::Counter => "counter",
            Self::Mixed => "mixed",
        }
    }

    /// True when this load is driven as a part of `self`.
    #[must_use]
    pub fn has(self, part: Self) -> bool {
        self == part || self == Self::Mixed
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|mix| mix.name() == text);
        found.ok_or_else(|| "it must be cache, queue, pubsub, counter or mixed".to_owned())
    }
}

/// What the command line asked for, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name or address of the server.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// The user to authenticate as, if not the default one.
    pub username: Option<String>,
    /// The password to authenticate with.
    pub password: Option<String>,
    /// Clients that send requests.
    pub clients: usize,
    /// How long they do.
    pub seconds: u64,
    /// What they do.
    pub mix: Mix,
    /// Whether the answers are checked.
    pub check: bool,
    /// What all random choices follow from.
    pub seed: u64,
    /// Where the report goes as JSON.
    pub json: Option<PathBuf>,
    /// Registers.
    pub keys: usize,
    /// Requests that a client sends before it reads.
    pub pipeline: usize,
    /// Requests a second of all clients together; 0 for as many as there can be.
    pub rate: u64,
    /// Whether the server's memory and descriptors are looked at meanwhile.
    pub watch: bool,
}

/// Drives load against a server that speaks Redis' protocol, and checks its answers meanwhile.
#[derive(Debug, StructOpt)]
#[structopt(
    name = "my_redis_stress",
    settings = &[
        AppSettings::UnifiedHelpMessage,
        AppSettings::DeriveDisplayOrder,
        AppSettings::ColorNever,
    ],
    set_term_width = 100,
    after_help = "\
With --check it fails unless single keys are linearizable, what is moved between keys is never lost
or doubled, what goes through a queue arrives once and in order, keys that are set together are read
together, counters give out every number once, and subscribers get every message in order.

Its keys begin with \"stress:\" and the seed, and are removed at the end.

EXIT CODES:
    0    nothing was found
    1    the server has broken a promise; the shortest history that shows it was printed
    2    wrong options, no connection, or requests that were answered by errors

EXAMPLES:
    my_redis_stress --check
    my_redis_stress --port 7000 --clients 50 --seconds 60 --mix cache --pipeline 16
    my_redis_stress --check --watch --seconds 3600 --rate 2000 --json soak.json
"
)]
struct Options {
    /// Server host name or address
    #[structopt(long, value_name = "host", default_value = "127.0.0.1")]
    host: String,
    /// Server port
    #[structopt(long, value_name = "port", default_value = "6379")]
    port: u16,
    /// Password; safer in the environment variable REDISCLI_AUTH
    #[structopt(long, value_name = "password", allow_hyphen_values = true)]
    auth: Option<String>,
    /// User name to authenticate as; needs a password
    #[structopt(long, value_name = "name")]
    user: Option<String>,
    /// Clients at the same time
    #[structopt(long, value_name = "count", default_value = "8")]
    clients: usize,
    /// How long to go on
    #[structopt(long, value_name = "seconds", default_value = "10")]
    seconds: u64,
    /// cache, queue, pubsub, counter or mixed
    #[structopt(long, value_name = "kind", default_value = "mixed")]
    mix: Mix,
    /// Check the answers
    #[structopt(long)]
    check: bool,
    /// What all random choices follow from [default: another one each time]
    #[structopt(long, value_name = "number")]
    seed: Option<u64>,
    /// Write the report to this file as well, as JSON
    #[structopt(long, value_name = "file", parse(from_os_str))]
    json: Option<PathBuf>,
    /// Single keys that the cache load is spread over
    #[structopt(long, value_name = "count", default_value = "64")]
    keys: usize,
    /// Requests that a client sends before it reads
    #[structopt(long, value_name = "count", default_value = "1")]
    pipeline: usize,
    /// Requests a second of all clients together; 0 is as many as there can be
    #[structopt(long, value_name = "count", default_value = "0")]
    rate: u64,
    /// Watch the server's memory and descriptors, and tell how they and the latency drift
    #[structopt(long)]
    watch: bool,
}

fn within(name: &str, value: usize, max: usize) -> Result<usize, String> {
    if (1..=max).contains(&value) {
        return Ok(value);
    }
    Err(format!("Invalid value '{value}' for '--{name}': it must be between 1 and {max}"))
}

impl Options {
    fn into_settings(self) -> Result<Settings, String> {
        let password = self.auth.or_else(|| std::env::var(PASSWORD_VARIABLE).ok());
        let drawn = || crate::util::random::Random::seeded().next_bits() >> 32;
        Ok(Settings {
            host: self.host,
            port: self.port,
            username: self.user,
            password,
            clients: within("clients", self.clients, CLIENTS_MAX)?,
            seconds: self.seconds.max(1),
            mix: self.mix,
            check: self.check,
            seed: self.seed.unwrap_or_else(drawn),
            json: self.json,
            keys: within("keys", self.keys, KEYS_MAX)?,
            pipeline: within("pipeline", self.pipeline, PIPELINE_MAX)?,
            rate: self.rate,
            watch: self.watch,
        })
    }
}

impl Settings {
    /// Reads the command line of this process.
    ///
    /// # Errors
    /// The exit code, when there is nothing to run; what there is to say has been said.
    pub fn from_command_line() -> Result<Self, ExitCode> {
        let wrong = |text: &str| {
            eprintln!("my_redis_stress: {text} (--help tells more)");
            Err(ExitCode::from(FAILED))
        };
        let options = match Options::from_args_safe() {
            Ok(options) => options,
            Err(error) => match error.kind {
                ErrorKind::HelpDisplayed | ErrorKind::VersionDisplayed => {
                    println!("{}", error.message);
                    return Err(ExitCode::SUCCESS);
                }
                _ => {
                    let line = error.message.lines().next().unwrap_or_default();
                    return wrong(line.strip_prefix("error: ").unwrap_or(line));
                }
            },
        };
        options.into_settings().or_else(|text| wrong(&text))
    }
}
