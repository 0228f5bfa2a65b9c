//! `jury train rl`: online GRPO from an adapter.
//!
//! ```text
//! items.jsonl             the items; fixed by the first run            easy.json   what the initial model gets right
//! checkpoint.safetensors  the state of the run                         report.json   every step
//! curves.svg, .png        reward, KL, entropy, length, unreadable, groups without spread, held-out items
//! left-out.jsonl          items that are not used, and why
//! adapter/  best/         the last weights, and the best on held-out items
//! ```

mod check;
mod words;

use std::ops::ControlFlow;

use anyhow::{Context, anyhow};
use jury_engine::{Engine, EngineConfig};
use jury_fabric::shutdown::Shutdown;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::model::{adapter_at, load_failed};
use jury_trainer::model::{Model, Tuning};
use jury_trainer::rl::judging::{Judging, Tasking, Tasks};
use jury_trainer::rl::{
    Easy, EngineSampler, Environment, HeldOut, Places, RlConfig, RlReport, RlStep, Sampler,
    reinforce,
};
use jury_trainer::{adapter, report};

use self::check::check;
use self::words::{said, step_line};
use super::tune::{self, Base, tune_failed};
use crate::args::{DrawArgs, EvalRunArgs, TrainRlArgs};
use crate::eval::{EvalConfig, Folder, LeftOut, items};
use crate::signals::signals;

/// Samples that decide whether an item is too easy, as in the paper.
const EASY_SAMPLES: usize = 3;

pub fn run(args: &TrainRlArgs) -> Result<Exit, Failed> {
    check(args)?;
    let meter = Meter::new(args.quiet);
    let base = Base::find(args.policy.model.as_deref(), &args.policy.cache, &meter)?;
    let (tasks, held_out) = environments(args, &base, &meter)?;
    let _in_use = Folder::at(&args.out).lock()?;
    let model = base.load(Tuning::Lora(tune::lora(&args.tuning)), args.seed, &meter)?;
    if let Some(init) = &args.init {
        adapter::read(&model, &adapter_at(init)).map_err(tune_failed)?;
    }
    let engine = EngineConfig { threads: args.policy.threads, ..EngineConfig::default() };
    let engine = Engine::load(&base.path, &engine).map_err(load_failed)?;
    let mut sampler =
        EngineSampler::new(engine, args.temperature, args.max_critique_tokens as usize);
    let start = start(args, &base)?;
    let signals = signals()?;
    tokio::task::block_in_place(|| {
        let tasks = match args.keep_easy {
            true => Some(tasks),
            false => without_easy(args, &start, &model, &mut sampler, tasks, &signals, &meter)?,
        };
        let Some(tasks) = tasks else { return Ok(tune::interrupted(&meter, 0)) };
        train(args, (&base, &start), &model, &mut sampler, (&tasks, &held_out), &signals, &meter)
    })
}

fn train(
    args: &TrainRlArgs,
    (base, start): (&Base, &str),
    model: &Model,
    sampler: &mut EngineSampler,
    (tasks, held_out): (&Judging, &Judging),
    signals: &Shutdown,
    meter: &Meter,
) -> Result<Exit, Failed> {
    let config = RlConfig {
        seed: args.seed,
        steps: args.steps,
        groups: args.groups,
        beta: args.beta,
        evaluate_every: args.evaluate_every,
        checkpoint_every: args.tuning.checkpoint_every,
        optimiser: tune::optimiser(&args.tuning, args.learning_rate),
    };
    let best = args.out.join("best");
    let places = Places {
        checkpoint: &args.out.join("checkpoint.safetensors"),
        best: &best,
        base: &base.name,
        start,
    };
    let mut unwritten = None;
    let run = reinforce(model, sampler, tasks, held_out, &config, places, |so_far| {
        meter.stage(&step_line(so_far, args.steps));
        // A run takes hours: its curves are written while it runs.
        if so_far.is_kept {
            unwritten = report(args, base, so_far.history, so_far.held_out).err();
        }
        if unwritten.is_some() { ControlFlow::Break(()) } else { tune::go_on(signals) }
    });
    meter.clear();
    let run = run.map_err(tune_failed)?;
    if let Some(failed) = unwritten {
        return Err(failed);
    }
    report(args, base, &run.history, &run.held_out)?;
    if !run.is_complete {
        return Ok(tune::interrupted(meter, run.history.len()));
    }
    let last = args.out.join("adapter");
    adapter::write(model, &base.name, &last).map_err(tune_failed)?;
    crate::score::print(&said(&run, &last, &best))?;
    Ok(Exit::Done)
}

