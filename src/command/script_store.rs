//! The scripts and the libraries of functions that the server knows, for all clients.
//!
//! A script is known by the SHA1 of its text from its first EVAL or SCRIPT LOAD until SCRIPT FLUSH;
//! as in Redis, nothing bounds how many there are. A library is known by its name and is saved with
//! the data. What a script may do, and whether it keeps to its keys, is found out once; of a
//! library when one of its functions is called.
//!
//! Who runs one holds it by an `Arc`, so that none of this is locked meanwhile, and what is flushed
//! or replaced runs to its end.

use crate::command::error::CommandError;
use crate::command::script_keys::{Kind, keeps_to_its_keys};
use crate::script::{Library, LibraryFunction, Script, ScriptFlags, ScriptId};
use crate::util::split::split_arguments;
use crate::util::text::until_zero_byte;
use ahash::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Roughly what the tables need for each script or function beside its text.
const ENTRY_BYTES: usize = 200;

/// A script of EVAL or SCRIPT LOAD.
#[derive(Debug)]
pub struct KnownScript {
    /// Its text, compiled where it runs.
    pub script: Arc<Script>,
    /// What its first line says of it; `None` for one without such a line, of which nothing is
    /// known.
    pub flags: Option<ScriptFlags>,
    /// True when it surely touches no other keys than those it is given.
    pub keeps_to_its_keys: bool,
}

impl KnownScript {
    /// Reads what the first line says, and looks through the rest. Cost: O(bytes).
    ///
    /// # Errors
    /// Redis' texts for a first line that begins as one that says something, and is wrong.
    pub fn new(source: &[u8]) -> Result<Self, CommandError> {
        let (flags, body_from) = match source.starts_with(b"#!") {
            false => (None, 0),
            true => {
                let end = source.iter().position(|byte| *byte == b'\n');
                let end = end.ok_or(CommandError::Text("ERR Invalid script shebang"))?;
                let line = source.get(..end).unwrap_or_default();
                (Some(flags_of_first_line(line)?), end)
            }
        };
        let body = source.get(body_from..).unwrap_or_default();
        Ok(Self {
            script: Arc::new(Script::new(source, body_from)),
            flags,
            keeps_to_its_keys: keeps_to_its_keys(body, Kind::Script),
        })
    }
}

/// The flags in `#!lua flags=no-writes,allow-stale`.
fn flags_of_first_line(line: &[u8]) -> Result<ScriptFlags, CommandError> {
    let wrong = CommandError::Text("ERR Invalid engine in script shebang");
    let words = split_arguments(line).ok_or(wrong.clone())?;
    let (engine, options) = words.split_first().ok_or(wrong)?;
    if until_zero_byte(engine) != b"#!lua" {
        let before = "ERR Unexpected engine in script shebang: ";
        return Err(CommandError::echoing(before, engine, ""));
    }
    let mut flags = ScriptFlags::default();
    for option in options {
        let Some(names) = option.strip_prefix(b"flags=") else {
            return Err(CommandError::echoing("ERR Unknown lua shebang option: ", option, ""));
        };
        for name in names.split(|byte| *byte == b',').filter(|_| !names.is_empty()) {
            let known = ScriptFlags::from_name(name);
            let exact = known.filter(|flag| flag.names().any(|known| known.as_bytes() == name));
            flags = flags.with(exact.ok_or_else(|| {
                CommandError::echoing("ERR Unexpected flag in script shebang: ", name, "")
            })?);
        }
    }
    Ok(flags)
}

/// A function of a library.
#[derive(Debug)]
pub struct KnownFunction {
    /// What it is a part of.
    pub library: Arc<Library>,
    /// Its name, what it is said to do, and what it may do.
    pub function: LibraryFunction,
    /// What was found out of all functions of its library, once one of them was called.
    proof: Arc<OnceLock<bool>>,
}

