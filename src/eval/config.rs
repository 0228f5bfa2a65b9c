//! `jury eval`: arguments to config. Its defaults and the rules across options are defined only here.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jury_client::InFlight;
use jury_client::batch::Onto;
use jury_engine::DeviceKind;
use jury_eval::choice::Choice;
use jury_eval::method::Method;
use jury_eval::published::Format;
use jury_grm::domain::{ScoreRequest, Settings, Voting};

use jury_grm::prompt::Template;
use jury_terminal::exit::Failed;
use jury_terminal::model::ModelConfig;
use jury_worker::models::ModelRef;

use super::files::Folder;
use super::rank::Ranker;
use crate::args::{ChoiceArgs, EvalRunArgs, JudgeArgs, ModelArgs, Refused};
use crate::score::meta::meta_model;
use crate::score::{
    Input, Judge, Output, ScoreConfig, Source, in_flight, placeholder, refused_field,
};

/// Long enough to draw all samples of an item on a small machine: nothing waits for a single item.
const BUDGET: Duration = Duration::from_secs(600);

/// What `jury eval` does.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalConfig {
    pub items: Vec<PathBuf>,
    /// Format of the files; `None`: detected from their fields.
    pub format: Option<Format>,
    /// Ascending, each once.
    pub ks: Vec<usize>,
    /// None: all that apply.
    pub methods: Vec<Method>,
    pub n_draws: usize,
    pub choice: Choice,
    pub strict: bool,
    pub judge: Judge,
    /// The request of every item, at the largest k; its own item is a placeholder.
    pub request: ScoreRequest,
    pub in_flight: InFlight,
    /// Ranks the samples once they are drawn.
    pub ranker: Option<Ranker>,
    /// Scalar reward models that judge the same items.
    pub baselines: Vec<ModelConfig>,
    pub out: PathBuf,
    pub json: Option<PathBuf>,
    pub replay: bool,
    /// Reports on only this many samples of each item.
    pub first: Option<usize>,
    pub quiet: bool,
}

impl TryFrom<EvalRunArgs> for EvalConfig {
    type Error = Refused;

    fn try_from(mut args: EvalRunArgs) -> Result<Self, Refused> {
        // As in `jury score`: no ranking.
        args.meta = args.meta.filter(|meta| meta != "none");
        let mut ks: Vec<usize> = args.ks.iter().map(|k| *k as usize).collect();
        ks.sort_unstable();
        ks.dedup();
        let ChoiceArgs { limit, part, train_share, split_seed } = args.choice;
        if !(0.0..=1.0).contains(&train_share) {
            let problem = format!("must be between 0 and 1, is {train_share}");
            return Err(Refused::new("--train-share", problem));
        }
        if let Some(method) = args.methods.iter().find(|method| method.needs_meta())
            && args.meta.is_none()
            && !args.replay
        {
            let problem = format!("{method} needs a Meta RM; set --meta");
            return Err(Refused::new("--methods", problem));
        }
        let meta = args.meta.as_deref();
        let ranker =
            match meta.map(|meta| (meta.strip_prefix("head:"), meta.strip_prefix("model:"))) {
                Some((Some(path), _)) => Some(Ranker::load_head(Path::new(path))?),
                Some((_, Some(model))) => {
                    let (model, head) = meta_model(model);
                    Some(Ranker::Model(model_beside("--meta", &args.judge, model)?, head))
                }
                _ => None,
            };
        if meta.is_some() && ranker.is_none() && args.judge.endpoint.is_none() && !args.replay {
            let problem = "must be head:FILE or model:MODEL, or with --endpoint the name of a Meta RM of the fleet";
            return Err(Refused::new("--meta", problem));
        }
        let baseline = |named: &String| match named.strip_prefix("model:") {
            Some(model) => model_beside("--baseline", &args.judge, model),
            None => Err(Refused::new("--baseline", format!("must be model:FOLDER, is {named:?}"))),
        };
        let baselines = args.baselines.iter().map(baseline).collect::<Result<_, _>>()?;
        let request = request(&args, ranker.as_ref(), ks.last().copied().unwrap_or(1))?;
        let first = args.items.first().map(|path| path.with_extension("eval"));
        let out = args.out.or(first).unwrap_or_else(|| PathBuf::from("jury.eval"));
        Ok(Self {
            items: args.items,
            format: args.format,
            ks,
            methods: args.methods,
            n_draws: args.draws as usize,
            choice: Choice { part: part.into(), train_share, seed: split_seed, limit },
            strict: args.strict,
            in_flight: in_flight(args.draw.concurrency, args.judge.endpoint.is_none())?,
            judge: args.judge.try_into()?,
            request,
            ranker,
            baselines,
            out,
            json: args.json,
            replay: args.replay,
            first: args.first.map(|n| n as usize),
            quiet: args.quiet,
        })
    }
}

