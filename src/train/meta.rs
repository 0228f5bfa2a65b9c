//! `jury train meta`: trains a head that ranks samples, on labelled samples with hidden states.

use std::collections::HashMap;
use std::iter;

use anyhow::anyhow;
use jury_engine::head::{self, StatePlace};
use jury_eval::judged::trajectories;
use jury_eval::trajectories::Trajectory;
use jury_grm::domain::{Item, Verdict};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_trainer::meta::{
    JudgeError, MetaConfig, Sampling, TrainError, TrainedMeta, label_all, only_judge, train,
};

use crate::args::{EvalRunArgs, PartArg, Refused, TrainMetaArgs};
use crate::eval::{Drawn, EvalConfig, Folder, Run, by_backbone, draw, model_beside};
use crate::signals::signals;

pub async fn run(args: TrainMetaArgs) -> Result<Exit, Failed> {
    let backbone = args.backbone.as_deref();
    let backbone = backbone.map(|model| model_beside("--backbone", &args.judge, model));
    let backbone = backbone.transpose().or_exit(Exit::Usage)?;
    // Drawing takes long, and would create missing parent folders for its own folder.
    let beside = args.out.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(missing) = beside.filter(|folder| !folder.is_dir()) {
        let problem = anyhow!("--out: the folder {} does not exist", missing.display());
        return Err(Failed::new(Exit::CannotWrite, problem));
    }
    check_name(&args)?;
    let config = EvalConfig::try_from(samples_of(&args))?;
    let meter = Meter::new(args.quiet);
    let Some(Drawn { items, folder, exit, mut left_out }) = draw(&config, &meter).await? else {
        return Ok(Exit::Interrupted);
    };
    let mut verdicts = left_out.verdicts_of(&meter, &items, folder.path(), folder.verdicts()?);
    left_out.write(folder.path())?;
    if args.replay && verdicts.is_empty() {
        let problem = anyhow!(
            "--replay: {} has no samples, and --replay draws none; omit it, or give another folder with --samples",
            folder.verdicts_path().display()
        );
        return Err(Failed::new(Exit::NoInput, problem));
    }
    // With the judge's own states, before they are replaced by another model's. --replay leaves the samples of an
    // evaluation, which may be ranked.
    if !(args.replay && folder.samples_path().exists()) {
        folder.write_samples(&samples(&items, &verdicts))?;
    }
    let mut more = Vec::new();
    let (model_digest, place) = match &backbone {
        None => (only_judge(&verdicts).map_err(no_judge)?, StatePlace::ScoreLine),
        Some(model) => {
            let signals = signals()?;
            let ended = || signals.drain.is_cancelled();
            let mut reader = model.load_reader(&meter)?;
            let others = args.more_samples.iter().map(|path| Folder::at(path));
            let others = others.map(|folder| {
                let samples = folder.any_samples()?;
                Ok((left_out.verdicts_of(&meter, &items, folder.path(), samples), folder))
            });
            more = others.collect::<Result<Vec<_>, Failed>>()?;
            left_out.write(folder.path())?;
            let all = iter::once((&mut verdicts, &folder));
            for (verdicts, folder) in all.chain(more.iter_mut().map(|(of, folder)| (of, &*folder)))
            {
                let run = Run { items: &items, folder, template: config.template()? };
                if !by_backbone(&mut reader, &run, verdicts, ended, &meter).await? {
                    meter.clear();
                    meter.print("jury: interrupted; repeat the command to continue");
                    return Ok(Exit::Interrupted);
                }
            }
            (reader.digest().to_owned(), StatePlace::EndOfTurn)
        }
    };
    let mut rows = label_all(&items, &verdicts);
    rows.extend(more.iter().flat_map(|(verdicts, _)| label_all(&items, verdicts)));
    if rows.is_empty() {
        let problem = anyhow!(
            "no sample has a hidden state and compares the best response with another: the samples were drawn without hidden \
             states (see `jury eval --hidden-states`), by workers that do not support them, or in panels of one response"
        );
        return Err(Failed::new(Exit::BadData, problem));
    }
    let meta = MetaConfig {
        inner: args.inner,
        seed: args.seed,
        place,
        sampling: sampling(&args, &verdicts),
        ..MetaConfig::new(name(&args), model_digest)
    };
    let trained = train(&rows, &meta, |epoch| {
        meter.stage(&format!("epoch {}: validation loss {:.4}", epoch.epoch, epoch.validation));
    });
    meter.clear();
    let trained = trained.map_err(failed)?;
    let card = trained.write(&args.out).map_err(failed)?;
    crate::score::print(&said(&args, &trained, rows.len(), &card.display().to_string()))?;
    Ok(exit)
}

fn no_judge(error: JudgeError) -> Failed {
    let exit = match &error {
        JudgeError::None => Exit::TryAgain,
        JudgeError::Several(_) => Exit::BadData,
    };
    Failed::new(exit, error)
}

