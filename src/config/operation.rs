//! How the server lives with the system around it: log, process number, supervisor, metrics.

use std::ffi::OsString;
use std::path::PathBuf;

/// Where systemd names the socket at which it listens.
pub const SUPERVISOR_VARIABLE: &str = "NOTIFY_SOCKET";

/// Who is told when the server is ready and when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Supervision {
    /// Nobody.
    #[default]
    None,
    /// systemd, or who speaks its protocol.
    Systemd,
    /// systemd if it has started the server.
    Auto,
}

impl Supervision {
    /// The value of `supervised`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "no",
            Self::Systemd => "systemd",
            Self::Auto => "auto",
        }
    }

    /// The socket at which the supervisor listens; `None` if there is none, or none is wanted.
    #[must_use]
    pub fn socket(self) -> Option<OsString> {
        let socket = std::env::var_os(SUPERVISOR_VARIABLE).filter(|socket| !socket.is_empty());
        socket.filter(|_| self != Self::None)
    }

    /// What a value of `supervised` means.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "systemd" => Self::Systemd,
            "auto" => Self::Auto,
            _ => Self::None,
        }
    }
}

/// Facilities of the system's log with their numbers, as in Redis.
pub const SYSLOG_FACILITIES: [(&str, u8); 9] = [
    ("user", 1),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// The options for the system around the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The file of the log; empty for standard error.
    pub log_file: PathBuf,
    /// Whether the system's log is written as well.
    pub syslog_enabled: bool,
    /// The name of the server there.
    pub syslog_ident: String,
    /// Its facility, one of [`SYSLOG_FACILITIES`].
    pub syslog_facility: String,
    /// The file of the process number; empty for none.
    pub pid_file: PathBuf,
    /// Whether the server goes into the background.
    pub daemonize: bool,
    /// Who is told when it is ready.
    pub supervision: Supervision,
    /// The port at which metrics are read; 0 for none.
    pub metrics_port: u16,
}

impl Default for Operation {
    fn default() -> Self {
        Self {
            log_file: PathBuf::new(),
            syslog_enabled: false,
            syslog_ident: "my_redis".to_owned(),
            syslog_facility: "local0".to_owned(),
            pid_file: PathBuf::new(),
            daemonize: false,
            supervision: Supervision::None,
            metrics_port: 0,
        }
    }
}

impl Operation {
    /// The values of the options.
    pub(super) fn values(&self) -> Vec<(&'static str, String)> {
        let yes_no = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
        vec![
            ("logfile", self.log_file.display().to_string()),
            ("syslog-enabled", yes_no(self.syslog_enabled)),
            ("syslog-ident", self.syslog_ident.clone()),
            ("syslog-facility", self.syslog_facility.clone()),
            ("pidfile", self.pid_file.display().to_string()),
            ("daemonize", yes_no(self.daemonize)),
            ("supervised", self.supervision.name().to_owned()),
            ("my-redis-metrics-port", self.metrics_port.to_string()),
        ]
    }
}
