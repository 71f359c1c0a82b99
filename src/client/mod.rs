//! Layer 5: the command line client.
//!
//! It shares the protocol and the connection with the server and knows no command by itself:
//! help, completion and hints are asked of the server it talks to. Its options, its output and its
//! exit codes are those of redis-cli, so that habits and scripts go on working.

pub mod format;
pub mod help;
pub mod options;
pub mod pipe;
pub mod repl;
pub mod session;

use crate::client::help::CommandDocs;
use crate::client::options::Settings;
use crate::client::session::{Issued, Session, print};
use std::io::{self, Read};
use std::process::ExitCode;
use tokio::runtime::{Builder, Runtime};

/// Why the client ends before its work is done.
#[derive(Debug)]
pub enum Stop {
    /// With this exit code; what there was to say has been said.
    Code(u8),
    /// Standard input cannot be read.
    Input(io::Error),
    /// Standard output cannot be written.
    Output(io::Error),
}

/// Runs the client as `settings` say; returns the exit code of the process.
#[must_use]
pub fn run(settings: Settings) -> ExitCode {
    // One worker, so that ctrl-c is heard while the main thread edits a line or writes.
    let runtime = match Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("Error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = if settings.pipe {
        runtime.block_on(run_pipe(settings))
    } else if settings.command.is_empty() {
        run_prompt(settings, &runtime)
    } else {
        runtime.block_on(run_command(settings))
    };
    // A thread may still wait for standard input; the process does not wait for it.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Code(code)) => ExitCode::from(code),
        Err(Stop::Input(error)) => {
            eprintln!("Reading from standard input: {error}");
            ExitCode::FAILURE
        }
        Err(Stop::Output(error)) => {
            if error.kind() != io::ErrorKind::BrokenPipe {
                eprintln!("Writing to standard output: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run_pipe(settings: Settings) -> Result<(), Stop> {
    let timeout = settings.pipe_timeout;
    let mut session = Session::new(settings, false);
    if !session.connect(false).await {
        return Err(Stop::Code(1));
    }
    match session.take_connection() {
        Some(connection) => pipe::run(connection, timeout).await,
        None => Err(Stop::Code(1)),
    }
}

fn run_prompt(settings: Settings, runtime: &Runtime) -> Result<(), Stop> {
    let mut session = Session::new(settings, true);
    runtime.spawn(session.interrupt().watch());
    runtime.block_on(session.connect(false));
    repl::run(&mut session, runtime)
}

async fn run_command(settings: Settings) -> Result<(), Stop> {
    let (mut command, repeat) = (settings.command.clone(), settings.repeat);
    if settings.last_argument_from_stdin {
        let mut argument = Vec::new();
        io::stdin().lock().read_to_end(&mut argument).map_err(Stop::Input)?;
        command.push(argument);
    }
    let mut session = Session::new(settings, false);
    // What goes wrong here is said when the command is sent.
    session.connect(true).await;
    if let [name, topic @ ..] = command.as_slice()
        && (name == b"?" || name.eq_ignore_ascii_case(b"help"))
    {
        let response = session.ask(&["COMMAND", "DOCS"]).await;
        let docs = response.as_ref().map(CommandDocs::from_response).unwrap_or_default();
        return print(docs.help(topic).as_bytes());
    }
    match session.issue(&command, repeat).await? {
        Issued::Answered => Ok(()),
        Issued::Failed => Err(Stop::Code(1)),
    }
}
