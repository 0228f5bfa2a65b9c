//! `jury score`: arguments to config. Its defaults and the rules across options are defined only here.

mod judge;

use std::num::NonZeroU64;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jury_client::InFlight;
use jury_client::batch::Onto;
use jury_coordinator::Config as CoordinatorConfig;
use jury_grm::domain::{Item, Query, RequestError, ScoreRequest, Settings, Voting};
use jury_proto::MOST_IN_FLIGHT;

use super::meta::{Meta, ServedMeta};
use crate::args::{Refused, ScoreArgs};
pub use judge::Judge;

/// One item is judged while the next one is ready: more would only compete for one engine.
const EMBEDDED_MOST: usize = 2;
/// Budget if a cluster judges.
const ENDPOINT_BUDGET: Duration = Duration::from_secs(60);

/// What `jury score` does.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreConfig {
    pub input: Input,
    pub judge: Judge,
    /// The request for every item; its own item is a placeholder.
    pub request: ScoreRequest,
    pub output: Output,
}

/// The items to judge.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    One(Source),
    Many(Source),
}

/// Where text comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Stdin,
    File(PathBuf),
}

/// How verdicts are written.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    pub json: bool,
    pub quiet: bool,
    /// Whether the JSON of a verdict holds its samples.
    pub samples: bool,
    /// The Parquet file for samples.
    pub record: Option<PathBuf>,
    /// Batches only; `None` is stdout.
    pub out: Option<PathBuf>,
    /// What the file may hold.
    pub onto: Onto,
    pub unordered: bool,
    pub in_flight: InFlight,
}

impl TryFrom<ScoreArgs> for ScoreConfig {
    type Error = Refused;

    fn try_from(args: ScoreArgs) -> Result<Self, Refused> {
        let input = match (&args.item, &args.items) {
            (Some(item), _) => Input::One(Source::from_path(item.clone())),
            (None, Some(items)) => Input::Many(Source::from_path(items.clone())),
            (None, None) => {
                return Err(Refused::new("ITEM", "give a file with an item, or --items"));
            }
        };
        let is_batch = matches!(input, Input::Many(_));
        if !is_batch {
            refuse_batch_options(&args)?;
        }
        if let Some(record) = &args.record {
            can_be_recorded(record, &args, &input)?;
        }
        let embedded = args.judge.endpoint.is_none();
        let Meta { name, served } = Meta::of(&args)?;
        let mut judge = Judge::try_from(args.judge.clone())?;
        if let Judge::Embedded { meta, .. } = &mut judge {
            *meta = served;
        }
        let in_flight = in_flight(args.concurrency, embedded)?;
        let request = request(&args, name, is_batch)?;
        let output = Output {
            json: args.json,
            quiet: args.quiet,
            samples: args.samples,
            record: args.record,
            out: args.out,
            onto: match (args.resume, args.allow_mixed) {
                (false, _) => Onto::Nothing,
                (true, false) => Onto::Same,
                (true, true) => Onto::Any,
            },
            unordered: args.unordered,
            in_flight,
        };
        Ok(Self { input, judge, request, output })
    }
}

/// Clap ignores `requires = "items"` if an item excludes --items, so it is checked here.
fn refuse_batch_options(args: &ScoreArgs) -> Result<(), Refused> {
    let needs_items = "needs --items; the verdict of a single item is printed to stdout";
    let batch_options = [
        ("--out", args.out.is_some()),
        ("--resume", args.resume),
        ("--allow-mixed", args.allow_mixed),
        ("--unordered", args.unordered),
    ];
    match batch_options.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Refused::new(*flag, needs_items)),
        None => Ok(()),
    }
}

/// The samples of a batch are read from its verdicts, and its items are read again, when it has ended.
fn can_be_recorded(record: &Path, args: &ScoreArgs, input: &Input) -> Result<(), Refused> {
    let problem = match (&args.out, input) {
        (_, Input::One(Source::File(item))) if is_same_file(record, item) => {
            "is the file of the item; name another one"
        }
        (_, Input::One(_)) => return Ok(()),
        (None, _) => "needs --out for a batch: the samples are read from its verdicts at the end",
        (_, Input::Many(Source::Stdin)) => "needs --items from a file: it is read again at the end",
        (Some(out), _) if is_same_file(record, out) => "is the file of --out; name another one",
        (_, Input::Many(Source::File(items))) if is_same_file(record, items) => {
            "is the file of --items; name another one"
        }
        _ => return Ok(()),
    };
    Err(Refused::new("--record", problem))
}

/// Whether two paths lead to the same file; a file that does not exist yet is identified by folder and name.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| {
        path.canonicalize().ok().or_else(|| {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok()?;
            Some(folder.join(path.file_name()?))
        })
    };
    let id = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
    let is_same = |one: Option<_>, other| one.is_some() && one == other;
    one == other || is_same(real(one), real(other)) || (id(one).is_some() && id(one) == id(other))
}

