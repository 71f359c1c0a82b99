//! The commands, as far as access rules speak of them: their names and categories.
//!
//! Commands are numbered, each before its subcommands, so that the rights of a user are one bit
//! for each number.

use crate::acl::category::Categories;
use std::collections::HashMap;
use std::ops::Range;

/// One command or subcommand.
#[derive(Debug)]
pub struct Listed {
    /// `get`, or `client|list` for a subcommand.
    pub name: String,
    /// Its categories.
    pub categories: Categories,
    /// True for a subcommand.
    pub is_subcommand: bool,
}

/// All commands by their numbers.
#[derive(Debug)]
pub struct Catalog {
    commands: Vec<Listed>,
    numbers: HashMap<String, usize>,
}

impl Catalog {
    /// The commands in the order of their numbers, each before its subcommands.
    #[must_use]
    pub fn new(commands: Vec<Listed>) -> Self {
        let named = commands.iter().enumerate();
        let numbers = named.map(|(number, command)| (command.name.clone(), number)).collect();
        Self { commands, numbers }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// The number of the command with this full name in any case.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        self.numbers.get(&name).copied()
    }

    /// The command with this number.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<&Listed> {
        self.commands.get(number)
    }

    /// The numbers of its subcommands.
    #[must_use]
    pub fn subcommands(&self, number: usize) -> Range<usize> {
        let first = number + 1;
        if self.get(number).is_none_or(|command| command.is_subcommand) {
            return first..first;
        }
        let behind = self.commands.iter().skip(first);
        first..first + behind.take_while(|command| command.is_subcommand).count()
    }

    /// The numbers of the commands that have one of these categories.
    pub fn having(&self, categories: Categories) -> impl Iterator<Item = usize> {
        let all = self.commands.iter().enumerate();
        all.filter(move |(_, command)| command.categories.has_any(categories)).map(|(n, _)| n)
    }
}
