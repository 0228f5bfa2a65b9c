//! The measurements, as a table and as JSON.

use std::collections::BTreeMap;

use jury_terminal::exit::Failed;
use serde::Serialize;

use super::config::{Config, Point, Purpose};
use super::load::Measured;
use super::node::Pace;
use crate::head::Head;
use crate::output::json_page;
use crate::spread::{Spread, caption, counted, median};
use crate::table::Table;

const HEADINGS: [&str; 7] =
    ["MEASURED", "WORKERS", "K", "IN FLIGHT", "SAMPLES/S", "CPU US/SAMPLE", "P50, P99 MS"];

/// A whole run.
#[derive(Debug)]
pub struct Report {
    pub head: Head,
    rounds: usize,
    rows: Vec<Row>,
}

/// One point over all rounds.
#[derive(Debug)]
struct Row {
    point: Point,
    rounds: Vec<Measured>,
}

/// The JSON output. The first numbers are the coordinator's own, from the points with that purpose.
#[derive(Debug, Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    head: &'a Head,
    samples_per_second: Option<f64>,
    cpu_us_per_sample: Option<f64>,
    overhead_p50_ms: Option<f64>,
    overhead_p99_ms: Option<f64>,
    /// Samples per second and worker, as a share of the rate of a single worker, by number of workers.
    efficiency: BTreeMap<usize, f64>,
    points: Vec<JsonPoint<'a>>,
}

#[derive(Debug, Serialize)]
struct JsonPoint<'a> {
    purpose: Purpose,
    workers: usize,
    k: u32,
    in_flight: usize,
    pace: &'a Pace,
    samples_per_second: Option<Spread>,
    cpu_us_per_sample: Option<Spread>,
    p50_ms: Option<Spread>,
    p99_ms: Option<Spread>,
    /// Requests without a complete verdict, over all rounds.
    not_whole: u64,
}

// === impl Report ===

impl Report {
    pub fn new(head: Head, config: &Config) -> Self {
        let row = |point: &Point| Row { point: point.clone(), rounds: Vec::new() };
        Self { head, rounds: 0, rows: config.points.iter().map(row).collect() }
    }

    /// Adds the measurement of point `number` in this round.
    pub fn add(&mut self, number: usize, measured: &Measured) {
        self.rows[number].rounds.push(measured.clone());
        self.rounds = self.rows[number].rounds.len();
    }

    /// The table for a terminal, or JSON.
    pub fn page(&self, json: bool) -> Result<String, Failed> {
        if json { json_page(&self.json()) } else { Ok(self.table().page()) }
    }

    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        self.table().markdown()
    }

    fn table(&self) -> Table<{ HEADINGS.len() }> {
        let (above, below) = (self.preamble(), self.summary());
        Table { above, headings: HEADINGS, rows: self.cells(), below }
    }

    fn preamble(&self) -> Vec<String> {
        let mut lines = vec![
            self.head.line(),
            format!(
                "{}, {} for coordinator, workers and load together; {}",
                self.head.host.cpu,
                counted(self.head.host.threads, "thread"),
                caption(self.rounds, 1)
            ),
        ];
        lines.extend(self.head.load.line());
        if !self.head.complete {
            lines.push("cut short: rounds are missing".to_owned());
        }
        lines
    }

    fn cells(&self) -> Vec<[String; HEADINGS.len()]> {
        let cells = |row: &Row| {
            let shown = |read: fn(&Measured) -> f64, decimals| {
                row.spread(read).map_or_else(String::new, |spread| spread.shown(decimals))
            };
            [
                row.point.to_string(),
                row.point.workers.to_string(),
                row.point.k.to_string(),
                row.point.in_flight.to_string(),
                shown(|m| m.samples_per_second, 1),
                shown(|m| m.cpu_us_per_sample, 1),
                format!("{}, {}", shown(|m| m.p50_ms, 2), shown(|m| m.p99_ms, 2)),
            ]
        };
        self.rows.iter().map(cells).collect()
    }

    fn summary(&self) -> Vec<String> {
        let efficiency = self.efficiency();
        let mut lines = Vec::new();
        if !efficiency.is_empty() {
            let shares: Vec<String> = efficiency
                .iter()
                .map(|(workers, share)| format!("{workers}: {:.0} %", share * 100.0))
                .collect();
            lines.push(format!("efficiency by number of workers: {}", shares.join(", ")));
        }
        let not_whole: u64 = self.rows.iter().map(Row::not_whole).sum();
        if not_whole > 0 {
            lines.push(format!("{} had no whole verdict", counted(not_whole as usize, "request")));
        }
        lines
    }

    /// Rates per worker relative to that of the smallest fleet.
    fn efficiency(&self) -> BTreeMap<usize, f64> {
        let rates: BTreeMap<usize, f64> = self
            .rows
            .iter()
            .filter(|row| row.point.purpose == Purpose::Efficiency)
            .filter_map(|row| {
                let rate = row.spread(|m| m.samples_per_second)?.median;
                Some((row.point.workers, rate / row.point.workers as f64))
            })
            .collect();
        let Some(alone) = rates.values().next().copied() else { return rates };
        rates.into_iter().map(|(workers, rate)| (workers, rate / alone)).collect()
    }

    fn json(&self) -> Json<'_> {
        let of = |purpose: Purpose, read: fn(&Measured) -> f64| {
            let row = self.rows.iter().find(|row| row.point.purpose == purpose)?;
            median(&row.rounds.iter().map(read).collect::<Vec<_>>())
        };
        Json {
            head: &self.head,
            samples_per_second: of(Purpose::Throughput, |m| m.samples_per_second),
            cpu_us_per_sample: of(Purpose::Throughput, |m| m.cpu_us_per_sample),
            overhead_p50_ms: of(Purpose::Overhead, |m| m.p50_ms),
            overhead_p99_ms: of(Purpose::Overhead, |m| m.p99_ms),
            efficiency: self.efficiency(),
            points: self.rows.iter().map(Row::json).collect(),
        }
    }
}

