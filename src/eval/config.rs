//! `jury eval`: arguments to config, the only home of its defaults and cross-option rules.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jury_client::InFlight;
use jury_client::batch::Onto;
use jury_eval::method::Method;
use jury_eval::published::Format;
use jury_eval::split::Part;
use jury_grm::domain::{Readout, ScoreRequest, Settings, Voting};

use super::files::Folder;
use super::rank::Ranker;
use crate::args::{EvalRunArgs, PartArg, Refused};
use crate::score::{
    Input, Judge, Output, ScoreConfig, Source, in_flight, placeholder, refused_field,
};

/// An item has all its samples drawn, maybe on a small machine: nobody waits for it alone.
const BUDGET: Duration = Duration::from_secs(600);

/// What `jury eval` does.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalConfig {
    pub items: Vec<PathBuf>,
    /// What the files hold; `None`: their fields tell.
    pub format: Option<Format>,
    /// Ascending, each once.
    pub ks: Vec<usize>,
    /// None: all that apply.
    pub methods: Vec<Method>,
    pub n_draws: usize,
    pub limit: Option<usize>,
    /// `None`: all items.
    pub part: Option<Part>,
    pub train_share: f64,
    pub split_seed: u64,
    pub strict: bool,
    pub judge: Judge,
    /// The request of every item, at the largest k; its own item is a placeholder.
    pub request: ScoreRequest,
    pub in_flight: InFlight,
    /// Ranks the samples, from their hidden states.
    pub head: Option<Ranker>,
    pub out: PathBuf,
    pub json: Option<PathBuf>,
    pub replay: bool,
    pub quiet: bool,
}

impl TryFrom<EvalRunArgs> for EvalConfig {
    type Error = Refused;

    fn try_from(args: EvalRunArgs) -> Result<Self, Refused> {
        let mut ks: Vec<usize> = args.ks.iter().map(|k| *k as usize).collect();
        ks.sort_unstable();
        ks.dedup();
        if !(0.0..=1.0).contains(&args.train_share) {
            let problem = format!("must be between 0 and 1, is {}", args.train_share);
            return Err(Refused::new("--train-share", problem));
        }
        if let Some(method) = args.methods.iter().find(|method| method.needs_meta())
            && args.meta.is_none()
            && !args.replay
        {
            let problem = format!("{method} ranks samples; name who ranks with --meta");
            return Err(Refused::new("--methods", problem));
        }
        let meta = args.meta.as_deref();
        let head = meta.and_then(|meta| meta.strip_prefix("head:"));
        let head = head.map(|path| Ranker::load(Path::new(path))).transpose()?;
        if meta.is_some() && head.is_none() && args.judge.endpoint.is_none() && !args.replay {
            let problem = "write head:FILE, or with --endpoint the name of a Meta RM of the fleet";
            return Err(Refused::new("--meta", problem));
        }
        let request = request(&args, head.is_some(), ks.last().copied().unwrap_or(1))?;
        let first = args.items.first().map(|path| path.with_extension("eval"));
        let out = args.out.or(first).unwrap_or_else(|| PathBuf::from("jury.eval"));
        Ok(Self {
            items: args.items,
            format: args.format,
            ks,
            methods: args.methods,
            n_draws: args.draws as usize,
            limit: args.limit,
            part: match args.part {
                PartArg::All => None,
                PartArg::Train => Some(Part::Train),
                PartArg::Test => Some(Part::Test),
            },
            train_share: args.train_share,
            split_seed: args.split_seed,
            strict: args.strict,
            in_flight: in_flight(args.concurrency, args.judge.endpoint.is_none())?,
            judge: args.judge.try_into()?,
            request,
            head,
            out,
            json: args.json,
            replay: args.replay,
            quiet: args.quiet,
        })
    }
}

/// Scores are drawn and their distributions kept: one drawing serves the plain vote and the expectations.
fn request(args: &EvalRunArgs, has_head: bool, k: usize) -> Result<ScoreRequest, Refused> {
    let default = Settings::default();
    let settings = Settings {
        k: u32::try_from(k).unwrap_or(u32::MAX),
        temperature: args.temperature.unwrap_or(default.temperature),
        max_critique_tokens: args.max_critique_tokens.unwrap_or(default.max_critique_tokens),
        readout: Readout::Sampled,
        ..default
    };
    let budget = args.budget.unwrap_or(BUDGET);
    let budget_ms = NonZeroU64::new(u64::try_from(budget.as_millis()).unwrap_or(u64::MAX))
        .ok_or_else(|| Refused::new("--budget", "must be at least 1 ms"))?;
    let request = ScoreRequest {
        settings,
        voting: Voting { meta: args.meta.clone().filter(|_| !has_head), ..Voting::default() },
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
    /// What is judged: every item with its samples, and with the greedy one if it is wanted.
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

    /// True when stdout is for a person.
    pub fn prints_tables(&self) -> bool {
        self.json.as_deref().is_none_or(|path| path.as_os_str() != "-")
    }

    fn batch(&self, folder: &Folder, out: &Path, request: ScoreRequest) -> ScoreConfig {
        ScoreConfig {
            input: Input::Many(Source::File(folder.items_path())),
            judge: self.judge.clone(),
            request,
            output: Output {
                json: false,
                quiet: self.quiet,
                out: Some(out.to_owned()),
                // With a longer budget, say, more of them come out whole.
                onto: Onto::SameWhole,
                unordered: false,
                in_flight: self.in_flight,
            },
        }
    }
}
