//! `jury train`: judges by rejective fine-tuning (rft) and reinforcement learning (rl); Meta RMs.

mod export;
mod merge;
mod meta;
mod rft;
mod rl;
mod tune;

use jury_terminal::exit::{Exit, Failed};

use crate::args::{TrainArgs, TrainCommand};

pub async fn run(args: TrainArgs) -> Result<Exit, Failed> {
    match args.command {
        TrainCommand::Meta(args) => meta::run(*args).await,
        TrainCommand::Merge(args) => merge::run(&args),
        TrainCommand::Rft(args) => rft::run(*args).await,
        TrainCommand::Rl(args) => rl::run(&args),
        TrainCommand::Export(args) => export::run(&args),
    }
}
