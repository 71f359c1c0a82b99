//! What a client may do: the check of a request against the rights of its user.
//!
//! A client of which the user may do everything pays one branch for each command. For all others
//! the request is looked through here: its command, its keys with what happens to them, and its
//! channels. Which keys these are is told by the row, as for the locks, so that no command can
//! reach a key that was not looked at.
//!
//! A client keeps its user and the epoch of the table of users in which it found it. Before each
//! group of requests it looks whether the epoch is still the same.

use crate::acl::{Acl, Catalog, Categories, KeyUse, Listed, Loaded, Place, Reason, Refusal, User};
use crate::command::args::is_word;
use crate::command::client;
use crate::command::clients::ClientRecord;
use crate::command::context::Context;
use crate::command::error::CommandError;
use crate::command::sort;
use crate::command::spec::{CommandSpec, Flags, KeySpec, Outcome, has_all_keys, key_numbers};
use crate::command::table;
use crate::config::Config;
use crate::protocol::Args;
use crate::pubsub::Kind;
use smallvec::SmallVec;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The access of a key whose other accesses depend on the arguments.
const VARIABLE: &str = "VARIABLE_FLAGS";

/// The commands as access rules name them, by their numbers.
#[must_use]
pub fn catalog() -> Catalog {
    let listed = |row: &table::Numbered| Listed {
        name: row.name().to_owned(),
        categories: Categories::of_names(row.spec.category_names()),
        is_subcommand: row.container.is_some(),
    };
    Catalog::new(table::numbered().iter().map(listed).collect())
}

/// Why a request is refused; of a key or a channel its argument number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    /// The command, with or without its first argument.
    Command,
    /// A key.
    Key(usize),
    /// A channel.
    Channel(usize),
}

impl Denied {
    /// The answer to a request by itself, or to one that is to be queued.
    fn refusal(self, name: &str) -> CommandError {
        match self {
            Self::Command => {
                let text =
                    format!("NOPERM this user has no permissions to run the '{name}' command");
                CommandError::Owned(text.into_bytes())
            }
            Self::Key(_) => CommandError::Text(
                "NOPERM this user has no permissions to access one of the keys used as arguments",
            ),
            Self::Channel(_) => CommandError::Text(
                "NOPERM this user has no permissions to access one of the channels used as \
                 arguments",
            ),
        }
    }

    /// The answer in the place of a command of a transaction.
    pub(super) fn refusal_at_exec(self) -> CommandError {
        let reason = match self {
            Self::Command => "no permission to execute the command or subcommand",
            Self::Key(_) => "no permission to touch the specified keys",
            Self::Channel(_) => "no permission to access one of the channels used as arguments",
        };
        let text = format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and \
             the EXEC call. This command is no longer allowed for the following reason: {reason}"
        );
        CommandError::Owned(text.into_bytes())
    }

    /// The answer to a command of a script.
    pub(super) fn refusal_in_script(self) -> CommandError {
        CommandError::Text(match self {
            Self::Command => {
                "ERR The user executing the script can't run this command or subcommand"
            }
            Self::Key(_) => {
                "ERR The user executing the script can't access at least one of the keys \
                 mentioned in the command arguments"
            }
            Self::Channel(_) => {
                "ERR The user executing the script can't publish to the channel mentioned in the \
                 command"
            }
        })
    }
}

/// Calls `each` for the argument number of every key of a request and the rule that finds it.
pub(super) fn for_each_key(
    spec: &'static CommandSpec,
    args: Args<'_>,
    mut each: impl FnMut(usize, &KeySpec),
) {
    for key in spec.keys {
        key_numbers(std::slice::from_ref(key), args).for_each(|number| each(number, key));
    }
    // The one command among whose options there is a key that no rule finds.
    if let (true, Some(key)) = (spec.name == "SORT", spec.keys.last()) {
        sort::destination(args).into_iter().for_each(|number| each(number, key));
    }
}

