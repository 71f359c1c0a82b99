//! The interactive prompt: line editing, history, completion and hints around a [`Session`].
//!
//! On a terminal a line editor does the typing; lines that come from a file or a pipe are read
//! plainly, without a prompt, and may hold any bytes. Lines with a password stay out of the
//! history.

use crate::client::Stop;
use crate::client::format::OutputFormat;
use crate::client::help::CommandDocs;
use crate::client::session::{Session, print};
use crate::util::split::split_arguments;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter};
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use std::borrow::Cow;
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Lines that the history keeps.
const HISTORY_LINES_MAX: usize = 1000;
/// The history file in the user's home folder.
const HISTORY_FILE: &str = ".my_redis_client_history";
/// Names another history file; "/dev/null" for none.
const HISTORY_VARIABLE: &str = "REDISCLI_HISTFILE";
/// A command that takes at least this long gets its time shown.
const SHOWN_DURATION_MIN: Duration = Duration::from_millis(500);

/// Prompts for commands until the user leaves.
///
/// # Errors
/// The client must stop with a code other than 0.
pub fn run(session: &mut Session, runtime: &Runtime) -> Result<(), Stop> {
    let mut prompt = Prompt { session, runtime, hints: true };
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        prompt.run_on_terminal()
    } else {
        prompt.run_on_lines()
    }
}

struct Prompt<'a> {
    session: &'a mut Session,
    runtime: &'a Runtime,
    hints: bool,
}

/// What a line asks the prompt itself to do.
enum Next {
    Continue,
    Clear,
    Quit,
}

impl Prompt<'_> {
    fn run_on_lines(&mut self) -> Result<(), Stop> {
        let mut input = io::stdin().lock();
        let mut line = Vec::new();
        let mut docs = CommandDocs::default();
        while input.read_until(b'\n', &mut line).map_err(Stop::Input)? > 0 {
            match split_arguments(&line) {
                None => print(b"Invalid argument(s)\n")?,
                Some(words) => {
                    if is_help(&words) && docs.is_empty() {
                        docs = self.ask_for_docs();
                    }
                    if let Next::Quit = self.execute(&words, &docs)? {
                        return Ok(());
                    }
                }
            }
            line.clear();
        }
        Ok(())
    }

    fn run_on_terminal(&mut self) -> Result<(), Stop> {
        let config = Config::builder()
            .max_history_size(HISTORY_LINES_MAX)
            .map_err(editor_failure)?
            .completion_type(CompletionType::Circular)
            .auto_add_history(false)
            .build();
        let mut editor: Editor<Assistant, FileHistory> =
            Editor::with_config(config).map_err(editor_failure)?;
        editor.set_helper(Some(Assistant::default()));
        let history_file = history_file();
        if let Some(path) = &history_file {
            // A first run has no history, and a history that cannot be read is no reason to stop.
            let _unreadable = editor.load_history(path);
        }
        let mut docs = Rc::default();
        let mut docs_generation = None;
        loop {
            if docs_generation != Some(self.session.generation()) {
                docs_generation = Some(self.session.generation());
                docs = Rc::new(self.ask_for_docs());
            }
            if let Some(assistant) = editor.helper_mut() {
                assistant.docs = Rc::clone(&docs);
                assistant.hints = self.hints;
            }
            let line = match editor.readline(&self.session.prompt()) {
                Ok(line) => line,
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(()),
                Err(error) => return Err(editor_failure(error)),
            };
            let words = split_arguments(line.as_bytes());
            if words.as_ref().is_none_or(|words| !words.is_empty() && !is_sensitive(words)) {
                let _full = editor.add_history_entry(line.as_str());
                if let Some(path) = &history_file {
                    let _unwritable = editor.append_history(path);
                }
            }
            let Some(words) = words else {
                print(b"Invalid argument(s)\n")?;
                continue;
            };
            match self.execute(&words, &docs)? {
                Next::Continue => {}
                Next::Clear => editor.clear_screen().map_err(editor_failure)?,
                Next::Quit => return Ok(()),
            }
        }
    }

    fn ask_for_docs(&mut self) -> CommandDocs {
        let response = self.runtime.block_on(self.session.ask(&["COMMAND", "DOCS"]));
        response.as_ref().map(CommandDocs::from_response).unwrap_or_default()
    }

    /// Does what the prompt itself knows, and sends the rest to the server.
    fn execute(&mut self, words: &[Vec<u8>], docs: &CommandDocs) -> Result<Next, Stop> {
        let (repeat, command) = match repeat_count(words) {
            Ok(split) => split,
            Err(message) => {
                print(message)?;
                return Ok(Next::Continue);
            }
        };
        let Some((name, arguments)) = command.split_first() else { return Ok(Next::Continue) };
        match (name.to_ascii_lowercase().as_slice(), arguments) {
            (b"quit" | b"exit", _) => return Ok(Next::Quit),
            (b"clear", []) => return Ok(Next::Clear),
            (b"help" | b"?", topic) => print(docs.help(topic).as_bytes())?,
            (b"connect", [host, port]) => self.connect(host, port)?,
            ([b':', ..], _) => self.set_preference(command)?,
            _ => self.send(command, repeat)?,
        }
        Ok(Next::Continue)
    }

    fn connect(&mut self, host: &[u8], port: &[u8]) -> Result<(), Stop> {
        let host = String::from_utf8_lossy(host).into_owned();
        let Some(port) = std::str::from_utf8(port).ok().and_then(|port| port.parse().ok()) else {
            return print(b"Invalid port\n");
        };
        self.runtime.block_on(self.session.connect_to(host, port));
        Ok(())
    }

    fn set_preference(&mut self, command: &[Vec<u8>]) -> Result<(), Stop> {
        let shown = |word: Option<&Vec<u8>>| {
            word.map(|word| String::from_utf8_lossy(word).into_owned()).unwrap_or_default()
        };
        let (name, preference) = (shown(command.first()), shown(command.get(1)));
        match (name.to_lowercase().as_str(), preference.to_lowercase().as_str()) {
            (":set", "hints") => self.hints = true,
            (":set", "nohints") => self.hints = false,
            (":set", _) if command.len() > 1 => {
                print(format!("unknown preference '{preference}'\n").as_bytes())?;
            }
            _ => print(format!("unknown internal command '{name}'\n").as_bytes())?,
        }
        Ok(())
    }

    fn send(&mut self, command: &[Vec<u8>], repeat: i64) -> Result<(), Stop> {
        let start = Instant::now();
        self.runtime.block_on(self.session.issue(command, repeat))?;
        let elapsed = start.elapsed();
        if elapsed >= SHOWN_DURATION_MIN && self.session.settings().format == OutputFormat::Terminal
        {
            print(format!("({:.2}s)\n", elapsed.as_secs_f64()).as_bytes())?;
        }
        Ok(())
    }
}

