//! The rules of the house, checked by reading the tree: layers, confined words, headers, sizes,
//! fresh generated documents.
//!
//! A rule without a test is a wish. To write the generated documents anew:
//! `MY_REDIS_WRITE_DOCS=1 cargo test --test tidy`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may name; itself always.
const LAYERS: &[(&str, &[&str])] = &[
    ("util", &[]),
    ("protocol", &["util"]),
    ("data", &["util"]),
    ("keyspace", &["data", "util"]),
    ("net", &["protocol", "util"]),
    ("config", &["util"]),
    ("stats", &["util"]),
    ("acl", &["util"]),
    ("pubsub", &["config", "protocol", "util"]),
    ("script", &["protocol", "util"]),
    ("persist", &["data", "keyspace", "config", "stats", "util"]),
    (
        "command",
        &[
            "acl", "config", "data", "keyspace", "persist", "protocol", "pubsub", "script",
            "stats", "util",
        ],
    ),
    (
        "server",
        &[
            "acl", "command", "config", "keyspace", "net", "persist", "protocol", "pubsub",
            "stats", "util",
        ],
    ),
    ("client", &["net", "protocol", "util"]),
    ("stress", &["net", "protocol", "util"]),
];

/// A word, the files that may use it (by the beginning of their path under src), and what to use
/// instead.
const CONFINED: &[(&str, &[&str], &str)] = &[
    ("parking_lot", &["keyspace/lock.rs"], "go through a door of the keyspace"),
    ("SystemTime::now", &["util/clock.rs", "persist/"], "take `now` as an argument"),
    ("tokio::net", &["net/", "server/accept.rs"], "be generic over the stream"),
    (
        "structopt",
        &["server/options.rs", "client/options.rs", "stress/options.rs", "bin/"],
        "use the parsed options",
    ),
    ("unsafe ", &["script/stack.rs", "util/allocator.rs", "util/thin_bytes.rs"], "write it safely"),
    ("println!", &["client/", "stress/", "bin/", "server/options.rs"], "write to the log"),
    ("eprintln!", &["client/", "stress/", "bin/", "server/options.rs"], "write to the log"),
    ("process::exit", &["server/shutdown.rs", "server/options.rs", "client/", "bin/"], "return"),
    ("dbg!", &[], "remove it"),
    ("todo!", &[], "write it"),
    ("unimplemented!", &[], "write it"),
    ("FIXME", &[], "mend it"),
    ("XXX", &[], "mend it"),
];

const LINE_CHARS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 900;

/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[];

/// Functions that may be longer, and why.
const LONG_FUNCTIONS: &[(&str, &str)] = &[];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(ending) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Every source file: its path below src and its text.
fn sources() -> Vec<(String, String)> {
    let src = root().join("src");
    let sources: Vec<_> = files_below(&src, ".rs")
        .into_iter()
        .filter(|path| path.file_name().is_none_or(|name| name != "tests.rs"))
        .map(|path| {
            let name = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    assert!(sources.len() > 30, "the sources are not where they were");
    sources
}

/// The part of a file that is not its tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn fail_if_any(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// The modules that a line of code names behind `crate::`.
fn modules_named(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| {
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
    })
}

fn layer_violation(module: &str, line: &str) -> Option<String> {
    let (_, allowed) = LAYERS.iter().find(|(name, _)| *name == module)?;
    if line.trim_start().starts_with("//") {
        return None;
    }
    if line.contains("crate::{") {
        return Some("`crate::{` hides what is imported".to_owned());
    }
    let named = modules_named(line).find(|named| {
        *named != module
            && !allowed.contains(named)
            && LAYERS.iter().any(|(layer, _)| layer == named)
    })?;
    Some(format!("{module} must not name {named}"))
}

#[test]
fn imports_point_down_only() {
    let mut broken = Vec::new();
    for (name, text) in sources() {
        let module = name.split(['/', '.']).next().unwrap();
        for (number, line) in without_tests(&text).lines().enumerate() {
            if let Some(why) = layer_violation(module, line) {
                broken.push(format!("src/{name}:{}: {why}", number + 1));
            }
        }
    }
    fail_if_any(&broken);
}

#[test]
fn an_import_that_points_up_would_be_seen() {
    assert!(layer_violation("util", "use crate::protocol::Args;").is_some());
    assert!(layer_violation("data", "    let x = crate::keyspace::Entry::new();").is_some());
    assert!(layer_violation("server", "use crate::client::run;").is_some());
    assert!(layer_violation("net", "use crate::{command::spec};").is_some());
    assert!(layer_violation("command", "use crate::keyspace::Entry;").is_none());
}

#[test]
fn every_module_has_its_layer() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let modules: BTreeSet<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let layers: BTreeSet<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(modules, layers);
}

