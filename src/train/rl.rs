//! `jury train rl`: online GRPO from an adapter.
//!
//! ```text
//! items.jsonl             what is learned from; fixed by the first run     easy.json      what the start gets right
//! checkpoint.safetensors  where the run stands                            report.json    every step
//! curves.svg, .png        reward, KL, entropy, length, unreadable, groups without spread, held-out items
//! adapter/  best/         the last weights, and the best on held-out items
//! ```

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use jury_engine::{Engine, EngineConfig};
use jury_eval::split::{Part, part, query_key};
use jury_fabric::shutdown::{Shutdown, on_signals};
use jury_grm::domain::Item;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::model::load_failed;
use jury_trainer::adapter;
use jury_trainer::model::Model;
use jury_trainer::plot::{Curve, Curves};
use jury_trainer::rft::unfit;
use jury_trainer::rl::judging::{Judging, Task};
use jury_trainer::rl::{
    EngineSampler, Environment, Places, RlConfig, RlRun, Sampler, reinforce, too_easy,
};
use serde_json::json;

use super::rft::first;
use super::tune::{self, Base, tune_failed};
use crate::args::{EvalRunArgs, TrainRlArgs};
use crate::eval::{EvalConfig, Folder, items};

/// Samples by which items are found too easy, as the paper has it.
const EASY_SAMPLES: usize = 3;

pub fn run(args: &TrainRlArgs) -> Result<Exit, Failed> {
    if !(args.temperature.is_finite() && args.temperature > 0.0) {
        let problem =
            anyhow!("--temperature: must be above 0, or all samples of a group are equal");
        return Err(Failed::new(Exit::Usage, problem));
    }
    if args.judge.endpoint.is_some() {
        let problem = anyhow!(
            "--endpoint: RL draws with the weights of each step, by an engine in this process; leave it out"
        );
        return Err(Failed::new(Exit::Usage, problem));
    }
    let meter = Meter::new(args.quiet);
    let base = Base::find(&args.judge, &args.tuning, &meter)?;
    let (tasks, held_out) = environments(args, &base, &meter)?;
    let model = base.load(&args.tuning, args.seed, &meter)?;
    if let Some(init) = &args.init {
        adapter::read(&model, &adapter_folder(init)).map_err(tune_failed)?;
    }
    let engine = EngineConfig { threads: args.judge.threads, ..EngineConfig::default() };
    let engine = Engine::load(&base.path, &engine).map_err(load_failed)?;
    let mut sampler =
        EngineSampler::new(engine, args.temperature, args.max_critique_tokens as usize);
    let signals = on_signals().or_exit(Exit::Internal)?;
    tokio::task::block_in_place(|| {
        let tasks = match args.keep_easy {
            true => Some(tasks),
            false => without_easy(args, &model, &mut sampler, tasks, &signals, &meter)?,
        };
        let Some(tasks) = tasks else { return Ok(interrupted(&meter, 0)) };
        train(args, &base, &model, &mut sampler, (&tasks, &held_out), &signals, &meter)
    })
}

