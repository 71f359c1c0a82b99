//! What the system says of this process: memory and processor time.
//!
//! Memory in use is what was allocated and not freed, by the allocator's own count. In a program
//! with another allocator, as tests are, it is what the system counts as resident.

use crate::util::allocator;
use nix::sys::resource::{UsageWho, getrusage};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Memory of the process and of the machine, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Allocated and not freed.
    pub used_bytes: u64,
    /// The most that ever was.
    pub peak_bytes: u64,
    /// What the allocator has from the system for that.
    pub committed_bytes: u64,
    /// In physical memory now.
    pub resident_bytes: u64,
    /// Of the machine.
    pub total_bytes: u64,
}

impl Memory {
    /// The present figures; 0 where the system does not tell.
    #[must_use]
    pub fn now() -> Self {
        let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let mut memory =
            Self { total_bytes: kilobytes(&machine, "MemTotal:") * 1_024, ..Self::default() };
        memory.refresh(true);
        memory
    }

    /// Reads again what changes. What only the system knows is asked for if `asks_system`, and
    /// else is what it was; what is in use is always that of now.
    pub(super) fn refresh(&mut self, asks_system: bool) {
        let used = allocator::used_bytes();
        if used == 0 {
            let resident = resident_bytes();
            self.resident_bytes = resident;
            self.used_bytes = resident;
            self.peak_bytes = self.peak_bytes.max(resident);
            self.committed_bytes = resident;
            return;
        }
        self.used_bytes = used;
        self.peak_bytes = allocator::peak_bytes();
        if asks_system {
            self.resident_bytes = resident_bytes();
            // Pages that were never written to count only for the allocator.
            self.committed_bytes = allocator::committed_bytes().min(self.resident_bytes);
        }
        self.committed_bytes = self.committed_bytes.max(used);
    }
}

/// The bytes that are allocated and not freed, as [`Memory::used_bytes`]. Cost: O(threads).
#[must_use]
pub fn used_bytes() -> u64 {
    match allocator::used_bytes() {
        0 => resident_bytes(),
        used => used,
    }
}

/// The bytes that the process has in physical memory now. Cost: one read of a short file.
#[must_use]
pub fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// What stays as it is while the process runs.
#[derive(Debug)]
pub struct Machine {
    /// The system's name, release and machine.
    pub system: String,
    /// The program.
    pub executable: PathBuf,
    /// Cores that the process may use.
    pub cores: usize,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn this() -> Self {
        Self {
            system: system_name(),
            executable: std::env::current_exe().unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// Bytes of anonymous huge pages that the system gave this process; they make it slow at times.
#[must_use]
pub fn huge_page_bytes() -> u64 {
    let sums = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    kilobytes(&sums, "AnonHugePages:") * 1_024
}

/// The number in the line that begins with `name`.
fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Processor time that was spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessorTimes {
    /// In the system.
    pub system: Duration,
    /// In our own code.
    pub user: Duration,
}

impl ProcessorTimes {
    /// Of all threads of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Self::default() };
        let duration = |time: nix::sys::time::TimeVal| {
            let micros = time.tv_sec().saturating_mul(1_000_000).saturating_add(time.tv_usec());
            Duration::from_micros(u64::try_from(micros).unwrap_or(0))
        };
        Self { system: duration(usage.system_time()), user: duration(usage.user_time()) }
    }
}

/// The system's name, release and machine, as `uname -srm` prints them.
fn system_name() -> String {
    let read = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
        text.trim().to_owned()
    };
    format!("{} {} {}", read("ostype"), read("osrelease"), std::env::consts::ARCH)
}

/// A number of bytes with a unit, as Redis writes it.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "two digits behind the point are shown")]
pub fn human_bytes(bytes: u64) -> String {
    if bytes < 1_024 {
        return format!("{bytes}B");
    }
    let mut size = bytes as f64;
    for unit in ["K", "M", "G", "T", "P"] {
        size /= 1_024.0;
        if size < 1_024.0 {
            return format!("{size:.2}{unit}");
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_get_the_unit_that_redis_gives_them() {
        let cases = [
            (0, "0B"),
            (1_023, "1023B"),
            (1_024, "1.00K"),
            (965_672, "943.04K"),
            (12_398_592, "11.82M"),
            (25_276_510_208, "23.54G"),
        ];
        for (bytes, text) in cases {
            assert_eq!(human_bytes(bytes), text);
        }
    }

    #[test]
    fn the_system_tells_of_this_process() {
        let memory = Memory::now();
        assert!(memory.resident_bytes > 0 && memory.used_bytes > 0);
        assert!(memory.peak_bytes >= memory.used_bytes / 2);
        assert!(memory.total_bytes > memory.resident_bytes);
        let resident = resident_bytes();
        assert!(resident > memory.resident_bytes / 2 && resident < memory.resident_bytes * 2);
        let began = ProcessorTimes::of_process();
        let mut sum = 0_u64;
        while ProcessorTimes::of_process() == began {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(Machine::this().system.starts_with("Linux "));
    }
}
