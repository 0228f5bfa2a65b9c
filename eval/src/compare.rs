//! Compares reports: for example a small model with more samples and a larger one with fewer (paper, figure of
//! inference-time against training-time scaling).

mod plot;

use std::fmt::Write;

use serde::Serialize;

use crate::markdown::cell as cell_text;
use crate::report::{Cell, Report};

pub use plot::{png, svg};

/// One point of one report, with its cost per item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The report's file.
    pub report: String,
    /// The judge.
    pub model: Option<String>,
    /// How it judged: a method, or `scalar`.
    pub method: String,
    /// Number of samples; `None` for a scalar model, which draws none.
    pub k: Option<usize>,
    /// The point.
    pub cell: Cell,
    /// Tokens read per item: its prompts, counted once, plus what a separate Meta RM read for ranking; for a scalar
    /// model, all tokens.
    pub read_tokens: f64,
    /// Tokens generated per item: the share k / (samples drawn) of all. A scalar model generates none.
    pub generated_tokens: f64,
    /// Seconds per item, by the same share. An estimate, because k samples are not k requests.
    pub seconds: f64,
}

/// Every point of every report, best accuracy first.
pub fn rows(reports: &[(String, Report)]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, report) in reports {
        for (method, cells) in &report.curve {
            for (k, cell) in cells {
                let cost = report.cost_at(*method, *k);
                rows.push(Row {
                    report: name.clone(),
                    model: report.about.model.clone(),
                    method: method.to_string(),
                    k: Some(*k),
                    cell: *cell,
                    read_tokens: cost.prompt_tokens + cost.rank_tokens,
                    generated_tokens: cost.generated_tokens,
                    seconds: cost.seconds,
                });
            }
        }
        for (scalar, of_scalar) in &report.scalars {
            rows.push(Row {
                report: name.clone(),
                model: Some(scalar.clone()),
                method: "scalar".to_owned(),
                k: None,
                cell: of_scalar.cell,
                read_tokens: of_scalar.tokens,
                generated_tokens: 0.0,
                seconds: of_scalar.seconds,
            });
        }
    }
    let accuracy = |row: &Row| row.accuracy().unwrap_or(0.0);
    rows.sort_by(|a, b| accuracy(b).total_cmp(&accuracy(a)));
    rows
}

// === impl Row ===

impl Row {
    /// The accuracy; for single responses the ROC-AUC.
    pub fn accuracy(&self) -> Option<f64> {
        self.cell.accuracy.or(self.cell.auc)
    }

    /// Tokens per item, read and generated.
    pub fn tokens(&self) -> f64 {
        self.read_tokens + self.generated_tokens
    }
}

/// The rows as a Markdown table. Reports on different items are marked, because their numbers are not comparable.
pub fn table(reports: &[(String, Report)], rows: &[Row]) -> String {
    let mut out = String::new();
    let mut measured: Vec<(&str, usize)> =
        reports.iter().map(|(_, report)| (&*report.about.items_digest, report.n_items)).collect();
    measured.dedup();
    if measured.len() > 1 {
        line(&mut out, "**These reports are on different items; their figures do not compare.**\n");
    }
    line(
        &mut out,
        "| report | model | method | k | accuracy | 95 % interval | tokens read an item | written | seconds |",
    );
    line(&mut out, "|---|---|---|---|---|---|---|---|---|");
    for row in rows {
        let percent = |value: f64| format!("{:.1}", 100.0 * value);
        let accuracy = row.accuracy().map(percent).unwrap_or_default();
        let interval = row.cell.interval.or(row.cell.auc_interval);
        let interval = interval.map(|[low, high]| format!("{} to {}", percent(low), percent(high)));
        line(
            &mut out,
            &format!(
                "| {} | {} | {} | {} | {accuracy} | {} | {:.0} | {:.0} | {:.1} |",
                cell_text(&row.report),
                cell_text(row.model.as_deref().unwrap_or("unknown")),
                row.method,
                row.k.map(|k| k.to_string()).unwrap_or_default(),
                interval.unwrap_or_default(),
                row.read_tokens,
                row.generated_tokens,
                row.seconds,
            ),
        );
    }
    out
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a text takes any line");
}

#[cfg(test)]
mod tests;
