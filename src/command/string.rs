//! Strings: GET, SET and what counts and appends.

use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::data::StringRef;
use crate::keyspace::{NewDeadline, ReadView, WriteView};
use crate::util::clock::UnixMillis;
use crate::util::number::parse_i64;

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "GET", group: Group::String, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RO", "ACCESS"])], flags: Flags::FAST,
        since: "1.0.0", cost: "O(1)", syntax: "GET key",
        summary: "Returns the string value of a key.", run: Run::Read(get), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SET", group: Group::String, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RW", "ACCESS", "UPDATE", "VARIABLE_FLAGS"])],
        flags: Flags::DENY_OOM,
        since: "1.0.0", cost: "O(1)",
        syntax: "SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        summary: "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
        run: Run::Write(set), ..CommandSpec::BASE
    },
];

/// Replies with a string.
pub(super) fn reply_string(call: &mut Call<'_>, value: StringRef<'_>) {
    match value {
        StringRef::Packed(bytes) => call.reply.bulk(bytes),
        StringRef::Large(bytes) => call.reply.bulk_shared(bytes),
    }
}

fn get(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    match view.string()? {
        Some(value) => reply_string(call, value),
        None => call.reply.null(),
    }
    Ok(())
}

/// When SET sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    IfAbsent,
    IfPresent,
}

struct SetOptions {
    condition: Condition,
    get: bool,
    deadline: NewDeadline,
}

impl SetOptions {
    fn parse(call: &Call<'_>) -> Result<Self, CommandError> {
        let mut options =
            Self { condition: Condition::Always, get: false, deadline: NewDeadline::Set(None) };
        let mut has_deadline = false;
        let mut words = call.args.iter_from(3);
        while let Some(word) = words.next() {
            let mut upper = [0; 8];
            let word = upper_case(word, &mut upper);
            match word {
                b"NX" if options.condition != Condition::IfPresent => {
                    options.condition = Condition::IfAbsent;
                }
                b"XX" if options.condition != Condition::IfAbsent => {
                    options.condition = Condition::IfPresent;
                }
                b"GET" => options.get = true,
                b"KEEPTTL" if !has_deadline => {
                    options.deadline = NewDeadline::Keep;
                    has_deadline = true;
                }
                b"EX" | b"PX" | b"EXAT" | b"PXAT" if !has_deadline => {
                    let number = words.next().ok_or(CommandError::Syntax)?;
                    let deadline = deadline(word, number, call.now, "set")?;
                    options.deadline = NewDeadline::Set(Some(deadline));
                    has_deadline = true;
                }
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(options)
    }
}

/// `word` in upper case, empty when it is longer than any option.
pub(super) fn upper_case<'a>(word: &[u8], room: &'a mut [u8; 8]) -> &'a [u8] {
    let Some(place) = room.get_mut(..word.len()) else { return &[] };
    place.copy_from_slice(word);
    place.make_ascii_uppercase();
    place
}

/// The deadline that EX, PX, EXAT or PXAT with this number means.
pub(super) fn deadline(
    unit: &[u8],
    number: &[u8],
    now: UnixMillis,
    command: &'static str,
) -> Result<UnixMillis, CommandError> {
    let invalid = CommandError::InvalidExpire(command);
    let number = parse_i64(number).ok_or(CommandError::NotAnInteger)?;
    let in_seconds = matches!(unit, b"EX" | b"EXAT");
    if number <= 0 || (in_seconds && number > i64::MAX / 1_000) {
        return Err(invalid);
    }
    let millis = if in_seconds { number * 1_000 } else { number };
    if matches!(unit, b"EX" | b"PX") {
        return millis.checked_add(now.0).map(UnixMillis).ok_or(invalid);
    }
    Ok(UnixMillis(millis))
}

fn set(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    if call.args.len() == 3 {
        view.set_string(call.args.at(2), NewDeadline::Set(None));
        call.reply.ok();
        return Ok(());
    }
    let options = SetOptions::parse(call)?;
    if options.get {
        match view.read().string()? {
            Some(value) => reply_string(call, value),
            None => call.reply.null(),
        }
    }
    let sets = match options.condition {
        Condition::Always => true,
        Condition::IfAbsent => !view.exists(),
        Condition::IfPresent => view.exists(),
    };
    if sets {
        view.set_string(call.args.at(2), options.deadline);
    }
    match (options.get, sets) {
        (true, _) => {}
        (false, true) => call.reply.ok(),
        (false, false) => call.reply.null(),
    }
    Ok(())
}
