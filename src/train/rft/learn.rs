//! The fine-tuning: from conversations to an adapter or new weights, with a checkpoint to resume from.

use std::path::PathBuf;

use anyhow::anyhow;
use jury_terminal::exit::{Exit, Failed};
use jury_terminal::meter::Meter;
use jury_trainer::model::{Model, Sequence, Tuning};
use jury_trainer::rft::Kept;
use jury_trainer::sft::{SftConfig, SftReport, SftRun, check_checkpoint, fine_tune};
use jury_trainer::{adapter, chat, report, weights};

use super::MODEL_FOLDER;
use crate::args::TrainRftArgs;
use crate::eval::LeftOut;
use crate::signals::signals;
use crate::train::tune::{self, Base, tune_failed};

/// Default learning rates: the usual one for adapters, and an order of magnitude less for all weights, near the 5e-6 of
/// the paper's larger batches.
const ADAPTER_RATE: f64 = 2e-4;
const FULL_RATE: f64 = 1e-5;

/// The model to tune, and the settings.
pub struct Learning {
    base: Base,
    tuning: Tuning,
    config: SftConfig,
}

// === impl Learning ===

impl Learning {
    /// Finds the model and checks the settings, without loading weights.
    pub fn prepare(args: &TrainRftArgs, meter: &Meter) -> Result<Self, Failed> {
        let (tuning, rate) = match args.full_weights {
            true => (Tuning::Full, FULL_RATE),
            false => (Tuning::Lora(tune::lora(&args.tuning)), ADAPTER_RATE),
        };
        if let Tuning::Lora(lora) = &tuning {
            lora.check().map_err(tune_failed)?;
        }
        let config = SftConfig {
            seed: args.seed,
            epochs: args.epochs,
            batch: args.batch,
            checkpoint_every: args.tuning.checkpoint_every,
            optimiser: tune::optimiser(&args.tuning, args.learning_rate.unwrap_or(rate)),
        };
        config.check().map_err(tune_failed)?;
        let model = args.base.as_deref().or(args.judge.model.as_deref());
        let base = Base::find(model, &args.judge.cache, meter)?;
        if args.full_weights && !base.path.is_dir() {
            let problem = anyhow!(
                "--full-weights: {} is a GGUF file, which has no tokenizer to write next to the weights; give the folder of \
                 safetensors that it was made from with --base or --model, or omit --full-weights to train an adapter",
                base.name
            );
            return Err(Failed::new(Exit::Usage, problem));
        }
        Ok(Self { base, tuning, config })
    }

    /// The kept samples as tokens; those that are too long are left out. Fails if the folder's checkpoint is of another
    /// run, whose data are then still there.
    pub fn sequences(
        &self,
        args: &TrainRftArgs,
        kept: &Kept,
        left_out: &mut LeftOut,
        meter: &Meter,
    ) -> Result<Vec<Sequence>, Failed> {
        let sequences = sequences(args, &self.base, kept, left_out, meter)?;
        check_checkpoint(&self.start(args), &sequences, &self.config, &checkpoint(args))
            .map_err(tune_failed)?;
        Ok(sequences)
    }

    /// Identifies the initial weights: an adapter with other settings starts from other tensors.
    fn start(&self, args: &TrainRftArgs) -> String {
        match &self.tuning {
            Tuning::Lora(lora) => format!("{} {lora:?} {}", self.base.digest, args.seed),
            Tuning::Full => format!("{} all weights", self.base.digest),
        }
    }

