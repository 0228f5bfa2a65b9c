//! What this machine makes available to the process.

use std::fs;

/// Assumed if the system does not report it.
const UNKNOWN_MEMORY_BYTES: u64 = 4 << 30;

/// Threads that may run at once, by affinity and cgroup.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |threads| threads.get())
}

/// Memory that can be allocated without swapping or evicting other processes, in bytes.
pub(crate) fn available_memory_bytes() -> u64 {
    let limits = [
        meminfo_available(),
        cgroup_left("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        cgroup_left(
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ];
    limits.into_iter().flatten().min().unwrap_or(UNKNOWN_MEMORY_BYTES)
}

fn meminfo_available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// `None` if there is no limit ("max" does not parse as a number).
fn cgroup_left(limit: &str, usage: &str) -> Option<u64> {
    let read = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    Some(read(limit)?.saturating_sub(read(usage)?))
}