fn is_help(words: &[Vec<u8>]) -> bool {
    words.first().is_some_and(|word| word == b"?" || word.eq_ignore_ascii_case(b"help"))
}

/// A number in front of a command says how often to send it.
fn repeat_count(words: &[Vec<u8>]) -> Result<(i64, &[Vec<u8>]), &'static [u8]> {
    let [first, command @ ..] = words else { return Ok((1, words)) };
    let text = std::str::from_utf8(first).unwrap_or_default();
    let is_number =
        text.strip_prefix(['-', '+']).unwrap_or(text).bytes().all(|b| b.is_ascii_digit())
            && text.ends_with(|last: char| last.is_ascii_digit());
    if command.is_empty() || !is_number {
        return Ok((1, words));
    }
    match text.parse() {
        Ok(repeat) if repeat > 0 => Ok((repeat, command)),
        _ => Err(b"Invalid repeat command option value.\n"),
    }
}

/// True for a command that may hold a password.
fn is_sensitive(words: &[Vec<u8>]) -> bool {
    let words = repeat_count(words).map_or(words, |(_, command)| command);
    let is = |at: usize, word: &str| {
        words.get(at).is_some_and(|typed| typed.eq_ignore_ascii_case(word.as_bytes()))
    };
    let from = |at: usize, names: &[&str]| {
        (at..words.len()).any(|at| names.iter().any(|name| is(at, name)))
    };
    is(0, "auth")
        || (is(0, "acl") && is(1, "setuser"))
        || (is(0, "config")
            && is(1, "set")
            && from(2, &["masterauth", "masteruser", "requirepass"]))
        || (is(0, "hello") && from(2, &["auth"]))
        || (is(0, "migrate") && from(6, &["auth", "auth2"]))
}

fn history_file() -> Option<PathBuf> {
    let named = std::env::var_os(HISTORY_VARIABLE).filter(|path| !path.is_empty());
    let path = named.map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
        Some(PathBuf::from(home).join(HISTORY_FILE))
    })?;
    (path.as_os_str() != "/dev/null").then_some(path)
}

fn editor_failure(error: ReadlineError) -> Stop {
    Stop::Input(io::Error::other(error.to_string()))
}

/// What the line editor asks while the user types.
#[derive(Default)]
struct Assistant {
    docs: Rc<CommandDocs>,
    hints: bool,
}

impl Helper for Assistant {}

impl Validator for Assistant {}

/// Shown behind the cursor, and never typed by an arrow key: it names parameters.
struct ParameterHint(String);

impl Hint for ParameterHint {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for Assistant {
    type Hint = ParameterHint;

    fn hint(&self, line: &str, pos: usize, _context: &Context<'_>) -> Option<ParameterHint> {
        if !self.hints || pos < line.len() {
            return None;
        }
        self.docs.hint(line).map(ParameterHint)
    }
}

impl Highlighter for Assistant {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[90m{hint}\x1b[0m"))
    }
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.docs.completions(line.get(..pos).unwrap_or(line)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        split_arguments(line.as_bytes()).unwrap()
    }

    #[test]
    fn passwords_stay_out_of_the_history() {
        for line in [
            "AUTH secret",
            "auth user secret",
            "3 auth secret",
            "acl SETUSER alice >secret",
            "config set requirepass secret",
            "config set maxmemory 1 requirepass secret",
            "hello 3 auth user secret",
            "hello 3 setname x auth user secret",
            "migrate h 1 k 0 5 copy auth secret",
        ] {
            assert!(is_sensitive(&words(line)), "{line}");
        }
        for line in ["get auth", "hello 3", "acl list", "config get requirepass", "5 ping"] {
            assert!(!is_sensitive(&words(line)), "{line}");
        }
    }

    #[test]
    fn a_number_in_front_repeats_the_command() {
        let line = words("5 get k");
        assert_eq!(repeat_count(&line), Ok((5, &line[1..])));
        for line in ["get 5", "5", "5x ping", "- ping", ""] {
            let line = words(line);
            assert_eq!(repeat_count(&line), Ok((1, &line[..])));
        }
        for line in ["0 ping", "-1 ping", "99999999999999999999 ping"] {
            assert!(repeat_count(&words(line)).is_err(), "{line}");
        }
    }
}