    /// Tunes on what was kept.
    pub fn run(
        &self,
        args: &TrainRftArgs,
        kept: &Kept,
        sequences: &[Sequence],
    ) -> Result<Exit, Failed> {
        // The live line of the other meter ended with the drawing.
        let meter = Meter::new(args.quiet);
        let Self { base, tuning, config } = self;
        let model = base.load(tuning.clone(), args.seed, &meter)?;
        let signals = signals()?;
        let (start, checkpoint) = (self.start(args), checkpoint(args));
        let run = tokio::task::block_in_place(|| {
            fine_tune(&model, &start, sequences, config, &checkpoint, |step| {
                let (at, of, loss) = (step.step, step.steps, step.loss);
                meter.stage(&format!("step {at} of {of}: loss {loss:.4} per token"));
                tune::go_on(&signals)
            })
        });
        meter.clear();
        let run = run.map_err(tune_failed)?;
        report(args, base, kept, &run, sequences.len())?;
        if !run.is_complete {
            return Ok(tune::interrupted(&meter, run.history.len()));
        }
        let (folder, what) = self.write(args, &model, &meter)?;
        let losses = run.history.first().zip(run.history.last());
        let (from, to) = losses.map_or((0.0, 0.0), |(first, last)| (first.loss, last.loss));
        crate::score::print(&format!(
            "{} steps over {} conversations, loss from {from:.3} to {to:.3} per token. {} is {what}.\n",
            run.history.len(),
            sequences.len(),
            folder.display()
        ))?;
        Ok(Exit::Done)
    }

    /// Writes the adapter or the model; returns where and what it is.
    fn write(
        &self,
        args: &TrainRftArgs,
        model: &Model,
        meter: &Meter,
    ) -> Result<(PathBuf, &'static str), Failed> {
        match self.tuning {
            Tuning::Lora(_) => {
                let folder = args.out.join("adapter");
                adapter::write(model, &self.base.name, &folder).map_err(tune_failed)?;
                Ok((folder, "the adapter, in PEFT's format"))
            }
            Tuning::Full => {
                let folder = args.out.join(MODEL_FOLDER);
                weights::write(model, &self.base.path, &folder, &mut |done, all| {
                    meter.stage(&format!("writing the model: tensor {done} of {all}"));
                })
                .map_err(tune_failed)?;
                meter.clear();
                Ok((folder, "the model, for jury score --model and transformers"))
            }
        }
    }
}

pub fn checkpoint(args: &TrainRftArgs) -> PathBuf {
    args.out.join("checkpoint.safetensors")
}

/// The conversations as tokens; those that are too long are left out and reported.
fn sequences(
    args: &TrainRftArgs,
    base: &Base,
    kept: &Kept,
    left_out: &mut LeftOut,
    meter: &Meter,
) -> Result<Vec<Sequence>, Failed> {
    let judged = kept.samples.iter().map(|sample| {
        (sample.name.clone(), chat::sequence(&base.tokenizer, &sample.prompt, &sample.answer))
    });
    let mixed = kept.mixed.iter().enumerate().map(|(number, conversation)| {
        (format!("mixed {}", number + 1), conversation.sequence(&base.tokenizer))
    });
    let most = args.max_tokens.min(base.context);
    let (mut sequences, mut too_long) = (Vec::new(), Vec::new());
    for (name, sequence) in judged.chain(mixed) {
        let sequence = sequence.map_err(tune_failed)?;
        if sequence.tokens.len() > most {
            too_long.push(name);
        } else {
            sequences.push(sequence);
        }
    }
    let why =
        format!("more than {most} tokens, the limit of --max-tokens or of the model's context");
    left_out.tell(meter, "conversations", &why, too_long);
    Ok(sequences)
}

fn report(
    args: &TrainRftArgs,
    base: &Base,
    kept: &Kept,
    run: &SftRun,
    n_sequences: usize,
) -> Result<(), Failed> {
    let report = SftReport {
        model: &base.name,
        model_digest: &base.digest,
        kept_samples: kept.samples.len(),
        mixed_conversations: kept.mixed.len(),
        learned_conversations: n_sequences,
        table: &kept.table.to_markdown(),
        history: &run.history,
    };
    report::write(&args.out, &report, "loss", &report.curves()).map_err(tune_failed)
}
