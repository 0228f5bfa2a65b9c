//! The measurements, as a table and as JSON; `plot` draws the curves.

use jury_terminal::exit::Failed;
use jury_terminal::page::columns;
use serde::Serialize;

use crate::head::Head;
use crate::output::json_page;
use crate::spread::counted;

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub head: Head,
    pub threads: usize,
    pub model: String,
    pub curves: Vec<Curve>,
}

/// One quantity that grows while the others stay constant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// The quantity that grows: `samples`, `prompt tokens` or `requests`.
    pub against: &'static str,
    /// The constant quantities, for display.
    pub fixed: String,
    /// In ascending order.
    pub points: Vec<Measured>,
}

/// A point of a curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// The quantity that grows.
    pub value: usize,
    /// From submission to the end of the last sample.
    pub seconds: f64,
    /// The part of it until all prompts were ready.
    pub prefill_seconds: f64,
    /// Prompt tokens computed.
    pub prefill_tokens: u64,
    /// Prompt tokens that requests shared with each other.
    pub shared_tokens: u64,
}

// === impl Report ===

impl Report {
    /// Adds a point to the last curve.
    pub fn add(&mut self, point: Measured) {
        if let Some(curve) = self.curves.last_mut() {
            curve.points.push(point);
        }
    }

    /// The table for a terminal, or JSON.
    pub fn page(&self, json: bool) -> Result<String, Failed> {
        if json {
            return json_page(self);
        }
        let mut rows = vec![["AGAINST", "VALUE", "SECONDS", "PREFILL", "WITH"].map(String::from)];
        for curve in &self.curves {
            rows.extend(curve.points.iter().map(|point| {
                [
                    curve.against.to_owned(),
                    point.value.to_string(),
                    format!("{:.2}", point.seconds),
                    format!("{:.2}", point.prefill_seconds),
                    curve.fixed.clone(),
                ]
            }));
        }
        Ok(format!("{}\n{}", self.preamble().join("\n"), columns(&rows)))
    }

    fn preamble(&self) -> Vec<String> {
        let mut lines = vec![
            self.head.line(),
            format!("{}, {}; {}", self.head.host.cpu, counted(self.threads, "thread"), self.model),
        ];
        lines.extend(self.head.load.line());
        if !self.head.complete {
            lines.push("cut short: points are missing".to_owned());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::tests::example;

    #[test]
    fn the_page_reads_like_this() {
        let point = Measured {
            value: 4,
            seconds: 1.5,
            prefill_seconds: 0.25,
            prefill_tokens: 64,
            shared_tokens: 0,
        };
        let curve = Curve { against: "samples", fixed: "prompt of 64".to_owned(), points: vec![] };
        let mut report = Report {
            head: Head { complete: false, ..example() },
            threads: 2,
            model: "m".to_owned(),
            curves: vec![curve],
        };
        report.add(point);
        insta::assert_snapshot!(report.page(false).unwrap(), @r"
        2030-01-01T00:00:00Z, jury 0.1.0, avx2 kernels
        A CPU, 2 threads; m
        load average 0.25 at the start, 2.50 at the end (this run's own included)
        cut short: points are missing
        AGAINST  VALUE  SECONDS  PREFILL  WITH
        samples  4      1.50     0.25     prompt of 64
        ");
        assert!(report.page(true).unwrap().contains("\"complete\": false"));
    }
}
