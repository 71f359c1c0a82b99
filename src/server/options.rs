//! The command line of my_redis_server: with that of the client, the only file that knows the
//! option parser.
//!
//! Values are checked by the option table, so that the command line and CONFIG SET agree. Whatever
//! is wrong with the command line is told in one line.

use crate::config::{DebugAccess, OPTIONS, OptionSpec, StartOptions, find, parse_save_rules};
use crate::config::{Operation, SaveRule, Settings, Supervision};
use crate::util::log::LogLevel;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
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
    set_term_width = 124,
    usage = "my_redis_server [FILE] [OPTIONS]",
    after_help = "\
The dump is loaded at the start, and saved by --save, by SAVE and BGSAVE, and at the end
(SIGINT, SIGTERM, SHUTDOWN).
FILE has the syntax of redis.conf; options of the command line go before it. Most options can be
changed while the server runs: CONFIG SET; see docs/configuration.md. Whatever can stand in FILE
can be given here as well, with two dashes before its name, users among it.

EXAMPLES:
    my_redis_server
    my_redis_server /etc/my_redis.conf --loglevel verbose
    my_redis_server --port 7000 --dir /var/lib/my_redis
    my_redis_server --bind 0.0.0.0 --requirepass secret
    my_redis_server --save \"300 1\" \"60 10000\"
    my_redis_server --save off --loglevel warning
"
)]
struct Options {
    /// Configuration file
    #[structopt(value_name = "FILE", parse(from_os_str))]
    file: Option<PathBuf>,
    /// Port to listen on; 0 lets the system choose [default: 6379]
    #[structopt(long, value_name = "port")]
    port: Option<String>,
    /// Addresses to listen on; "-" marks optional ones [default: 127.0.0.1 -::1]
    #[structopt(long, value_name = "address")]
    bind: Vec<String>,
    /// Password that clients must give
    #[structopt(long, value_name = "password", allow_hyphen_values = true)]
    requirepass: Option<String>,
    /// Without a password, serve only this machine [default: yes]
    #[structopt(long, value_name = "yes/no")]
    protected_mode: Option<String>,
    /// Clients at the same time [default: 10000]
    #[structopt(long, value_name = "count")]
    maxclients: Option<String>,
    /// Disconnect silent clients; 0 is never [default: 0]
    #[structopt(long, value_name = "seconds")]
    timeout: Option<String>,
    /// Ask silent peers for a sign of life; 0 is never [default: 300]
    #[structopt(long, value_name = "seconds")]
    tcp_keepalive: Option<String>,
    /// Connections that may wait to be accepted [default: 4096]
    #[structopt(long, value_name = "count")]
    tcp_backlog: Option<String>,
    /// Folder in which the dump is kept [default: .]
    #[structopt(long, value_name = "folder", parse(from_os_str))]
    dir: Option<PathBuf>,
    /// File name of the dump [default: dump.my_rdb]
    #[structopt(long, value_name = "name")]
    dbfilename: Option<String>,
    /// Save after seconds if there were changes; off is never [default: 300 1]
    #[structopt(long, value_name = "seconds changes")]
    save: Vec<String>,
    /// Refuse writes while saving fails [default: yes]
    #[structopt(long, value_name = "yes/no")]
    stop_writes_on_bgsave_error: Option<String>,
    /// Pack long strings in the dump [default: yes]
    #[structopt(long, value_name = "yes/no")]
    rdbcompression: Option<String>,
    /// End the dump with a checksum [default: yes]
    #[structopt(long, value_name = "yes/no")]
    rdbchecksum: Option<String>,
    /// Bytes a save may need beside the data; 0 is a quarter of it [default: 0]
    #[structopt(long, value_name = "bytes")]
    snapshot_memory: Option<String>,
    /// Number of databases [default: 1]
    #[structopt(long, value_name = "count")]
    databases: Option<String>,
    /// Shards of the keyspace; 0 is 16 a core, at least 64 [default: 0]
    #[structopt(long, value_name = "count")]
    shards: Option<String>,
    /// Threads that serve clients; 0 is one a core [default: 0]
    #[structopt(long, value_name = "count")]
    threads: Option<String>,
    /// Who may use DEBUG: no, local or yes [default: no]
    #[structopt(long, value_name = "who")]
    enable_debug_command: Option<String>,
    /// debug, verbose, notice or warning [default: notice]
    #[structopt(long, value_name = "level")]
    loglevel: Option<String>,
    /// Log to this file instead of standard error
    #[structopt(long, value_name = "file")]
    logfile: Option<String>,
    /// Log to the system's log as well [default: no]
    #[structopt(long, value_name = "yes/no")]
    syslog_enabled: Option<String>,
    /// Write the process number to this file
    #[structopt(long, value_name = "file")]
    pidfile: Option<String>,
    /// Go into the background [default: no]
    #[structopt(long, value_name = "yes/no")]
    daemonize: Option<String>,
    /// Tell no, systemd or auto when the server is ready [default: no]
    #[structopt(long, value_name = "whom")]
    supervised: Option<String>,
    /// Port at which metrics can be read; 0 is none [default: 0]
    #[structopt(long, value_name = "port")]
    metrics_port: Option<String>,
}

