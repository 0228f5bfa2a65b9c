//! `jury train rft`: samples, rejection, data, fine-tuning. Each can be run separately, and all resume where they
//! stopped.
//!
//! ```text
//! items.jsonl                       the items; fixed by the first run
//! pairs.jsonl hinted.jsonl singles.jsonl        items of each batch      <- draw
//! pairs.verdicts.jsonl ..                       their samples
//! table.md kept.parquet kept-hinted.parquet     kept samples             <- keep
//! sft.jsonl dataset_info.json                   the training data, with the mix
//! left-out.jsonl                                what is left out, and why
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

/// Subfolder of a run for the model, if all weights were tuned.
pub const MODEL_FOLDER: &str = "model";

pub async fn run(args: TrainRftArgs) -> Result<Exit, Failed> {
    let meter = Meter::new(args.quiet);
    // Drawing takes hours: everything else is checked before.
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
        keep::write(&args, &kept)??;
        return Ok(samples.exit);
    };
    // If this is rejected, the data of the previous run stay.
    let sequences = learning.sequences(&args, &kept, &mut left_out, &meter)?;
    let printed = keep::write(&args, &kept)?;
    left_out.write(&args.out)?;
    match learning.run(&args, &kept, &sequences)? {
        Exit::Done => printed.map(|()| Exit::Done),
        exit => Ok(exit),
    }
}
