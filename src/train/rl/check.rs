//! Checks of the options, before anything is loaded.

use std::path::Path;

use anyhow::anyhow;
use jury_engine::{Adapter, DeviceKind};
use jury_terminal::exit::{Exit, Failed};
use jury_terminal::model::{adapter_at, load_failed};
use jury_trainer::adapter;

use crate::args::TrainRlArgs;
use crate::train::rft::MODEL_FOLDER;

/// Rejects options that cannot be combined.
pub fn check(args: &TrainRlArgs) -> Result<(), Failed> {
    if !(args.temperature.is_finite() && args.temperature > 0.0) {
        let problem =
            anyhow!("--temperature: must be above 0, or all samples of a group would be identical");
        return Err(Failed::new(Exit::Usage, problem));
    }
    if let Some(device) = args.policy.device
        && !matches!(device, DeviceKind::Auto | DeviceKind::Cpu)
    {
        let problem = anyhow!(
            "--device: RL draws with the adapter of each step, and adapters run only on the CPU, not on {device}; omit the option"
        );
        return Err(Failed::new(Exit::Usage, problem));
    }
    if args.full_weights {
        let problem = anyhow!(
            "--full-weights: RL draws each step with the current weights, and the engine can replace only an adapter; omit the \
             option. To start from a model whose weights were all tuned, use --model rft/{MODEL_FOLDER} without --init"
        );
        return Err(Failed::new(Exit::Usage, problem));
    }
    if let Some(init) = args.init.as_deref().filter(|init| has_all_weights(init)) {
        let problem = anyhow!(
            "--init: {} contains a model whose weights were all tuned, not an adapter; use --model {} and omit --init",
            init.display(),
            init.join(MODEL_FOLDER).display()
        );
        return Err(Failed::new(Exit::Usage, problem));
    }
    if let Some(init) = &args.init {
        // Read again for training once the model is loaded.
        Adapter::read(&adapter_at(init)).map_err(|error| {
            let failed = load_failed(error);
            Failed { error: failed.error.context("--init"), ..failed }
        })?;
    }
    if !(0.0..=0.9).contains(&args.held_out_share) {
        let problem =
            anyhow!("--held-out-share: must be between 0 and 0.9, is {}", args.held_out_share);
        return Err(Failed::new(Exit::Usage, problem));
    }
    Ok(())
}

/// Whether a folder of `jury train rft` has a model and no adapter.
fn has_all_weights(init: &Path) -> bool {
    !adapter_at(init).join(adapter::WEIGHTS).is_file() && init.join(MODEL_FOLDER).is_dir()
}