/// Draws as an evaluation does, with the judge's hidden states unless another model's are used.
fn samples_of(args: &TrainMetaArgs) -> EvalRunArgs {
    EvalRunArgs {
        ks: vec![args.k],
        draw: args.draw.clone(),
        seed: args.seed,
        hidden_states: args.backbone.is_none(),
        out: Some(args.samples.clone().unwrap_or_else(|| args.out.with_extension("samples"))),
        replay: args.replay,
        quiet: args.quiet,
        ..EvalRunArgs::of_items(args.items.clone(), args.choice.clone(), args.judge.clone())
    }
}

fn samples(items: &[Item], verdicts: &[Verdict]) -> Vec<Trajectory> {
    let by_id = by_id(verdicts);
    let judged = items.iter().filter_map(|item| Some((item, by_id.get(&*item.id)?)));
    judged.flat_map(|(item, verdict)| trajectories(item, verdict)).collect()
}

/// How the samples were drawn, according to the verdicts, since the options of --replay may differ.
fn sampling(args: &TrainMetaArgs, verdicts: &[Verdict]) -> Option<Sampling> {
    let provenance = &verdicts.first()?.provenance;
    let by_model = verdicts.iter().find_map(|verdict| verdict.provenance.model.clone());
    let settings = &provenance.settings;
    let part = match args.choice.part {
        PartArg::All => "all items".to_owned(),
        PartArg::Train => format!("train, a share of {} of the queries", args.choice.train_share),
        PartArg::Test => {
            format!("test, the queries beyond a share of {}", args.choice.train_share)
        }
    };
    let limit = args.choice.limit.map(|limit| format!(", at most {limit} items"));
    Some(Sampling {
        judge: by_model.unwrap_or_else(|| "unknown".to_owned()),
        items: args.items.iter().map(|path| path.display().to_string()).collect(),
        part: part + &limit.unwrap_or_default(),
        split_seed: args.choice.split_seed,
        k: settings.k,
        temperature: settings.temperature,
        max_critique_tokens: settings.max_critique_tokens,
        seed: provenance.seed,
    })
}

fn by_id(verdicts: &[Verdict]) -> HashMap<&str, &Verdict> {
    verdicts.iter().map(|verdict| (&*verdict.item_id, verdict)).collect()
}

fn name(args: &TrainMetaArgs) -> String {
    let stem = || args.out.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    args.name.clone().or_else(stem).unwrap_or_else(|| "head".to_owned())
}

/// Rejects a name of a head that requests could not use.
fn check_name(args: &TrainMetaArgs) -> Result<(), Refused> {
    let name = name(args);
    head::check_name(&name).map_err(|why| match &args.name {
        Some(_) => Refused::new("--name", format!("{why}, is {name:?}")),
        None => Refused::new(
            "--out",
            format!("the file's name is also the head's, which {why}, is {name:?}; rename it, or add --name"),
        ),
    })
}

fn said(args: &TrainMetaArgs, trained: &TrainedMeta, n_rows: usize, card: &str) -> String {
    let out = args.out.display();
    let used = match &args.backbone {
        None => format!("jury score ITEM --meta head:{out}, or jury up --head {out}"),
        Some(model) => format!(
            "jury score ITEM --meta model:{model},head:{out}, or jury worker --role meta --model {model} --head {out}"
        ),
    };
    format!(
        "{n_rows} labelled samples. {}\n{out} is the head, {card} its model card with plots.\nUse it: {used}\n",
        trained.report.finding(),
    )
}

fn failed(error: TrainError) -> Failed {
    let exit = match &error {
        TrainError::Io { .. } => Exit::CannotWrite,
        _ => Exit::BadData,
    };
    Failed::new(exit, error)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command, TrainCommand};

    fn checked(words: &[&str]) -> Result<(), String> {
        let words = ["jury", "train", "meta", "--items", "a.jsonl"].iter().chain(words);
        let Command::Train(args) = Args::try_parse_from(words).unwrap().command else { panic!() };
        let TrainCommand::Meta(args) = args.command else { panic!() };
        check_name(&args).map_err(|refused| refused.to_string())
    }

    #[test]
    fn a_name_that_no_request_could_ask_by_is_refused_with_its_option() {
        assert_eq!(checked(&["--out", "h/a-1.safetensors"]), Ok(()));
        assert_eq!(checked(&["--out", "my head.safetensors", "--name", "mine"]), Ok(()));
        let told = checked(&["--out", "my head.safetensors"]).unwrap_err();
        assert!(told.starts_with("--out: ") && told.contains("--name"), "{told}");
        let told = checked(&["--out", "a.safetensors", "--name", "a b"]).unwrap_err();
        assert!(told.starts_with("--name: must have 1 to 64 letters"), "{told}");
    }
}
