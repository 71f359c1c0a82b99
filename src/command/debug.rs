//! DEBUG: what test suites and drills need and nobody else should, so it is refused unless the
//! option enable-debug-command allows it.
//!
//! PROTOCOL has a sample of every type of reply, for the tests of client libraries. OBJECT and the
//! digests are about keys: they run by rows of their own, which no client can name.

use crate::command::args::is_word;
use crate::command::context::{Call, Context, Deferred};
use crate::command::digest::Digest;
use crate::command::error::CommandError;
use crate::command::help::reply_help;
use crate::command::object::encoding_name;
use crate::command::spec::{Arity, CommandSpec, Compat, Flags, Group, KeySpec, Outcome, Run};
use crate::command::sweep::Sweeper;
use crate::keyspace::Uses;
use crate::keyspace::{DatabaseNumber, ReadManyView, ReadView, WriteView};
use crate::persist::payload;
use crate::protocol::{Protocol, ReplyWriter};
use crate::util::number::{parse_f64, parse_prefix};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

const REFUSED: &str = "ERR DEBUG command not allowed. If the enable-debug-command option is set \
to \"local\", you can run it from a local connection, otherwise you need to set this option in the \
configuration file, and then restart the server.";
const RELOAD_OPTIONS: &str = "ERR DEBUG RELOAD only supports the NOSAVE option here.";
const WRONG_TYPE_NAME: &str = "ERR Wrong protocol type name. Please use one of the following: \
string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false";
/// A server that is made to sleep wakes after this long at the latest.
const SLEEP_MAX: Duration = Duration::from_secs(3_600);

/// The sample of DEBUG PROTOCOL.
#[expect(clippy::approx_constant, reason = "it is Redis' sample and no approximation")]
const SAMPLE_DOUBLE: f64 = 3.141;

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "DEBUG", group: Group::Server, arity: Arity::AtLeast(2),
        flags: Flags::ADMIN.and(Flags::NO_SCRIPT).and(Flags::LOADING).and(Flags::STALE)
            .and(Flags::NO_TOUCH).and(Flags::PROTECTED),
        since: "1.0.0", cost: "Depends on subcommand.", syntax: "DEBUG",
        summary: "A container for debugging commands.",
        compat: Compat::Differs("ERROR, HELP, LOG, PANIC, PROTOCOL, QUICKLIST-PACKED-THRESHOLD (has no \
                                 effect), OBJECT, DIGEST, DIGEST-VALUE, RELOAD [NOSAVE], \
                                 SET-ACTIVE-EXPIRE and SLEEP only."),
        run: Run::Choose(debug), ..CommandSpec::BASE
    },
];

#[rustfmt::skip]
static OBJECT: CommandSpec = CommandSpec {
    name: "DEBUG OBJECT", group: Group::Server, arity: Arity::Exact(3),
    keys: &[KeySpec { first: 2, last: 0, step: 1, access: &["RO"] }],
    run: Run::Read(object), ..CommandSpec::BASE
};

#[rustfmt::skip]
static DIGEST_VALUE: CommandSpec = CommandSpec {
    name: "DEBUG DIGEST-VALUE", group: Group::Server, arity: Arity::AtLeast(3),
    keys: &[KeySpec { first: 2, last: -1, step: 1, access: &["RO"] }],
    run: Run::ReadMany(digest_value), ..CommandSpec::BASE
};

#[rustfmt::skip]
static DIGEST: CommandSpec = CommandSpec {
    name: "DEBUG DIGEST", group: Group::Server, arity: Arity::Exact(2), flags: Flags::SLOW,
    run: Run::Sweep(digest), ..CommandSpec::BASE
};

#[rustfmt::skip]
static PANIC: CommandSpec = CommandSpec {
    name: "DEBUG PANIC", group: Group::Server, arity: Arity::Exact(3),
    keys: &[KeySpec { first: 2, last: 0, step: 1, access: &["RW"] }],
    run: Run::Write(panic_in_a_change), ..CommandSpec::BASE
};

#[rustfmt::skip]
static PANIC_IN_READING: CommandSpec = CommandSpec {
    name: "DEBUG PANIC READ", group: Group::Server, arity: Arity::Exact(4),
    keys: &[KeySpec { first: 2, last: 0, step: 1, access: &["RO"] }],
    run: Run::Read(panic_in_reading), ..CommandSpec::BASE
};

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DIGEST",
    "    Output a hex signature representing the current DB content.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Output a hex signature of the values of all the specified keys.",
    "ERROR <string>",
    "    Return a Redis protocol error with <string> as message. Useful for clients",
    "    unit tests to simulate Redis errors.",
    "LOG <message>",
    "    Write <message> to the server log.",
    "OBJECT <key>",
    "    Show low level info about `key` and associated value.",
    "PANIC",
    "    Panic before anything is changed: this connection ends.",
    "PANIC <key>",
    "    Panic in the middle of a change of <key>: the server ends without saving.",
    "PANIC <key> READ",
    "    Panic while <key> is read: this connection ends.",
    "PROTOCOL <type>",
    "    Reply with a test value of the specified type. <type> can be: string,",
    "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
    "    true, false.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    Accepted, and without effect: lists are stored in another way.",
    "RELOAD [option ...]",
    "    Save the RDB on disk and reload it back to memory. Valid <option> values:",
    "    * NOSAVE: the database will be loaded from an existing RDB file.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 disables expiring keys in background when they are not",
    "    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
    "    default.",
    "SLEEP <seconds>",
    "    Stop the server for <seconds>. Decimals allowed.",
];

