//! What this machine offers to an engine, without loading a model.

use serde::Serialize;

use crate::compute::host_budget_bytes;
use crate::config::EngineConfig;
use crate::machine;
use jury_kernels::cpu::SimdLevel;

/// Facts about this machine, as the engine sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Host {
    /// The processor's name, or its architecture if the system does not report a name.
    pub cpu: String,
    /// The instruction set in use by the kernels.
    pub kernels: String,
    /// Every instruction set that the kernels and this CPU both support, the fastest last.
    pub available_kernels: Vec<String>,
    /// Threads that may run at once, by affinity and cgroup: an engine's default number.
    pub threads: usize,
    /// Available memory, in bytes.
    pub available_memory_bytes: u64,
    /// An engine's default memory for keys and values, in bytes.
    pub default_kv_budget_bytes: u64,
}

// === impl Host ===

impl Host {
    /// Inspects this machine's current state.
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
