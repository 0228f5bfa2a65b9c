//! `jury train`: a judge by rejective fine-tuning (rft) and reinforcement learning (rl); a Meta RM.
//!
//! `jury train meta`: samples with their hidden states, labelled, to a head that ranks.

mod export;
mod merge;
mod rft;
mod rl;
mod tune;

use anyhow::anyhow;
use jury_grm::domain::{Item, Verdict};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_trainer::meta::{LabelledState, MetaConfig, TrainError, TrainedMeta, label, train};

use crate::args::{EvalRunArgs, TrainArgs, TrainCommand, TrainMetaArgs};
use crate::eval::{Drawn, EvalConfig, draw};

pub async fn run(args: TrainArgs) -> Result<Exit, Failed> {
    match args.command {
        TrainCommand::Meta(args) => meta(*args).await,
        TrainCommand::Merge(args) => merge::run(&args),
        TrainCommand::Rft(args) => rft::run(*args).await,
        TrainCommand::Rl(args) => rl::run(&args),
        TrainCommand::Export(args) => export::run(&args),
    }
}

async fn meta(args: TrainMetaArgs) -> Result<Exit, Failed> {
    let config = EvalConfig::try_from(samples_of(&args)).or_exit(Exit::Usage)?;
    let meter = Meter::new(args.quiet);
    let Some(Drawn { items, folder, exit }) = draw(&config, &meter).await? else {
        return Ok(Exit::Interrupted);
    };
    let verdicts = folder.verdicts()?;
    let Some(model_digest) =
        verdicts.iter().find_map(|verdict| verdict.provenance.model_digest.clone())
    else {
        return Err(Failed::new(
            Exit::TryAgain,
            anyhow!("no item was judged; the same command goes on"),
        ));
    };
    let of_another = |verdict: &&Verdict| {
        verdict.provenance.model_digest.as_ref().is_some_and(|digest| *digest != model_digest)
    };
    if let Some(other) = verdicts.iter().find(of_another) {
        let problem = anyhow!(
            "item {:?} was judged by another model than the first; a head reads the states of one: name it with --model",
            other.item_id
        );
        return Err(Failed::new(Exit::BadData, problem));
    }
    let rows = rows(&items, &verdicts);
    if rows.is_empty() {
        let problem = anyhow!(
            "no sample has a hidden state: --samples was drawn without them (`jury eval --hidden-states`), or \
             by workers that cannot tell them"
        );
        return Err(Failed::new(Exit::BadData, problem));
    }
    let meta = MetaConfig {
        inner: args.inner,
        seed: args.seed,
        ..MetaConfig::new(name(&args), model_digest)
    };
    let trained = train(&rows, &meta, |epoch| {
        meter.stage(&format!("epoch {}: validation loss {:.4}", epoch.epoch, epoch.validation));
    });
    meter.clear();
    let trained = trained.map_err(failed)?;
    let card = trained.write(&args.out).map_err(failed)?;
    crate::score::print(&said(&args, &trained, rows.len(), &card.display().to_string()))?;
    Ok(exit)
}

/// The same drawing as an evaluation's, with hidden states.
fn samples_of(args: &TrainMetaArgs) -> EvalRunArgs {
    EvalRunArgs {
        ks: vec![args.k],
        temperature: args.temperature,
        max_critique_tokens: args.max_critique_tokens,
        seed: args.seed,
        budget: args.budget,
        concurrency: args.concurrency,
        hidden_states: true,
        out: Some(args.samples.clone().unwrap_or_else(|| args.out.with_extension("samples"))),
        replay: args.replay,
        quiet: args.quiet,
        ..EvalRunArgs::of_items(args.items.clone(), args.choice.clone(), args.judge.clone())
    }
}

fn rows(items: &[Item], verdicts: &[Verdict]) -> Vec<LabelledState> {
    let by_id: std::collections::HashMap<&str, &Verdict> =
        verdicts.iter().map(|verdict| (&*verdict.item_id, verdict)).collect();
    let of_item = |item: &Item| {
        let Some(verdict) = by_id.get(&*item.id) else { return Vec::new() };
        let scale = verdict.provenance.settings.scale;
        label(item, scale, verdict.samples.as_deref().unwrap_or_default())
    };
    items.iter().flat_map(of_item).collect()
}

fn name(args: &TrainMetaArgs) -> String {
    let stem = || args.out.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    args.name.clone().or_else(stem).unwrap_or_else(|| "head".to_owned())
}

fn said(args: &TrainMetaArgs, trained: &TrainedMeta, n_rows: usize, card: &str) -> String {
    let out = args.out.display();
    format!(
        "{n_rows} labelled samples. {}\n{out} is the head, {card} its card with pictures.\n\
         Use it: jury score ITEM --meta head:{out}, or jury up --head {out}\n",
        trained.report.finding(),
    )
}

fn failed(error: TrainError) -> Failed {
    let exit = match &error {
        TrainError::Io { .. } => Exit::CannotWrite,
        _ => Exit::BadData,
    };
    Failed::new(exit, error)
}
