//! `jury train rft`: samples, rejection, data, fine-tuning; each can be run alone, and all go on where they stopped.
//!
//! ```text
//! items.jsonl                       what is learned from; fixed by the first run
//! pairs.jsonl hinted.jsonl singles.jsonl        items of each batch      <- draw
//! pairs.verdicts.jsonl ..                       their samples
//! table.md kept.parquet kept-hinted.parquet     what was kept            <- keep
//! sft.jsonl dataset_info.json                   what is learned, with the mix
//! left-out.jsonl                                what is not, and why
//! checkpoint.safetensors loss.svg report.json adapter/ or model/         <- learn
//! ```

mod draw;
mod keep;
mod learn;

use jury_terminal::exit::{Exit, Failed};
use jury_terminal::meter::Meter;

use self::learn::Learning;
use crate::args::TrainRftArgs;
use crate::eval::LeftOut;

/// What has the model, inside a run's folder, where all weights were tuned.
pub const MODEL_FOLDER: &str = "model";

pub async fn run(args: TrainRftArgs) -> Result<Exit, Failed> {
    let meter = Meter::new(args.quiet);
    // Drawing takes hours: what is wrong with the rest is said before.
    let mut left_out = LeftOut::default();
    let general = keep::general(&args, &mut left_out, &meter)?;
    let learning = match args.data_only {
        true => None,
        false => Some(Learning::prepare(&args, &meter)?),
    };
    let Some(samples) = draw::draw(&args, &mut left_out, &meter).await? else {
        return Ok(Exit::Interrupted);
    };
    let kept = keep::sift(&args, &samples, general, &meter)?;
    let Some(learning) = learning else {
        keep::write(&args, &kept)?;
        return Ok(samples.exit);
    };
    // What is refused leaves the data of the run that was before.
    let sequences = learning.sequences(&args, &kept, &mut left_out, &meter)?;
    keep::write(&args, &kept)?;
    left_out.write(&args.out)?;
    learning.run(&args, &kept, &sequences)
}