/// What the command line and the file give together.
struct Given {
    settings: Settings,
}

impl Given {
    /// The value of an option as the table reads it: that of the command line, else that of the
    /// file, else its default.
    fn text(&self, name: &str, given: Option<&str>) -> Result<String, String> {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let row = find(name.as_bytes()).and_then(|number| OPTIONS.get(number));
        let row: &OptionSpec = row.ok_or_else(|| format!("there is no option '{name}'"))?;
        let Some(given) = given else {
            return Ok(self.settings.value(name).map_or_else(|| row.default.to_owned(), text));
        };
        let long = name.strip_prefix("my-redis-").unwrap_or(name);
        match row.read(given.as_bytes(), row.default.as_bytes()) {
            Ok(value) => Ok(text(&value)),
            Err(reason) => Err(format!("Invalid value '{given}' for '--{long}': {reason}")),
        }
    }

    fn number<N: TryFrom<u64> + Default>(
        &self,
        name: &str,
        given: &Option<String>,
    ) -> Result<N, String> {
        let value: u64 = self.text(name, given.as_deref())?.parse().unwrap_or_default();
        Ok(N::try_from(value).unwrap_or_default())
    }

    fn flag(&self, name: &str, given: &Option<String>) -> Result<bool, String> {
        Ok(self.text(name, given.as_deref())? == "yes")
    }

    /// The addresses, which are given in one word or in several.
    fn addresses(&self, given: &[String]) -> Result<Vec<String>, String> {
        let words = given.join(" ");
        let words = if words.trim().is_empty() { self.text("bind", None)? } else { words };
        Ok(words.split_whitespace().map(str::to_owned).collect())
    }

    /// When to save: `off`, seconds alone, or pairs in one word or in several.
    fn save_rules(&self, given: &[String]) -> Result<Vec<SaveRule>, String> {
        let rules = match given {
            [] => self.text("save", None)?,
            [word] if word == "off" => String::new(),
            words => {
                let mut rules = words.join(" ");
                if rules.parse::<u64>().is_ok() {
                    // Seconds alone: after any change.
                    rules.push_str(" 1");
                }
                self.text("save", Some(&rules))?
            }
        };
        Ok(parse_save_rules(rules.as_bytes()).unwrap_or_default())
    }

    fn password(&self, given: Option<String>) -> Result<Option<String>, String> {
        let password = self.text("requirepass", given.as_deref())?;
        Ok(Some(password).filter(|password| !password.is_empty()))
    }
}

impl Options {
    fn operation(&self, given: &Given) -> Result<Operation, String> {
        let text = |name, value: &Option<String>| given.text(name, value.as_deref());
        Ok(Operation {
            log_file: text("logfile", &self.logfile)?.into(),
            syslog_enabled: given.flag("syslog-enabled", &self.syslog_enabled)?,
            syslog_ident: given.text("syslog-ident", None)?,
            syslog_facility: given.text("syslog-facility", None)?,
            pid_file: text("pidfile", &self.pidfile)?.into(),
            daemonize: given.flag("daemonize", &self.daemonize)?,
            supervision: Supervision::from_name(&text("supervised", &self.supervised)?),
            metrics_port: given.number("my-redis-metrics-port", &self.metrics_port)?,
        })
    }

