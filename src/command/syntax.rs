//! From the syntax line of a row to the arguments that COMMAND DOCS describes.
//!
//! `[x]` is optional, `<x | y>` and `[x | y]` are alternatives, `x [x ...]` is one or more of them.
//! A word in capitals stands for itself; it belongs to the argument behind it when there is one in
//! the same group. Whatever else is written is the name of an argument.

/// What an argument is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A key.
    Key,
    /// Any text.
    String,
    /// A whole number.
    Integer,
    /// A glob pattern.
    Pattern,
    /// A moment.
    UnixTime,
    /// A word that stands for itself.
    Token,
    /// One of these.
    OneOf(Vec<Argument>),
    /// These, one behind the other.
    Block(Vec<Argument>),
}

/// One argument of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The word in front of it.
    pub token: Option<String>,
    /// True when it may be left out.
    pub optional: bool,
    /// True when it may come several times.
    pub multiple: bool,
}

impl Argument {
    /// The name of its type in COMMAND DOCS.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Key => "key",
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
            Kind::Token => "pure-token",
            Kind::OneOf(_) => "oneof",
            Kind::Block(_) => "block",
        }
    }

    /// The arguments that it consists of.
    #[must_use]
    pub fn parts(&self) -> &[Self] {
        match &self.kind {
            Kind::OneOf(parts) | Kind::Block(parts) => parts,
            _ => &[],
        }
    }

    fn new(name: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), kind, token: None, optional: false, multiple: false }
    }

    fn named(name: &str) -> Self {
        let kind = match name {
            "key" | "key1" | "key2" | "newkey" | "source" | "sourcekey" | "src" | "destination"
            | "destkey" | "dst" => Kind::Key,
            "pattern" => Kind::Pattern,
            "seconds" | "milliseconds" | "count" | "increment" | "decrement" | "cursor"
            | "numkeys" | "limit" | "offset" | "start" | "stop" | "index" | "client-id"
            | "protover" | "numreplicas" | "timeout" | "port" | "slot" | "start-slot"
            | "end-slot" | "config-epoch" => Kind::Integer,
            name if name.starts_with("unix-time") => Kind::UnixTime,
            _ => Kind::String,
        };
        Self::new(name, kind)
    }
}

/// The arguments of a command whose name has `name_words` words.
#[must_use]
pub fn arguments(syntax: &str, name_words: usize) -> Vec<Argument> {
    let spaced: String = syntax
        .chars()
        .flat_map(|c| {
            let alone = "[]<>|".contains(c);
            [alone.then_some(' '), Some(c), alone.then_some(' ')].into_iter().flatten()
        })
        .collect();
    let words: Vec<&str> = spaced.split_whitespace().skip(name_words).collect();
    sequence(&mut words.into_iter().peekable())
}

type Words<'a> = std::iter::Peekable<std::vec::IntoIter<&'a str>>;

/// Arguments up to the end of the group, which is left for the caller.
fn sequence(words: &mut Words<'_>) -> Vec<Argument> {
    let mut found: Vec<Argument> = Vec::new();
    // A word in capitals that waits for the argument it belongs to.
    let mut token: Option<&str> = None;
    while let Some(word) = words.next_if(|word| !matches!(*word, "]" | ">" | "|")) {
        let argument = match word {
            "[" | "<" => {
                let Some(argument) = group(words, word == "[", &mut found) else { continue };
                argument
            }
            word if is_token(word) => {
                found.extend(token.replace(word).map(pure_token));
                continue;
            }
            word => Argument::named(word),
        };
        if argument.optional {
            found.extend(token.take().map(pure_token));
            found.push(argument);
        } else {
            found.push(Argument { token: token.take().map(str::to_owned), ..argument });
        }
    }
    found.extend(token.map(pure_token));
    found
}

fn pure_token(word: &str) -> Argument {
    let argument = Argument::new(&word.to_lowercase(), Kind::Token);
    Argument { token: Some(word.to_owned()), ..argument }
}

fn is_token(word: &str) -> bool {
    word.chars().any(|c| c.is_ascii_uppercase()) && !word.chars().any(|c| c.is_ascii_lowercase())
}

/// What stands between brackets; `None` when it only said that what came before may be repeated.
fn group(words: &mut Words<'_>, optional: bool, before: &mut Vec<Argument>) -> Option<Argument> {
    let mut alternatives = vec![sequence(words)];
    while words.next_if_eq(&"|").is_some() {
        alternatives.push(sequence(words));
    }
    // The bracket that ends the group.
    words.next();
    if let [only] = alternatives.as_mut_slice()
        && only.last().is_some_and(|last| last.name == "...")
    {
        let repeated = (only.len() - 1).max(1);
        let repeated = before.split_off(before.len().saturating_sub(repeated));
        before.push(Argument { multiple: true, ..one(repeated) });
        return None;
    }
    let mut choices: Vec<Argument> = alternatives.into_iter().map(one).collect();
    let argument = match choices.len() {
        1 => choices.remove(0),
        _ => Argument::new(&joined(&choices), Kind::OneOf(choices)),
    };
    Some(Argument { optional: optional || argument.optional, ..argument })
}

/// One argument for these.
fn one(mut arguments: Vec<Argument>) -> Argument {
    match arguments.len() {
        1 => arguments.remove(0),
        _ => Argument::new(&joined(&arguments), Kind::Block(arguments)),
    }
}

fn joined(arguments: &[Argument]) -> String {
    arguments.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join("_")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// Written in the way in which redis-cli shows what COMMAND DOCS said.
    fn shown(arguments: &[Argument]) -> String {
        arguments.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    fn show(argument: &Argument) -> String {
        let inner = match &argument.kind {
            Kind::Token => String::new(),
            Kind::OneOf(parts) => parts.iter().map(show).collect::<Vec<_>>().join("|"),
            Kind::Block(parts) => shown(parts),
            _ => format!("{}:{}", argument.name, argument.type_name()),
        };
        let token = argument.token.clone().unwrap_or_default();
        let mut text = format!("{token} {inner}").trim().to_owned();
        if argument.multiple {
            text = format!("{text} [{text} ...]");
        }
        if argument.optional { format!("[{text}]") } else { text }
    }

    #[test]
    fn syntax_lines_become_arguments() {
        let cases = [
            ("GET key", "key:key"),
            ("QUIT", ""),
            ("DEL key [key ...]", "key:key [key:key ...]"),
            ("MSET key value [key value ...]", "key:key value:string [key:key value:string ...]"),
            ("SET key value [NX | XX] [GET]", "key:key value:string [NX|XX] [GET]"),
            (
                "SET key [EX seconds | EXAT unix-time-seconds | KEEPTTL]",
                "key:key [EX seconds:integer|EXAT unix-time-seconds:unix-time|KEEPTTL]",
            ),
            (
                "X [protover [AUTH username password] [SETNAME name]]",
                "[protover:integer [AUTH username:string password:string] [SETNAME name:string]]",
            ),
            (
                "X [TYPE <NORMAL | MASTER>] [ID client-id [client-id ...]]",
                "[TYPE NORMAL|MASTER] [ID client-id:integer [ID client-id:integer ...]]",
            ),
            (
                "X <a | <[B c] | [D e]> [...]>",
                "a:string|[B c:string]|[D e:string] [[B c:string]|[D e:string] ...]",
            ),
            ("X cursor [MATCH pattern]", "cursor:integer [MATCH pattern:pattern]"),
            ("X [A | B] [C]", "[A|B] [C]"),
        ];
        for (syntax, expected) in cases {
            assert_eq!(shown(&arguments(syntax, 1)), expected, "{syntax}");
        }
    }
}
