//! What this machine offers an engine, without loading a model.

use serde::Serialize;

use crate::compute::host_budget_bytes;
use crate::config::EngineConfig;
use crate::machine;
use jury_kernels::cpu::SimdLevel;

/// Facts about this machine, as the engine sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Host {
    /// The processor's own name; its architecture where the system tells no more.
    pub cpu: String,
    /// The instruction set that the kernels use.
    pub kernels: String,
    /// Every instruction set of the kernels that this CPU can execute, the fastest last.
    pub available_kernels: Vec<String>,
    /// Threads that may run at once, by affinity and cgroup: an engine's default.
    pub threads: usize,
    /// Memory that can still be had, in bytes.
    pub available_memory_bytes: u64,
    /// Memory for keys and values that an engine takes when it is told nothing, in bytes.
    pub default_kv_budget_bytes: u64,
}

// === impl Host ===

impl Host {
    /// Looks at this machine, as it is now.
    pub fn detect() -> Host {
        Host {
            cpu: cpu_name().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            kernels: SimdLevel::detect().name().to_owned(),
            available_kernels: SimdLevel::available()
                .into_iter()
                .map(|level| level.name().to_owned())
                .collect(),
            threads: machine::threads(),
            available_memory_bytes: machine::available_memory_bytes(),
            default_kv_budget_bytes: host_budget_bytes(&EngineConfig::default()),
        }
    }
}

fn cpu_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    let (_, name) = line.split_once(':')?;
    Some(name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_in_use_are_the_fastest_available() {
        let host = Host::detect();
        assert_eq!(host.available_kernels.last(), Some(&host.kernels));
        assert!(host.threads >= 1 && !host.cpu.is_empty());
        assert!(host.default_kv_budget_bytes > 0);
    }
}
