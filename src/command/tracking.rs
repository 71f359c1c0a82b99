//! CLIENT TRACKING, CACHING, GETREDIR and TRACKINGINFO: telling clients when the keys that they
//! have read change.

use crate::command::args::is_word;
use crate::command::clients::ClientRecord;
use crate::command::context::{Call, Context, Services};
use crate::command::dispatch::keys_of;
use crate::command::error::CommandError;
use crate::command::spec::{CommandSpec, Outcome};
use crate::protocol::Args;
use crate::pubsub::Tracker;
use crate::util::number::parse_i64;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a prefix takes beside its bytes.
const PREFIX_BYTES: usize = 192;

/// Which keys a client is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Those that it reads.
    Read,
    /// Those that it reads after CLIENT CACHING YES.
    OptIn,
    /// Those that it reads, but not after CLIENT CACHING NO.
    OptOut,
    /// All with its prefixes.
    Broadcast,
}

/// How one client is told of changes. Dropping it ends that.
#[derive(Debug)]
pub struct ClientTracking {
    services: Arc<Services>,
    tracker: Arc<Tracker>,
    mode: Mode,
    prefixes: BTreeSet<Bytes>,
    /// True between CLIENT CACHING and the end of the command behind it.
    caching: bool,
}

impl Drop for ClientTracking {
    fn drop(&mut self) {
        let switch = |on| self.services.figures.note_changes(on);
        self.services.tracking.remove(self.tracker.client, &self.prefixes, switch);
    }
}

impl ClientTracking {
    /// Remembers the keys that a command is about to read.
    pub(super) fn remember(&self, spec: &'static CommandSpec, args: Args<'_>) {
        let remembers = match self.mode {
            Mode::Read => true,
            Mode::OptIn => self.caching,
            Mode::OptOut => !self.caching,
            Mode::Broadcast => false,
        };
        if !remembers || !spec.is_readonly() {
            return;
        }
        let config = &self.services.config;
        let (keys_max, limits) = (config.tracked_keys_max(), config.output_limits());
        for key in keys_of(spec, args) {
            self.services.tracking.remember(key, self.tracker.client, keys_max, limits);
        }
    }

    /// Roughly the bytes that the prefixes take, here and where changes are told. Cost: O(n) for n
    /// prefixes.
    pub(super) fn prefix_bytes(&self) -> usize {
        self.prefixes.iter().map(|prefix| prefix.len() + PREFIX_BYTES).sum()
    }

    /// Ends what CLIENT CACHING said.
    pub(super) fn end_caching(&mut self) {
        self.caching = false;
    }
}