#[test]
fn confined_words_stay_where_they_belong() {
    let mut broken = Vec::new();
    for (name, text) in sources() {
        for (number, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for (word, homes, instead) in CONFINED {
                if code.contains(word) && !homes.iter().any(|home| name.starts_with(home)) {
                    broken.push(format!("src/{name}:{}: `{word}`: {instead}", number + 1));
                }
            }
        }
    }
    fail_if_any(&broken);
}

#[test]
fn files_open_with_why_they_exist() {
    let mut broken = Vec::new();
    for (name, text) in sources() {
        if !text.starts_with("//! ") {
            broken.push(format!("src/{name}: does not open with a //! header"));
        }
    }
    for path in files_below(&root().join("tests"), ".rs") {
        if !fs::read_to_string(&path).unwrap().starts_with("//! ") {
            broken.push(format!("{}: does not open with a //! header", path.display()));
        }
    }
    fail_if_any(&broken);
}

#[test]
fn lines_functions_and_files_are_not_too_long() {
    let mut broken = Vec::new();
    for (name, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > FILE_LINES_MAX && !LONG_FILES.iter().any(|(file, _)| *file == name) {
            broken.push(format!("src/{name}: {} lines: split it by subject", lines.len()));
        }
        let table = table_lines(&lines);
        for (number, line) in lines.iter().enumerate() {
            if line.chars().count() > LINE_CHARS_MAX && !table.contains(&number) {
                broken.push(format!("src/{name}:{}: longer than a line", number + 1));
            }
        }
        broken.extend(long_functions(&name, without_tests(&text)));
    }
    fail_if_any(&broken);
}

/// The lines of tables that are read by column and not formatted.
fn table_lines(lines: &[&str]) -> BTreeSet<usize> {
    let mut inside = false;
    let mut table = BTreeSet::new();
    for (number, line) in lines.iter().enumerate() {
        inside |= line.contains("#[rustfmt::skip]");
        if inside {
            table.insert(number);
        }
        if *line == "];" {
            inside = false;
        }
    }
    table
}

fn long_functions(name: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let mut open: Option<(usize, usize, &str)> = None;
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let code = line.trim_start();
        let begins =
            ["fn ", "pub fn ", "pub(super) fn ", "async fn ", "pub async fn ", "const fn "]
                .iter()
                .any(|start| code.starts_with(start));
        if begins && open.is_none() {
            open = Some((number, indent, code));
        }
        if let Some((start, depth, head)) = open
            && indent == depth
            && (code == "}" || (number == start && code.ends_with('}')))
        {
            let function = head.split("fn ").nth(1).unwrap_or(head);
            let function = function.split(['(', '<']).next().unwrap_or(function);
            let place = format!("{name}:{function}");
            let allowed = LONG_FUNCTIONS.iter().any(|(long, _)| *long == place);
            if number - start + 1 > FUNCTION_LINES_MAX && !allowed {
                broken.push(format!("src/{place}: {} lines", number - start + 1));
            }
            open = None;
        }
    }
    broken
}

#[test]
fn no_file_speaks_of_machines_or_registries() {
    let mut broken = Vec::new();
    let words = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("index.", "crates.io")];
    for folder in ["src", "tests", "benches", "docs", ".ci"] {
        for path in files_below(&root().join(folder), "") {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            if let Some(word) = words.iter().find(|word| text.contains(**word)) {
                broken.push(format!("{}: {word}", path.display()));
            }
        }
    }
    fail_if_any(&broken);
}

#[test]
fn the_forbidden_crate_is_nowhere() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    assert!(!lock.lines().any(|line| line == "name = \"redis\""));
    assert!(lock.contains("name = \"parking_lot\"\nversion = \"0.12.5\""));
}

#[test]
fn guards_cannot_be_sent_to_another_thread() {
    // With the feature `send_guard` a lock could be held over an await.
    let lock = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(!lock.contains("send_guard"));
}

#[test]
fn the_top_level_holds_only_what_belongs_there() {
    let allowed = ["Cargo.toml", "Cargo.lock", "src", "tests", "benches", "docs", "README.md"];
    let mut broken = Vec::new();
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let built = ["target", "dump.my_rdb", "proptest-regressions"].contains(&name.as_str());
        if !allowed.contains(&name.as_str()) && !name.starts_with('.') && !built {
            broken.push(name);
        }
    }
    fail_if_any(&broken);
}

#[test]
fn generated_documents_are_fresh() {
    let documents = [
        ("docs/commands.md", my_redis::command::docs::commands_markdown()),
        ("docs/configuration.md", my_redis::config::docs::configuration_markdown()),
    ];
    let write = std::env::var_os("MY_REDIS_WRITE_DOCS").is_some();
    for (name, text) in documents {
        let path = root().join(name);
        if write {
            fs::write(&path, &text).unwrap();
        }
        let stored = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            stored == text,
            "{name} is stale; write it with MY_REDIS_WRITE_DOCS=1 cargo test --test tidy"
        );
    }
}
