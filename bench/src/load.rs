//! How busy the machine is with other work. Available on Linux only.

use std::fmt;

use jury_terminal::meter::Meter;
use serde::Serialize;

use super::spread::counted;

/// Mean number of running or runnable processes over a minute.
const LOAD_AVERAGE: &str = "/proc/loadavg";
/// Above this share of the cores, the measurement includes other work.
const QUIET: f64 = 0.5;

/// The effect of a busy machine on sides that alternate.
pub const TURNS_TAKEN: &str = "ratios still hold, since the sides take turns, but rates do not";

/// The load average around a run; at the end it includes our own threads.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Load {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<f64>,
}

// === impl Load ===

impl Load {
    /// Reads the load at the beginning of a run, and warns if the machine has other work. `consequence` is what that
    /// does to the results.
    pub fn at_start(meter: &Meter, cores: usize, consequence: &str) -> Self {
        let start = average();
        if let Some(warning) = start.and_then(|load| warning(load, cores, consequence)) {
            meter.print(&warning);
        }
        Self { start, end: None }
    }

    /// The same, with the current load.
    pub fn until_now(self) -> Self {
        Self { end: average(), ..self }
    }

    /// A line for a report's head, if the system reports the load.
    pub fn line(&self) -> Option<String> {
        self.start.or(self.end).map(|_| self.to_string())
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            |load: Option<f64>| load.map_or_else(|| "?".to_owned(), |load| format!("{load:.2}"));
        let (start, end) = (shown(self.start), shown(self.end));
        write!(f, "load average {start} at the start, {end} at the end (this run's own included)")
    }
}

// === private ===

fn average() -> Option<f64> {
    parse(&std::fs::read_to_string(LOAD_AVERAGE).ok()?)
}

/// The first number is for the last minute.
fn parse(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

fn warning(load: f64, cores: usize, consequence: &str) -> Option<String> {
    (load > QUIET * cores as f64).then(|| {
        format!(
            "jury: the load average is {load:.2} on {}, so other work is running; {consequence}",
            counted(cores, "core")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minute_is_the_first_number() {
        assert_eq!(parse("1.78 2.08 2.06 3/211 4711\n"), Some(1.78));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn only_more_than_half_of_the_cores_is_worth_a_warning() {
        assert_eq!(warning(1.0, 2, "rates do not hold"), None);
        let told = warning(1.01, 2, "rates do not hold").unwrap();
        assert_eq!(
            told,
            "jury: the load average is 1.01 on 2 cores, so other work is running; rates do not hold"
        );
    }

    #[test]
    fn a_system_that_does_not_tell_leaves_no_line_and_no_field() {
        assert_eq!(Load::default().line(), None);
        assert_eq!(serde_json::to_string(&Load::default()).unwrap(), "{}");
        let load = Load { start: Some(0.5), end: Some(2.25) };
        let line = "load average 0.50 at the start, 2.25 at the end (this run's own included)";
        assert_eq!(load.line().as_deref(), Some(line));
    }
}
