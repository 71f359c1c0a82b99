//! The command line of my_redis_server: with that of the client, the only file that knows the
//! option parser.
//!
//! Values are checked by the option table, so that the command line and CONFIG SET agree. Whatever
//! is wrong with the command line is told in one line.

use crate::config::{OPTIONS, OptionSpec, StartOptions, find, parse_save_rules};
use crate::util::log::LogLevel;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use structopt::StructOpt;
use structopt::clap::{AppSettings, ErrorKind};

/// A Redis-compatible, multi-core, in-memory data structure server.
#[derive(Debug, StructOpt)]
#[structopt(
    name = "my_redis_server",
    version = concat!(env!("CARGO_PKG_VERSION"), " (behaves as Redis 7.0.15)"),
    settings = &[
        AppSettings::UnifiedHelpMessage,
        AppSettings::DeriveDisplayOrder,
        AppSettings::ColorNever,
    ],
    usage = "my_redis_server [OPTIONS]",
    after_help = "The dump is loaded at the start, and saved by --save, by SAVE and BGSAVE, and at the end \
(SIGINT, SIGTERM, SHUTDOWN).
Most options can be changed while the server runs: CONFIG SET; see docs/configuration.md.

EXAMPLES:
    my_redis_server
    my_redis_server --port 7000 --dir /var/lib/my_redis
    my_redis_server --bind 0.0.0.0 --requirepass secret
    my_redis_server --save \"300 1\" \"60 10000\"
    my_redis_server --save off --loglevel warning
"
)]
struct Options {
    /// Port to listen on; 0 lets the system choose.
    #[structopt(long, value_name = "port", default_value = "6379")]
    port: String,
    /// Addresses to listen on; one after a minus sign may be missing [default: 127.0.0.1 -::1]
    #[structopt(long, value_name = "address")]
    bind: Vec<String>,
    /// Password that clients must give.
    #[structopt(long, value_name = "password", allow_hyphen_values = true)]
    requirepass: Option<String>,
    /// Serve only clients on this machine as long as there is no password: yes or no.
    #[structopt(long, value_name = "yes/no", default_value = "yes")]
    protected_mode: String,
    /// Clients at the same time.
    #[structopt(long, value_name = "count", default_value = "10000")]
    maxclients: String,
    /// Disconnect clients after this many seconds without a request; 0 is never.
    #[structopt(long, value_name = "seconds", default_value = "0")]
    timeout: String,
    /// Ask silent peers for a sign of life after this many seconds; 0 is never.
    #[structopt(long, value_name = "seconds", default_value = "300")]
    tcp_keepalive: String,
    /// Connections that may wait to be accepted.
    #[structopt(long, value_name = "count", default_value = "4096")]
    tcp_backlog: String,
    /// Folder in which the dump is kept.
    #[structopt(long, value_name = "folder", default_value = ".", parse(from_os_str))]
    dir: PathBuf,
    /// File name of the dump.
    #[structopt(long, value_name = "name", default_value = "dump.my_rdb")]
    dbfilename: String,
    /// Save after so many seconds if there were so many changes (default 1); "" or off is never [default: 300 1]
    #[structopt(long, value_name = "seconds changes")]
    save: Vec<String>,
    /// Refuse writes while saving fails: yes or no.
    #[structopt(long, value_name = "yes/no", default_value = "yes")]
    stop_writes_on_bgsave_error: String,
    /// Pack long strings in the dump: yes or no.
    #[structopt(long, value_name = "yes/no", default_value = "yes")]
    rdbcompression: String,
    /// End the dump with a checksum: yes or no.
    #[structopt(long, value_name = "yes/no", default_value = "yes")]
    rdbchecksum: String,
    /// Number of databases; there is one.
    #[structopt(long, value_name = "count", default_value = "1")]
    databases: String,
    /// Shards of the keyspace; 0 is 16 for each core and at least 64.
    #[structopt(long, value_name = "count", default_value = "0")]
    shards: String,
    /// Threads that serve clients; 0 is one for each core.
    #[structopt(long, value_name = "count", default_value = "0")]
    threads: String,
    /// How much is logged: debug, verbose, notice or warning.
    #[structopt(long, value_name = "level", default_value = "notice")]
    loglevel: String,
}