/// Refuses DEBUG unless this client may use it, whoever it is otherwise.
///
/// # Errors
/// The text that names the option.
#[cold]
pub(super) fn check_allowed(context: &Context) -> Outcome {
    let access = context.services.config.start().debug_access;
    match access.allows(context.client.address.ip()) {
        true => Ok(()),
        false => Err(CommandError::Text(REFUSED)),
    }
}

fn debug(
    context: &mut Context,
    call: &mut Call<'_>,
) -> Result<Option<&'static CommandSpec>, CommandError> {
    let args = call.args;
    let name = args.at(1).to_ascii_lowercase();
    match (name.as_slice(), args.len()) {
        (b"help", 2) => reply_help(call, HELP),
        (b"error", 3) => call.reply.error(args.at(2)),
        (b"log", 3) => {
            tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(args.at(2)));
            call.reply.ok();
        }
        (b"sleep", 3) => {
            let seconds = parse_f64(args.at(2)).unwrap_or(0.0).clamp(0.0, SLEEP_MAX.as_secs_f64());
            context.deferred = Some(Deferred::Sleep(Duration::from_secs_f64(seconds)));
        }
        (b"reload", _) => {
            let mut options = args.iter_from(2);
            if options.any(|option| !option.eq_ignore_ascii_case(b"nosave")) {
                return Err(CommandError::Text(RELOAD_OPTIONS));
            }
            context.deferred = Some(Deferred::Reload { saves: args.len() == 2 });
        }
        (b"set-active-expire", 3) => {
            let is_paused = parse_prefix(args.at(2)) == 0;
            context.services.sweep_paused.store(is_paused, Ordering::SeqCst);
            call.reply.ok();
        }
        (b"set-disable-deny-scripts", 3) => {
            let may = parse_prefix(args.at(2)) != 0;
            context.services.scripts_may_debug.store(may, Ordering::SeqCst);
            call.reply.ok();
        }
        // There is no such list here; the suite of Redis makes it do what it then tests.
        (b"quicklist-packed-threshold", 3) => call.reply.ok(),
        (b"panic", 2) => panic_without_locks(),
        (b"panic", 3) => return Ok(Some(&PANIC)),
        (b"panic", 4) if is_word(args.at(3), "READ") => return Ok(Some(&PANIC_IN_READING)),
        (b"protocol", 3) => sample(args.at(2), &mut call.reply)?,
        (b"object", 3) => return Ok(Some(&OBJECT)),
        (b"digest-value", 3..) => return Ok(Some(&DIGEST_VALUE)),
        (b"digest", 2) => return Ok(Some(&DIGEST)),
        _ => return Err(CommandError::unknown_or_arity(args.at(1), "DEBUG")),
    }
    Ok(None)
}

#[expect(clippy::panic, reason = "that is what it is for")]
fn panic_without_locks() {
    panic!("DEBUG PANIC");
}

#[expect(clippy::panic, reason = "that is what it is for")]
fn panic_in_a_change(view: &mut WriteView<'_>, _call: &mut Call<'_>) -> Outcome {
    view.remove();
    panic!("DEBUG PANIC in the middle of a change");
}

#[expect(clippy::panic, reason = "that is what it is for")]
fn panic_in_reading(_view: &ReadView<'_>, _call: &mut Call<'_>) -> Outcome {
    panic!("DEBUG PANIC while a key is read");
}

/// Tells how a value is stored and when it was used. It has no address to tell. Cost: O(n), since
/// the length that it would have in a dump is counted.
fn object(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let entry = view.copy().ok_or(CommandError::NoSuchKey)?;
    let (value, compress) = (entry.value(), call.config.rdb_compression());
    let dumped = payload::encode(value, entry.field_deadlines(), compress);
    call.reply.status(&format!(
        "Value at:0x0 refcount:1 encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{}",
        encoding_name(value),
        dumped.len() - payload::FRAME_BYTES,
        entry.last_use().bits(),
        entry.last_use().idle_seconds(Uses::by_time(call.now)),
    ));
    Ok(())
}

fn digest_value(view: &ReadManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    call.reply.array(call.args.len() - 2);
    for view in view.iter() {
        let mut digest = Digest::default();
        if let Some(value) = view.value() {
            digest.add_value(value, view.deadline().flatten().is_some());
        }
        call.reply.status(&digest.to_string());
    }
    Ok(())
}

fn digest(sweeper: &mut Sweeper<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let mut databases = BTreeMap::<DatabaseNumber, Digest>::new();
    sweeper.for_each_of_all(|number, entry| {
        let mut digest = Digest::default();
        digest.mix(entry.key());
        digest.add_value(entry.value_at(call.now), entry.deadline().is_some());
        databases.entry(number).or_default().add(digest.bytes());
    })?;
    let mut all = Digest::default();
    for (number, digest) in databases {
        all.mix(&number.to_be_bytes());
        all.join(digest);
    }
    call.reply.status(&all.to_string());
    Ok(())
}

/// Replies with a sample of the type of that name.
fn sample(name: &[u8], reply: &mut ReplyWriter<'_>) -> Outcome {
    match name.to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12_345),
        b"double" => reply.double(SAMPLE_DOUBLE),
        b"bignum" => reply.big_number(b"1234567999999999999999999999999999999"),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"map" => {
            reply.map(3);
            for number in 0..3 {
                reply.integer(number);
                reply.boolean(number == 1);
            }
        }
        b"attrib" => {
            if reply.attributes(1) {
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.integer(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if reply.protocol() == Protocol::Resp2 => {
            return Err(CommandError::Text("ERR RESP2 is not supported by this command"));
        }
        b"push" => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
            reply.bulk(b"Some real reply following the push reply");
        }
        b"verbatim" => reply.verbatim(b"This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        _ => return Err(CommandError::Text(WRONG_TYPE_NAME)),
    }
    Ok(())
}
