//! What every report begins with: who measured, when, on which machine, and how busy it was.

use jury_engine::Host;
use serde::Serialize;

use super::load::Load;

/// When a report ended, and on what.
#[derive(Debug, Clone, Serialize)]
pub struct Head {
    /// When it ended, UTC.
    pub date: String,
    pub version: &'static str,
    pub host: Host,
    pub load: Load,
    /// False of a run that was cut short: what is last is of fewer rounds, or not there.
    pub complete: bool,
}

// === impl Head ===

impl Head {
    /// Of a run that has begun.
    pub fn new(host: Host, load: Load) -> Self {
        Self { date: now(), version: env!("CARGO_PKG_VERSION"), host, load, complete: false }
    }

    /// The same run, as far as it is now.
    pub fn until_now(&self, complete: bool) -> Self {
        Self { date: now(), load: self.load.until_now(), complete, ..self.clone() }
    }

    /// For people: who measured, and when.
    pub fn line(&self) -> String {
        format!("{}, jury {}, {} kernels", self.date, self.version, self.host.kernels)
    }
}

/// Now, to the second, in UTC.
fn now() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Of a run that is over, on no machine that exists.
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
