//! `jury eval`: how accuracy grows with k, on items whose best response is known.
//!
//! ```text
//! config   arguments -> what to do
//! items    files -> the items of this evaluation, fixed in its folder
//! batch    every item judged once, resumable (of jury score)
//! scalar   scalar reward models on the same items         scoring: inference with such a model
//! rank     meta scores of a head, from stored hidden states, or of such a model
//! states   the states that a head of such a model is trained on    answers: outputs of a model, resumable
//! files    the folder: verdicts in, reports out
//! ```

mod answers;
mod compare;
mod config;
mod files;
pub mod items;
mod left_out;
mod rank;
mod scalar;
mod scoring;
mod states;
mod weakness;

use std::collections::BTreeSet;

use anyhow::anyhow;
use jury_eval::curve::CurveConfig;
use jury_eval::first::first;
use jury_eval::judged::{self, Judged, join};
use jury_eval::method::Method;
use jury_eval::report::{About, Beside, Report, build};
use jury_grm::domain::Item;
use jury_terminal::exit::{Exit, Failed};
use jury_terminal::meter::Meter;

pub use self::config::{EvalConfig, model_beside};
pub use self::files::{Folder, FolderLock, write};
pub use self::left_out::LeftOut;
pub use self::rank::Run;
use self::rank::{Ranked, Ranker};
pub use self::states::by_backbone;
use crate::args::{EvalArgs, EvalCommand};
use crate::score::judge_batches;
use crate::signals::signals;

pub async fn run(args: EvalArgs) -> Result<Exit, Failed> {
    match args.command {
        Some(EvalCommand::Compare(args)) => return compare::run(&args),
        Some(EvalCommand::Report(args)) => return weakness::run(&args),
        None => {}
    }
    let config = EvalConfig::try_from(args.run)?;
    let meter = Meter::new(config.quiet);
    let Some(Drawn { items, folder, exit, mut left_out }) = draw(&config, &meter).await? else {
        return Ok(Exit::Interrupted);
    };
    let mut verdicts = left_out.verdicts_of(&meter, &items, folder.path(), folder.verdicts()?);
    left_out.write(folder.path())?;
    let mut reports = folder.clone();
    if let Some(n) = config.first {
        verdicts.iter_mut().for_each(|verdict| first(verdict, n));
        reports = Folder::open(&folder.path().join(format!("first-{n}")))?;
    }
    let signals = signals()?;
    let ended = || signals.drain.is_cancelled();
    let interrupted = || {
        meter.clear();
        meter.print("jury: interrupted; repeat the command to continue");
        Ok(Exit::Interrupted)
    };
    let Some(scalars) = scalar::baselines(&config, &items, &folder, ended, &meter).await? else {
        return interrupted();
    };
    let ranked = match &config.ranker {
        Some(Ranker::Head { head, digest }) => Some(rank::by_head(head, digest, &mut verdicts)?),
        Some(Ranker::Model(model, head)) => {
            let run = Run { items: &items, folder: &reports, template: config.template()? };
            let model = (model, head.as_deref());
            let ranked = rank::by_model(model, &run, &mut verdicts, ended, &meter).await?;
            let Some(ranked) = ranked else { return interrupted() };
            Some(ranked)
        }
        None => None,
    };
    meter.clear();
    let about = about(&config, &folder, &verdicts, ranked.as_ref())?;
    let beside = Beside { scalars, ranking: ranked.map_or((0.0, 0.0), |ranked| ranked.cost) };
    let (judged, left_out) = join(items, verdicts, folder.greedy()?);
    if judged.is_empty() {
        return Err(nothing_to_measure(left_out));
    }
    let report = report(&config, about, &judged, left_out, &beside);
    reports.write_report(&report, &judged)?;
    if let Some(path) = &config.json {
        files::write_json(path, &report)?;
    }
    if config.prints_tables() {
        crate::score::print(&jury_eval::report::markdown(&report))?;
    }
    Ok(exit)
}

/// The items of an evaluation, and the folder of their samples.
pub struct Drawn {
    pub items: Vec<Item>,
    pub folder: Folder,
    /// The exit code of the judging: some items may have no verdict.
    pub exit: Exit,
    /// What is written to left-out.jsonl in the folder.
    pub left_out: LeftOut,
}

/// Chooses the items and judges those that are not judged yet; `None` after Ctrl-C.
pub async fn draw(config: &EvalConfig, meter: &Meter) -> Result<Option<Drawn>, Failed> {
    let folder = Folder::at(&config.out);
    let mut left_out = LeftOut::default();
    let items = items::settle(config, &folder, &mut left_out, meter)?;
    left_out.write(folder.path())?;
    if items.is_empty() {
        let problem = anyhow!(
            "nothing to judge: no item has a known best response, or --part and --limit leave no items"
        );
        return Err(Failed::new(Exit::BadData, problem));
    }
    let exit = match config.replay {
        true => Exit::Done,
        false => judge_batches(&config.batches(&folder), meter).await?,
    };
    if exit == Exit::Interrupted {
        meter.print("jury: interrupted; repeat the command to continue");
        return Ok(None);
    }
    Ok(Some(Drawn { items, folder, exit, left_out }))
}

fn report(
    config: &EvalConfig,
    about: About,
    judged: &[Judged],
    left_out: judged::LeftOut,
    beside: &Beside,
) -> Report {
    let curve = CurveConfig {
        ks: config.ks.clone(),
        methods: if config.methods.is_empty() {
            Method::ALL.to_vec()
        } else {
            config.methods.clone()
        },
        n_draws: config.n_draws,
        seed: config.request.seed,
    };
    build(about, judged, left_out, &curve, beside)
}

/// The judge, taken from the first verdict that has a model.
fn about(
    config: &EvalConfig,
    folder: &Folder,
    verdicts: &[jury_grm::domain::Verdict],
    ranked: Option<&Ranked>,
) -> Result<About, Failed> {
    let provenance = verdicts.iter().map(|verdict| &verdict.provenance);
    let by_model = provenance.clone().find(|provenance| provenance.model.is_some());
    let numerics: BTreeSet<&String> =
        provenance.clone().filter_map(|provenance| provenance.numerics.as_ref()).collect();
    let by_fleet = || provenance.clone().find_map(|provenance| provenance.meta_digest.clone());
    let ranked = ranked.map(|ranked| ranked.digest.clone()).or_else(by_fleet);
    let names: Vec<String> = config.items.iter().map(|path| path.display().to_string()).collect();
    Ok(About {
        items: names.join(" "),
        items_digest: folder.items_digest()?,
        model: by_model.and_then(|provenance| provenance.model.clone()),
        model_digest: by_model.and_then(|provenance| provenance.model_digest.clone()),
        numerics: numerics.into_iter().cloned().collect(),
        method_digest: by_model.map(|provenance| provenance.method_digest.clone()),
        meta_digest: ranked,
        seed: config.request.seed,
        n_draws: config.n_draws,
    })
}

fn nothing_to_measure(left_out: judged::LeftOut) -> Failed {
    let judged::LeftOut { not_judged, not_drawn, .. } = left_out;
    let problem = anyhow!(
        "nothing to evaluate: {not_judged} items are not judged yet (repeat the command to judge them), {not_drawn} were cut off \
         by the budget, by lost workers or by the context (repeat the command with a longer --budget to retry them)"
    );
    Failed::new(Exit::TryAgain, problem)
}
