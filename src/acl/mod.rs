//! Layer 3: users and what they may do.
//!
//! A table of users by their names. Each is immutable: a change puts a new one in its place and
//! raises the epoch, one number that whoever keeps a user compares before it goes on
//! ([`Acl::epoch`]). So a client pays one load for many commands, and nobody holds a lock while a
//! request is checked.
//!
//! What a request touches, its number, its keys and its channels, is told by who asks: nothing in
//! here knows requests.

mod catalog;
mod category;
mod describe;
mod file;
mod log;
mod rule;
mod selector;
mod user;

pub use catalog::{Catalog, Listed};
pub use category::{CATEGORIES, Categories};
pub use log::{AclLog, LogEntry, Place, Reason, Refusal};
pub use rule::{RuleError, has_blanks};
pub use selector::{KeyUse, Selector};
pub use user::{PasswordHash, User};

use crate::util::text::until_zero_byte;
use rule::merge_selectors;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The user of clients that have said nothing.
pub const DEFAULT_USER: &[u8] = b"default";

type Users = BTreeMap<Vec<u8>, Arc<User>>;

/// A user before and after a change.
#[derive(Debug)]
pub struct Changed {
    /// As it was; `None` for a new one.
    pub old: Option<Arc<User>>,
    /// As it is.
    pub new: Arc<User>,
}

impl Changed {
    /// True when it lost channels that it could listen to.
    #[must_use]
    pub fn has_lost_channels(&self) -> bool {
        self.old.as_ref().is_some_and(|old| !self.new.hears_as_much_as(old))
    }
}

/// What a file has brought.
#[derive(Debug)]
pub struct Loaded {
    /// The users that were there before, but for the default one.
    pub removed: Vec<Arc<User>>,
    /// The default user.
    pub default: Changed,
}

/// All users.
#[derive(Debug)]
pub struct Acl {
    catalog: Catalog,
    users: RwLock<Users>,
    epoch: AtomicU64,
    next_id: AtomicU64,
    /// True while the default user is on and needs no password: nobody has to authenticate.
    is_open: AtomicBool,
    /// True while the default user needs no password.
    default_needs_no_password: AtomicBool,
    /// What was refused.
    pub log: AclLog,
}

impl Acl {
    /// The default user alone, who may do everything.
    #[must_use]
    pub fn new(catalog: Catalog) -> Self {
        let default = Arc::new(User::new_default(0, &catalog));
        Self {
            catalog,
            users: RwLock::new(BTreeMap::from([(DEFAULT_USER.to_vec(), default)])),
            epoch: AtomicU64::new(1),
            next_id: AtomicU64::new(1),
            is_open: AtomicBool::new(true),
            default_needs_no_password: AtomicBool::new(true),
            log: AclLog::default(),
        }
    }

    /// The commands that rules can name.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Raised by every change, after it: who has read a user after having read this number has that
    /// user as long as the number is the same.
    #[inline]
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// True when clients must authenticate.
    #[inline]
    #[must_use]
    pub fn requires_auth(&self) -> bool {
        !self.is_open.load(Ordering::Acquire)
    }

    /// True when the default user needs no password, on or off.
    #[must_use]
    pub fn default_needs_no_password(&self) -> bool {
        self.default_needs_no_password.load(Ordering::Acquire)
    }

    fn read(&self) -> RwLockReadGuard<'_, Users> {
        // The table is valid after every single step.
        self.users.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Users> {
        self.users.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes a change known.
    fn publish(&self, users: &Users) {
        let default = users.get(DEFAULT_USER);
        let needs_no_password = default.is_some_and(|user| user.needs_no_password());
        self.default_needs_no_password.store(needs_no_password, Ordering::Release);
        let is_open = needs_no_password && default.is_some_and(|user| user.is_on());
        self.is_open.store(is_open, Ordering::Release);
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// The user with this name. Cost: O(log n).
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<Arc<User>> {
        self.read().get(name).cloned()
    }

    /// The user of clients that have said nothing.
    #[must_use]
    pub fn default_user(&self) -> Arc<User> {
        let found = self.find(DEFAULT_USER);
        found.unwrap_or_else(|| Arc::new(User::new(0, DEFAULT_USER, &self.catalog, false)))
    }

    /// All users in the order of their names.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<User>> {
        self.read().values().cloned().collect()
    }

    /// The user with this name if it is on and the password is right; a name that is not there
    /// takes as long. Cost: O(bytes of the password).
    #[must_use]
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        let hash = PasswordHash::of(password);
        self.find(name).filter(|user| user.accepts(&hash))
    }

    /// Has a user follow these rules, all or none; one that is not there is made.
    /// `all_channels` is whether a new selector has all channels.
    ///
    /// # Errors
    /// Redis' text for the first rule that is none, with the rule as it was given.
    pub fn set_user(
        &self,
        name: &[u8],
        rules: &[&[u8]],
        all_channels: bool,
    ) -> Result<Changed, Vec<u8>> {
        let rules = merge_selectors(rules).map_err(|open| unmatched(rules.get(open).copied()))?;
        let mut users = self.write();
        let old = users.get(name).cloned();
        let mut user = match &old {
            Some(user) => User::clone(user),
            None => User::new(self.new_id(), name, &self.catalog, all_channels),
        };
        for rule in &rules {
            user.apply(rule, &self.catalog, all_channels).map_err(|error| {
                let rule = until_zero_byte(rule);
                let reason = error.to_string();
                [b"Error in ACL SETUSER modifier '", rule, b"': ", reason.as_bytes()].concat()
            })?;
        }
        let new = Arc::new(user);
        users.insert(name.to_vec(), Arc::clone(&new));
        self.publish(&users);
        Ok(Changed { old, new })
    }

    /// Sets the only password of the default user, or that it needs none.
    pub fn set_default_password(&self, password: impl FnOnce() -> Option<Vec<u8>>) {
        let mut users = self.write();
        let Some(default) = users.get_mut(DEFAULT_USER) else { return };
        // Asked for under the lock: of two who change it, the later one's holds.
        Arc::make_mut(default).set_password(password().as_deref());
        self.publish(&users);
    }

    /// Removes these users, and gives back those that were there.
    pub fn remove<'a>(&self, names: impl Iterator<Item = &'a [u8]>) -> Vec<Arc<User>> {
        let mut users = self.write();
        let removed: Vec<Arc<User>> = names.filter_map(|name| users.remove(name)).collect();
        self.publish(&users);
        removed
    }

    /// The lines that give all users again, each ended.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for user in self.all() {
            text.extend_from_slice(user.line(&self.catalog));
            text.push(b'\n');
        }
        text
    }
}

fn unmatched(word: Option<&[u8]>) -> Vec<u8> {
    let word = until_zero_byte(word.unwrap_or_default());
    [b"Unmatched parenthesis in acl selector starting at '", word, b"'."].concat()
}

#[cfg(test)]
mod tests;
