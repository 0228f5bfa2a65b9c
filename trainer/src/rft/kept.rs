//! From samples to training data, in the formats of other tools.

use std::collections::BTreeMap;
use std::path::Path;

use jury_eval::asked::same_method;
use jury_eval::judged::drawn_by;
use jury_eval::split::query_key;
use jury_eval::trajectories::{self, Trajectory};
use jury_eval::truth;
use jury_grm::domain::{Item, Sample, Scale, Verdict, json_line};
use jury_grm::prompt::Template;
use jury_grm::random::SplitMix64;

use super::{Draws, Fate, Rules, Table, sift};
use crate::chat::{self, Conversation};
use crate::durable::replace;
use crate::error::TuneError;

/// LLaMA-Factory's description of `sft.jsonl`.
const DATASET_INFO: &str = r#"{
  "jury_rft": {
    "file_name": "sft.jsonl",
    "formatting": "sharegpt",
    "columns": {"messages": "messages"},
    "tags": {
      "role_tag": "role",
      "content_tag": "content",
      "user_tag": "user",
      "assistant_tag": "assistant",
      "system_tag": "system"
    }
  }
}
"#;

/// The drawn samples, by item.
#[derive(Debug, Clone, Default)]
pub struct Drawn {
    /// Of items with several responses, without a hint.
    pub pairs: BTreeMap<String, Verdict>,
    /// Of the same items, with the best response revealed.
    pub hinted: BTreeMap<String, Verdict>,
    /// Of single responses.
    pub singles: BTreeMap<String, Verdict>,
}

/// The training data.
#[derive(Debug, Default)]
pub struct Kept {
    /// The kept samples.
    pub samples: Vec<KeptSample>,
    /// General conversations mixed in.
    pub mixed: Vec<Conversation>,
    /// The fate of every sample.
    pub table: Table,
    /// The samples without and with a hint, as drawn.
    rows: [Vec<Trajectory>; 2],
}

/// A kept sample.
#[derive(Debug)]
pub struct KeptSample {
    /// For display: its item and number.
    pub name: String,
    /// The prompt without a hint.
    pub prompt: jury_engine::Prompt,
    /// The trajectory to train on.
    pub answer: String,
    conversation: Conversation,
}

/// Decides the fate of every sample.
///
/// # Errors
/// If samples saw other prompts than `template` produces, or the template fails on an item.
pub fn keep(
    items: &[Item],
    drawn: &Drawn,
    rules: Rules,
    template: &Template,
) -> Result<Kept, TuneError> {
    let mut kept = Kept::default();
    for item in items {
        let Some(truth) = truth::of(item) else { continue };
        let is_single = item.responses.len() == 1;
        let unhinted = if is_single { &drawn.singles } else { &drawn.pairs };
        let (unhinted, hinted) = (unhinted.get(&item.id), drawn.hinted.get(&item.id));
        let with_scores = |verdict: &&Verdict| samples(Some(verdict)).iter().any(is_scored);
        for verdict in [unhinted, hinted].into_iter().flatten().filter(with_scores) {
            same_method(verdict, template)?;
        }
        let scale = if is_single { Scale::BINARY } else { Scale::POINTWISE };
        let draws =
            Draws { item, truth, scale, unhinted: samples(unhinted), hinted: samples(hinted) };
        let sifted = sift(&draws, rules);
        let category = item.category.as_deref().or(item.source.as_deref()).unwrap_or("-");
        kept.table.record(category, &sifted);
        for sifted in sifted.into_iter().filter(|sifted| sifted.fate == Fate::Kept) {
            let sample = sifted.sample;
            let verdict = if sifted.is_hinted { hinted } else { unhinted };
            let (Some(verdict), Some(answer)) = (verdict, jury_grm::trajectory::text(sample))
            else {
                continue;
            };
            let rendered = chat::prompt(template, item, &sample.spec.order, scale)
                .map_err(|error| TuneError::setting("template", error.to_string()))?;
            let hint = if sifted.is_hinted { ", hinted" } else { "" };
            kept.samples.push(KeptSample {
                name: format!("{} (sample {}{hint})", item.id, sample.spec.index),
                prompt: chat::engine_prompt(&rendered),
                conversation: chat::conversation(&rendered, &answer),
                answer,
            });
            kept.rows[usize::from(sifted.is_hinted)].push(row(item, sample, verdict));
        }
    }
    Ok(kept)
}

