//! From samples to training data: rejection, its table, and the data in formats for other programs.

use anyhow::{Context, anyhow};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_trainer::chat::Conversation;
use jury_trainer::rft::{self, Kept, Rules};

use super::draw::Samples;
use crate::args::TrainRftArgs;
use crate::eval::LeftOut;
use crate::train::tune::{self, tune_failed};

/// Decides for every sample whether it is kept.
pub fn sift(
    args: &TrainRftArgs,
    samples: &Samples,
    general: Vec<Conversation>,
    meter: &Meter,
) -> Result<Kept, Failed> {
    let template = tune::template(args.judge.template.as_deref())?;
    let rules = Rules { n: args.n as usize, keeps_cut: args.keep_cut };
    let kept = rft::keep(&samples.items, &samples.drawn, rules, &template);
    let mut kept = kept.map_err(tune_failed)?;
    let has = general.len();
    if let Err(wanted) = kept.mix(general, args.mix_share.unwrap_or(0.0), args.seed) {
        meter.print(&format!(
            "jury: --mix-share needs {wanted} conversations, but --mix has only {has}; all are mixed in"
        ));
    }
    Ok(kept)
}

/// Writes table and data, and prints the table. The inner result is that of printing: without a stdout, learning
/// still runs.
pub fn write(args: &TrainRftArgs, kept: &Kept) -> Result<Result<(), Failed>, Failed> {
    kept.write(&args.out).map_err(tune_failed)?;
    let said = format!(
        "{}\n{} samples kept, {} conversations mixed in: {}\n",
        kept.table.to_markdown(),
        kept.samples.len(),
        kept.mixed.len(),
        args.out.join("sft.jsonl").display()
    );
    Ok(crate::score::print(&said))
}

/// All conversations of --mix.
pub fn general(
    args: &TrainRftArgs,
    left_out: &mut LeftOut,
    meter: &Meter,
) -> Result<Vec<Conversation>, Failed> {
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
                let place = format!("{}, line {}", name(), number + 1);
                left_out.tell_one(meter, "conversations", place, problem);
            }
        }
    }
    Ok(conversations)
}