fn train(
    args: &TrainRlArgs,
    base: &Base,
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
        start: &start(args, base)?,
    };
    let run = reinforce(model, sampler, tasks, held_out, &config, places, |step, held_out| {
        let (at, of) = (step.step, args.steps);
        let held_out = held_out.map_or(String::new(), |held_out| {
            format!("; held out: {:.3} right, {:.3} readable", held_out.correct, held_out.readable)
        });
        meter.stage(&format!(
            "step {at} of {of}: reward {:+.3}, {} of {} unreadable, {} of {} groups without spread{held_out}",
            step.reward, step.unreadable, step.samples, step.without_spread, step.groups
        ));
        if signals.drain.is_cancelled() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    meter.clear();
    let run = run.map_err(tune_failed)?;
    report(args, base, &run)?;
    if !run.is_complete {
        return Ok(interrupted(meter, run.history.len()));
    }
    let last = args.out.join("adapter");
    adapter::write(model, &base.name, &last).map_err(tune_failed)?;
    crate::score::print(&said(&run, &last, &best))?;
    Ok(Exit::Done)
}

fn interrupted(meter: &Meter, steps: usize) -> Exit {
    meter.print(&format!(
        "jury: interrupted after step {steps}; the same command goes on from here"
    ));
    Exit::Interrupted
}

/// What the run starts from, in words that differ where weights do.
fn start(args: &TrainRlArgs, base: &Base) -> Result<String, Failed> {
    let init = match &args.init {
        None => format!("seed {}", args.seed),
        Some(init) => {
            let path = adapter_folder(init).join(adapter::WEIGHTS);
            let bytes = std::fs::read(&path).with_context(|| path.display().to_string());
            jury_eval::digest(&bytes.or_exit(Exit::NoInput)?)
        }
    };
    let (digest, lora) = (&base.digest, tune::lora(&args.tuning));
    let (temperature, longest) = (args.temperature, args.max_critique_tokens);
    Ok(format!("{digest} {lora:?} {init} {temperature} {longest}"))
}

/// The folder of an adapter: itself, or inside a run's.
fn adapter_folder(init: &Path) -> PathBuf {
    let inside = init.join("adapter");
    if inside.join(adapter::WEIGHTS).is_file() { inside } else { init.to_owned() }
}

/// Items as tasks, and those held out; what cannot be a task is counted and named.
fn environments(
    args: &TrainRlArgs,
    base: &Base,
    meter: &Meter,
) -> Result<(Judging, Judging), Failed> {
    if !(0.0..=0.9).contains(&args.held_out_share) {
        let problem = anyhow!("--held-out-share: must be 0 to 0.9, is {}", args.held_out_share);
        return Err(Failed::new(Exit::Usage, problem));
    }
    let config = EvalConfig::try_from(samples_of(args)).or_exit(Exit::Usage)?;
    let folder = Folder::open(&args.out)?;
    let items: Vec<Item> = items::settle(&config, &folder, meter)?;
    let template = tune::template(&args.judge)?;
    let (mut unfits, mut too_long) = (Vec::new(), Vec::new());
    let (mut learned, mut held_out) = (Vec::new(), Vec::new());
    for item in &items {
        let task = match unfit(item) {
            Some(_) => None,
            None => Task::new(item, args.group, &template, &base.tokenizer).map_err(tune_failed)?,
        };
        let Some(task) = task else {
            unfits.push(item.id.clone());
            continue;
        };
        if task.longest_prompt() > args.max_prompt_tokens {
            too_long.push(item.id.clone());
            continue;
        }
        // Another seed than the split's, or the held-out ones would all be of one side of it.
        let seed = args.split_seed ^ 0x5e1d;
        match part(query_key(item), seed, 1.0 - args.held_out_share) {
            Part::Train => learned.push(task),
            Part::Test => held_out.push(task),
        }
    }
    for (ids, why) in [
        (
            &unfits,
            "nothing says which response is best, or a single one's label is not 0 or 1".to_owned(),
        ),
        (&too_long, format!("their prompts have more than {} tokens", args.max_prompt_tokens)),
    ] {
        if !ids.is_empty() {
            meter.print(&format!("jury: {} items are left out, {why}: {}", ids.len(), first(ids)));
        }
    }
    if learned.is_empty() {
        let problem = anyhow!("nothing to learn from: of {} items none is left", items.len());
        return Err(Failed::new(Exit::BadData, problem));
    }
    Ok((Judging::new(learned), Judging::new(held_out)))
}

/// Leaves out what the start model gets right in three of three samples; `None` after Ctrl-C. Known once, it is kept.
fn without_easy(
    args: &TrainRlArgs,
    model: &Model,
    sampler: &mut EngineSampler,
    tasks: Judging,
    signals: &Shutdown,
    meter: &Meter,
) -> Result<Option<Judging>, Failed> {
    let path = args.out.join("easy.json");
    let known = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let easy: Vec<usize> = match known {
        Some(easy) => easy,
        None => {
            sampler.take_weights(model).map_err(tune_failed)?;
            let n_tasks = tasks.n_tasks();
            let found = too_easy(sampler, &tasks, EASY_SAMPLES, args.seed, |task| {
                meter.stage(&format!("what is too easy: {} of {n_tasks} items", task + 1));
                match signals.drain.is_cancelled() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            });
            let Some(easy) = found.map_err(tune_failed)? else { return Ok(None) };
            tune::write(&path, serde_json::to_string(&easy).or_exit(Exit::Internal)?.as_bytes())?;
            easy
        }
    };
    meter.print(&format!(
        "jury: {} of {} items are left out: the start gets them right in {EASY_SAMPLES} of {EASY_SAMPLES} samples",
        easy.len(),
        tasks.n_tasks()
    ));
    Ok(Some(tasks.without(&easy)))
}

fn report(args: &TrainRlArgs, base: &Base, run: &RlRun) -> Result<(), Failed> {
    let steps = || run.history.iter();
    let at = |step: &jury_trainer::rl::RlStep, value: f64| (step.step as f64, value);
    let of = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
    let held_out = run.held_out.iter().map(|held_out| (held_out.step as f64, held_out.correct));
    let curves = Curves(vec![
        Curve::new("mean reward of training samples", steps().map(|step| at(step, step.reward))),
        Curve::new(
            "KL to the start, k3, nats a token",
            steps().filter_map(|step| Some(at(step, step.kl?))),
        ),
        Curve::new(
            "entropy, nats a token",
            steps().filter_map(|step| Some(at(step, step.entropy?))),
        ),
        Curve::new("length, tokens", steps().map(|step| at(step, step.length))),
        Curve::new(
            "share of unreadable samples",
            steps().map(|step| at(step, of(step.unreadable, step.samples))),
        ),
        Curve::new(
            "share of groups without spread",
            steps().map(|step| at(step, of(step.without_spread, step.groups))),
        ),
        Curve::new("held-out items: share of samples that are right", held_out),
    ]);
    tune::plot(&args.out, "curves", &curves)?;
    let report = json!({
        "model": base.name,
        "model_digest": base.digest,
        "init": args.init.as_ref().map(|init| init.display().to_string()),
        "beta": args.beta,
        "kl_estimator": "k3",
        "history": run.history,
        "held_out": run.held_out,
    });
    let mut text = serde_json::to_string_pretty(&report).or_exit(Exit::Internal)?;
    text.push('\n');
    tune::write(&args.out.join("report.json"), text.as_bytes())
}

fn said(run: &RlRun, last: &Path, best: &Path) -> String {
    let n = run.history.len().clamp(1, 10);
    let mean = |steps: &[jury_trainer::rl::RlStep]| {
        steps.iter().map(|step| step.reward).sum::<f64>() / steps.len().max(1) as f64
    };
    let rewards = (
        mean(&run.history[..n.min(run.history.len())]),
        mean(&run.history[run.history.len().saturating_sub(n)..]),
    );
    let held_out = match (run.held_out.first(), run.held_out.last()) {
        (Some(start), Some(end)) => {
            format!(" Held-out samples that are right: {:.3} to {:.3}.", start.correct, end.correct)
        }
        _ => String::new(),
    };
    format!(
        "{} steps. Mean reward of the first {n}: {:+.3}, of the last {n}: {:+.3}.{held_out}\n{} is the last adapter, {} \
         the best on held-out items.\n",
        run.history.len(),
        rewards.0,
        rewards.1,
        last.display(),
        best.display()
    )
}

/// The choice of items is an evaluation's.
fn samples_of(args: &TrainRlArgs) -> EvalRunArgs {
    EvalRunArgs {
        ks: vec![args.group],
        limit: args.limit,
        part: args.part,
        train_share: args.train_share,
        split_seed: args.split_seed,
        temperature: Some(args.temperature),
        max_critique_tokens: Some(args.max_critique_tokens),
        seed: args.seed,
        out: Some(args.out.clone()),
        quiet: args.quiet,
        ..EvalRunArgs::of_items(args.items.clone(), args.judge.clone())
    }
}