impl KnownFunction {
    /// True when all functions of its library surely keep to the keys that they are given.
    /// Cost: O(1), for the first of them that is asked O(bytes).
    #[must_use]
    pub fn keeps_to_its_keys(&self) -> bool {
        *self.proof.get_or_init(|| keeps_to_its_keys(self.library.body(), Kind::Library))
    }
}

/// A library of functions.
#[derive(Debug, Clone)]
pub struct KnownLibrary {
    /// Its name.
    pub name: Vec<u8>,
    /// Its text.
    pub library: Arc<Library>,
    /// Its functions, by name.
    pub functions: Vec<Arc<KnownFunction>>,
}

impl KnownLibrary {
    /// A library that registers these functions.
    #[must_use]
    pub fn new(
        head: &LibraryHead,
        library: &Arc<Library>,
        mut functions: Vec<LibraryFunction>,
    ) -> Self {
        functions.sort_by(|a, b| a.name.cmp(&b.name));
        let proof = Arc::new(OnceLock::new());
        let known = |function| {
            let (library, proof) = (Arc::clone(library), Arc::clone(&proof));
            Arc::new(KnownFunction { library, function, proof })
        };
        Self {
            name: head.name.clone(),
            library: Arc::clone(library),
            functions: functions.into_iter().map(known).collect(),
        }
    }
}

/// What the first line of a library says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryHead {
    /// The library's name.
    pub name: Vec<u8>,
    /// Where the code begins, with the end of that line.
    pub body_from: usize,
}

impl LibraryHead {
    /// Reads `#!lua name=mylib`.
    ///
    /// # Errors
    /// Redis' texts for what is wrong with it.
    pub fn parse(code: &[u8]) -> Result<Self, CommandError> {
        if !code.starts_with(b"#!") {
            return Err(CommandError::Text("ERR Missing library metadata"));
        }
        let invalid = || CommandError::Text("ERR Invalid library metadata");
        let end = code.iter().position(|byte| *byte == b'\n').ok_or_else(invalid)?;
        let words = split_arguments(code.get(..end).unwrap_or_default()).ok_or_else(invalid)?;
        let (engine, options) = words.split_first().ok_or_else(invalid)?;
        let mut name: Option<&[u8]> = None;
        for option in options {
            let value = option.split_at_checked(b"name=".len());
            let Some((_, value)) = value.filter(|(key, _)| key.eq_ignore_ascii_case(b"name="))
            else {
                return Err(CommandError::echoing(
                    "ERR Invalid metadata value given: ",
                    option,
                    "",
                ));
            };
            if name.replace(value).is_some() {
                return Err(CommandError::Text(
                    "ERR Invalid metadata value, name argument was given multiple times",
                ));
            }
        }
        let name = name.ok_or(CommandError::Text("ERR Library name was not given"))?;
        let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        if name.is_empty() || !name.iter().all(is_good) {
            return Err(CommandError::Text(
                "ERR Library names can only contain letters, numbers, or underscores(_) and must \
                 be at least one character long",
            ));
        }
        let engine = engine.get(2..).unwrap_or_default();
        if !engine.eq_ignore_ascii_case(b"lua") {
            return Err(CommandError::echoing("ERR Engine '", engine, "' not found"));
        }
        Ok(Self { name: name.to_vec(), body_from: end })
    }
}

/// Libraries and their functions, by name.
#[derive(Debug, Default, Clone)]
pub struct Libraries {
    libraries: BTreeMap<Vec<u8>, KnownLibrary>,
    /// By their names in lower case.
    functions: HashMap<Vec<u8>, Arc<KnownFunction>, RandomState>,
}

