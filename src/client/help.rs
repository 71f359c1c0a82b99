//! What the client knows of the server's commands: help, completion and argument hints.
//!
//! All of it comes from the server's own answer to COMMAND DOCS, so that it fits the server at
//! hand, whichever that is. A server without COMMAND DOCS gets no help, no completion and no
//! hints, and no complaint. RESP2 sends the maps as flat arrays; [`pairs`] reads both.

use crate::protocol::response::Value;
use crate::util::split::split_arguments;
use std::collections::BTreeSet;

/// One command or subcommand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Entry {
    /// In capitals, words separated by one space.
    name: String,
    parameters: String,
    summary: String,
    since: Option<String>,
    group: String,
}

/// The commands of the server at hand.
#[derive(Debug, Clone, Default)]
pub struct CommandDocs {
    /// In the order of their names.
    entries: Vec<Entry>,
    groups: BTreeSet<String>,
}

impl CommandDocs {
    /// Reads a response to COMMAND DOCS; whatever is not understood is left out.
    #[must_use]
    pub fn from_response(response: &Value) -> Self {
        let mut docs = Self::default();
        for (name, details) in pairs(response) {
            docs.add(&text(name).to_uppercase(), details);
        }
        docs.entries.sort_by(|left, right| left.name.cmp(&right.name));
        docs.groups = docs.entries.iter().map(|entry| format!("@{}", entry.group)).collect();
        docs
    }

    /// True if nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn add(&mut self, name: &str, details: &Value) {
        let mut entry = Entry { name: name.to_owned(), ..Entry::default() };
        for (field, value) in pairs(details) {
            match field.text().unwrap_or_default() {
                b"summary" => entry.summary = text(value),
                b"since" => entry.since = Some(text(value)),
                b"group" => entry.group = text(value),
                b"arguments" => entry.parameters = join_arguments(value, " "),
                b"subcommands" => {
                    for (full, details) in pairs(value) {
                        // Named "config|get".
                        let full = text(full).to_uppercase();
                        let short = full.split_once('|').map_or(full.as_str(), |(_, name)| name);
                        self.add(&format!("{name} {short}"), details);
                    }
                }
                _ => {}
            }
        }
        self.entries.push(entry);
    }

    /// Where the completion of `line` begins, and what could stand there.
    #[must_use]
    pub fn completions(&self, line: &str) -> (usize, Vec<String>) {
        let (start, for_help) = match line.get(..5) {
            Some(word) if word.eq_ignore_ascii_case("help ") => {
                let topic = line.get(5..).unwrap_or_default().trim_start();
                (line.len() - topic.len(), true)
            }
            _ => (0, false),
        };
        let typed = line.get(start..).unwrap_or_default();
        let groups = self.groups.iter().filter(|_| for_help);
        let names = self.entries.iter().map(|entry| &entry.name);
        let found = groups.chain(names).filter(|name| starts_with_nocase(name, typed)).cloned();
        (start, found.collect())
    }

    /// The parameters that are still to be typed behind `line`.
    #[must_use]
    pub fn hint(&self, line: &str) -> Option<String> {
        let arguments = split_arguments(line.as_bytes())?;
        let entry = self
            .entries
            .iter()
            .filter(|entry| entry.matches_start_of(&arguments))
            .max_by_key(|entry| entry.words().count())?;
        let mut hint = entry.parameters.as_str();
        for _ in entry.words().count()..arguments.len() {
            // What is optional may stand for more than one word, so it stays.
            hint = skip_parameter(hint);
        }
        let spaced = line.ends_with(|last: char| last.is_ascii_whitespace());
        Some(if spaced { hint.to_owned() } else { format!(" {hint}") })
    }

    /// The answer to `help` with the given topic: a command, "@group", or nothing.
    #[must_use]
    pub fn help(&self, topic: &[Vec<u8>]) -> String {
        let Some(first) = topic.first() else { return general_help() };
        let mut out = String::new();
        if let [b'@', group @ ..] = first.as_slice() {
            let belongs = |entry: &&Entry| entry.group.as_bytes().eq_ignore_ascii_case(group);
            for entry in self.entries.iter().filter(belongs) {
                entry.describe(false, &mut out);
            }
        } else {
            for entry in self.entries.iter().filter(|entry| entry.starts_with(topic)) {
                entry.describe(true, &mut out);
            }
        }
        out.push_str("\r\n");
        out
    }
}

impl Entry {
    fn words(&self) -> impl Iterator<Item = &str> {
        self.name.split(' ')
    }

    /// True if `arguments` begin with all words of this command.
    fn matches_start_of(&self, arguments: &[Vec<u8>]) -> bool {
        let mut arguments = arguments.iter();
        self.words().all(|word| {
            arguments.next().is_some_and(|typed| typed.eq_ignore_ascii_case(word.as_bytes()))
        })
    }

