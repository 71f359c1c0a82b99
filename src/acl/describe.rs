//! The rules that give a selector or a user again, as ACL LIST shows and files keep them.
//!
//! Only bits are kept of the rules for commands. So they are guessed: from everything or from
//! nothing, whichever the selector began with, category by category whichever fits best, and at
//! the end single commands where that is still wrong. The guess is followed as it grows, so that
//! what is told always gives the same bits.

use crate::acl::catalog::Catalog;
use crate::acl::category::Categories;
use crate::acl::selector::{KeyPattern, KeyUse, Selector};

impl Selector {
    /// The rules for commands, as `-@all +@read -get`. Cost: O(commands * categories²).
    #[must_use]
    pub fn command_rules(&self, catalog: &Catalog) -> Vec<u8> {
        let adds = !self.began_with_all;
        let mut guess = Self::new(catalog, false);
        let begin: &[u8] = if adds { b"-@all" } else { b"+@all" };
        let mut rules = begin.to_vec();
        // It is one of ours.
        let _known = guess.apply(begin, catalog);
        let mut left = self.commands.clone();
        let mut unused: Vec<Categories> = Categories::each().collect();
        while let Some(best) = self.best_category(&unused, adds, &left, catalog) {
            unused.retain(|category| *category != best);
            rules.extend_from_slice(if adds { b" +@" } else { b" -@" });
            rules.extend_from_slice(best.name().as_bytes());
            for number in catalog.having(best) {
                guess.set_command(number, adds, catalog);
                for number in std::iter::once(number).chain(catalog.subcommands(number)) {
                    left.set(number, !adds);
                }
            }
        }
        self.add_single_commands(&mut guess, &mut rules, catalog);
        rules
    }

    /// The category with the fewest commands that are wrong in it, if most are right.
    fn best_category(
        &self,
        unused: &[Categories],
        adds: bool,
        left: &super::selector::CommandBits,
        catalog: &Catalog,
    ) -> Option<Categories> {
        let mut best: Option<(usize, usize, Categories)> = None;
        for category in unused {
            let (mut on, mut off) = (0_usize, 0_usize);
            for number in catalog.having(*category) {
                *(if left.has(number) { &mut on } else { &mut off }) += 1;
            }
            let (wrong, right) = if adds { (off, on) } else { (on, off) };
            let is_better = best
                .is_none_or(|(least, most, _)| wrong < least || (wrong == least && right > most));
            if right > wrong && is_better {
                best = Some((wrong, right, *category));
            }
        }
        best.map(|(_, _, category)| category)
    }

    fn add_single_commands(&self, guess: &mut Self, rules: &mut Vec<u8>, catalog: &Catalog) {
        for number in 0..catalog.len() {
            let Some(command) = catalog.get(number) else { continue };
            let is_allowed = self.commands.has(number);
            if guess.commands.has(number) != is_allowed {
                rules.extend_from_slice(if is_allowed { b" +" } else { b" -" });
                rules.extend_from_slice(command.name.as_bytes());
                guess.set_command(number, is_allowed, catalog);
            }
            if is_allowed {
                continue;
            }
            for argument in self.first_arguments.get(&number).into_iter().flatten() {
                let rule = [b" +", command.name.as_bytes(), b"|", argument].concat();
                rules.extend_from_slice(&rule);
            }
        }
    }

    /// The patterns of keys, as `~a %R~b`.
    #[must_use]
    pub fn key_rules(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let one = |KeyPattern { pattern, allowed }: &KeyPattern| {
            let sign: &[u8] = match *allowed {
                KeyUse::READ => b"%R~",
                KeyUse::WRITE => b"%W~",
                _ => b"~",
            };
            [sign, pattern].concat()
        };
        self.keys.iter().map(one).collect::<Vec<_>>().join(&b' ')
    }

    /// The patterns of channels, as `&a &b`.
    #[must_use]
    pub fn channel_rules(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let channels = self.channels.iter().map(|pattern| [b"&", &pattern[..]].concat());
        channels.collect::<Vec<_>>().join(&b' ')
    }

    /// All its rules in one line.
    #[must_use]
    pub fn describe(&self, catalog: &Catalog) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        parts.push(self.key_rules());
        if !self.all_channels {
            parts.push(b"resetchannels".to_vec());
        }
        parts.push(self.channel_rules());
        parts.push(self.command_rules(catalog));
        parts.retain(|part| !part.is_empty());
        parts.join(&b' ')
    }
}