fn samples(verdict: Option<&Verdict>) -> &[Sample] {
    verdict.and_then(|verdict| verdict.samples.as_deref()).unwrap_or_default()
}

fn is_scored(sample: &Sample) -> bool {
    sample.scores().is_some()
}

fn row(item: &Item, sample: &Sample, verdict: &Verdict) -> Trajectory {
    Trajectory {
        item_id: item.id.clone(),
        query_key: query_key(item).to_string(),
        source: item.source.clone(),
        category: item.category.clone(),
        sample: sample.clone(),
        is_correct: Some(true),
        drawn_by: drawn_by(verdict),
    }
}

// === impl Kept ===

impl Kept {
    /// Mixes in enough of the `general` conversations that they make up `share`, 0 to below 1, chosen by the seed. If
    /// there are too few, mixes in all of them and returns `Err` with the number that was wanted.
    pub fn mix(
        &mut self,
        mut general: Vec<Conversation>,
        share: f64,
        seed: u64,
    ) -> Result<(), usize> {
        let wanted = (self.samples.len() as f64 * share / (1.0 - share)).round() as usize;
        let has = general.len();
        SplitMix64::for_purpose(seed, "jury rft mix").shuffle(&mut general);
        general.truncate(wanted);
        self.mixed = general;
        if wanted > has { Err(wanted) } else { Ok(()) }
    }

    /// Writes `table.md`, `sft.jsonl` with `dataset_info.json`, `kept.parquet` and `kept-hinted.parquet`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), TuneError> {
        replace(&folder.join("table.md"), self.table.to_markdown().as_bytes())?;
        let judged = self.samples.iter().map(|sample| &sample.conversation);
        let lines: Result<String, _> = judged.chain(&self.mixed).map(json_line).collect();
        let lines = lines.map_err(TuneError::Report)?;
        replace(&folder.join("sft.jsonl"), lines.as_bytes())?;
        replace(&folder.join("dataset_info.json"), DATASET_INFO.as_bytes())?;
        for (name, rows) in ["kept.parquet", "kept-hinted.parquet"].into_iter().zip(&self.rows) {
            let path = folder.join(name);
            trajectories::write(&path, rows)
                .map_err(|source| TuneError::Samples { path: path.clone(), source })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(answer: &str) -> Conversation {
        let line = serde_json::json!({"messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": answer},
        ]});
        Conversation::read(&line.to_string()).unwrap()
    }

    fn kept(n: usize) -> Kept {
        let sample = |at: usize| KeptSample {
            name: at.to_string(),
            prompt: jury_engine::Prompt { messages: Vec::new() },
            answer: at.to_string(),
            conversation: conversation(&at.to_string()),
        };
        Kept { samples: (0..n).map(sample).collect(), ..Kept::default() }
    }

    #[test]
    fn the_mix_is_the_share_that_was_asked_for_and_always_the_same() {
        let general: Vec<Conversation> =
            (0..50).map(|at| conversation(&format!("g{at}"))).collect();
        let mixed = |n, share| {
            let mut kept = kept(n);
            kept.mix(general.clone(), share, 7).map(|()| kept.mixed)
        };
        let thirty = mixed(70, 0.3).unwrap();
        assert_eq!(thirty.len(), 30);
        assert!(thirty != general[..30], "drawn, not the first");
        assert_eq!(mixed(70, 0.3).unwrap(), thirty);
        assert_eq!(mixed(70, 0.0).unwrap(), []);
        assert_eq!(mixed(70, 0.5), Err(70), "there are fewer");
    }

    #[test]
    fn every_line_that_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut kept = kept(2);
        kept.mix(vec![conversation("line\nbreak \u{2028}")], 0.4, 1).unwrap();
        kept.write(folder.path()).unwrap();
        let text = std::fs::read_to_string(folder.path().join("sft.jsonl")).unwrap();
        let read: Vec<Conversation> =
            text.split_terminator('\n').map(|line| Conversation::read(line).unwrap()).collect();
        assert!(!text.contains('\u{2028}'), "some readers break lines there");
        assert_eq!(read[2], kept.mixed[0]);
        assert_eq!(read.len(), 3);
        for file in ["table.md", "dataset_info.json", "kept.parquet", "kept-hinted.parquet"] {
            assert!(folder.path().join(file).is_file(), "{file}");
        }
    }
}
