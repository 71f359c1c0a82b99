//! docs/commands.md, made from the tables.

use crate::command::spec::{CommandSpec, Compat, Run};
use crate::command::table::FAMILIES;
use std::fmt::Write;

const HEAD: &str = "\
# Commands

<!-- Made from the tables in src/command by `MY_REDIS_WRITE_DOCS=1 cargo test --test tidy`. -->

Every command, with its syntax and its cost here. Replies and errors are those of Redis 7.0.15;
where they differ, the last column says how. `[x]` is optional, `<x | y>` are alternatives,
`x [x ...]` is one or more.

";

/// The text of docs/commands.md.
#[must_use]
pub fn commands_markdown() -> String {
    let mut text = HEAD.to_owned();
    let mut groups: Vec<&str> = Vec::new();
    let rows = || FAMILIES.iter().copied().flatten();
    for spec in rows() {
        if !groups.contains(&spec.group.name()) {
            groups.push(spec.group.name());
        }
    }
    for (number, group) in groups.iter().enumerate() {
        let blank = if number == 0 { "" } else { "\n" };
        // Writing to a String cannot fail.
        let _infallible = write!(
            text,
            "{blank}## {}\n\n| command | | cost | since | differs |\n|---|---|---|---|---|\n",
            heading(group)
        );
        for spec in rows().filter(|spec| spec.group.name() == *group) {
            match spec.subcommands() {
                [] => row(&mut text, spec),
                subcommands => {
                    if !is_container(spec) {
                        row(&mut text, spec);
                    }
                    subcommands.iter().for_each(|spec| row(&mut text, spec));
                }
            }
        }
    }
    text
}

fn is_container(spec: &CommandSpec) -> bool {
    matches!(spec.run, Run::Container(_))
}

fn heading(group: &str) -> String {
    let (first, rest) = group.split_at(1);
    format!("{}{rest}", first.to_uppercase())
}

fn row(text: &mut String, spec: &CommandSpec) {
    let differs = match spec.compat {
        Compat::Full => "",
        Compat::Differs(how) => how,
    };
    let syntax = spec.syntax.replace('|', "\\|");
    let _infallible = writeln!(
        text,
        "| `{syntax}` | {} | {} | {} | {differs} |",
        spec.summary, spec.cost, spec.since
    );
}