/// The value of an option as the table reads it, or what is wrong with it.
fn checked(name: &str, given: &str) -> Result<String, String> {
    let row = find(name.as_bytes()).and_then(|number| OPTIONS.get(number));
    let long = name.strip_prefix("my-redis-").unwrap_or(name);
    let read = row.map(|row: &OptionSpec| row.read(given.as_bytes(), row.default.as_bytes()));
    match read {
        Some(Ok(value)) => Ok(String::from_utf8_lossy(&value).into_owned()),
        Some(Err(reason)) => Err(format!("Invalid value '{given}' for '--{long}': {reason}")),
        None => Err(format!("there is no option '{name}'")),
    }
}

fn number<N: TryFrom<u64> + Default>(name: &str, given: &str) -> Result<N, String> {
    let value: u64 = checked(name, given)?.parse().unwrap_or_default();
    Ok(N::try_from(value).unwrap_or_default())
}

fn flag(name: &str, given: &str) -> Result<bool, String> {
    Ok(checked(name, given)? == "yes")
}

impl Options {
    fn into_start_options(self) -> Result<StartOptions, String> {
        let default = StartOptions::default();
        if self.dbfilename.is_empty() || self.dbfilename.contains(['/', '\0']) {
            return Err("Invalid value for '--dbfilename': it must be a file name alone".into());
        }
        checked("databases", &self.databases)?;
        let bind: Vec<String> = self
            .bind
            .iter()
            .flat_map(|words| words.split_whitespace())
            .map(str::to_owned)
            .collect();
        let save = match self.save.as_slice() {
            [] => default.save,
            [word] if word == "off" => Vec::new(),
            [seconds] if seconds.parse::<u64>().is_ok() => {
                let rule = format!("{seconds} 1");
                parse_save_rules(checked("save", &rule)?.as_bytes()).unwrap_or_default()
            }
            words => {
                parse_save_rules(checked("save", &words.join(" "))?.as_bytes()).unwrap_or_default()
            }
        };
        Ok(StartOptions {
            port: number("port", &self.port)?,
            bind: if bind.is_empty() { default.bind } else { bind },
            backlog: number("tcp-backlog", &self.tcp_backlog)?,
            dir: self.dir,
            dump_file_name: self.dbfilename,
            save,
            rdb_compression: flag("rdbcompression", &self.rdbcompression)?,
            rdb_checksum: flag("rdbchecksum", &self.rdbchecksum)?,
            stop_writes_on_save_error: flag(
                "stop-writes-on-bgsave-error",
                &self.stop_writes_on_bgsave_error,
            )?,
            shards: number("my-redis-shards", &self.shards)?,
            threads: number("my-redis-threads", &self.threads)?,
            clients_max: number("maxclients", &self.maxclients)?,
            clients_possible: default.clients_possible,
            timeout_seconds: number("timeout", &self.timeout)?,
            keepalive_seconds: number("tcp-keepalive", &self.tcp_keepalive)?,
            password: self.requirepass.filter(|password| !password.is_empty()),
            protected_mode: flag("protected-mode", &self.protected_mode)?,
            log_level: LogLevel::from_name(&checked("loglevel", &self.loglevel)?),
        })
    }
}

/// Reads the command line of this process.
///
/// # Errors
/// When the process is to end with this code: help or the version was asked for and is printed, or
/// something is wrong and was told in one line on standard error.
pub fn from_command_line() -> Result<StartOptions, ExitCode> {
    read(std::env::args_os()).map_err(|stop| match stop {
        Stop::Print(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Stop::Wrong(text) => {
            eprintln!("my_redis_server: {text} (--help tells more)");
            ExitCode::FAILURE
        }
    })
}

/// Why the server does not start.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    Print(String),
    Wrong(String),
}