    fn into_start_options(
        self,
        file: Option<PathBuf>,
        settings: Settings,
    ) -> Result<StartOptions, String> {
        let given = Given { settings };
        let operation = self.operation(&given)?;
        let dump_file_name = given.text("dbfilename", self.dbfilename.as_deref())?;
        if dump_file_name.is_empty() || dump_file_name.contains(['/', '\0']) {
            return Err("Invalid value for '--dbfilename': it must be a file name alone".into());
        }
        let dir = match self.dir {
            Some(dir) => dir,
            None => given.text("dir", None)?.into(),
        };
        Ok(StartOptions {
            operation,
            port: given.number("port", &self.port)?,
            bind: given.addresses(&self.bind)?,
            backlog: given.number("tcp-backlog", &self.tcp_backlog)?,
            dir,
            dump_file_name,
            save: given.save_rules(&self.save)?,
            rdb_compression: given.flag("rdbcompression", &self.rdbcompression)?,
            rdb_checksum: given.flag("rdbchecksum", &self.rdbchecksum)?,
            debug_access: DebugAccess::from_name(
                &given.text("enable-debug-command", self.enable_debug_command.as_deref())?,
            ),
            protected_access: DebugAccess::from_name(
                &given.text("enable-protected-configs", None)?,
            ),
            snapshot_memory_bytes: given
                .number("my-redis-snapshot-memory", &self.snapshot_memory)?,
            stop_writes_on_save_error: given
                .flag("stop-writes-on-bgsave-error", &self.stop_writes_on_bgsave_error)?,
            databases: given.number("databases", &self.databases)?,
            shards: given.number("my-redis-shards", &self.shards)?,
            threads: given.number("my-redis-threads", &self.threads)?,
            clients_max: given.number("maxclients", &self.maxclients)?,
            clients_possible: StartOptions::default().clients_possible,
            timeout_seconds: given.number("timeout", &self.timeout)?,
            keepalive_seconds: given.number("tcp-keepalive", &self.tcp_keepalive)?,
            password: given.password(self.requirepass)?,
            protected_mode: given.flag("protected-mode", &self.protected_mode)?,
            log_level: LogLevel::from_name(&given.text("loglevel", self.loglevel.as_deref())?),
            file,
            settings: given.settings,
        })
    }
}

/// Why the server does not start.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// Help or the version was asked for: this text.
    Print(String),
    /// Something is wrong with the command line: this, in one line.
    Wrong(String),
    /// The configuration file cannot be used: this.
    File(String),
}

/// Reads the command line of this process.
///
/// # Errors
/// When the server is not to start, with what to tell instead.
pub fn from_command_line() -> Result<StartOptions, Stop> {
    read(std::env::args_os())
}

fn read(arguments: impl Iterator<Item = OsString>) -> Result<StartOptions, Stop> {
    let (arguments, lines) = take_lines(arguments);
    let options = Options::from_iter_safe(arguments).map_err(|error| match error.kind {
        ErrorKind::HelpDisplayed | ErrorKind::VersionDisplayed => Stop::Print(error.message),
        _ => {
            let line = error.message.lines().next().unwrap_or_default();
            Stop::Wrong(line.strip_prefix("error: ").unwrap_or(line).to_owned())
        }
    })?;
    let (file, mut settings) = match options.file.as_deref() {
        None => (None, Settings::default()),
        Some(path) => {
            let settings = Settings::read(path).map_err(|error| Stop::File(error.to_string()))?;
            (Some(path.canonicalize().unwrap_or_else(|_| path.to_owned())), settings)
        }
    };
    for words in lines {
        settings.add(&words).map_err(|reason| {
            let line = String::from_utf8_lossy(&words.join(&b' ')).into_owned();
            Stop::Wrong(format!("Invalid option '--{line}': {reason}"))
        })?;
    }
    options.into_start_options(file, settings).map_err(Stop::Wrong)
}

