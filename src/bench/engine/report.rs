//! What was measured, as a table for people, as Markdown and as JSON.

use std::fmt::Write as _;

use jury_engine::Host;
use jury_engine::limits::{Bound, Limits};
use serde::Serialize;

use super::series::Series;
use crate::bench::models::BenchModel;
use crate::bench::peer::{Peer, Setting};
use crate::bench::spread::{Spread, paired_ratio};
use crate::exit::{Exit, Failed, OrExit};
use crate::status::columns;

/// Below this part of the tokens asked for, a row says how many there were.
const COMPLETE: f64 = 0.995;
const HEADINGS: [&str; 7] = ["MODEL", "PROMPT", "WHAT", "OURS", "LLAMA.CPP", "RATIO", "OF LIMIT"];

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// When it ended, UTC.
    pub date: String,
    pub version: &'static str,
    pub host: Host,
    pub limits: Limits,
    pub peer: Option<Peer>,
    pub rounds: usize,
    pub rows: Vec<Row>,
}

/// One cell: ours, the peer's, and what the machine could do.
#[derive(Debug, Serialize)]
pub struct Row {
    pub model: String,
    pub prompt_tokens: usize,
    /// Number of samples; none for a prefill.
    pub k: Option<usize>,
    /// Tokens that each sample generates; none for a prefill.
    pub generated: Option<usize>,
    /// Tokens a second, of all samples together.
    pub ours: Spread,
    pub peer: Option<Spread>,
    pub peer_setting: Option<Setting>,
    /// Ours to the peer's: the median of the rounds' ratios.
    pub ratio: Option<f64>,
    /// Of the machine as it was measured in this run.
    pub bound: Bound,
    pub share_of_bound: f64,
    /// Decoded part of the tokens asked for, where samples ended early.
    pub completeness: Option<f64>,
}

// === impl Row ===

impl Row {
    /// `decode` is the number of samples and what each generates. `None` of a series without values.
    pub fn new(
        model: &BenchModel,
        prompt_tokens: usize,
        decode: Option<(usize, usize)>,
        series: &Series,
        bound: Bound,
    ) -> Option<Self> {
        let ours = Spread::of(&series.ours)?;
        Some(Self {
            model: model.name.clone(),
            prompt_tokens,
            k: decode.map(|(samples, _)| samples),
            generated: decode.map(|(_, generated)| generated),
            share_of_bound: ours.median / bound.tokens_per_second,
            peer: Spread::of(&series.theirs),
            peer_setting: series.setting,
            ratio: paired_ratio(&series.ours, &series.theirs),
            bound,
            completeness: series.completeness(),
            ours,
        })
    }

    fn cells(&self) -> [String; 7] {
        let none = || "-".to_owned();
        let mut what = match (self.k, self.generated) {
            (Some(k), Some(generated)) => format!("k {k}, {generated} generated"),
            _ => "prefill".to_owned(),
        };
        if let Some(part) = self.completeness.filter(|&part| part < COMPLETE) {
            let _ = write!(what, " ({:.0} % of them)", part * 100.0);
        }
        let peer = self.peer.as_ref().map(|spread| {
            let setting = self.peer_setting.map_or("", Setting::describe);
            format!("{} {setting}", shown(spread))
        });
        [
            self.model.clone(),
            self.prompt_tokens.to_string(),
            what,
            shown(&self.ours),
            peer.unwrap_or_else(none),
            self.ratio.map_or_else(none, |ratio| format!("{ratio:.2}x")),
            format!("{:.0} % of {:.0}", self.share_of_bound * 100.0, self.bound.tokens_per_second),
        ]
    }
}

// === impl Report ===

impl Report {
    /// For a terminal.
    pub fn table(&self) -> String {
        let mut rows = vec![HEADINGS.map(String::from)];
        rows.extend(self.rows.iter().map(Row::cells));
        format!("{}\n{}", self.preamble().join("\n"), columns(&rows))
    }

