//! DUMP and RESTORE: one value as bytes.
//!
//! Encoding, decoding and the checksum take time in the length of the value, so they happen while
//! no lock is held: of DUMP behind it, of RESTORE before.

use crate::command::args::{integer, is_word};
use crate::command::context::{Call, Decoded};
use crate::command::dispatch::{LONG_BYTES, blocking_if};
use crate::command::error::CommandError;
use crate::command::generic::note_anew;
use crate::command::spec::{
    Arity, CommandSpec, Compat, Early, Flags, Group, KeySpec, Outcome, Run,
};
use crate::keyspace::{ReadView, WriteView};
use crate::persist::payload;
use crate::util::clock::UnixMillis;
use crate::util::events::EventSet;

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "DUMP", group: Group::Generic, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "2.6.0", cost: "O(n) for n bytes, while others are served", syntax: "DUMP key",
        summary: "Returns the value of a key as bytes for RESTORE.",
        tips: &["nondeterministic_output"],
        compat: Compat::Differs("Other bytes than Redis, which takes them."),
        run: Run::Read(dump), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "RESTORE", group: Group::Generic, arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(&["OW", "UPDATE"])], flags: Flags::DENY_OOM.and(Flags::DANGEROUS),
        since: "2.6.0", cost: "O(n) for n bytes, while others are served",
        syntax: "RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] \
                 [FREQ frequency]",
        summary: "Makes a key of what DUMP returned.",
        compat: Compat::Differs("Takes versions up to that of Redis 7.4."),
        early: Some(Early::Decode(decode)), run: Run::Write(restore), ..CommandSpec::BASE
    },
];

fn dump(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let Some(entry) = view.copy() else {
        call.reply.null();
        return Ok(());
    };
    let compress = call.config.rdb_compression();
    call.late = Some(Box::new(move |reply| {
        let encode = || payload::encode(entry.value(), entry.field_deadlines(), compress);
        reply.bulk(&blocking_if(entry.memory_bytes() > LONG_BYTES, encode));
        Ok(())
    }));
    Ok(())
}

fn decode(call: &mut Call<'_>) {
    let payload = call.args.at(3);
    let decoded = blocking_if(payload.len() > LONG_BYTES, || payload::decode(payload));
    let refused = |error| CommandError::Owned(format!("ERR {error}").into_bytes());
    call.decoded = Some(Decoded::Value(decoded.map_err(refused)));
}

#[derive(Default)]
struct Options {
    replace: bool,
    is_absolute: bool,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

impl Options {
    fn parse(call: &Call<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut words = call.args.iter_from(4);
        while let Some(word) = words.next() {
            if is_word(word, "REPLACE") {
                options.replace = true;
            } else if is_word(word, "ABSTTL") {
                options.is_absolute = true;
            } else if is_word(word, "IDLETIME")
                && options.frequency.is_none()
                && let Some(number) = words.next()
            {
                let text = "ERR Invalid IDLETIME value, must be >= 0";
                let seconds = u64::try_from(integer(number)?);
                options.idle_seconds = Some(seconds.map_err(|_| CommandError::Text(text))?);
            } else if is_word(word, "FREQ")
                && options.idle_seconds.is_none()
                && let Some(number) = words.next()
            {
                let text = "ERR Invalid FREQ value, must be >= 0 and <= 255";
                let frequency = u8::try_from(integer(number)?);
                options.frequency = Some(frequency.map_err(|_| CommandError::Text(text))?);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

fn restore(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let options = Options::parse(call)?;
    if view.exists() && !options.replace {
        return Err(CommandError::Text("BUSYKEY Target key name already exists."));
    }
    let ttl = integer(call.args.at(2))?;
    if ttl < 0 {
        return Err(CommandError::Text("ERR Invalid TTL value, must be >= 0"));
    }
    let Some(Decoded::Value(value)) = call.decoded.take() else {
        return Err(CommandError::Syntax);
    };
    let value = value?;
    let base = if options.is_absolute { 0 } else { call.now.0 };
    // As in Redis, a sum that does not fit wraps around into the past.
    let deadline = (ttl != 0).then(|| UnixMillis(ttl.wrapping_add(base)));
    if deadline.is_some_and(|deadline| deadline <= call.now) {
        if view.remove() {
            view.notify(EventSet::GENERIC, "del");
        }
    } else {
        let replaced = view.exists();
        view.set_value(value, deadline);
        if let Some(seconds) = options.idle_seconds {
            view.set_idle(seconds);
        }
        if let Some(frequency) = options.frequency {
            view.set_frequency(frequency);
        }
        note_anew(view, replaced);
        view.notify(EventSet::GENERIC, "restore");
    }
    call.reply.ok();
    Ok(())
}
