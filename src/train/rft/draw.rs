//! Three batches: items with several responses without and with a hint, and single responses on the scale 0..1.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::anyhow;
use jury_client::batch::read_verdicts;
use jury_grm::domain::{Item, Verdict};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_trainer::rft::{Batch, Drawn, batches};

use crate::args::{EvalRunArgs, TrainRftArgs};
use crate::eval::{EvalConfig, Folder, FolderLock, LeftOut, items, write};
use crate::score::{ScoreConfig, check_output, judge_batches};
use crate::train::tune;

/// Items and their samples.
pub struct Samples {
    pub items: Vec<Item>,
    pub drawn: Drawn,
    /// The exit code of the drawing.
    pub exit: Exit,
    /// Keeps other trainings out of the folder.
    pub _in_use: FolderLock,
}

/// Chooses the items and draws the samples that are missing; `None` after Ctrl-C.
pub async fn draw(
    args: &TrainRftArgs,
    left_out: &mut LeftOut,
    meter: &Meter,
) -> Result<Option<Samples>, Failed> {
    let config = EvalConfig::try_from(samples_of(args))?;
    let folder = Folder::open(&args.out)?;
    let items = items::settle(&config, &folder, left_out, meter)?;
    let in_use = folder.lock()?;
    let items = tune::learnable(items, left_out, meter);
    left_out.write(&args.out)?;
    if items.is_empty() {
        let problem = anyhow!(
            "nothing to train on: no item has `best`, a single highest label, or for a single response a label of 0 or 1; or \
             --part and --limit leave no items"
        );
        return Err(Failed::new(Exit::BadData, problem));
    }
    let batches = batches(&config.request, &items);
    let mut exit = Exit::Done;
    // A checkpoint belongs to its samples: with one more it would be rejected.
    let checkpoint = super::learn::checkpoint(args);
    let is_begun = checkpoint.exists();
    if is_begun && !args.sft_only {
        for batch in &batches {
            let path = args.out.join(format!("{}.jsonl", batch.name));
            let verdicts = verdicts_path(args, batch.name);
            check_output(&config.batch_of(path, &verdicts, batch.request.clone()))?;
        }
        let checkpoint = checkpoint.display();
        meter.print(&format!(
            "jury: nothing is drawn: {checkpoint} continues with the existing samples; remove it to draw the missing ones"
        ));
    }
    if !args.sft_only && !is_begun {
        let configs = configs(args, &config, &batches)?;
        exit = judge_batches(&configs, meter).await?;
        if exit == Exit::Interrupted {
            meter.print("jury: interrupted; repeat the command to continue");
            return Ok(None);
        }
    }
    let verdicts = |name: &str| -> Result<BTreeMap<String, Verdict>, Failed> {
        let path = verdicts_path(args, name);
        if !path.exists() {
            return Ok(BTreeMap::new());
        }
        let items =
            batches.iter().filter(|batch| batch.name == name).flat_map(|batch| &batch.items);
        let items: BTreeMap<&str, &Item> = items.map(|item| (&*item.id, item)).collect();
        let verdicts = read_verdicts(&path).or_exit(Exit::BadData)?.into_iter();
        // The verdict of an item that has changed since is ignored.
        let of_items = verdicts
            .filter(|verdict| items.get(&*verdict.item_id).is_some_and(|item| verdict.is_of(item)));
        Ok(of_items.map(|verdict| (verdict.item_id.clone(), verdict)).collect())
    };
    let (pairs, hinted, singles) = (verdicts("pairs")?, verdicts("hinted")?, verdicts("singles")?);
    let too_long = pairs.values().chain(singles.values()).filter(|verdict| {
        verdict.counts.asked > 0 && verdict.counts.too_long == verdict.counts.asked
    });
    let too_long = too_long.map(|verdict| verdict.item_id.clone()).collect();
    left_out.tell(meter, "items", "the prompt does not fit into the model's context", too_long);
    let alone = pairs.values().filter(|verdict| compares_nothing(verdict));
    let alone = alone.map(|verdict| verdict.item_id.clone()).collect();
    let why = "every sample shows only one response, since two do not fit into the model's context, and is neither correct nor wrong";
    left_out.tell(meter, "items", why, alone);
    left_out.write(&args.out)?;
    let drawn = Drawn { pairs, hinted, singles };
    Ok(Some(Samples { items, drawn, exit, _in_use: in_use }))
}

/// Whether an item with several responses has scored samples, but none that compares two responses.
fn compares_nothing(verdict: &Verdict) -> bool {
    let samples = verdict.samples.iter().flatten();
    let mut scored = samples.filter(|sample| sample.scores().is_some()).peekable();
    scored.peek().is_some() && scored.all(|sample| sample.spec.order.len() == 1)
}

fn configs(
    args: &TrainRftArgs,
    config: &EvalConfig,
    batches: &[Batch],
) -> Result<Vec<ScoreConfig>, Failed> {
    let of_batch = |batch: &Batch| {
        let path = args.out.join(format!("{}.jsonl", batch.name));
        write(&path, items::items_text(&batch.items)?.as_bytes())?;
        Ok(config.batch_of(path, &verdicts_path(args, batch.name), batch.request.clone()))
    };
    batches.iter().map(of_batch).collect()
}

fn verdicts_path(args: &TrainRftArgs, name: &str) -> PathBuf {
    args.out.join(format!("{name}.verdicts.jsonl"))
}

/// Draws as an evaluation does.
fn samples_of(args: &TrainRftArgs) -> EvalRunArgs {
    let mut judge = args.judge.clone();
    if judge.endpoint.is_some() {
        judge.template = None; // it only says what the coordinator's template is; samples are checked against it
    }
    EvalRunArgs {
        ks: vec![args.n],
        readout: args.readout,
        draw: args.draw.clone(),
        seed: args.seed,
        out: Some(args.out.clone()),
        replay: args.sft_only,
        quiet: args.quiet,
        ..EvalRunArgs::of_items(args.items.clone(), args.choice.clone(), judge)
    }
}