/// Parts the arguments into those that `Options` knows and others that could stand in a file, each
/// with the words up to the next option.
fn take_lines(arguments: impl Iterator<Item = OsString>) -> (Vec<OsString>, Vec<Vec<Vec<u8>>>) {
    let mut help = Vec::new();
    // Writing to a Vec cannot fail.
    let _infallible = Options::clap().write_help(&mut help);
    let is_line = |name: &[u8]| {
        let shown = [b"--", name, b" "].concat();
        let is_own = help.windows(shown.len()).any(|part| part == shown);
        let known = [b"user", &b"include"[..]].contains(&name) || find(name).is_some();
        known && !is_own
    };
    let (mut own, mut lines) = (Vec::new(), Vec::<Vec<Vec<u8>>>::new());
    let mut is_in_line = false;
    for argument in arguments {
        if let Some(name) = argument.as_bytes().strip_prefix(b"--") {
            is_in_line = is_line(name);
            if is_in_line {
                lines.push(vec![name.to_vec()]);
                continue;
            }
        }
        match lines.last_mut().filter(|_| is_in_line) {
            Some(line) => line.push(argument.into_vec()),
            None => own.push(argument),
        }
    }
    (own, lines)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

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
        assert!(save(&["5", "1", "6"]).is_err());
        assert!(save(&["0"]).is_err());
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
            &["--databases", "0"],
            &["--databases", "16385"],
            &["--loglevel", "loud"],
            &["--protected-mode", "maybe"],
            &["--dbfilename", "a/b"],
            &["--save", "1 2 3"],
        ];
        for line in lines {
            match parse(line) {
                Err(Stop::Wrong(text) | Stop::File(text)) => {
                    assert_eq!(text.lines().count(), 1, "{text}");
                }
                other => panic!("{line:?} gave {other:?}"),
            }
        }
        let text = "Invalid value '0' for '--maxclients': argument must be between 1 and \
                    4294967295 inclusive";
        assert_eq!(parse(&["--maxclients", "0"]).err(), Some(Stop::Wrong(text.to_owned())));
    }

    #[test]
    fn whatever_can_stand_in_a_file_can_be_given() {
        let line = [
            "--maxmemory",
            "1gb",
            "--user",
            "alice",
            "on",
            ">secret",
            "--port",
            "7000",
            "--client-output-buffer-limit",
            "normal 1 2 3",
            "--user",
            "bob",
            "--lfu-decay-time",
            "5",
            "--enable-protected-configs",
            "local",
        ];
        let options = parse(&line).unwrap();
        assert_eq!(options.port, 7_000);
        assert_eq!(options.protected_access, DebugAccess::Local);
        assert_eq!(options.settings.value("maxmemory"), Some(&b"1073741824"[..]));
        assert_eq!(options.settings.value("lfu-decay-time"), Some(&b"5"[..]));
        let users = options.settings.users();
        assert_eq!(users[0], [&b"alice"[..], b"on", b">secret"]);
        assert_eq!(users[1], [b"bob"]);
        for wrong in [&["--maxmemory", "x"][..], &["--maxmemory"], &["--user"], &["--hz", "1", "2"]]
        {
            let Err(Stop::Wrong(text)) = parse(wrong) else { panic!("{wrong:?}") };
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }

    #[test]
    fn the_help_shows_the_defaults_of_the_table() {
        let Err(Stop::Print(help)) = parse(&["--help"]) else { panic!("no help") };
        for option in OPTIONS {
            let long = option.name.strip_prefix("my-redis-").unwrap_or(option.name);
            let line = help.lines().find(|line| line.contains(&format!("--{long} ")));
            if let Some(line) = line.filter(|_| !option.default.is_empty()) {
                assert!(line.ends_with(&format!("[default: {}]", option.default)), "{line}");
            }
        }
    }

    #[test]
    fn help_and_version_are_printed() {
        for option in ["--help", "-h", "--version", "-V"] {
            assert!(matches!(parse(&[option]), Err(Stop::Print(_))), "{option}");
        }
    }
}
