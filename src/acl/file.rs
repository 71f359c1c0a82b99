//! Users in files: the file of users (aclfile), and the lines `user ...` of the configuration.
//!
//! A file is taken as a whole or not at all, and everything that is wrong in it is told at once.

use crate::acl::rule::{RuleError, has_blanks, merge_selectors};
use crate::acl::user::User;
use crate::acl::{Acl, Changed, DEFAULT_USER, Loaded};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Acl {
    /// Puts the users of a file's text in the place of all; the default user is the usual one if
    /// the text does not have it. `file` is its name as errors tell it.
    ///
    /// # Errors
    /// All that is wrong in it, in one line; nothing has changed then.
    pub fn load(&self, file: &str, text: &[u8], all_channels: bool) -> Result<Loaded, Vec<u8>> {
        let mut found: BTreeMap<Vec<u8>, User> = BTreeMap::new();
        let mut errors: Vec<u8> = Vec::new();
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if !line.is_empty() {
                let place = format!("{file}:{}", number + 1);
                self.read_line(line, &place, all_channels, &mut found, &mut errors);
            }
        }
        if !errors.is_empty() {
            errors.extend_from_slice(
                b"WARNING: ACL errors detected, no change to the previously active ACL rules was \
                  performed",
            );
            return Err(errors);
        }
        let mut users = self.write();
        let old = users.get(DEFAULT_USER).cloned();
        // Clients of the default user stay: it is the same one with other rules.
        let id = old.as_ref().map_or_else(|| self.new_id(), |old| old.id);
        let default = match found.remove(DEFAULT_USER) {
            Some(default) => default.renumbered(id),
            None => User::new_default(id, self.catalog()),
        };
        let new = Arc::new(default);
        let mut before = std::mem::take(&mut *users);
        before.remove(DEFAULT_USER);
        users.insert(DEFAULT_USER.to_vec(), Arc::clone(&new));
        users.extend(found.into_iter().map(|(name, user)| (name, Arc::new(user))));
        self.publish(&users);
        let removed = before.into_values().collect();
        Ok(Loaded { removed, default: Changed { old, new } })
    }

    fn read_line(
        &self,
        line: &[u8],
        place: &str,
        all_channels: bool,
        found: &mut BTreeMap<Vec<u8>, User>,
        errors: &mut Vec<u8>,
    ) {
        let mut complain = |parts: &[&[u8]]| errors.extend_from_slice(&parts.concat());
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let [b"user", name, rules @ ..] = words.as_slice() else {
            let text = b" should start with user keyword followed by the username. ";
            return complain(&[place.as_bytes(), text]);
        };
        if has_blanks(name) {
            let text = b"' contains invalid characters. ";
            return complain(&[b"'", place.as_bytes(), b": username '", name, text]);
        }
        if found.contains_key(*name) {
            let number = place.rsplit(':').next().unwrap_or_default();
            let line = format!("' found on line {number}. ");
            return complain(&[b"WARNING: Duplicate user '", name, line.as_bytes()]);
        }
        let mut user = User::new(self.new_id(), name, self.catalog(), all_channels);
        let Ok(rules) = merge_selectors(rules) else {
            let text = b": Unmatched parenthesis in selector definition.";
            return complain(&[place.as_bytes(), text]);
        };
        let mut is_told = false;
        for rule in rules {
            let rule = rule.trim_ascii();
            match user.apply(rule, self.catalog(), all_channels) {
                Ok(()) => {}
                // The name of a command is no secret.
                Err(error @ RuleError::Unknown) => {
                    let reason = error.to_string();
                    complain(&[
                        place.as_bytes(),
                        b": Error in applying operation '",
                        rule,
                        b"': ",
                        reason.as_bytes(),
                        b". ",
                    ]);
                }
                Err(_) if is_told => {}
                Err(error) => {
                    is_told = true;
                    complain(&[format!("{place}: {error}. ").as_bytes()]);
                }
            }
        }
        found.insert(name.to_vec(), user);
    }

    /// Adds the users of the configuration file: of each its name and its rules. The default user
    /// begins anew if it is among them.
    ///
    /// # Errors
    /// What is wrong with the first that is.
    pub fn add_configured(
        &self,
        declared: &[Vec<Vec<u8>>],
        all_channels: bool,
    ) -> Result<(), String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut seen: Vec<&[u8]> = Vec::new();
        for words in declared {
            let Some((name, rules)) = words.split_first() else { continue };
            let refused = |word: &[u8], error: RuleError| {
                Err(format!("Error in user declaration '{}': {error}", text(word)))
            };
            if has_blanks(name) {
                return Err("Spaces not allowed in ACL usernames".to_owned());
            }
            if seen.contains(&&name[..]) {
                return refused(name, RuleError::Duplicate);
            }
            seen.push(name);
            let rules: Vec<&[u8]> = rules.iter().map(Vec::as_slice).collect();
            let merged = match merge_selectors(&rules) {
                Ok(merged) => merged,
                Err(open) => {
                    let word = rules.get(open).copied().unwrap_or_default();
                    return refused(word, RuleError::Syntax);
                }
            };
            let id = if name == DEFAULT_USER { self.default_user().id } else { self.new_id() };
            let mut user = User::new(id, name, self.catalog(), all_channels);
            let begin: &[u8] = if name == DEFAULT_USER { b"reset" } else { b"" };
            for rule in std::iter::once(begin.to_vec()).chain(merged) {
                if let Err(error) = user.apply(&rule, self.catalog(), all_channels) {
                    return refused(&rule, error);
                }
            }
            let mut users = self.write();
            users.insert(name.clone(), Arc::new(user));
            self.publish(&users);
        }
        Ok(())
    }
}
