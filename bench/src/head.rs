//! The head of every report: which version measured, when, on which machine, and how busy it was.

use jury_engine::Host;
use serde::Serialize;

use super::load::Load;

/// When and on which machine a report was made.
#[derive(Debug, Clone, Serialize)]
pub struct Head {
    /// When the run ended, UTC.
    pub date: String,
    pub version: &'static str,
    pub host: Host,
    pub load: Load,
    /// False if the run was cut short: the last measurements have fewer rounds, or are missing.
    pub complete: bool,
}

// === impl Head ===

impl Head {
    /// The head of a run that has just begun.
    pub fn new(host: Host, load: Load) -> Self {
        Self { date: now(), version: env!("CARGO_PKG_VERSION"), host, load, complete: false }
    }

    /// The head of the same run at this moment.
    pub fn until_now(&self, complete: bool) -> Self {
        Self { date: now(), load: self.load.until_now(), complete, ..self.clone() }
    }

    /// For display: which version measured, and when.
    pub fn line(&self) -> String {
        format!("{}, jury {}, {} kernels", self.date, self.version, self.host.kernels)
    }
}

/// The current time in UTC, to the second.
fn now() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// An example: a finished run on an imaginary machine.
    pub fn example() -> Head {
        Head {
            date: "2030-01-01T00:00:00Z".to_owned(),
            version: "0.1.0",
            host: Host {
                cpu: "A CPU".to_owned(),
                kernels: "avx2".to_owned(),
                available_kernels: vec!["portable".to_owned(), "avx2".to_owned()],
                threads: 2,
                available_memory_bytes: 1 << 33,
                default_kv_budget_bytes: 1 << 31,
            },
            load: Load { start: Some(0.25), end: Some(2.5) },
            complete: true,
        }
    }

    #[test]
    fn a_run_goes_on_with_the_load_of_its_start() {
        let head = example().until_now(false);
        assert_eq!((head.load.start, head.complete), (Some(0.25), false));
        assert_eq!(head.host.cpu, "A CPU");
    }
}
