//! From samples to what is learned: rejection, its table, and the data in the forms that others read.

use std::path::Path;

use anyhow::{Context, anyhow};
use jury_eval::judged::drawn_by;
use jury_eval::split::query_key;
use jury_eval::trajectories::{self, Trajectory};
use jury_eval::truth;
use jury_grm::domain::{Item, Sample, Scale, Verdict};
use jury_grm::random::SplitMix64;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_trainer::chat::{self, Conversation};
use jury_trainer::rft::{Draws, Fate, Rules, Table, sift};

use super::draw::Drawn;
use crate::args::TrainRftArgs;
use crate::eval::write;
use crate::train::tune;

/// What is learned.
pub struct Kept {
    pub judged: Vec<KeptSample>,
    pub mixed: Vec<Conversation>,
    /// The table, as Markdown.
    pub table: String,
}

pub struct KeptSample {
    pub name: String,
    pub prompt: jury_engine::Prompt,
    pub answer: String,
}

/// LLaMA-Factory's words for `sft.jsonl`.
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

/// Gives every sample its fate and writes table and data.
pub fn keep(
    args: &TrainRftArgs,
    drawn: &Drawn,
    general: Vec<Conversation>,
    meter: &Meter,
) -> Result<Kept, Failed> {
    let template = tune::template(&args.judge)?;
    let rules = Rules { n: args.n as usize, keeps_cut: args.keep_cut };
    let mut table = Table::default();
    let (mut judged, mut lines) = (Vec::new(), Vec::new());
    let mut rows: [Vec<Trajectory>; 2] = Default::default();
    for item in &drawn.items {
        let Some(truth) = truth::of(item) else { continue };
        let is_single = item.responses.len() == 1;
        let unhinted = if is_single { &drawn.singles } else { &drawn.pairs };
        let (unhinted, hinted) = (unhinted.get(&item.id), drawn.hinted.get(&item.id));
        let scale = if is_single { Scale::BINARY } else { Scale::POINTWISE };
        let draws =
            Draws { item, truth, scale, unhinted: samples(unhinted), hinted: samples(hinted) };
        let sifted = sift(&draws, rules);
        table.record(item.category.as_deref().or(item.source.as_deref()).unwrap_or("-"), &sifted);
        for sifted in sifted.into_iter().filter(|sifted| sifted.fate == Fate::Kept) {
            let sample = sifted.sample;
            let verdict = if sifted.is_hinted { hinted } else { unhinted };
            let (Some(verdict), Some(answer)) = (verdict, jury_grm::trajectory::text(sample))
            else {
                continue;
            };
            let rendered =
                chat::prompt(&template, item, &sample.spec.order, scale).or_exit(Exit::BadData)?;
            lines.push(line(&chat::conversation(&rendered, &answer))?);
            let hint = if sifted.is_hinted { ", hinted" } else { "" };
            judged.push(KeptSample {
                name: format!("{} (sample {}{hint})", item.id, sample.spec.index),
                prompt: chat::engine_prompt(&rendered),
                answer,
            });
            rows[usize::from(sifted.is_hinted)].push(row(item, sample, verdict));
        }
    }
    let mixed = mix(args, general, judged.len(), meter);
    for conversation in &mixed {
        lines.push(line(conversation)?);
    }
    let table = table.to_markdown();
    write(&args.out.join("table.md"), table.as_bytes())?;
    write(&args.out.join("sft.jsonl"), lines.concat().as_bytes())?;
    write(&args.out.join("dataset_info.json"), DATASET_INFO.as_bytes())?;
    let [unhinted, hinted] = rows;
    write_rows(&args.out.join("kept.parquet"), &unhinted)?;
    write_rows(&args.out.join("kept-hinted.parquet"), &hinted)?;
    let said = format!(
        "{table}\n{} samples are kept, {} conversations mixed in: {}\n",
        judged.len(),
        mixed.len(),
        args.out.join("sft.jsonl").display()
    );
    crate::score::print(&said)?;
    Ok(Kept { judged, mixed, table })
}

fn samples(verdict: Option<&Verdict>) -> &[Sample] {
    verdict.and_then(|verdict| verdict.samples.as_deref()).unwrap_or_default()
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

fn write_rows(path: &Path, rows: &[Trajectory]) -> Result<(), Failed> {
    let written = trajectories::write(path, rows);
    written.with_context(|| path.display().to_string()).or_exit(Exit::CannotWrite)
}

fn line(conversation: &Conversation) -> Result<String, Failed> {
    let mut line = serde_json::to_string(conversation).or_exit(Exit::Internal)?;
    line.push('\n');
    Ok(line)
}

/// All general conversations that there are to mix in.
pub fn general(args: &TrainRftArgs, meter: &Meter) -> Result<Vec<Conversation>, Failed> {
    let (Some(path), Some(share)) = (&args.mix, args.mix_share) else { return Ok(Vec::new()) };
    if !(0.0..=0.95).contains(&share) {
        let problem = anyhow!("--mix-share: must be between 0 and 0.95, is {share}");
        return Err(Failed::new(Exit::Usage, problem));
    }
    let name = || path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(name).or_exit(Exit::NoInput)?;
    let mut conversations = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match Conversation::read(line) {
            Ok(conversation) => conversations.push(conversation),
            Err(problem) => {
                let number = number + 1;
                meter.print(&format!("jury: {}, line {number}: {problem}; left out", name()));
            }
        }
    }
    Ok(conversations)
}

/// As many of them as make up the share that is wanted, chosen by the seed.
fn mix(
    args: &TrainRftArgs,
    mut general: Vec<Conversation>,
    n_kept: usize,
    meter: &Meter,
) -> Vec<Conversation> {
    let share = args.mix_share.unwrap_or(0.0);
    let wanted = (n_kept as f64 * share / (1.0 - share)).round() as usize;
    if wanted > general.len() {
        let has = general.len();
        meter.print(&format!(
            "jury: --mix has {has} conversations, the share asked for is {wanted}; all are mixed in"
        ));
    }
    SplitMix64::for_purpose(args.seed, "jury rft mix").shuffle(&mut general);
    general.truncate(wanted);
    general
}