impl Libraries {
    /// All of them, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &KnownLibrary> {
        self.libraries.values()
    }

    /// How many libraries and functions there are.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.libraries.len(), self.functions.len())
    }

    /// True when there is one of this name.
    #[must_use]
    pub fn has(&self, name: &[u8]) -> bool {
        self.libraries.contains_key(name)
    }

    /// Removes one; false when it is not there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let Some(library) = self.libraries.remove(name) else { return false };
        for function in &library.functions {
            self.functions.remove(&function.function.name.to_ascii_lowercase());
        }
        true
    }

    /// Adds one in the place of what has its name.
    ///
    /// # Errors
    /// When a function of another library has the name of one of its functions; all is as it was.
    pub fn put(&mut self, library: KnownLibrary) -> Result<(), CommandError> {
        for function in &library.functions {
            let name = &function.function.name;
            let is_own = |old: &KnownLibrary| {
                old.functions
                    .iter()
                    .any(|function| function.function.name.eq_ignore_ascii_case(name))
            };
            if self.functions.contains_key(&name.to_ascii_lowercase())
                && !self.libraries.get(&library.name).is_some_and(is_own)
            {
                return Err(CommandError::echoing("ERR Function ", name, " already exists"));
            }
        }
        self.remove(&library.name);
        for function in &library.functions {
            let name = function.function.name.to_ascii_lowercase();
            self.functions.insert(name, Arc::clone(function));
        }
        self.libraries.insert(library.name.clone(), library);
        Ok(())
    }
}

/// All scripts and libraries.
#[derive(Debug, Default)]
pub struct ScriptStore {
    scripts: RwLock<HashMap<ScriptId, Arc<KnownScript>, RandomState>>,
    libraries: RwLock<Libraries>,
}

impl ScriptStore {
    fn scripts(&self) -> RwLockReadGuard<'_, HashMap<ScriptId, Arc<KnownScript>, RandomState>> {
        // The table is whole after every single step.
        self.scripts.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn scripts_mut(
        &self,
    ) -> RwLockWriteGuard<'_, HashMap<ScriptId, Arc<KnownScript>, RandomState>> {
        self.scripts.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The script with this SHA1.
    #[must_use]
    pub fn script(&self, id: &ScriptId) -> Option<Arc<KnownScript>> {
        self.scripts().get(id).cloned()
    }

    /// Adds a script, unless it is there.
    #[must_use]
    pub fn add_script(&self, script: KnownScript) -> Arc<KnownScript> {
        let id = *script.script.id();
        Arc::clone(self.scripts_mut().entry(id).or_insert_with(|| Arc::new(script)))
    }

    /// Forgets all scripts.
    pub fn flush_scripts(&self) {
        let flushed = std::mem::take(&mut *self.scripts_mut());
        drop(flushed);
    }

    /// How many scripts there are. Cost: O(1).
    #[must_use]
    pub fn script_count(&self) -> usize {
        self.scripts().len()
    }

    /// How many scripts there are, and roughly the bytes that they need.
    #[must_use]
    pub fn script_figures(&self) -> (usize, usize) {
        let scripts = self.scripts();
        let bytes = scripts.values().map(|known| known.script.source().len() + ENTRY_BYTES).sum();
        (scripts.len(), bytes)
    }

    /// The function with this name in any case.
    #[must_use]
    pub fn function(&self, name: &[u8]) -> Option<Arc<KnownFunction>> {
        let libraries = self.libraries();
        let found = libraries.functions.get(name);
        found.or_else(|| libraries.functions.get(&name.to_ascii_lowercase())).cloned()
    }

    /// All libraries.
    pub fn libraries(&self) -> RwLockReadGuard<'_, Libraries> {
        self.libraries.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// All libraries, to change them.
    pub fn libraries_mut(&self) -> RwLockWriteGuard<'_, Libraries> {
        self.libraries.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Roughly the bytes that the libraries need.
    #[must_use]
    pub fn function_bytes(&self) -> usize {
        let libraries = self.libraries();
        let codes: usize = libraries.iter().map(|library| library.library.code().len()).sum();
        codes + (libraries.libraries.len() + libraries.functions.len()) * ENTRY_BYTES
    }
}