/// Items judged at once, given `--concurrency`.
pub fn in_flight(concurrency: Option<usize>, is_embedded: bool) -> Result<InFlight, Refused> {
    match concurrency {
        Some(n) if !(1..=MOST_IN_FLIGHT).contains(&n) => {
            let problem = format!("must be between 1 and {MOST_IN_FLIGHT}, is {n}");
            Err(Refused::new("--concurrency", problem))
        }
        Some(n) => Ok(InFlight::Fixed(n)),
        None if is_embedded => Ok(InFlight::Adaptive { most: EMBEDDED_MOST }),
        None => Ok(InFlight::default()),
    }
}

/// The request of every item, checked except for the item itself.
fn request(
    args: &ScoreArgs,
    meta: Option<String>,
    is_batch: bool,
) -> Result<ScoreRequest, Refused> {
    let default = Settings::default();
    let settings = Settings {
        k: args.k.unwrap_or(default.k),
        temperature: args.temperature.unwrap_or(default.temperature),
        top_p: args.top_p.unwrap_or(default.top_p),
        max_critique_tokens: args.max_critique_tokens.unwrap_or(default.max_critique_tokens),
        readout: args.readout.map_or(default.readout, Into::into),
        min_readout_mass: args.min_readout_mass.unwrap_or(default.min_readout_mass),
        scale: args.scale.map_or(default.scale, |scale| scale.0),
        max_panel: args.max_panel.unwrap_or(default.max_panel),
    };
    let embedded = args.judge.endpoint.is_none();
    let budget = args.budget.unwrap_or(if embedded {
        CoordinatorConfig::EMBEDDED_BUDGET
    } else {
        ENDPOINT_BUDGET
    });
    let budget_ms = NonZeroU64::new(u64::try_from(budget.as_millis()).unwrap_or(u64::MAX))
        .ok_or_else(|| Refused::new("--budget", "must be at least 1 ms"))?;
    let for_a_person = !is_batch && !args.json;
    let request = ScoreRequest {
        settings,
        voting: voting(args, meta),
        model: args.judge.asked_model(),
        seed: args.seed,
        min_samples: args.min_samples,
        budget_ms: Some(budget_ms),
        // A person is always shown a sample.
        include_samples: args.samples || args.record.is_some() || for_a_person,
        include_hidden_states: args.hidden_states,
        ..ScoreRequest::new(placeholder())
    };
    request.validate().map_err(refused_field)?;
    Ok(request)
}

fn voting(args: &ScoreArgs, meta: Option<String>) -> Voting {
    let default = Voting::default();
    Voting {
        meta,
        rule: args.vote.map(Into::into),
        k_meta: args.k_meta,
        stop: args.stop.map_or(default.stop, |stop| stop.0),
        refill: args.refill.unwrap_or(default.refill),
    }
}

pub fn placeholder() -> Item {
    Item {
        id: String::new(),
        source: None,
        query: Query::Text("placeholder".to_owned()),
        responses: vec![String::new()],
        reference: None,
        criteria: None,
        principles: None,
        best: None,
        labels: None,
        category: None,
    }
}

/// An error about a field of the request, under the name of its option.
pub fn refused_field(error: RequestError) -> Refused {
    Refused::new(flag(error.field), error.problem)
}

/// The options that set this key of a request for every item; `None` if there are none.
pub fn option_of(key: &str) -> Option<String> {
    match key {
        "item" | "hinted" | "request_id" => None,
        "settings" => Some("--temperature and similar options".to_owned()),
        "voting" => Some("--vote and similar options".to_owned()),
        "include_samples" => Some("--samples".to_owned()),
        "include_hidden_states" => Some("--hidden-states".to_owned()),
        key => Some(flag(key)),
    }
}

fn flag(field: &str) -> String {
    let field = field.strip_prefix("settings.").or(field.strip_prefix("voting.")).unwrap_or(field);
    match field {
        "k" => "-k".to_owned(),
        "rule" => "--vote".to_owned(),
        "stop.confidence" | "stop.width" => "--stop".to_owned(),
        "budget_ms" => "--budget".to_owned(),
        field => format!("--{}", field.replace('_', "-")),
    }
}

// === impl ScoreConfig ===

impl ScoreConfig {
    /// The budget of every item.
    pub fn budget(&self) -> Duration {
        self.request.budget_ms.map_or(ENDPOINT_BUDGET, |ms| Duration::from_millis(ms.get()))
    }
}

// === impl Input ===

impl Input {
    /// Where the items are read from.
    pub fn source(&self) -> &Source {
        match self {
            Self::One(source) | Self::Many(source) => source,
        }
    }
}

// === impl Source ===

impl Source {
    fn from_path(path: PathBuf) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::File(path) }
    }

    /// The name in messages.
    pub fn name(&self) -> String {
        match self {
            Self::Stdin => "stdin".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

#[cfg(test)]
mod tests;