/// Identifies a run: the initial weights and the settings of drawing.
fn start(args: &TrainRlArgs, base: &Base) -> Result<String, Failed> {
    let init = match &args.init {
        None => format!("seed {}", args.seed),
        Some(init) => {
            let path = adapter_at(init).join(adapter::WEIGHTS);
            let bytes = std::fs::read(&path).with_context(|| path.display().to_string());
            jury_eval::digest(&bytes.or_exit(Exit::NoInput)?)
        }
    };
    let (digest, lora) = (&base.digest, tune::lora(&args.tuning));
    let (temperature, longest) = (args.temperature, args.max_critique_tokens);
    Ok(format!("{digest} {lora:?} {init} {temperature} {longest}"))
}

/// Training tasks and held-out tasks; items that cannot be tasks are reported.
fn environments(
    args: &TrainRlArgs,
    base: &Base,
    meter: &Meter,
) -> Result<(Judging, Judging), Failed> {
    let config = EvalConfig::try_from(samples_of(args))?;
    let folder = Folder::open(&args.out)?;
    let mut left_out = LeftOut::default();
    let items = items::settle(&config, &folder, &mut left_out, meter)?;
    let n_items = items.len();
    let template = tune::template(args.policy.template.as_deref())?;
    // Leave room for the critique.
    let room = base.context.saturating_sub(args.max_critique_tokens as usize);
    let most = args.max_prompt_tokens.min(room);
    let tasking = Tasking {
        group: args.group,
        max_prompt_tokens: most,
        held_out_share: args.held_out_share,
        seed: args.choice.split_seed ^ 0x5e1d,
    };
    let items = tune::learnable(items, &mut left_out, meter);
    let tasks = tasking.tasks(&items, &template, &base.tokenizer);
    let Tasks { learned, held_out, too_long } = tasks.map_err(tune_failed)?;
    let why = format!(
        "prompts of more than {most} tokens, the limit of --max-prompt-tokens or of the model's context minus \
         --max-critique-tokens"
    );
    left_out.tell(meter, "items", &why, too_long);
    left_out.write(&args.out)?;
    if learned.is_empty() {
        let problem = anyhow!(
            "nothing to train on: none of {n_items} items is left; left-out.jsonl lists the reasons"
        );
        return Err(Failed::new(Exit::BadData, problem));
    }
    Ok((Judging::new(learned), Judging::new(held_out)))
}

/// Leaves out items that the initial model gets right in three of three samples; `None` after Ctrl-C. Results are
/// stored.
fn without_easy(
    args: &TrainRlArgs,
    start: &str,
    model: &Model,
    sampler: &mut EngineSampler,
    tasks: Judging,
    signals: &Shutdown,
    meter: &Meter,
) -> Result<Option<Judging>, Failed> {
    let path = args.out.join("easy.json");
    let mut easy = Easy::read(&path, &tasks, &format!("{start} {}", args.seed));
    let n_tasks = tasks.n_tasks();
    if !easy.is_complete(&tasks) {
        sampler.take_weights(model).map_err(tune_failed)?;
    }
    while !easy.is_complete(&tasks) {
        if signals.drain.is_cancelled() {
            return Ok(None);
        }
        let tried = easy.try_next(sampler, &tasks, (EASY_SAMPLES, args.seed), &path);
        tried.map_err(tune_failed)?;
        let n_tried = easy.is_easy.len();
        meter.stage(&format!("looking for items that are too easy: {n_tried} of {n_tasks}"));
    }
    let n_easy = easy.is_easy.iter().filter(|is_easy| **is_easy).count();
    meter.print(&format!(
        "jury: {n_easy} of {n_tasks} items left out: the initial model judges them correctly in {EASY_SAMPLES} of {EASY_SAMPLES} samples"
    ));
    Ok(Some(tasks.without(&easy.is_easy)))
}

fn report(
    args: &TrainRlArgs,
    base: &Base,
    history: &[RlStep],
    held_out: &[HeldOut],
) -> Result<(), Failed> {
    let init = args.init.as_ref().map(|init| init.display().to_string());
    let report = RlReport {
        model: &base.name,
        model_digest: &base.digest,
        init: init.as_deref(),
        beta: args.beta,
        kl_estimator: "k3",
        history,
        held_out,
    };
    report::write(&args.out, &report, "curves", &report.curves()).map_err(tune_failed)
}

/// Items are chosen as for an evaluation.
fn samples_of(args: &TrainRlArgs) -> EvalRunArgs {
    EvalRunArgs {
        ks: vec![args.group],
        draw: DrawArgs {
            temperature: Some(args.temperature),
            max_critique_tokens: Some(args.max_critique_tokens),
            ..DrawArgs::default()
        },
        seed: args.seed,
        out: Some(args.out.clone()),
        quiet: args.quiet,
        ..EvalRunArgs::of_items(args.items.clone(), args.choice.clone(), args.policy.judge())
    }
}