/// What happens to a key of this request, by Redis' names.
pub(super) fn access_of(
    spec: &CommandSpec,
    key: &KeySpec,
    args: Args<'_>,
) -> &'static [&'static str] {
    if !key.access.contains(&VARIABLE) {
        return key.access;
    }
    if spec.name == "BITFIELD" {
        return match only_gets(args) {
            true => &["RO", "ACCESS"],
            false => &["RW", "ACCESS", "UPDATE"],
        };
    }
    // SET reads the old value only when it is asked to.
    match args.iter_from(3).any(|word| is_word(word, "GET")) {
        true => &["RW", "ACCESS", "UPDATE"],
        false => &["OW", "UPDATE"],
    }
}

/// True when a BITFIELD changes nothing.
fn only_gets(args: Args<'_>) -> bool {
    let mut at = 2;
    while let Some(word) = args.get(at) {
        let behind = args.len() - at - 1;
        at += match word {
            _ if is_word(word, "GET") && behind >= 2 => 3,
            _ if is_word(word, "OVERFLOW") && behind >= 1 => 2,
            _ => return false,
        };
    }
    true
}

/// What rights on keys speak of.
fn key_use(access: &[&str]) -> KeyUse {
    let one = |access: &&str| match *access {
        "ACCESS" => KeyUse::READ,
        "INSERT" | "UPDATE" | "DELETE" => KeyUse::WRITE,
        _ => KeyUse::NONE,
    };
    access.iter().map(one).fold(KeyUse::NONE, KeyUse::and)
}

type UsedKeys = SmallVec<[(usize, KeyUse); 8]>;

/// The keys of a request and what happens to them. One that does not have as many as it says has
/// none: the command refuses it.
fn used_keys(spec: &'static CommandSpec, args: Args<'_>) -> UsedKeys {
    let mut keys = UsedKeys::new();
    if has_all_keys(spec.keys, args) {
        for_each_key(spec, args, |number, key| {
            keys.push((number, key_use(access_of(spec, key, args))));
        });
    }
    keys
}

/// The argument numbers of the channels that a request listens or publishes to, and whether they
/// are patterns.
fn channels(spec: &CommandSpec, args: Args<'_>) -> (Range<usize>, bool) {
    match spec.name {
        _ if !spec.flags.has(Flags::PUBSUB) => (0..0, false),
        "SUBSCRIBE" | "SSUBSCRIBE" => (1..args.len(), false),
        "PSUBSCRIBE" => (1..args.len(), true),
        "PUBLISH" | "SPUBLISH" => (1..2, false),
        _ => (0..0, false),
    }
}

/// Whether a user may run a request. Of several reasons against it, that of the selector that
/// comes furthest is told.
///
/// # Errors
/// Why not.
pub(super) fn check_user(
    user: &User,
    spec: &'static CommandSpec,
    args: Args<'_>,
) -> Result<(), Denied> {
    check_selectors(user, spec, args, None)
}

fn check_selectors(
    user: &User,
    spec: &'static CommandSpec,
    args: Args<'_>,
    on_every_key: Option<KeyUse>,
) -> Result<(), Denied> {
    let number = table::number_of(spec);
    let keys = if spec.has_keys() { used_keys(spec, args) } else { UsedKeys::new() };
    let (channels, is_pattern) = channels(spec, args);
    let mut denied = Denied::Command;
    for selector in user.selectors() {
        let is_allowed =
            spec.flags.has(Flags::NO_AUTH) || selector.allows_command(number, args.get(1));
        let key = keys.iter().find(|(key, used)| !selector.allows_key(args.at(*key), *used));
        let channel =
            || channels.clone().find(|at| !selector.allows_channel(args.at(*at), is_pattern));
        let found = match key {
            _ if !is_allowed => Denied::Command,
            Some((number, _)) => Denied::Key(*number),
            None => match channel() {
                Some(number) => Denied::Channel(number),
                None if on_every_key.is_some_and(|used| !selector.allows_every_key(used)) => {
                    continue;
                }
                None => return Ok(()),
            },
        };
        denied = denied.max(found);
    }
    Err(denied)
}

/// Whether a user may run a request that reads keys which it does not name: SORT with patterns.
fn may_read_every_key(user: &User, spec: &'static CommandSpec, args: Args<'_>) -> bool {
    check_selectors(user, spec, args, Some(KeyUse::READ)).is_ok()
}

