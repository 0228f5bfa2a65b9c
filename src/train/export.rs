//! `jury train export`: writes items to a folder for another trainer, with `left-out.jsonl`: what was left out, and
//! why.

use anyhow::anyhow;
use jury_terminal::exit::{Exit, Failed};
use jury_terminal::meter::Meter;
use jury_trainer::export::{ExportConfig, Trainer, export};

use super::tune::{learnable, tune_failed};
use crate::args::{EvalRunArgs, JudgeArgs, TrainExportArgs, TrainerArg};
use crate::eval::{EvalConfig, LeftOut, items};

pub fn run(args: &TrainExportArgs) -> Result<Exit, Failed> {
    if !(args.beta.is_finite() && args.beta >= 0.0) {
        let problem = anyhow!("--beta: must be at least 0, is {}", args.beta);
        return Err(Failed::new(Exit::Usage, problem));
    }
    let meter = Meter::new(false);
    let (items, choice) = (args.items.clone(), args.choice.clone());
    let chosen = EvalRunArgs::of_items(items, choice, JudgeArgs::default());
    let config = EvalConfig::try_from(chosen)?;
    let mut left_out = LeftOut::default();
    let items = items::chosen(&config, &mut left_out, &meter)?;
    let items = learnable(items, &mut left_out, &meter);
    let trainer = match args.to {
        TrainerArg::Trl => Trainer::Trl,
        TrainerArg::Verl => Trainer::Verl,
        TrainerArg::Openrlhf => Trainer::OpenRlhf,
    };
    let config = ExportConfig {
        model: args.model.clone(),
        group: args.group,
        beta: args.beta,
        max_prompt_tokens: args.max_prompt_tokens,
        max_critique_tokens: args.max_critique_tokens,
        seed: args.seed,
    };
    let exported = export(trainer, &items, &config, &args.out).map_err(tune_failed)?;
    left_out.write(&args.out)?;
    meter.clear();
    let out = args.out.display();
    crate::score::print(&format!(
        "{} items for {trainer} written to {out}. The launch file there describes how to start.\n",
        exported.rows
    ))?;
    Ok(Exit::Done)
}