/// A second model next to the judge, with the judge's cache folder and threads. The judge's GPU is full of its keys and
/// values, so the second model uses whatever device has room.
pub fn model_beside(
    flag: &'static str,
    judge: &JudgeArgs,
    model: &str,
) -> Result<ModelConfig, Refused> {
    ModelRef::parse(model).map_err(|error| Refused::new(flag, error.to_string()))?;
    let args = ModelArgs {
        model: model.to_owned(),
        threads: judge.threads,
        device: match judge.device {
            None | Some(DeviceKind::Cuda(_)) => DeviceKind::Auto,
            Some(device) => device,
        },
        card: judge.card,
        cache: judge.cache.clone(),
        adapters: Vec::new(),
    };
    args.try_into()
}

/// The request for every item.
fn request(args: &EvalRunArgs, ranker: Option<&Ranker>, k: usize) -> Result<ScoreRequest, Refused> {
    let has_head = matches!(ranker, Some(Ranker::Head { .. }));
    let default = Settings::default();
    let settings = Settings {
        k: u32::try_from(k).unwrap_or(u32::MAX),
        temperature: args.draw.temperature.unwrap_or(default.temperature),
        max_critique_tokens: args.draw.max_critique_tokens.unwrap_or(default.max_critique_tokens),
        readout: args.readout.into(),
        min_readout_mass: args.draw.min_readout_mass.unwrap_or(default.min_readout_mass),
        ..default
    };
    let budget = args.draw.budget.unwrap_or(BUDGET);
    let budget_ms = NonZeroU64::new(u64::try_from(budget.as_millis()).unwrap_or(u64::MAX))
        .ok_or_else(|| Refused::new("--budget", "must be at least 1 ms"))?;
    let request = ScoreRequest {
        settings,
        voting: Voting {
            // A Meta RM in this process ranks afterwards.
            meta: args.meta.clone().filter(|_| ranker.is_none()),
            ..Voting::default()
        },
        model: args.judge.asked_model(),
        seed: args.seed,
        budget_ms: Some(budget_ms),
        include_samples: true,
        include_hidden_states: args.hidden_states || has_head,
        ..ScoreRequest::new(placeholder())
    };
    request.validate().map_err(refused_field)?;
    Ok(request)
}

// === impl EvalConfig ===

impl EvalConfig {
    /// The batches to judge: every item with its samples, and with the greedy sample if it is needed.
    pub fn batches(&self, folder: &Folder) -> Vec<ScoreConfig> {
        let mut batches = vec![self.batch(folder, &folder.verdicts_path(), self.request.clone())];
        if self.methods.is_empty() || self.methods.contains(&Method::Greedy) {
            let mut greedy = self.request.clone();
            greedy.settings.k = 1;
            greedy.settings.temperature = 0.0;
            greedy.voting = Voting::default();
            greedy.include_hidden_states = false;
            batches.push(self.batch(folder, &folder.greedy_path(), greedy));
        }
        batches
    }

    /// The template that prompts are rendered with.
    pub fn template(&self) -> Result<Template, Failed> {
        match &self.judge {
            Judge::Embedded { template: Some(path), .. } => crate::coordinator::template(path),
            _ => Ok(Template::builtin()),
        }
    }

    /// True if stdout is for a person.
    pub fn prints_tables(&self) -> bool {
        self.json.as_deref().is_none_or(|path| path.as_os_str() != "-")
    }

    fn batch(&self, folder: &Folder, out: &Path, request: ScoreRequest) -> ScoreConfig {
        self.batch_of(folder.items_path(), out, request)
    }

    /// All items of a file, judged into another.
    pub fn batch_of(&self, items: PathBuf, out: &Path, request: ScoreRequest) -> ScoreConfig {
        ScoreConfig {
            input: Input::Many(Source::File(items)),
            judge: self.judge.clone(),
            request,
            output: Output {
                samples: true,
                record: None,
                json: false,
                quiet: self.quiet,
                out: Some(out.to_owned()),
                // With a longer budget, for example, more of them are complete.
                onto: Onto::SameWhole,
                unordered: false,
                in_flight: self.in_flight,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn config(words: &str) -> Result<EvalConfig, String> {
        let words = ["jury", "eval", "a.jsonl"].into_iter().chain(words.split_whitespace());
        let args = Args::try_parse_from(words).unwrap();
        let Command::Eval(args) = args.command else { panic!("not eval") };
        EvalConfig::try_from(args.run).map_err(|error| error.to_string())
    }

    #[test]
    fn no_meta_rm_may_be_said_or_left_out() {
        for endpoint in ["", "--endpoint http://h:1"] {
            let none = config(&format!("--meta none {endpoint}"));
            assert_eq!(none.as_ref().unwrap().request.voting.meta, None);
            assert_eq!(none, config(endpoint));
        }
        let needed = config("--meta none --methods meta").unwrap_err();
        assert!(needed.contains("needs a Meta RM; set --meta"), "{needed}");
        assert!(config("--meta m").unwrap_err().contains("head:FILE"));
    }
}