impl Context {
    /// Looks whether users have changed since, and takes over what has; false when the client is
    /// to be closed.
    #[inline]
    pub fn refresh_access(&mut self) -> bool {
        if self.services.acl.epoch() != self.access.epoch {
            self.refresh_changed_access();
        }
        !self.close
    }

    #[cold]
    fn refresh_changed_access(&mut self) {
        let services = Arc::clone(&self.services);
        self.access.epoch = services.acl.epoch();
        match services.acl.find(&self.access.user.name) {
            Some(user) if user.id == self.access.user.id => self.access.user = user,
            _ => {
                // It was removed just as it came in: who removed it did not see the client.
                self.access.user = services.acl.default_user();
                self.authenticated = false;
                self.close = true;
            }
        }
        self.note_access();
    }

    fn note_access(&mut self) {
        self.access.is_trusted = self.authenticated || !self.services.acl.requires_auth();
        self.access.is_unrestricted = self.access.is_trusted && self.access.user.is_unrestricted();
    }

    /// The client is this user from now on.
    pub(super) fn log_in(&mut self, user: Arc<User>) {
        self.client.set_user(user.id, Arc::clone(&user.name));
        self.access.user = user;
        self.authenticated = true;
        // The user may have been changed, or removed, before others could see whose client it is.
        self.refresh_changed_access();
    }

    /// The client is nobody, as one that has just connected.
    pub(super) fn log_out(&mut self) {
        let user = self.services.acl.default_user();
        self.client.set_user(user.id, Arc::clone(&user.name));
        self.access.user = user;
        self.authenticated = !self.services.acl.requires_auth();
        self.refresh_changed_access();
    }

    /// The full name of a command, `client|list` for a subcommand.
    pub(super) fn full_name(&self, spec: &'static CommandSpec) -> &str {
        let listed = self.services.acl.catalog().get(table::number_of(spec));
        listed.map_or(spec.name, |listed| listed.name.as_str())
    }

    /// Notes that something was refused, for ACL LOG.
    pub(super) fn log_refusal(&self, refusal: Refusal) {
        let services = &self.services;
        let mut client = Vec::new();
        client::describe(&mut client, &self.client);
        client.pop_if(|last| *last == b'\n');
        let (now, len_max) = (services.clock.now().0, services.config.acl_log_len_max());
        services.acl.log.add(refusal, client, now, len_max);
    }

    /// Notes that a request was refused.
    pub(super) fn log_denied(
        &self,
        denied: Denied,
        place: Place,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) {
        let name = self.full_name(spec);
        let (reason, object) = match denied {
            Denied::Command => (Reason::Command, name.as_bytes()),
            Denied::Key(number) => (Reason::Key, args.at(number)),
            Denied::Channel(number) => (Reason::Channel, args.at(number)),
        };
        self.log_refusal(Refusal::new(reason, place, object, &self.access.user.name));
    }

    /// Checks a request of a client that may not do everything.
    ///
    /// # Errors
    /// Why it may not run, in Redis' words.
    #[inline(never)]
    pub(super) fn check_access(&self, spec: &'static CommandSpec, args: Args<'_>) -> Outcome {
        if !self.access.is_trusted && !spec.flags.has(Flags::NO_AUTH) {
            return Err(CommandError::NoAuth);
        }
        if self.transaction.is_some() && spec.flags.has(Flags::NO_MULTI) {
            return Err(CommandError::Text("ERR Command not allowed inside a transaction"));
        }
        let Err(denied) = check_user(&self.access.user, spec, args) else { return Ok(()) };
        let place = match self.transaction {
            Some(_) => Place::Transaction,
            None => Place::TopLevel,
        };
        self.log_denied(denied, place, spec, args);
        Err(denied.refusal(self.full_name(spec)))
    }

    /// Checks a request again that is not the client's own step: one of a transaction or a script.
    pub(super) fn check_again(
        &self,
        place: Place,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) -> Result<(), Denied> {
        if self.access.is_unrestricted {
            return Ok(());
        }
        let checked = check_user(&self.access.user, spec, args);
        checked.inspect_err(|denied| self.log_denied(*denied, place, spec, args))
    }