// === impl Row ===

impl Row {
    fn spread(&self, read: fn(&Measured) -> f64) -> Option<Spread> {
        Spread::of(&self.rounds.iter().map(read).collect::<Vec<_>>())
    }

    fn not_whole(&self) -> u64 {
        self.rounds.iter().map(|measured| measured.not_whole).sum()
    }

    fn json(&self) -> JsonPoint<'_> {
        let Point { purpose, workers, k, in_flight, ref pace, .. } = self.point;
        JsonPoint {
            purpose,
            workers,
            k,
            in_flight,
            pace,
            samples_per_second: self.spread(|m| m.samples_per_second),
            cpu_us_per_sample: self.spread(|m| m.cpu_us_per_sample),
            p50_ms: self.spread(|m| m.p50_ms),
            p99_ms: self.spread(|m| m.p99_ms),
            not_whole: self.not_whole(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::BenchCommand;
    use crate::args::tests::command;
    use crate::head::tests::example;

    fn report() -> Report {
        let line = "jury bench cluster --k 8 --in-flight 16 --workers 1,2 --rounds 1";
        let BenchCommand::Cluster(args) = command(line) else { unreachable!() };
        let config = Config::from(args);
        let mut report = Report::new(example(), &config);
        for (number, point) in config.points.iter().enumerate() {
            let measured = Measured {
                samples_per_second: 1000.0 * (point.workers as f64).sqrt(),
                cpu_us_per_sample: 50.5,
                p50_ms: 1.25,
                p99_ms: 12.5,
                not_whole: 0,
            };
            report.add(number, &measured);
        }
        report
    }

    #[test]
    fn the_page_reads_like_this() {
        insta::assert_snapshot!(report().page(false).unwrap());
    }

    #[test]
    fn a_machine_finds_the_figures_by_name() {
        let json: serde_json::Value = serde_json::from_str(&report().page(true).unwrap()).unwrap();
        assert_eq!(json["samples_per_second"], 2000.0);
        assert_eq!(json["cpu_us_per_sample"], 50.5);
        assert_eq!(
            (json["overhead_p50_ms"].clone(), json["overhead_p99_ms"].clone()),
            (1.25.into(), 12.5.into())
        );
        assert_eq!(json["efficiency"]["1"], 1.0);
        let two = json["efficiency"]["2"].as_f64().unwrap();
        assert!((two - 0.5f64.sqrt()).abs() < 1e-9, "{two}");
    }
}
