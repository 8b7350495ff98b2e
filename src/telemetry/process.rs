//! Facts about the running process, read from `/proc`.

/// What `/metrics` says about the process.
#[derive(Debug, Clone, Default)]
pub struct ProcessFacts {
    /// User and system CPU time, seconds.
    pub cpu_s: f64,
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Virtual memory, bytes.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Limit on file descriptors.
    pub max_fds: u64,
}

/// The kernel's clock ticks a second; fixed at 100 on Linux for user space.
const TICKS_PER_SECOND: f64 = 100.0;
/// The page size that `/proc/self/statm` counts in.
const PAGE_BYTES: u64 = 4096;

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Reads the facts; what cannot be read is zero.
#[must_use]
pub fn facts() -> ProcessFacts {
    let stat = read("/proc/self/stat");
    // The command name in parentheses may hold spaces: count fields after it.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or(vec![], |(_, rest)| rest.split_whitespace().collect());
    let field = |index: usize| {
        fields
            .get(index)
            .and_then(|f| f.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let statm = read("/proc/self/statm");
    let pages: Vec<u64> = statm
        .split_whitespace()
        .filter_map(|f| f.parse().ok())
        .collect();
    let limits = read("/proc/self/limits");
    let max_fds = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .and_then(|line| line.split_whitespace().nth(3))
        .and_then(|limit| limit.parse().ok());
    ProcessFacts {
        cpu_s: (field(11) + field(12)) as f64 / TICKS_PER_SECOND,
        resident_bytes: pages.get(1).copied().unwrap_or(0) * PAGE_BYTES,
        virtual_bytes: pages.first().copied().unwrap_or(0) * PAGE_BYTES,
        open_fds: std::fs::read_dir("/proc/self/fd").map_or(0, |dir| dir.count() as u64),
        max_fds: max_fds.unwrap_or(0),
    }
}

/// The machine's name.
#[must_use]
pub fn hostname() -> String {
    read("/proc/sys/kernel/hostname").trim().to_owned()
}

/// Threads of this process.
#[must_use]
pub fn thread_count() -> u64 {
    std::fs::read_dir("/proc/self/task").map_or(0, |dir| dir.count() as u64)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_process_has_memory_and_threads() {
        let facts = super::facts();
        assert!(facts.resident_bytes > 100_000, "{facts:?}");
        assert!(facts.virtual_bytes >= facts.resident_bytes);
        assert!(
            facts.open_fds >= 3 && facts.max_fds >= facts.open_fds,
            "{facts:?}"
        );
        assert!(super::thread_count() >= 1);
        assert!(!super::hostname().is_empty());
    }
}
