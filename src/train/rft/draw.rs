//! Three batches: items with several responses without and with a hint, and single responses on the scale 0..1.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::anyhow;
use jury_client::batch::read_verdicts;
use jury_eval::truth::{self, Truth};
use jury_grm::domain::{Item, Scale, ScoreRequest, Verdict};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;

use crate::args::{EvalRunArgs, TrainRftArgs};
use crate::eval::{EvalConfig, Folder, items, write};
use crate::score::{ScoreConfig, judge_batches};
use crate::train::tune;

/// Items and what was drawn for them.
pub struct Drawn {
    pub items: Vec<Item>,
    pub pairs: BTreeMap<String, Verdict>,
    pub hinted: BTreeMap<String, Verdict>,
    pub singles: BTreeMap<String, Verdict>,
    /// How the drawing ended.
    pub exit: Exit,
}

struct Batch {
    name: &'static str,
    items: Vec<Item>,
    request: ScoreRequest,
}

/// Settles the items and draws what is not drawn yet; `None` after Ctrl-C.
pub async fn draw(args: &TrainRftArgs, meter: &Meter) -> Result<Option<Drawn>, Failed> {
    let config = EvalConfig::try_from(samples_of(args)).or_exit(Exit::Usage)?;
    let folder = Folder::open(&args.out)?;
    let items = tune::learnable(items::settle(&config, &folder, meter)?, meter);
    if items.is_empty() {
        let problem = anyhow!(
            "nothing to learn from: no item has a best response, labels with one highest, or as a single response a \
             label of 0 or 1; or --part and --limit leave none"
        );
        return Err(Failed::new(Exit::BadData, problem));
    }
    let batches = batches(&config, &items);
    let mut exit = Exit::Done;
    if !args.sft_only {
        let configs = configs(args, &config, &batches)?;
        exit = judge_batches(&configs, meter).await?;
        if exit == Exit::Interrupted {
            meter.print("jury: interrupted; the same command goes on from here");
            return Ok(None);
        }
    }
    let verdicts = |name: &str| -> Result<BTreeMap<String, Verdict>, Failed> {
        let path = verdicts_path(args, name);
        if !path.exists() {
            return Ok(BTreeMap::new());
        }
        let verdicts = read_verdicts(&path).or_exit(Exit::BadData)?;
        Ok(verdicts.into_iter().map(|verdict| (verdict.item_id.clone(), verdict)).collect())
    };
    let (pairs, hinted, singles) = (verdicts("pairs")?, verdicts("hinted")?, verdicts("singles")?);
    Ok(Some(Drawn { items, pairs, hinted, singles, exit }))
}

fn batches(config: &EvalConfig, items: &[Item]) -> Vec<Batch> {
    let mut request = config.request.clone();
    request.min_samples = Some(1);
    let mut hinted = ScoreRequest { hinted: true, ..request.clone() };
    hinted.settings.k = 1;
    let mut single = request.clone();
    single.settings.scale = Scale::BINARY;
    let several = || items.iter().filter(|item| item.responses.len() > 1);
    // A hint needs the best response by name, where labels tell it.
    let named = several().filter_map(|item| match truth::of(item)? {
        Truth::Best(best) => Some(Item { best: Some(best), ..item.clone() }),
        Truth::Single(_) | Truth::Graded => None,
    });
    let singles = items.iter().filter(|item| item.responses.len() == 1);
    let batches = vec![
        Batch { name: "pairs", items: several().cloned().collect(), request },
        Batch { name: "hinted", items: named.collect(), request: hinted },
        Batch { name: "singles", items: singles.cloned().collect(), request: single },
    ];
    batches.into_iter().filter(|batch| !batch.items.is_empty()).collect()
}

fn configs(
    args: &TrainRftArgs,
    config: &EvalConfig,
    batches: &[Batch],
) -> Result<Vec<ScoreConfig>, Failed> {
    let of_batch = |batch: &Batch| {
        let path = args.out.join(format!("{}.jsonl", batch.name));
        let lines: Result<Vec<String>, _> = batch.items.iter().map(serde_json::to_string).collect();
        let text = lines.or_exit(Exit::Internal)?.join("\n") + "\n";
        write(&path, text.as_bytes())?;
        Ok(config.batch_of(path, &verdicts_path(args, batch.name), batch.request.clone()))
    };
    batches.iter().map(of_batch).collect()
}

fn verdicts_path(args: &TrainRftArgs, name: &str) -> PathBuf {
    args.out.join(format!("{name}.verdicts.jsonl"))
}

/// The same drawing as an evaluation's.
fn samples_of(args: &TrainRftArgs) -> EvalRunArgs {
    EvalRunArgs {
        ks: vec![args.n],
        readout: args.readout,
        draw: args.draw.clone(),
        seed: args.seed,
        out: Some(args.out.clone()),
        replay: args.sft_only,
        quiet: args.quiet,
        ..EvalRunArgs::of_items(args.items.clone(), args.choice.clone(), args.judge.clone())
    }
}
