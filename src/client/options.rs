//! The client's command line: the one file of the client that knows the option parser.
//!
//! The options are those of redis-cli, and so `-h` names the host; help is `--help` alone.

use crate::client::format::{Delimiters, OutputFormat};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;
use structopt::StructOpt;
use structopt::clap::AppSettings;

/// The environment variable that may hold the password.
const PASSWORD_VARIABLE: &str = "REDISCLI_AUTH";
/// Makes the client format its output as for a terminal wherever it goes.
const TERMINAL_VARIABLE: &str = "FAKETTY";
/// A pause between repeated commands of at most this many seconds: a year.
const INTERVAL_SECONDS_MAX: f64 = 31_536_000.0;

/// Which protocol the client asks the server for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolChoice {
    /// RESP2, which needs no asking.
    Resp2,
    /// RESP3; a server that refuses it is an error.
    Resp3,
    /// RESP3 if the server knows it.
    PreferResp3,
}

/// What the command line asked for, checked and with its defaults filled in.
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
    /// The database to select; 0 needs no selecting.
    pub database: i64,
    /// The protocol to ask for.
    pub protocol: ProtocolChoice,
    /// How responses are shown.
    pub format: OutputFormat,
    /// What separates raw output.
    pub delimiters: Delimiters,
    /// True if messages that answer no request are shown.
    pub show_pushes: bool,
    /// True if the last argument of the command is read from standard input.
    pub last_argument_from_stdin: bool,
    /// True if an error response ends the client with code 1.
    pub fail_on_error: bool,
    /// True if standard input holds requests to send as they are.
    pub pipe: bool,
    /// How long the pipe waits for responses after its last byte; zero is for ever.
    pub pipe_timeout: Duration,
    /// How often the command is sent; negative is for ever.
    pub repeat: i64,
    /// The pause behind each command.
    pub interval: Duration,
    /// The command; without one the client prompts.
    pub command: Vec<Vec<u8>>,
}

/// A command line client for my_redis_server, Redis and other servers that speak RESP.
#[derive(Debug, StructOpt)]
#[structopt(
    name = "my_redis_client",
    version_short = "v",
    settings = &[
        AppSettings::TrailingVarArg,
        AppSettings::UnifiedHelpMessage,
        AppSettings::DeriveDisplayOrder,
        AppSettings::ColorNever,
    ],
    after_help = "Without a command the client prompts for commands; type \"help\" there.
Output is formatted on a terminal, and raw when it goes to a file or a pipe.

EXAMPLES:
    my_redis_client set greeting hello
    my_redis_client -r 100 lpush list x
    my_redis_client -r 10 -i 0.5 dbsize
    my_redis_client -x set file < file
    my_redis_client --pipe < requests.txt