    /// For a document.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for line in self.preamble() {
            let _ = writeln!(text, "* {line}");
        }
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        text.push('\n');
        text.push_str(&line(&HEADINGS.map(str::to_lowercase)));
        text.push_str(&line(&HEADINGS.map(|_| "---".to_owned())));
        for row in &self.rows {
            text.push_str(&line(&row.cells()));
        }
        text
    }

    /// For a machine.
    pub fn json(&self) -> Result<String, Failed> {
        let json = serde_json::to_string_pretty(self).or_exit(Exit::Internal)?;
        Ok(format!("{json}\n"))
    }

    fn preamble(&self) -> Vec<String> {
        let Limits { threads, integer_instruction, integer_gops, float_gflops, memory_gbps } =
            &self.limits;
        let peer = self.peer.as_ref().map_or_else(
            || "no peer".to_owned(),
            |peer| format!("llama.cpp {} at its best setting for each row", peer.version),
        );
        let rounds = match self.rounds {
            1 => "one round".to_owned(),
            rounds => format!("{rounds} alternating rounds"),
        };
        vec![
            format!("{}, jury {}, {} kernels; {peer}", self.date, self.version, self.host.kernels),
            format!(
                "{}, {threads} threads: {integer_gops:.0} Gop/s in 8 bits ({integer_instruction}), {float_gflops:.0} \
                 Gflop/s, {memory_gbps:.1} GB/s",
                self.host.cpu
            ),
            format!(
                "tokens a second, medians of {rounds} (least to greatest); each prompt was prefilled once"
            ),
        ]
    }
}

fn shown(spread: &Spread) -> String {
    let Spread { median, min, max, .. } = spread;
    let decimals = if *median < 10.0 { 1 } else { 0 };
    format!("{median:.decimals$} ({min:.decimals$} to {max:.decimals$})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let series = Series {
            ours: vec![750.0, 700.0, 800.0],
            theirs: vec![200.0, 175.0, 200.0],
            setting: Some(Setting::Plain),
            decoded: 90,
            asked: 100,
        };
        let bound = Bound {
            tokens_per_second: 1_300.0,
            memory_seconds: 0.006,
            weight_seconds: 0.001,
            attention_seconds: 0.001,
        };
        let model = BenchModel { name: "m".to_owned(), path: "m.gguf".into() };
        let alone = Series { ours: series.ours.clone(), ..Series::default() };
        let rows = [
            Row::new(&model, 512, None, &alone, bound),
            Row::new(&model, 512, Some((8, 64)), &series, bound),
        ];
        Report {
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
            limits: Limits {
                threads: 2,
                integer_instruction: "an instruction".to_owned(),
                integer_gops: 1_420.0,
                float_gflops: 321.0,
                memory_gbps: 29.0,
            },
            peer: None,
            rounds: 3,
            rows: rows.into_iter().flatten().collect(),
        }
    }

    #[test]
    fn the_table_reads_like_this() {
        insta::assert_snapshot!(report().table(), @r"
        2030-01-01T00:00:00Z, jury 0.1.0, avx2 kernels; no peer
        A CPU, 2 threads: 1420 Gop/s in 8 bits (an instruction), 321 Gflop/s, 29.0 GB/s
        tokens a second, medians of 3 alternating rounds (least to greatest); each prompt was prefilled once
        MODEL  PROMPT  WHAT                              OURS              LLAMA.CPP                 RATIO  OF LIMIT
        m      512     prefill                           750 (700 to 800)  -                         -      58 % of 1300
        m      512     k 8, 64 generated (90 % of them)  750 (700 to 800)  200 (175 to 200) -fa off  4.00x  58 % of 1300
        ");
    }

    #[test]
    fn every_line_of_the_markdown_table_has_the_same_columns() {
        let markdown = report().markdown();
        let bars: Vec<usize> = markdown
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.matches('|').count())
            .collect();
        assert_eq!(bars, [8; 4], "{markdown}");
    }

    #[test]
    fn json_keeps_every_value_of_every_round() {
        let json: serde_json::Value = serde_json::from_str(&report().json().unwrap()).unwrap();
        let row = &json["rows"][1];
        assert_eq!(row["ours"]["values"].as_array().unwrap().len(), 3);
        assert_eq!(row["peer_setting"], "plain");
        assert_eq!(row["ratio"], 4.0);
        assert!(json["rows"][0]["ratio"].is_null());
    }
}
