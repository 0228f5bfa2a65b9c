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
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::model::load_failed;
use jury_trainer::adapter;
use jury_trainer::model::{Model, Tuning};
use jury_trainer::plot::{Curve, Curves};
use jury_trainer::rl::judging::{Judging, Task};
use jury_trainer::rl::{
    EngineSampler, Environment, HeldOut, Places, RlConfig, RlRun, RlStep, Sampler, SoFar, digest,
    is_too_easy, reinforce,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rft::MODEL_FOLDER;
use super::tune::{self, Base, tune_failed};
use crate::args::{DrawArgs, EvalRunArgs, TrainRlArgs};
use crate::eval::{EvalConfig, Folder, items, write};

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
    if args.judge.adapter.is_some() {
        let problem = anyhow!(
            "--adapter: RL starts from the adapter of --init; leave --adapter and JURY_ADAPTER out"
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
    let meter = Meter::new(args.quiet);
    let base = Base::find(&args.judge, &args.tuning, &meter)?;
    let (tasks, held_out) = environments(args, &base, &meter)?;
    let model = base.load(Tuning::Lora(tune::lora(&args.tuning)), args.seed, &meter)?;
    if let Some(init) = &args.init {
        adapter::read(&model, &adapter_folder(init)).map_err(tune_failed)?;
    }
    let engine = EngineConfig { threads: args.judge.threads, ..EngineConfig::default() };
    let engine = Engine::load(&base.path, &engine).map_err(load_failed)?;
    let mut sampler =
        EngineSampler::new(engine, args.temperature, args.max_critique_tokens as usize);
    let start = start(args, &base)?;
    let signals = on_signals().or_exit(Exit::Internal)?;
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
        // A run takes hours: its curves are there while it goes on.
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

/// What a person is told of a step.
fn step_line(so_far: SoFar<'_>, of: u64) -> String {
    let Some(step) = so_far.history.last() else { return String::new() };
    let nats = |value: Option<f64>| value.map_or("none".to_owned(), |value| format!("{value:.3}"));
    let mut line = format!(
        "step {} of {of}: reward {:+.3}, KL {}, entropy {}, {:.0} tokens, {} of {} unreadable, {} of {} groups without spread",
        step.step,
        step.reward,
        nats(step.kl),
        nats(step.entropy),
        step.length,
        step.unreadable,
        step.samples,
        step.without_spread,
        step.groups
    );
    if let Some(held_out) = so_far.held_out.last().filter(|_| so_far.is_measured) {
        let HeldOut { correct, readable, .. } = held_out;
        line += &format!("; held out: {correct:.3} right, {readable:.3} readable");
    }
    line
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

/// Whether a folder of `jury train rft` has a model and no adapter.
fn has_all_weights(init: &Path) -> bool {
    !adapter_folder(init).join(adapter::WEIGHTS).is_file() && init.join(MODEL_FOLDER).is_dir()
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
    let items = items::settle(&config, &folder, meter)?;
    let n_items = items.len();
    let template = tune::template(&args.judge)?;
    // A prompt leaves room for the critique.
    let room = base.context.saturating_sub(args.max_critique_tokens as usize);
    let most = args.max_prompt_tokens.min(room);
    let mut too_long = Vec::new();
    let (mut learned, mut held_out) = (Vec::new(), Vec::new());
    for item in tune::learnable(items, meter) {
        let task = Task::new(&item, args.group, &template, &base.tokenizer).map_err(tune_failed)?;
        let Some(task) = task else { continue };
        if task.longest_prompt() > most {
            too_long.push(item.id);
            continue;
        }
        // Another seed than the split's, or the held-out ones would all be of one side of it.
        let seed = args.choice.split_seed ^ 0x5e1d;
        match part(query_key(&item), seed, 1.0 - args.held_out_share) {
            Part::Train => learned.push(task),
            Part::Test => held_out.push(task),
        }
    }
    let why = format!(
        "prompts of more than {most} tokens, by --max-prompt-tokens or by the model's context without \
         --max-critique-tokens"
    );
    items::tell_left_out(meter, "items", &why, &too_long);
    if learned.is_empty() {
        let problem = anyhow!("nothing to learn from: of {n_items} items none is left");
        return Err(Failed::new(Exit::BadData, problem));
    }
    Ok((Judging::new(learned), Judging::new(held_out)))
}

/// What `easy.json` says of the tasks in their order, as far as they were tried.
#[derive(Default, Serialize, Deserialize)]
struct Easy {
    /// Digest of the tasks and of the start.
    run: String,
    is_easy: Vec<bool>,
}

/// Leaves out what the start model gets right in three of three samples; `None` after Ctrl-C. What is known is kept.
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
    let run = digest(&tasks, &format!("{start} {}", args.seed));
    let known: Option<Easy> =
        std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let known = known.filter(|known| known.run == run);
    let mut easy = known.unwrap_or(Easy { run, ..Easy::default() });
    let n_tasks = tasks.n_tasks();
    if easy.is_easy.len() < n_tasks {
        sampler.take_weights(model).map_err(tune_failed)?;
    }
    while easy.is_easy.len() < n_tasks {
        if signals.drain.is_cancelled() {
            return Ok(None);
        }
        let task = easy.is_easy.len();
        let is_easy = is_too_easy(sampler, &tasks, task, EASY_SAMPLES, args.seed);
        easy.is_easy.push(is_easy.map_err(tune_failed)?);
        write(&path, serde_json::to_string(&easy).or_exit(Exit::Internal)?.as_bytes())?;
        meter.stage(&format!("what is too easy: {} of {n_tasks} items", task + 1));
    }
    let n_easy = easy.is_easy.iter().filter(|is_easy| **is_easy).count();
    meter.print(&format!(
        "jury: {n_easy} of {n_tasks} items are left out: the start gets them right in {EASY_SAMPLES} of {EASY_SAMPLES} samples"
    ));
    Ok(Some(tasks.without(&easy.is_easy)))
}

fn report(
    args: &TrainRlArgs,
    base: &Base,
    history: &[RlStep],
    measured: &[HeldOut],
) -> Result<(), Failed> {
    let steps = || history.iter();
    let at = |step: &RlStep, value: f64| (step.step as f64, value);
    let of = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
    let held_out = measured.iter().map(|held_out| (held_out.step as f64, held_out.correct));
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
        "history": history,
        "held_out": measured,
    });
    let mut text = serde_json::to_string_pretty(&report).or_exit(Exit::Internal)?;
    text.push('\n');
    write(&args.out.join("report.json"), text.as_bytes())
}

fn said(run: &RlRun, last: &Path, best: &Path) -> String {
    let (steps, n) = (&run.history, run.history.len().min(10));
    let mean = |steps: &[RlStep]| {
        steps.iter().map(|step| step.reward).sum::<f64>() / steps.len().max(1) as f64
    };
    let (first, newest) = (mean(&steps[..n]), mean(&steps[steps.len() - n..]));
    let mut said = format!(
        "{} steps. Mean reward of the first {n}: {first:+.3}, of the last {n}: {newest:+.3}.\n{} is the last adapter.\n",
        steps.len(),
        last.display()
    );
    if let (Some(start), Some(end)) = (run.held_out.first(), run.held_out.last()) {
        said += &format!(
            "Held-out samples that are right: {:.3} to {:.3}; {} is the adapter that had most of them.\n",
            start.correct,
            end.correct,
            best.display()
        );
    }
    said
}

/// The choice of items is an evaluation's.
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
        ..EvalRunArgs::of_items(args.items.clone(), args.choice.clone(), args.judge.clone())
    }
}