    /// True if the words of this command begin with all of `topic`.
    fn starts_with(&self, topic: &[Vec<u8>]) -> bool {
        let mut words = self.words();
        topic.iter().all(|typed| {
            words.next().is_some_and(|word| typed.eq_ignore_ascii_case(word.as_bytes()))
        })
    }

    fn describe(&self, with_group: bool, out: &mut String) {
        let Self { name, parameters, summary, since, group } = self;
        out.push_str(&format!("\r\n  \x1b[1m{name}\x1b[0m \x1b[90m{parameters}\x1b[0m\r\n"));
        out.push_str(&format!("  \x1b[33msummary:\x1b[0m {summary}\r\n"));
        if let Some(since) = since {
            out.push_str(&format!("  \x1b[33msince:\x1b[0m {since}\r\n"));
        }
        if with_group {
            out.push_str(&format!("  \x1b[33mgroup:\x1b[0m {group}\r\n"));
        }
    }
}

fn general_help() -> String {
    format!(
        "my_redis_client {}\n\
         To get help about the server's commands type:\n      \
         \"help @<group>\" to get a list of commands in <group>\n      \
         \"help <command>\" for help on <command>\n      \
         \"help <tab>\" to get a list of possible help topics\n      \
         \"connect <host> <port>\" to connect to another server\n      \
         \"<number> <command>\" to send a command several times\n      \
         \"clear\" to clear the screen\n      \
         \"quit\" to exit\n\
         \n\
         To set preferences:\n      \
         \":set hints\" enable online hints\n      \
         \":set nohints\" disable online hints\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn starts_with_nocase(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

/// `parameters` without the first one, unless that is optional.
fn skip_parameter(parameters: &str) -> &str {
    if parameters.starts_with('[') {
        return parameters;
    }
    parameters.split_once(' ').map_or("", |(_, rest)| rest)
}

/// The pairs of a map, or of an array that stands for one.
fn pairs(value: &Value) -> Vec<(&Value, &Value)> {
    match value {
        Value::Map(pairs) => pairs.iter().map(|(key, value)| (key, value)).collect(),
        Value::Array(elements) => {
            let (pairs, _) = elements.as_chunks::<2>();
            pairs.iter().map(|[key, value]| (key, value)).collect()
        }
        _ => Vec::new(),
    }
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.text().unwrap_or_default()).into_owned()
}

fn join_arguments(arguments: &Value, separator: &str) -> String {
    let arguments = arguments.elements().unwrap_or_default();
    arguments.iter().map(argument).collect::<Vec<_>>().join(separator)
}

/// One argument as it is written in help: `key`, `[EX seconds]`, `NX|XX`, `field [field ...]`.
fn argument(details: &Value) -> String {
    let (mut name, mut kind, mut token) = (String::new(), String::new(), None);
    let (mut optional, mut multiple, mut multiple_token) = (false, false, false);
    let mut inner = &Value::Null;
    for (field, value) in pairs(details) {
        match field.text().unwrap_or_default() {
            b"name" => name = or_quotes(text(value)),
            b"type" => kind = text(value),
            b"token" => token = Some(or_quotes(text(value))),
            b"arguments" => inner = value,
            b"flags" => {
                for flag in value.elements().unwrap_or_default() {
                    match flag.text().unwrap_or_default() {
                        b"optional" => optional = true,
                        b"multiple" => multiple = true,
                        b"multiple_token" => multiple_token = true,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let repeated = match kind.as_str() {
        "pure-token" => String::new(),
        "oneof" => join_arguments(inner, "|"),
        "block" => join_arguments(inner, " "),
        _ => name,
    };
    let token = match token {
        Some(token) if kind == "pure-token" => token,
        Some(token) => format!("{token} "),
        None => String::new(),
    };
    let mut out = format!("{token}{repeated}");
    if multiple {
        let again = if multiple_token { token.as_str() } else { "" };
        out.push_str(&format!(" [{again}{repeated} ...]"));
    }
    if optional { format!("[{out}]") } else { out }
}

fn or_quotes(text: String) -> String {
    if text.is_empty() { "\"\"".to_owned() } else { text }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    fn map(pairs: Vec<(&str, Value)>) -> Value {
        Value::Map(pairs.into_iter().map(|(key, value)| (bulk(key), value)).collect())
    }

    /// The same response as RESP2 sends it.
    fn flat(value: Value) -> Value {
        match value {
            Value::Map(pairs) => Value::Array(
                pairs.into_iter().flat_map(|(key, value)| [flat(key), flat(value)]).collect(),
            ),
            Value::Array(elements) => Value::Array(elements.into_iter().map(flat).collect()),
            Value::Set(elements) => Value::Array(elements.into_iter().map(flat).collect()),
            other => other,
        }
    }

    fn one(name: &str, kind: &str, more: Vec<(&str, Value)>) -> Value {
        map([vec![("name", bulk(name)), ("type", bulk(kind))], more].concat())
    }

    fn flags(flags: &[&str]) -> (&'static str, Value) {
        let flag = |flag: &&str| Value::Simple(flag.as_bytes().to_vec());
        ("flags", Value::Set(flags.iter().map(flag).collect()))
    }

    fn sample() -> Value {
        let token = |token: &str| ("token", bulk(token));
        let condition = Value::Array(vec![
            one("nx", "pure-token", vec![token("NX")]),
            one("xx", "pure-token", vec![token("XX")]),
        ]);
        let set = Value::Array(vec![
            one("key", "key", vec![]),
            one("value", "string", vec![]),
            one("condition", "oneof", vec![flags(&["optional"]), ("arguments", condition)]),
            one("seconds", "integer", vec![token("EX"), flags(&["optional"])]),
        ]);
        let get = map(vec![
            ("summary", bulk("Gets a parameter")),
            ("since", bulk("2.0.0")),
            ("group", bulk("server")),
            (
                "arguments",
                Value::Array(vec![one("parameter", "string", vec![flags(&["multiple"])])]),
            ),
        ]);
        map(vec![
            (
                "set",
                map(vec![
                    ("summary", bulk("Sets a key")),
                    ("since", bulk("1.0.0")),
                    ("group", bulk("string")),
                    ("arguments", set),
                ]),
            ),
            (
                "config",
                map(vec![
                    ("summary", bulk("A container")),
                    ("group", bulk("server")),
                    ("subcommands", map(vec![("config|get", get)])),
                ]),
            ),
        ])
    }

    #[test]
    fn hints_show_what_is_still_to_be_typed() {
        for response in [sample(), flat(sample())] {
            let docs = CommandDocs::from_response(&response);
            let hint = |line| docs.hint(line);
            assert_eq!(hint("set").unwrap(), " key value [NX|XX] [EX seconds]");
            assert_eq!(hint("SET k ").unwrap(), "value [NX|XX] [EX seconds]");
            assert_eq!(hint("set k v").unwrap(), " [NX|XX] [EX seconds]");
            assert_eq!(hint("set k v NX ").unwrap(), "[NX|XX] [EX seconds]");
            assert_eq!(hint("config get ").unwrap(), "parameter [parameter ...]");
            assert_eq!(hint("config ").unwrap(), "");
            assert_eq!(hint("nonsense"), None);
            assert_eq!(hint(""), None);
            assert_eq!(hint("set \"k"), None);
        }
    }

    #[test]
    fn names_are_completed_and_groups_behind_help() {
        let docs = CommandDocs::from_response(&sample());
        assert_eq!(docs.completions("co"), (0, vec!["CONFIG".into(), "CONFIG GET".into()]));
        assert_eq!(docs.completions("config g"), (0, vec!["CONFIG GET".into()]));
        assert_eq!(docs.completions("help  s"), (6, vec!["SET".into()]));
        assert_eq!(docs.completions("help @s").1, ["@server", "@string"]);
        assert_eq!(docs.completions("@s").1, [""; 0]);
        assert_eq!(docs.completions("hélp ").1, [""; 0]);
    }

    #[test]
    fn help_describes_commands_and_groups() {
        let docs = CommandDocs::from_response(&sample());
        let words = |line: &str| split_arguments(line.as_bytes()).unwrap();
        assert_eq!(
            docs.help(&words("config GET")),
            "\r\n  \x1b[1mCONFIG GET\x1b[0m \x1b[90mparameter [parameter ...]\x1b[0m\r\n  \
             \x1b[33msummary:\x1b[0m Gets a parameter\r\n  \x1b[33msince:\x1b[0m 2.0.0\r\n  \
             \x1b[33mgroup:\x1b[0m server\r\n\r\n"
        );
        assert_eq!(docs.help(&words("config")).matches("summary:").count(), 2);
        assert_eq!(docs.help(&words("@string")).matches("summary:").count(), 1);
        assert!(!docs.help(&words("@string")).contains("group:"));
        assert_eq!(docs.help(&words("nonsense")), "\r\n");
        assert!(docs.help(&[]).starts_with("my_redis_client "));
    }

    #[test]
    fn a_strange_response_is_no_harm() {
        for response in [Value::Null, bulk("x"), Value::Array(vec![bulk("set")]), map(vec![])] {
            assert!(CommandDocs::from_response(&response).is_empty());
        }
        let docs = CommandDocs::from_response(&map(vec![("x", Value::Integer(1))]));
        assert_eq!(docs.hint("x"), Some(" ".to_owned()));
    }
}
