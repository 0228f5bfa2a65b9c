//! What a run cannot do, told before anything is loaded.

use std::path::Path;

use anyhow::anyhow;
use jury_engine::{Adapter, DeviceKind};
use jury_terminal::exit::{Exit, Failed};
use jury_terminal::model::{adapter_at, load_failed};
use jury_trainer::adapter;

use crate::args::TrainRlArgs;
use crate::train::rft::MODEL_FOLDER;

/// Refuses options that do not go together.
pub fn check(args: &TrainRlArgs) -> Result<(), Failed> {
    if !(args.temperature.is_finite() && args.temperature > 0.0) {
        let problem =
            anyhow!("--temperature: must be above 0, or all samples of a group are equal");
        return Err(Failed::new(Exit::Usage, problem));
    }
    if let Some(device) = args.policy.device
        && !matches!(device, DeviceKind::Auto | DeviceKind::Cpu)
    {
        let problem = anyhow!(
            "--device: RL draws with the adapter of each step, and adapters run on the CPU alone, not on {device}; leave \
             it out"
        );
        return Err(Failed::new(Exit::Usage, problem));
    }
    if args.full_weights {
        let problem = anyhow!(
            "--full-weights: RL draws each step with the weights as they are, and an engine swaps an adapter alone; leave \
             it out. A model whose weights were all tuned is a start all the same: --model rft/{MODEL_FOLDER} without --init"
        );
        return Err(Failed::new(Exit::Usage, problem));
    }
    if let Some(init) = args.init.as_deref().filter(|init| has_all_weights(init)) {
        let problem = anyhow!(
            "--init: {} holds a model whose weights were all tuned, no adapter; give it as --model {} and leave --init out",
            init.display(),
            init.join(MODEL_FOLDER).display()
        );
        return Err(Failed::new(Exit::Usage, problem));
    }
    if let Some(init) = &args.init {
        // Read again by who trains it, once the model is loaded.
        Adapter::read(&adapter_at(init)).map_err(|error| {
            let failed = load_failed(error);
            Failed { error: failed.error.context("--init"), ..failed }
        })?;
    }
    if !(0.0..=0.9).contains(&args.held_out_share) {
        let problem = anyhow!("--held-out-share: must be 0 to 0.9, is {}", args.held_out_share);
        return Err(Failed::new(Exit::Usage, problem));
    }
    Ok(())
}

/// Whether a folder of `jury train rft` has a model and no adapter.
fn has_all_weights(init: &Path) -> bool {
    !adapter_at(init).join(adapter::WEIGHTS).is_file() && init.join(MODEL_FOLDER).is_dir()
}
