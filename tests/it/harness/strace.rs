//! strace on a running server: what it asks of the system, and answers of the system that a test
//! makes up.
//!
//! Only calls that have to do with given paths are looked at, and each thread counts its own: the
//! n-th write of a save is that of its thread and its file, not one to a socket or the log.

use crate::harness::process::Process;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// A strace at work.
pub struct Strace {
    child: Child,
    messages: BufReader<ChildStderr>,
    trace: PathBuf,
}

/// A call that was made.
#[derive(Debug, Clone)]
pub struct Call {
    pub name: String,
    /// As strace prints it.
    pub text: String,
}

impl Call {
    /// True when it came back and was no error.
    pub fn succeeded(&self) -> bool {
        let result = self.text.rsplit_once(" = ").map_or("", |(_, result)| result);
        result.starts_with(|first: char| first.is_ascii_digit())
    }

    /// True when strace answered in the system's place.
    pub fn is_injected(&self) -> bool {
        self.text.ends_with("(INJECTED)") || self.text.contains("(DELAYED)")
    }
}

impl Strace {
    /// Attaches to all threads of a server. `options` are those of strace, such as
    /// `-e inject=...`; without `paths` every call is looked at.
    #[track_caller]
    pub fn attach(process: &Process, paths: &[PathBuf], options: &[&str]) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("my_redis-strace-{}-{number}", std::process::id());
        let trace = std::env::temp_dir().join(name);
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-p", &process.id().to_string(), "-o"]).arg(&trace);
        for path in paths {
            command.arg("-P").arg(path);
        }
        command.args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", needed()));
        let messages = BufReader::new(child.stderr.take().unwrap());
        let mut strace = Self { child, messages, trace };
        let mut said = String::new();
        while !said.contains("attached") {
            let read = strace.messages.read_line(&mut said).unwrap();
            assert!(read > 0, "{}; it said: {said}", needed());
        }
        strace
    }

    /// Detaches and returns the calls, in order.
    #[track_caller]
    pub fn detach(self) -> Vec<Call> {
        let id = self.child.id().to_string();
        // When the server has ended, so has strace.
        let _gone = Command::new("kill").args(["-s", "INT", &id]).stderr(Stdio::null()).status();
        self.ended()
    }

    /// Waits for the end of the server and returns the calls, in order.
    #[track_caller]
    pub fn ended(mut self) -> Vec<Call> {
        self.child.wait().unwrap();
        let text = fs::read_to_string(&self.trace).unwrap();
        let calls = text.lines().filter_map(|line| {
            let (_thread, text) = line.split_once(' ')?;
            let text = text.trim();
            let (name, _) = text.split_once('(')?;
            let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            is_name.then(|| Call { name: name.to_owned(), text: text.to_owned() })
        });
        calls.collect()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
        let _never_made = fs::remove_file(&self.trace);
    }
}

fn needed() -> String {
    "this test needs strace, and the right to attach it to a process (CAP_SYS_PTRACE): \
     install the package strace and run as root"
        .to_owned()
}

/// The paths that a save has to do with: its temporary file, the dump, the lock, the folder.
pub fn paths_of_save(process: &Process, dump: &Path) -> Vec<PathBuf> {
    let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", dump.display()));
    let temporary = beside(&format!(".{}.temp", process.id()));
    vec![temporary, dump.to_owned(), beside(".lock"), dump.parent().unwrap().to_owned()]
}
