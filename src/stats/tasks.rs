//! The work in the background, and whether it is still done.
//!
//! A task that is gone, or hangs, makes no noise: keys that are due stay, memory is not given back,
//! nobody is let in any more. So each has an entry here, in which its supervisor notes how often
//! it had to begin anew and that it has ended. One that has a rhythm says so at every step; when it
//! has not for long it is stuck. INFO and the metrics tell all of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A task with a rhythm of at most half a second, which may be in the middle of much work, is stuck
/// when nothing was heard of it for so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// It does its work, or waits for some.
    Alive,
    /// Nothing was heard of it for too long.
    Stuck,
    /// It does nothing any more.
    Ended,
}

impl TaskState {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Stuck => "stuck",
            Self::Ended => "ended",
        }
    }
}

/// Whether a task can be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rhythm {
    /// It beats at least twice a second unless there is much to do.
    Steady,
    /// It waits for what may never come.
    None,
}

/// What is known of one task.
#[derive(Debug)]
pub struct Task {
    name: String,
    rhythm: Rhythm,
    began: Instant,
    /// Milliseconds after `began` at which it was heard last.
    beat_ms: AtomicU64,
    restarts: AtomicU64,
    ended: AtomicBool,
}

/// What INFO says of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFigures {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: TaskState,
    /// How often it has panicked and begun anew.
    pub restarts: u64,
    /// For how long nothing was heard of it, if it has a rhythm.
    pub silence: Option<Duration>,
}

impl Task {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says that it goes on. Cost: one look at the clock.
    pub fn beat(&self) {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat_ms.store(elapsed, Ordering::Relaxed);
    }

    /// Notes that it panicked and begins anew.
    pub fn note_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
        self.beat();
    }

    /// Notes that it does nothing any more.
    pub fn note_end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    fn figures(&self) -> TaskFigures {
        let beat = Duration::from_millis(self.beat_ms.load(Ordering::Relaxed));
        let silence = self.began.elapsed().saturating_sub(beat);
        let state = match (self.ended.load(Ordering::SeqCst), self.rhythm) {
            (true, _) => TaskState::Ended,
            (false, Rhythm::Steady) if silence > PATIENCE => TaskState::Stuck,
            _ => TaskState::Alive,
        };
        TaskFigures {
            name: self.name.clone(),
            state,
            restarts: self.restarts.load(Ordering::Relaxed),
            silence: (self.rhythm == Rhythm::Steady).then_some(silence),
        }
    }
}

/// All tasks of a server.
#[derive(Debug, Default)]
pub struct Tasks(Mutex<Vec<Arc<Task>>>);

impl Tasks {
    /// Adds one that begins now. Its name is a part of a field's in INFO; of several with the same
    /// name the further ones have a number behind it.
    #[must_use]
    pub fn add(&self, name: &str, rhythm: Rhythm) -> Arc<Task> {
        // The list is valid after every single step.
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_named = |name: &str| tasks.iter().any(|task| task.name == name);
        let mut further = (2..).map(|number| format!("{name}_{number}"));
        let name = match is_named(name) {
            true => further.find(|name| !is_named(name)).unwrap_or_default(),
            false => name.to_owned(),
        };
        let task = Arc::new(Task {
            name,
            rhythm,
            began: Instant::now(),
            beat_ms: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        tasks.push(Arc::clone(&task));
        task
    }

    /// The figures of all, in the order in which they began.
    #[must_use]
    pub fn figures(&self) -> Vec<TaskFigures> {
        let tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().map(|task| task.figures()).collect()
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_alive_until_it_ends_or_is_not_heard_for_long() {
        let tasks = Tasks::default();
        let waiting = tasks.add("waiting", Rhythm::None);
        let past = Instant::now().checked_sub(PATIENCE + Duration::from_secs(1)).unwrap();
        let steady = Task {
            name: "steady".to_owned(),
            rhythm: Rhythm::Steady,
            began: past,
            beat_ms: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        };
        assert_eq!(steady.figures().state, TaskState::Stuck);
        steady.beat();
        assert_eq!(steady.figures().state, TaskState::Alive);
        waiting.note_restart();
        let expected = TaskFigures {
            name: "waiting".to_owned(),
            state: TaskState::Alive,
            restarts: 1,
            silence: None,
        };
        assert_eq!(tasks.figures(), [expected]);
        let names = ["waiting", "waiting"].map(|name| tasks.add(name, Rhythm::None));
        assert_eq!(names.each_ref().map(|task| task.name()), ["waiting_2", "waiting_3"]);
        waiting.note_end();
        assert_eq!(tasks.figures()[0].state, TaskState::Ended);
    }
}
