//! Scripts that have lasted longer than busy-reply-threshold: who they are, and how one is ended.
//!
//! Only they are listed, so that a short script costs nothing here. Several can run at once, and
//! SCRIPT KILL ends all of them that have not written; FUNCTION KILL does so with functions. That a
//! script writes for the first time and that it is killed are decided by one word: whichever comes
//! first excludes the other.

use crate::command::error::CommandError;
use crate::keyspace::Busy;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const RUNNING: u8 = 0;
const WROTE: u8 = 1;
const KILLED: u8 = 2;

/// A script that is busy.
#[derive(Debug)]
pub struct BusyScript {
    /// A script or a function.
    pub kind: Busy,
    /// The function, or the SHA1 of the script.
    pub name: Vec<u8>,
    /// The request that runs it.
    pub command: Vec<Vec<u8>>,
    began: Instant,
    state: AtomicU8,
}

impl BusyScript {
    /// One that began then, and has written already or not.
    #[must_use]
    pub fn new(
        kind: Busy,
        name: Vec<u8>,
        command: Vec<Vec<u8>>,
        began: Instant,
        wrote: bool,
    ) -> Self {
        let state = AtomicU8::new(if wrote { WROTE } else { RUNNING });
        Self { kind, name, command, began, state }
    }

    fn change(&self, to: u8) -> bool {
        let (success, failure) = (Ordering::SeqCst, Ordering::SeqCst);
        let changed = self.state.compare_exchange(RUNNING, to, success, failure);
        changed.is_ok() || changed == Err(to)
    }

    /// Notes that it is about to write; false when it was killed before and must not.
    #[must_use]
    pub fn begin_writing(&self) -> bool {
        self.change(WROTE)
    }

    /// Has it end; false when it has written before.
    fn kill(&self) -> bool {
        self.change(KILLED)
    }

    /// True when it is to end.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.state.load(Ordering::SeqCst) == KILLED
    }

    /// For how long it has been running.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.began.elapsed()
    }
}

/// All busy scripts.
#[derive(Debug, Default)]
pub struct BusyScripts {
    /// Whether there are any, for all who only want to know that.
    any: AtomicBool,
    list: Mutex<Vec<Arc<BusyScript>>>,
}

impl BusyScripts {
    fn list(&self) -> MutexGuard<'_, Vec<Arc<BusyScript>>> {
        // The list is whole after every single step.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kind of a busy script, if there is any. Cost: one load when there is none.
    #[inline]
    #[must_use]
    pub fn any(&self) -> Option<Busy> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        self.list().first().map(|script| script.kind)
    }

    /// The one of this kind that is busy for longest.
    #[must_use]
    pub fn first(&self, kind: Busy) -> Option<Arc<BusyScript>> {
        self.list().iter().find(|script| script.kind == kind).cloned()
    }

    /// Adds one.
    pub fn add(&self, script: &Arc<BusyScript>) {
        let mut list = self.list();
        list.push(Arc::clone(script));
        self.any.store(true, Ordering::Relaxed);
    }

    /// Removes one that has ended.
    pub fn remove(&self, script: &Arc<BusyScript>) {
        let mut list = self.list();
        list.retain(|other| !Arc::ptr_eq(other, script));
        self.any.store(!list.is_empty(), Ordering::Relaxed);
    }

    /// Ends those of a kind that have not written.
    ///
    /// # Errors
    /// Redis' texts when there is none.
    pub fn kill(&self, kind: Busy) -> Result<(), CommandError> {
        let list = self.list();
        if list.is_empty() {
            return Err(CommandError::Text("NOTBUSY No scripts in execution right now."));
        }
        let mut own = list.iter().filter(|script| script.kind == kind).peekable();
        let has_written = |script: &Arc<BusyScript>| script.state.load(Ordering::SeqCst) == WROTE;
        if own.peek().is_none() && !list.iter().all(has_written) {
            let other = if kind == Busy::Script { Busy::Function } else { Busy::Script };
            return Err(CommandError::Busy(other));
        }
        // All of them, not only the first.
        match own.map(|script| script.kill()).fold(false, |any, killed| any | killed) {
            true => Ok(()),
            false => Err(CommandError::Text(
                "UNKILLABLE Sorry the script already executed write commands against the dataset. \
                 You can either wait the script termination or kill the server in a hard way \
                 using the SHUTDOWN NOSAVE command.",
            )),
        }
    }

    /// Ends all that have not written, as the server ends; true when others go on.
    pub fn kill_all(&self) -> bool {
        self.list().iter().map(|script| script.kill()).fold(false, |any, killed| any | !killed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn busy(kind: Busy, wrote: bool) -> Arc<BusyScript> {
        Arc::new(BusyScript::new(kind, Vec::new(), Vec::new(), Instant::now(), wrote))
    }

    #[test]
    fn only_what_has_not_written_is_killed_and_what_is_killed_does_not_write() {
        let scripts = BusyScripts::default();
        let text = |result: Result<(), CommandError>| {
            let text = String::from_utf8(result.unwrap_err().text()).unwrap();
            text.split(' ').next().unwrap().to_owned()
        };
        assert_eq!((scripts.any(), text(scripts.kill(Busy::Script))), (None, "NOTBUSY".into()));
        let written = busy(Busy::Script, true);
        scripts.add(&written);
        assert_eq!(text(scripts.kill(Busy::Script)), "UNKILLABLE");
        assert_eq!(text(scripts.kill(Busy::Function)), "UNKILLABLE");
        let (reader, late) = (busy(Busy::Script, false), busy(Busy::Script, false));
        scripts.add(&reader);
        scripts.add(&late);
        assert_eq!(text(scripts.kill(Busy::Function)), "BUSY");
        assert!(late.begin_writing() && late.begin_writing());
        assert_eq!(scripts.kill(Busy::Script), Ok(()));
        assert!(reader.is_killed() && !late.is_killed() && !written.is_killed());
        assert!(!reader.begin_writing());
        assert_eq!(scripts.any(), Some(Busy::Script));
        [&written, &reader, &late].into_iter().for_each(|script| scripts.remove(script));
        assert_eq!(scripts.any(), None);
    }
}
