//! Costs of a process as the kernel counts them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// CPU time of a process so far, user and system, all threads, also those that have ended: seconds,
/// from the process' CPU clock, which counts nanoseconds (`/proc/PID/stat` counts ticks of 10 ms).
pub(crate) fn cpu_s(process_id: u32) -> f64 {
    let clock = nix::time::clock_getcpuclockid(nix::unistd::Pid::from_raw(process_id as i32));
    let now = clock.and_then(nix::time::clock_gettime);
    now.map_or(0.0, |t| t.tv_sec() as f64 + t.tv_nsec() as f64 * 1e-9)
}

/// Makes the kernel forget the peak of a process' resident size so far.
pub(crate) fn forget_peak(process_id: u32) -> bool {
    std::fs::write(format!("/proc/{process_id}/clear_refs"), "5").is_ok()
}

/// A `kB` line of `/proc/PID/status` in bytes: `VmHWM` is the peak resident size, `RssAnon` the
/// present anonymous part.
pub(crate) fn status_bytes(process_id: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process_id}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

/// Waits until a process has used next to no CPU for half a second; gives up after `within`.
pub(crate) fn wait_quiet(process_id: u32, within: Duration) {
    let started = Instant::now();
    let mut before = cpu_s(process_id);
    while started.elapsed() < within {
        std::thread::sleep(Duration::from_millis(500));
        let now = cpu_s(process_id);
        if now - before < 0.025 {
            return;
        }
        before = now;
    }
}

/// Watches the anonymous memory of a process, which the kernel keeps no peak of.
pub(crate) struct AnonymousPeak {
    peak: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl AnonymousPeak {
    pub(crate) fn watch(process_id: u32) -> Self {
        let (peak, done) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (seen, stop) = (Arc::clone(&peak), Arc::clone(&done));
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                seen.fetch_max(status_bytes(process_id, "RssAnon"), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Self {
            peak,
            done,
            thread: Some(thread),
        }
    }

    /// The highest value so far, bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for AnonymousPeak {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Allocated bytes of all files below `path`. Hard links count once, preallocated space fully.
pub(crate) fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(path) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// The value below which this share of the values lies (nearest rank); sorts them.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    let at = rank.clamp(1, values.len().max(1)) - 1;
    values.get(at).copied().unwrap_or(f64::NAN)
}

/// Median and half the distance between the smallest and the largest, in percent of the median.
pub(crate) fn middle_and_spread(values: &[f64]) -> (f64, f64) {
    let middle = median(values.to_vec());
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let spread = if middle > 0.0 {
        (most - least) / 2.0 / middle * 100.0
    } else {
        0.0
    };
    (middle, spread)
}

/// The middle value.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_memory_is_seen() {
        let watch = AnonymousPeak::watch(std::process::id());
        let started = Instant::now();
        while watch.bytes() == 0 && started.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(watch.bytes() > 10_000);
    }

    #[test]
    fn this_process_has_costs() {
        assert!(status_bytes(std::process::id(), "VmHWM") > 100_000);
        assert!(cpu_s(std::process::id()) > 0.0);
        assert!(median(vec![3.0, 1.0, 2.0]) == 2.0 && median(vec![4.0, 1.0, 2.0, 3.0]) == 2.5);
        let mut hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert!(quantile(&mut hundred, 0.5) == 50.0 && quantile(&mut hundred, 0.99) == 99.0);
        assert!(middle_and_spread(&[9.0, 10.0, 12.0]) == (10.0, 15.0));
    }
}