fn read(arguments: impl Iterator<Item = OsString>) -> Result<StartOptions, Stop> {
    let options = Options::from_iter_safe(arguments).map_err(|error| match error.kind {
        ErrorKind::HelpDisplayed | ErrorKind::VersionDisplayed => Stop::Print(error.message),
        _ => {
            let line = error.message.lines().next().unwrap_or_default();
            Stop::Wrong(line.strip_prefix("error: ").unwrap_or(line).to_owned())
        }
    })?;
    options.into_start_options().map_err(Stop::Wrong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::config::SaveRule;

    fn parse(line: &[&str]) -> Result<StartOptions, Stop> {
        let words = std::iter::once(&"my_redis_server").chain(line);
        read(words.map(OsString::from))
    }

    #[test]
    fn without_options_the_defaults_are_those_of_the_table() {
        let (given, default) = (parse(&[]).unwrap(), StartOptions::default());
        let level = Some(LogLevel::Notice);
        let default = StartOptions { log_level: level, ..default };
        assert_eq!(format!("{given:?}"), format!("{default:?}"));
    }

    #[test]
    fn lists_are_given_in_one_word_or_in_several() {
        let rule = |seconds, changes| SaveRule { seconds, changes };
        let save = |words: &[&str]| {
            let line: Vec<&str> = std::iter::once(&"--save").chain(words).copied().collect();
            parse(&line).map(|options| options.save)
        };
        assert_eq!(save(&[""]), Ok(vec![]));
        assert_eq!(save(&["off"]), Ok(vec![]));
        assert_eq!(save(&["300 1"]), Ok(vec![rule(300, 1)]));
        assert_eq!(save(&["60"]), Ok(vec![rule(60, 1)]));
        assert_eq!(save(&["3600", "1", "300", "100"]), Ok(vec![rule(3600, 1), rule(300, 100)]));
        assert_eq!(save(&["3600 1 300 100"]), Ok(vec![rule(3600, 1), rule(300, 100)]));
        assert!(save(&["5"]).is_err());
        let bind = |line: &[&str]| parse(line).unwrap().bind;
        assert_eq!(bind(&["--bind", "1.1.1.1", "::1", "--port", "5"]), ["1.1.1.1", "::1"]);
        assert_eq!(bind(&["--bind", "1.1.1.1 -::1"]), ["1.1.1.1", "-::1"]);
        assert_eq!(bind(&["--bind", "1.1.1.1", "--bind", "::1"]), ["1.1.1.1", "::1"]);
    }

    #[test]
    fn what_is_wrong_is_told_in_one_line() {
        let lines: &[&[&str]] = &[
            &["--port", "x"],
            &["--port", "65536"],
            &["--port"],
            &["--nonsense"],
            &["redis.conf"],
            &["--maxclients", "0"],
            &["--databases", "16"],
            &["--loglevel", "loud"],
            &["--protected-mode", "maybe"],
            &["--dbfilename", "a/b"],
            &["--save", "1 2 3"],
        ];
        for line in lines {
            match parse(line) {
                Err(Stop::Wrong(text)) => assert_eq!(text.lines().count(), 1, "{text}"),
                other => panic!("{line:?} gave {other:?}"),
            }
        }
        let text = "Invalid value '0' for '--maxclients': argument must be between 1 and \
                    4294967295 inclusive";
        assert_eq!(parse(&["--maxclients", "0"]).err(), Some(Stop::Wrong(text.to_owned())));
    }

    #[test]
    fn help_and_version_are_printed() {
        for option in ["--help", "-h", "--version", "-V"] {
            assert!(matches!(parse(&[option]), Err(Stop::Print(_))), "{option}");
        }
    }
}
