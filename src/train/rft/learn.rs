//! The fine-tuning: conversations to an adapter, with a checkpoint that the same command goes on from.

use jury_fabric::shutdown::on_signals;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_trainer::model::Sequence;
use jury_trainer::plot::{Curve, Curves};
use jury_trainer::sft::{SftConfig, SftRun, fine_tune};
use jury_trainer::{adapter, chat};
use serde_json::json;

use super::keep::Kept;
use crate::args::TrainRftArgs;
use crate::eval::write;
use crate::train::tune::{self, Base, tune_failed};

/// What is tuned, and how.
pub struct Learning {
    base: Base,
    config: SftConfig,
}

// === impl Learning ===

impl Learning {
    /// Finds the model and checks the settings, without loading weights.
    pub fn prepare(args: &TrainRftArgs, meter: &Meter) -> Result<Self, Failed> {
        let config = SftConfig {
            seed: args.seed,
            epochs: args.epochs,
            batch: args.batch,
            checkpoint_every: args.tuning.checkpoint_every,
            optimiser: tune::optimiser(&args.tuning, args.learning_rate),
        };
        config.check().map_err(tune_failed)?;
        tune::lora(&args.tuning).check().map_err(tune_failed)?;
        Ok(Self { base: Base::find(&args.judge, &args.tuning, meter)?, config })
    }

    /// Tunes on what was kept.
    pub fn run(&self, args: &TrainRftArgs, kept: &Kept) -> Result<Exit, Failed> {
        // Drawing has ended the other one's line.
        let meter = Meter::new(args.quiet);
        let Self { base, config } = self;
        let sequences = sequences(args, base, kept, &meter)?;
        let model = base.load(&args.tuning, args.seed, &meter)?;
        let signals = on_signals().or_exit(Exit::Internal)?;
        let checkpoint = args.out.join("checkpoint.safetensors");
        // An adapter of other settings starts from other tensors: they are part of what the run is.
        let start = format!("{} {:?} {}", base.digest, tune::lora(&args.tuning), args.seed);
        let run = tokio::task::block_in_place(|| {
            fine_tune(&model, &start, &sequences, config, &checkpoint, |step| {
                let (at, of, loss) = (step.step, step.steps, step.loss);
                meter.stage(&format!("step {at} of {of}: loss {loss:.4} a token"));
                tune::go_on(&signals)
            })
        });
        meter.clear();
        let run = run.map_err(tune_failed)?;
        report(args, base, kept, &run, sequences.len())?;
        if !run.is_complete {
            return Ok(tune::interrupted(&meter, run.history.len()));
        }
        let folder = args.out.join("adapter");
        adapter::write(&model, &base.name, &folder).map_err(tune_failed)?;
        let losses = run.history.first().zip(run.history.last());
        let (from, to) = losses.map_or((0.0, 0.0), |(first, last)| (first.loss, last.loss));
        crate::score::print(&format!(
            "{} steps over {} conversations, loss {from:.3} to {to:.3} a token. {} is the adapter, in PEFT's form.\n",
            run.history.len(),
            sequences.len(),
            folder.display()
        ))?;
        Ok(Exit::Done)
    }
}

/// The conversations as tokens; those that are too long are left out by name.
fn sequences(
    args: &TrainRftArgs,
    base: &Base,
    kept: &Kept,
    meter: &Meter,
) -> Result<Vec<Sequence>, Failed> {
    let judged = kept.judged.iter().map(|sample| {
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
    let why = format!("more than {most} tokens, by --max-tokens or by the model's context");
    tune::tell_left_out(meter, "conversations", &why, &too_long);
    Ok(sequences)
}

fn report(
    args: &TrainRftArgs,
    base: &Base,
    kept: &Kept,
    run: &SftRun,
    n_sequences: usize,
) -> Result<(), Failed> {
    let losses = run.history.iter().map(|step| (step.step as f64, step.loss));
    let norms = run.history.iter().map(|step| (step.step as f64, step.gradient_norm));
    let curves = Curves(vec![
        Curve::new("loss, nats a token", losses),
        Curve::new("length of the gradient", norms),
    ]);
    tune::plot(&args.out, "loss", &curves)?;
    let report = json!({
        "model": base.name,
        "model_digest": base.digest,
        "kept_samples": kept.judged.len(),
        "mixed_conversations": kept.mixed.len(),
        "learned_conversations": n_sequences,
        "table": kept.table,
        "history": run.history,
    });
    let mut text = serde_json::to_string_pretty(&report).or_exit(Exit::Internal)?;
    text.push('\n');
    write(&args.out.join("report.json"), text.as_bytes())
}
