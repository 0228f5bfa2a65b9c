//! The measurements, as a table, as Markdown and as JSON.

use jury_grm::domain::Settings;
use jury_terminal::exit::Failed;
use serde::Serialize;

use crate::args::BenchUpstreamArgs;
use crate::head::Head;
use crate::output::json_page;
use crate::spread::{Spread, caption, paired_ratio};
use crate::table::Table;

const HEADINGS: [&str; 5] =
    ["WHO", "LAST SAMPLE, S", "FIRST SAMPLE, S", "TOKENS GENERATED", "PROMPT TOKENS COMPUTED"];

/// Which side draws the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Worker,
    Own,
}

/// One side in one round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawn {
    /// Seconds to the end of the first sample.
    pub first_seconds: f64,
    /// Seconds to the end of the last sample.
    pub last_seconds: f64,
    pub generated_tokens: f64,
    pub computed_prompt_tokens: f64,
    pub prompt_tokens: usize,
}

/// A whole run.
#[derive(Debug, Clone)]
pub struct Report {
    head: Head,
    upstream: String,
    k: u32,
    max_tokens: u32,
    worker: Vec<Drawn>,
    own: Vec<Drawn>,
}

#[derive(Debug, Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    head: &'a Head,
    upstream: &'a str,
    k: u32,
    max_tokens: u32,
    /// Finished rounds.
    rounds: usize,
    prompt_tokens: Option<Spread>,
    worker: JsonSide,
    own: JsonSide,
    /// The worker's time to the last sample divided by the server's own: the median of the rounds' ratios.
    ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
struct JsonSide {
    last_seconds: Option<Spread>,
    first_seconds: Option<Spread>,
    generated_tokens: Option<Spread>,
    computed_prompt_tokens: Option<Spread>,
}

// === impl Side ===

impl Side {
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Own => "own",
        }
    }
}

// === impl Report ===

impl Report {
    pub fn new(
        head: Head,
        args: &BenchUpstreamArgs,
        upstream: String,
        settings: &Settings,
    ) -> Self {
        let max_tokens = settings.max_critique_tokens;
        Self { head, upstream, k: args.k, max_tokens, worker: Vec::new(), own: Vec::new() }
    }

    pub fn add(&mut self, side: Side, drawn: Drawn) {
        match side {
            Side::Worker => self.worker.push(drawn),
            Side::Own => self.own.push(drawn),
        }
    }

    /// The report of the same run at this moment.
    pub fn until_now(&self, complete: bool) -> Self {
        Self { head: self.head.until_now(complete), ..self.clone() }
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
        let (rows, below) = (Vec::from(self.cells()), vec![self.summary()]);
        Table { above: self.preamble(), headings: HEADINGS, rows, below }
    }

    fn preamble(&self) -> Vec<String> {
        let prompt = spread(&self.worker, |drawn| drawn.prompt_tokens as f64);
        let mut lines = vec![
            self.head.line(),
            format!(
                "{}, {} samples of a prompt of {} tokens, at most {} tokens each; {}",
                self.upstream,
                self.k,
                prompt.map_or_else(String::new, |prompt| format!("{:.0}", prompt.median)),
                self.max_tokens,
                caption(self.worker.len(), 2)
            ),
        ];
        lines.extend(self.head.load.line());
        if !self.head.complete {
            lines.push("cut short: rounds are missing".to_owned());
        }
        lines
    }

    fn cells(&self) -> [[String; HEADINGS.len()]; 2] {
        [("our worker in front", &self.worker), ("the server's own n = k", &self.own)].map(
            |(who, rounds)| {
                let shown = |read: fn(&Drawn) -> f64, decimals| {
                    spread(rounds, read).map_or_else(String::new, |spread| spread.shown(decimals))
                };
                [
                    who.to_owned(),
                    shown(|drawn| drawn.last_seconds, 2),
                    shown(|drawn| drawn.first_seconds, 2),
                    shown(|drawn| drawn.generated_tokens, 0),
                    shown(|drawn| drawn.computed_prompt_tokens, 0),
                ]
            },
        )
    }

    fn summary(&self) -> String {
        match self.ratio() {
            Some(ratio) => format!("time to the last sample, ours to its own: {ratio:.2}"),
            None => "no round was finished".to_owned(),
        }
    }

    fn ratio(&self) -> Option<f64> {
        let times = |rounds: &[Drawn]| -> Vec<f64> {
            rounds.iter().map(|drawn| drawn.last_seconds).collect()
        };
        paired_ratio(&times(&self.worker), &times(&self.own))
    }

    fn json(&self) -> Json<'_> {
        let side = |rounds: &[Drawn]| JsonSide {
            last_seconds: spread(rounds, |drawn| drawn.last_seconds),
            first_seconds: spread(rounds, |drawn| drawn.first_seconds),
            generated_tokens: spread(rounds, |drawn| drawn.generated_tokens),
            computed_prompt_tokens: spread(rounds, |drawn| drawn.computed_prompt_tokens),
        };
        Json {
            head: &self.head,
            upstream: &self.upstream,
            k: self.k,
            max_tokens: self.max_tokens,
            rounds: self.worker.len(),
            prompt_tokens: spread(&self.worker, |drawn| drawn.prompt_tokens as f64),
            worker: side(&self.worker),
            own: side(&self.own),
            ratio: self.ratio(),
        }
    }
}

fn spread(rounds: &[Drawn], read: fn(&Drawn) -> f64) -> Option<Spread> {
    Spread::of(&rounds.iter().map(read).collect::<Vec<f64>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::tests::example;

    #[test]
    fn the_table_reads_like_this() {
        let drawn = |last_seconds, computed_prompt_tokens| Drawn {
            first_seconds: last_seconds / 2.0,
            last_seconds,
            generated_tokens: 512.0,
            computed_prompt_tokens,
            prompt_tokens: 300,
        };
        let report = Report {
            head: example(),
            upstream: "upstream:llama.cpp:b1:tokens".to_owned(),
            k: 4,
            max_tokens: 128,
            worker: vec![drawn(3.0, 1200.0), drawn(5.0, 1200.0)],
            own: vec![drawn(2.0, 300.0), drawn(4.0, 300.0)],
        };
        insta::assert_snapshot!(report.page(false).unwrap());
        assert!(report.markdown().contains("| our worker in front | 4.00 (3.00 to 5.00) |"));
        let json: serde_json::Value = serde_json::from_str(&report.page(true).unwrap()).unwrap();
        assert_eq!((&json["ratio"], &json["rounds"]), (&1.375.into(), &2.into()));
    }
}