    /// True when a request may read keys that it does not name.
    pub(super) fn may_read_every_key(&self, spec: &'static CommandSpec, args: Args<'_>) -> bool {
        self.access.is_unrestricted
            || !spec.keys.iter().any(KeySpec::is_unknown)
            || may_read_every_key(&self.access.user, spec, args)
    }

    /// Ends the client if channels that it listens to were taken from its user since the request
    /// was checked. Who takes them looks for listeners after the epoch was raised: it finds this
    /// one, or this one finds the epoch raised. Cost: O(1) if nothing has changed.
    pub(super) fn check_subscriptions(&mut self) {
        if self.services.acl.epoch() == self.access.epoch {
            return;
        }
        self.refresh_changed_access();
        let user = &self.access.user;
        for kind in [Kind::Channel, Kind::Pattern, Kind::ShardChannel] {
            let names = self.subscriptions.all(kind);
            if names.iter().any(|name| !user.allows_channel(name, kind == Kind::Pattern)) {
                self.close = true;
            }
        }
    }
}

/// Ends the clients of a user that listen to what it may no longer listen to.
pub(super) fn end_listeners(context: &mut Context, user: &User) {
    let services = Arc::clone(&context.services);
    let mut ended = Vec::new();
    for kind in [Kind::Channel, Kind::Pattern, Kind::ShardChannel] {
        let is_denied = |name: &[u8]| !user.allows_channel(name, kind == Kind::Pattern);
        ended.extend(services.pubsub.clients_that_hear(kind, is_denied));
    }
    ended.sort_unstable();
    ended.dedup();
    for record in ended.into_iter().filter_map(|id| services.clients.find(id)) {
        if record.user_id() == user.id {
            end_client(context, &record);
        }
    }
}

/// Ends the clients of users that are gone.
pub(super) fn end_clients_of(context: &mut Context, users: &[Arc<User>]) {
    let services = Arc::clone(&context.services);
    for record in services.clients.all() {
        if users.iter().any(|user| user.id == record.user_id()) {
            end_client(context, &record);
        }
    }
}

/// Ends a client; the one that asked for it gets its answer first.
fn end_client(context: &mut Context, record: &ClientRecord) {
    if record.id == context.client.id {
        context.close = true;
    } else {
        record.kill();
    }
}

/// What a client may do, as far as it knows.
#[derive(Debug)]
pub struct Access {
    /// Its user, as it was at this epoch.
    pub(super) user: Arc<User>,
    epoch: u64,
    /// True when it has authenticated, or need not.
    pub(super) is_trusted: bool,
    /// True when nothing need be checked.
    pub(super) is_unrestricted: bool,
}

impl Access {
    /// That of a client that has just connected, and whether it counts as authenticated.
    pub(super) fn new(acl: &Acl) -> (Self, bool) {
        let epoch = acl.epoch();
        let user = acl.default_user();
        let is_trusted = !acl.requires_auth();
        let is_unrestricted = is_trusted && user.is_unrestricted();
        (Self { user, epoch, is_trusted, is_unrestricted }, is_trusted)
    }
}

/// The file of users if there is one, from the folder of the dump on.
#[must_use]
pub fn user_file(config: &Config) -> Option<PathBuf> {
    let name = config.value("aclfile");
    (!name.is_empty()).then(|| config.start().dir.join(name))
}

/// Puts the users of a file in the place of all.
///
/// # Errors
/// All that is wrong with it, in one line; nothing has changed then.
pub fn load_users(acl: &Acl, config: &Config, file: &Path) -> Result<Loaded, Vec<u8>> {
    let name = config.value("aclfile");
    let text = std::fs::read(file).map_err(|error| {
        format!("Error loading ACLs, opening file '{name}': {}", reason_of(&error)).into_bytes()
    })?;
    acl.load(&name, &text, config.new_users_hear_all())
}

/// What the system says, without the number of the error.
pub(super) fn reason_of(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