/// The options of CLIENT TRACKING.
#[derive(Default)]
struct Options<'a> {
    redirect: Option<i64>,
    broadcast: bool,
    opt_in: bool,
    opt_out: bool,
    skips_own: bool,
    prefixes: Vec<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(context: &Context, args: Args<'a>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut words = args.iter_from(3);
        while let Some(word) = words.next() {
            let has_more = words.len() > 0;
            if is_word(word, "REDIRECT") && has_more {
                if options.redirect.is_some_and(|redirect| redirect != 0) {
                    return Err(CommandError::Text(
                        "ERR A client can only redirect to a single other client",
                    ));
                }
                let number = words.next().and_then(parse_i64).ok_or(CommandError::NotAnInteger)?;
                if find_client(context, number).is_none() {
                    return Err(CommandError::Text(
                        "ERR The client ID you want redirect to does not exist",
                    ));
                }
                options.redirect = Some(number);
            } else if is_word(word, "PREFIX") && has_more {
                options.prefixes.extend(words.next());
            } else if is_word(word, "BCAST") {
                options.broadcast = true;
            } else if is_word(word, "OPTIN") {
                options.opt_in = true;
            } else if is_word(word, "OPTOUT") {
                options.opt_out = true;
            } else if is_word(word, "NOLOOP") {
                options.skips_own = true;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    /// Refuses what does not go together, or not with how the client is told already.
    fn mode(&self, old: Option<&ClientTracking>) -> Result<Mode, CommandError> {
        let refused = |text| Err(CommandError::Text(text));
        if !self.broadcast && !self.prefixes.is_empty() {
            return refused("ERR PREFIX option requires BCAST mode to be enabled");
        }
        if old.is_some_and(|old| (old.mode == Mode::Broadcast) != self.broadcast) {
            return refused(
                "ERR You can't switch BCAST mode on/off before disabling tracking for this \
                 client, and then re-enabling it with a different mode.",
            );
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return refused("ERR OPTIN and OPTOUT are not compatible with BCAST");
        }
        if self.opt_in && self.opt_out {
            return refused("ERR You can't specify both OPTIN mode and OPTOUT mode");
        }
        if old.is_some_and(|old| {
            (self.opt_in && old.mode == Mode::OptOut) || (self.opt_out && old.mode == Mode::OptIn)
        }) {
            return refused(
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this \
                 client, and then re-enabling it with a different mode.",
            );
        }
        if self.broadcast {
            self.check_prefixes(old)?;
        }
        Ok(match (self.broadcast, self.opt_in, self.opt_out) {
            (true, ..) => Mode::Broadcast,
            (_, true, _) => Mode::OptIn,
            (.., true) => Mode::OptOut,
            _ => Mode::Read,
        })
    }

    /// No prefix of a client may be the beginning of another one.
    fn check_prefixes(&self, old: Option<&ClientTracking>) -> Outcome {
        let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
        let refused = |prefix: &[u8], what: &[u8], other: &[u8]| {
            let end = b"'. Prefixes for a single client must not overlap.";
            let text = [&b"ERR Prefix '"[..], prefix, b"' overlaps with ", what, b" '", other, end];
            Err(CommandError::Owned(text.concat()))
        };
        for (number, prefix) in self.prefixes.iter().enumerate() {
            let mut existing = old.iter().flat_map(|old| &old.prefixes);
            if let Some(existing) = existing.find(|existing| overlap(prefix, existing)) {
                return refused(prefix, b"an existing prefix", existing);
            }
            let mut behind = self.prefixes.iter().skip(number + 1);
            if let Some(other) = behind.find(|other| overlap(prefix, other)) {
                return refused(prefix, b"another provided prefix", other);
            }
        }
        Ok(())
    }
}

fn find_client(context: &Context, number: i64) -> Option<Arc<ClientRecord>> {
    let number = u64::try_from(number).ok()?;
    context.services.clients.find(number)
}

pub(super) fn tracking(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let options = Options::parse(context, call.args)?;
    match call.args.at(2) {
        word if is_word(word, "ON") => enable(context, &options)?,
        word if is_word(word, "OFF") => disable(context),
        _ => return Err(CommandError::Syntax),
    }
    call.reply.ok();
    Ok(())
}

/// Tells a client of no changes any more.
pub(super) fn disable(context: &mut Context) {
    context.tracking = None;
    context.client.set_tracking(-1, "");
}

fn enable(context: &mut Context, options: &Options<'_>) -> Outcome {
    let mode = options.mode(context.tracking.as_deref())?;
    let redirect = options.redirect.filter(|number| *number != 0);
    let redirect = redirect.and_then(|number| find_client(context, number));
    let redirect = redirect.map(|record| (record.id, Arc::clone(&record.mailbox)));
    let (client, mailbox) = (context.client.id, Arc::clone(&context.client.mailbox));
    let tracker = Arc::new(Tracker::new(client, mailbox, redirect, options.skips_own));
    let services = Arc::clone(&context.services);
    let mut added: BTreeSet<Bytes> =
        options.prefixes.iter().map(|prefix| Bytes::copy_from_slice(prefix)).collect();
    if mode == Mode::Broadcast && added.is_empty() {
        added.insert(Bytes::new());
    }
    services.tracking.add(Arc::clone(&tracker), |on| services.figures.note_changes(on));
    added.iter().for_each(|prefix| services.tracking.add_prefix(prefix, client));
    match &mut context.tracking {
        Some(own) => {
            own.tracker = tracker;
            own.mode = mode;
            own.prefixes.extend(added);
        }
        None => {
            let prefixes = added;
            let own = ClientTracking { services, tracker, mode, prefixes, caching: false };
            context.tracking = Some(Box::new(own));
        }
    }
    let letters = if mode == Mode::Broadcast { "tB" } else { "t" };
    context.client.set_tracking(redirect_number(context), letters);
    Ok(())
}

pub(super) fn caching(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let Some(own) = &mut context.tracking else {
        return Err(CommandError::Text(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN \
             or OPTOUT mode enabled",
        ));
    };
    match call.args.at(2) {
        word if is_word(word, "YES") => {
            if own.mode != Mode::OptIn {
                return Err(CommandError::Text(
                    "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
                ));
            }
        }
        word if is_word(word, "NO") => {
            if own.mode != Mode::OptOut {
                return Err(CommandError::Text(
                    "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
                ));
            }
        }
        _ => return Err(CommandError::Syntax),
    }
    own.caching = true;
    call.reply.ok();
    Ok(())
}

/// The number of the client that is told, 0 for the client itself, -1 when nobody is.
fn redirect_number(context: &Context) -> i64 {
    context.tracking.as_ref().map_or(-1, |own| {
        own.tracker.redirect().map_or(0, |client| i64::try_from(client).unwrap_or(i64::MAX))
    })
}

pub(super) fn get_redirect(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    call.reply.integer(redirect_number(context));
    Ok(())
}

pub(super) fn tracking_info(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let mut flags = Vec::new();
    match &context.tracking {
        None => flags.push("off"),
        Some(own) => {
            flags.push("on");
            let mode = match own.mode {
                Mode::Read => None,
                Mode::OptIn => Some(("optin", "caching-yes")),
                Mode::OptOut => Some(("optout", "caching-no")),
                Mode::Broadcast => Some(("bcast", "")),
            };
            if let Some((name, caching)) = mode {
                flags.push(name);
                flags.extend(own.caching.then_some(caching));
            }
            flags.extend(own.tracker.skips_own().then_some("noloop"));
            flags.extend(own.tracker.is_broken().then_some("broken_redirect"));
        }
    }
    call.reply.map(3);
    call.reply.bulk(b"flags");
    call.reply.set(flags.len());
    flags.iter().for_each(|flag| call.reply.bulk(flag.as_bytes()));
    call.reply.bulk(b"redirect");
    call.reply.integer(redirect_number(context));
    call.reply.bulk(b"prefixes");
    let prefixes = context.tracking.iter().flat_map(|own| &own.prefixes);
    call.reply.array(prefixes.clone().count());
    prefixes.for_each(|prefix| call.reply.bulk(prefix));
    Ok(())
}
