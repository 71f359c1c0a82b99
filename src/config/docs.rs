//! docs/configuration.md, made from the table.

use crate::config::{Change, Effect, OPTIONS, OptionSpec};
use std::fmt::Write;

const HEAD: &str = "\
# Configuration

<!-- Made from src/config/table.rs by `MY_REDIS_WRITE_DOCS=1 cargo test --test tidy`. -->

Options are given on the command line (`my_redis_server --help`) or in a file
(`my_redis_server FILE`), and can be read and changed with `CONFIG GET` and `CONFIG SET`. The file
has the syntax of redis.conf: a name and its values in each line, quotes as in redis-cli, `#` for
comments, `include` for other files (a pattern in the last part of the path names several). What the
command line says goes before it. A line that is not understood, or that asks for what is not kept,
is refused at the start. `CONFIG REWRITE` writes what holds into the file: only lines of options
that have changed are replaced, new ones come at the end, and the new file takes the place of the
old one in one step.

`live` options can change at any time, `start` options only by the command line and the file.
With `protected` options a client could do harm: they are `start` options unless
`enable-protected-configs` says otherwise.

## Options that act

| option | values | default | may change | |
|---|---|---|---|---|
";

const KEPT: &str = "
## Options of Redis without effect here

Clients, exporters and configuration tools ask for these or set them. They have Redis' defaults and
checks, keep what they are given, and change nothing. Where a value would promise what is not kept,
only the default is possible.

| option | values | default | may change | |
|---|---|---|---|---|
";

/// The text of docs/configuration.md.
#[must_use]
pub fn configuration_markdown() -> String {
    let mut text = HEAD.to_owned();
    let acts = |option: &&OptionSpec| option.effect == Effect::Acts;
    OPTIONS.iter().filter(acts).for_each(|option| row(&mut text, option));
    text.push_str(KEPT);
    OPTIONS.iter().filter(|option| !acts(option)).for_each(|option| row(&mut text, option));
    text
}

fn row(text: &mut String, option: &OptionSpec) {
    let names: Vec<String> = option.names().map(|name| format!("`{name}`")).collect();
    let default = match option.default {
        "" => "empty".to_owned(),
        default => format!("`{default}`"),
    };
    let change = match option.change {
        Change::Live => "live",
        Change::AtStart => "start",
        Change::Protected => "protected",
    };
    let (names, values) = (names.join(", "), option.kind.describe());
    let summary = match option.effect {
        Effect::Fixed(_) => format!("{} Only the default.", option.summary),
        _ => option.summary.to_owned(),
    };
    // Writing to a String cannot fail.
    let _infallible = writeln!(text, "| {names} | {values} | {default} | {change} | {summary} |");
}