"
)]
struct Options {
    /// Server host name or address.
    #[structopt(short = "h", long = "host", value_name = "host", default_value = "127.0.0.1")]
    host: String,
    /// Server port.
    #[structopt(short = "p", long = "port", value_name = "port", default_value = "6379")]
    port: u16,
    /// Password; safer in the environment variable REDISCLI_AUTH.
    #[structopt(short = "a", long = "pass", value_name = "password", allow_hyphen_values = true)]
    password: Option<String>,
    /// User name to authenticate as; needs a password.
    #[structopt(long = "user", value_name = "username")]
    username: Option<String>,
    /// Do not warn about a password on the command line.
    #[structopt(long = "no-auth-warning")]
    no_auth_warning: bool,
    /// Database number.
    #[structopt(short = "n", value_name = "db", default_value = "0", allow_hyphen_values = true)]
    database: i64,
    /// Start in RESP2 mode.
    #[structopt(short = "2", conflicts_with = "resp3")]
    resp2: bool,
    /// Start in RESP3 mode.
    #[structopt(short = "3")]
    resp3: bool,
    /// Send the command this many times; a negative number is for ever.
    #[structopt(
        short = "r",
        value_name = "repeat",
        default_value = "1",
        allow_hyphen_values = true
    )]
    repeat: i64,
    /// Wait this many seconds behind each command; fractions are fine.
    #[structopt(
        short = "i",
        value_name = "interval",
        default_value = "0",
        parse(try_from_str = parse_interval)
    )]
    interval: Duration,
    /// Read the last argument of the command from standard input.
    #[structopt(short = "x")]
    last_argument_from_stdin: bool,
    /// Exit with code 1 when the response is an error.
    #[structopt(short = "e")]
    fail_on_error: bool,
    /// Delimiter between the elements of a raw response [default: a line feed].
    #[structopt(short = "d", value_name = "delimiter", parse(from_os_str))]
    element_delimiter: Option<OsString>,
    /// Delimiter between raw responses [default: a line feed].
    #[structopt(short = "D", value_name = "delimiter", parse(from_os_str))]
    response_delimiter: Option<OsString>,
    /// Raw output (default when the output is no terminal).
    #[structopt(long = "raw", overrides_with_all = &["no_raw", "csv", "json", "quoted_json"])]
    raw: bool,
    /// Formatted output even when the output is no terminal.
    #[structopt(long = "no-raw", overrides_with_all = &["csv", "json", "quoted_json"])]
    no_raw: bool,
    /// Output as comma separated values.
    #[structopt(long = "csv", overrides_with_all = &["json", "quoted_json"])]
    csv: bool,
    /// Output as JSON; asks for RESP3 unless -2 is given.
    #[structopt(long = "json", overrides_with = "quoted_json")]
    json: bool,
    /// Output as JSON of ASCII alone; asks for RESP3 unless -2 is given.
    #[structopt(long = "quoted-json")]
    quoted_json: bool,
    /// Send the requests on standard input as they are, at full speed.
    #[structopt(long = "pipe")]
    pipe: bool,
    /// Give the pipe up after this many seconds without a response; 0 waits for ever.
    #[structopt(long = "pipe-timeout", value_name = "seconds", default_value = "30")]
    pipe_timeout_s: u64,
    /// The command and its arguments.
    #[structopt(value_name = "command", parse(from_os_str))]
    command: Vec<OsString>,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if !(0.0..=INTERVAL_SECONDS_MAX).contains(&seconds) {
        return Err("not between 0 seconds and a year".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

impl Settings {
    /// Reads the command line and the environment of this process.
    ///
    /// Prints help, the version or what is wrong with an option, and ends the process, where that
    /// is what the command line calls for.
    #[must_use]
    pub fn from_environment() -> Self {
        let mut arguments: Vec<OsString> = std::env::args_os().collect();
        if let [_, only] = arguments.as_mut_slice() {
            // Alone, -h cannot mean a host.
            if only == "-h" {
                *only = OsString::from("--help");
            }
        }
        let options = Options::from_iter(arguments);
        if options.password.is_some() && !options.no_auth_warning {
            eprintln!(
                "Warning: Using a password with '-a' option on the command line interface may \
                 not be safe."
            );
        }
        let on_terminal =
            std::io::stdout().is_terminal() || std::env::var_os(TERMINAL_VARIABLE).is_some();
        let password = std::env::var(PASSWORD_VARIABLE).ok().filter(|text| !text.is_empty());
        Self::new(options, on_terminal, password)
    }

    fn new(options: Options, on_terminal: bool, password: Option<String>) -> Self {
        let json = options.json || options.quoted_json;
        let bytes =
            |text: Option<OsString>| text.map_or_else(|| b"\n".to_vec(), OsStringExt::into_vec);
        Self {
            protocol: match (options.resp2, options.resp3) {
                (true, _) => ProtocolChoice::Resp2,
                (_, true) => ProtocolChoice::Resp3,
                _ if json => ProtocolChoice::PreferResp3,
                _ => ProtocolChoice::Resp2,
            },
            format: output_format(&options, on_terminal),
            delimiters: Delimiters {
                element: bytes(options.element_delimiter),
                response: bytes(options.response_delimiter),
            },
            host: options.host,
            port: options.port,
            username: options.username,
            password: options.password.or(password),
            database: options.database,
            show_pushes: on_terminal,
            last_argument_from_stdin: options.last_argument_from_stdin,
            fail_on_error: options.fail_on_error,
            pipe: options.pipe,
            pipe_timeout: Duration::from_secs(options.pipe_timeout_s),
            repeat: options.repeat,
            interval: options.interval,
            command: options.command.into_iter().map(OsStringExt::into_vec).collect(),
        }
    }
}

fn output_format(options: &Options, on_terminal: bool) -> OutputFormat {
    if options.quoted_json {
        OutputFormat::QuotedJson
    } else if options.json {
        OutputFormat::Json
    } else if options.csv {
        OutputFormat::Csv
    } else if options.no_raw || (on_terminal && !options.raw) {
        OutputFormat::Terminal
    } else {
        OutputFormat::Raw
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn parse(line: &[&str], on_terminal: bool) -> Settings {
        let arguments = std::iter::once(&"my_redis_client").chain(line);
        let options = Options::from_iter_safe(arguments).unwrap();
        Settings::new(options, on_terminal, Some("from environment".to_owned()))
    }

    #[test]
    fn minus_h_is_the_host_and_the_command_keeps_its_hyphens() {
        let settings = parse(&["-h", "::1", "-p", "7", "set", "-a", "--raw", "-h"], true);
        assert_eq!((settings.host.as_str(), settings.port), ("::1", 7));
        let command: [&[u8]; 4] = [b"set", b"-a", b"--raw", b"-h"];
        assert_eq!(settings.command, command);
        assert_eq!(settings.format, OutputFormat::Terminal);
    }

    #[test]
    fn defaults_are_those_of_redis_cli() {
        let settings = parse(&[], false);
        assert_eq!((settings.host.as_str(), settings.port), ("127.0.0.1", 6379));
        assert_eq!((settings.repeat, settings.database), (1, 0));
        assert_eq!(settings.format, OutputFormat::Raw);
        assert_eq!(settings.protocol, ProtocolChoice::Resp2);
        assert_eq!(settings.delimiters, Delimiters::default());
        assert_eq!(settings.interval, Duration::ZERO);
        assert!(settings.command.is_empty());
    }

    #[test]
    fn the_format_is_chosen_by_option_and_terminal() {
        assert_eq!(parse(&["--raw"], true).format, OutputFormat::Raw);
        assert_eq!(parse(&["--no-raw"], false).format, OutputFormat::Terminal);
        assert_eq!(parse(&["--csv"], true).format, OutputFormat::Csv);
        assert_eq!(parse(&["--quoted-json"], true).format, OutputFormat::QuotedJson);
        assert_eq!(parse(&["--json"], true).protocol, ProtocolChoice::PreferResp3);
        assert_eq!(parse(&["--json", "-2"], true).protocol, ProtocolChoice::Resp2);
        assert_eq!(parse(&["--json", "-3"], true).protocol, ProtocolChoice::Resp3);
    }

    #[test]
    fn numbers_may_be_negative_and_the_password_falls_back_to_the_environment() {
        let settings = parse(&["-r", "-1", "-i", "0.25", "-d", "", "-n", "-2", "ping"], false);
        assert_eq!((settings.repeat, settings.database), (-1, -2));
        assert_eq!(settings.interval, Duration::from_millis(250));
        assert_eq!(settings.delimiters.element, b"");
        assert_eq!(settings.password.as_deref(), Some("from environment"));
        assert_eq!(parse(&["-a", "-x"], false).password.as_deref(), Some("-x"));
    }

    #[test]
    fn bad_options_are_refused() {
        for line in
            [&["-p", "x"][..], &["-i", "-1"], &["-i", "nan"], &["--nonsense"], &["-2", "-3"]]
        {
            let arguments = std::iter::once(&"my_redis_client").chain(line);
            assert!(Options::from_iter_safe(arguments).is_err(), "{line:?}");
        }
    }
}
