//! `jury score`: arguments to config, the only home of its defaults and cross-option rules.

use jury_engine::DeviceKind;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use jury_client::batch::Onto;
use jury_client::{InFlight, Token};
use jury_coordinator::Config as CoordinatorConfig;
use jury_grm::domain::{Item, Query, RequestError, ScoreRequest, Settings, Voting};
use jury_terminal::model::ModelConfig;

use super::meta::{Meta, ServedMeta};
use crate::args::{ClientTlsArgs, DEFAULT_MODEL, JudgeArgs, ModelArgs, Refused, ScoreArgs};

/// Most items judged at once that --concurrency takes.
const MAX_CONCURRENCY: usize = 1024;
/// One judged while the next one's prompt is at hand: more would only lie beside each other in one engine.
const EMBEDDED_MOST: usize = 2;
/// Budget where a cluster judges.
const ENDPOINT_BUDGET: Duration = Duration::from_secs(60);

/// What `jury score` does.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreConfig {
    pub input: Input,
    pub judge: Judge,
    /// The request to make of every item; its own item is a placeholder.
    pub request: ScoreRequest,
    pub output: Output,
}

/// What is judged.
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

/// Who judges.
#[derive(Debug, Clone, PartialEq)]
pub enum Judge {
    /// A coordinator and a worker inside this process.
    Embedded {
        model: ModelConfig,
        template: Option<PathBuf>,
        /// What ranks samples, if anything does.
        meta: Option<ServedMeta>,
    },
    /// A running coordinator.
    Endpoint {
        address: String,
        tls: ClientTlsArgs,
        /// On whose behalf it is called, if it asks.
        token: Option<Token>,
    },
}

/// How verdicts are written.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    pub json: bool,
    pub quiet: bool,
    /// Whether the JSON of a verdict holds its samples.
    pub samples: bool,
    /// Where samples go as Parquet.
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
            (None, None) => return Err(Refused::new("ITEM", "give an item, or --items")),
        };
        let is_batch = matches!(input, Input::Many(_));
        if !is_batch {
            refuse_batch_options(&args)?;
        } else if args.record.is_some() {
            can_be_recorded(&args, input.source())?;
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

impl TryFrom<JudgeArgs> for Judge {
    type Error = Refused;

    fn try_from(args: JudgeArgs) -> Result<Self, Refused> {
        let Some(endpoint) = args.endpoint else {
            if args.tls != ClientTlsArgs::default() {
                let problem = "certificates are for an --endpoint; name it, or leave them out";
                return Err(Refused::new("--tls-ca and its like", problem));
            }
            let model = ModelArgs {
                model: args.model.unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
                adapters: args.adapter.into_iter().collect(),
                threads: args.threads,
                device: DeviceKind::Cpu,
                cache: args.cache,
            };
            let (model, template) = (model.try_into()?, args.template);
            return Ok(Self::Embedded { model, template, meta: None });
        };
        if args.template.is_some() {
            let problem =
                "with --endpoint the coordinator's own template counts; start it with --template";
            return Err(Refused::new("--template", problem));
        }
        if args.adapter.is_some() {
            let problem =
                "with --endpoint the workers have their adapters; name one's model with --model";
            return Err(Refused::new("--adapter", problem));
        }
        if args.threads.is_some() {
            let problem = "with --endpoint the workers have their own threads; leave it out";
            return Err(Refused::new("--threads", problem));
        }
        let token = args.token.for_endpoint(&endpoint);
        let token = token.map_err(|error| Refused::new("--token", format!("{error:#}")))?;
        Ok(Self::Endpoint { address: endpoint, tls: args.tls, token })
    }
}

/// clap drops `requires = "items"` where an item excludes --items, so it is held here.
fn refuse_batch_options(args: &ScoreArgs) -> Result<(), Refused> {
    let needs_items = "needs --items; the verdict of a single item goes to stdout";
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

/// A batch's samples are read from its verdicts, and its items once more, when it has ended.
fn can_be_recorded(args: &ScoreArgs, source: &Source) -> Result<(), Refused> {
    let problem = match (&args.out, source) {
        (None, _) => "needs --out for a batch: the samples are read from its verdicts in the end",
        (_, Source::Stdin) => "needs a file of --items: it is read again in the end",
        _ => return Ok(()),
    };
    Err(Refused::new("--record", problem))
}

/// Items judged at once, when `concurrency` are asked for.
pub fn in_flight(concurrency: Option<usize>, is_embedded: bool) -> Result<InFlight, Refused> {
    match concurrency {
        Some(n) if !(1..=MAX_CONCURRENCY).contains(&n) => {
            let problem = format!("must be between 1 and {MAX_CONCURRENCY}, is {n}");
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
        // A person is shown a sample in any case.
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

/// A field of the request by the name of its option.
pub fn refused_field(error: RequestError) -> Refused {
    let field = error.field;
    let field = field.strip_prefix("settings.").or(field.strip_prefix("voting.")).unwrap_or(field);
    let flag = match field {
        "k" => "-k".to_owned(),
        "rule" => "--vote".to_owned(),
        "stop.confidence" | "stop.width" => "--stop".to_owned(),
        "budget_ms" => "--budget".to_owned(),
        field => format!("--{}", field.replace('_', "-")),
    };
    Refused::new(flag, error.problem)
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
    /// Where it is read from.
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

    /// How messages call it.
    pub fn name(&self) -> String {
        match self {
            Self::Stdin => "stdin".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use jury_grm::domain::{StopRule, VoteRule};

    use super::*;
    use crate::args::{Args, Command};

    fn config(line: &str) -> Result<ScoreConfig, Refused> {
        let words = ["jury", "score"].into_iter().chain(line.split_whitespace());
        let args = Args::try_parse_from(words).unwrap();
        let Command::Score(args) = args.command else { panic!("not score") };
        (*args).try_into()
    }

    #[test]
    fn a_refusal_names_its_option_and_the_limit() {
        for (line, message) in [
            ("a.json --temperature 3", "--temperature: must be between 0 and 2, is 3"),
            ("a.json --temperature -1", "--temperature: must be between 0 and 2, is -1"),
            ("a.json --top-p 0", "--top-p: must be above 0 and at most 1, is 0"),
            ("a.json -k 4 --min-samples 5", "--min-samples: must be between 1 and k = 4, is 5"),
            (
                "a.json --vote top",
                "--vote: needs meta scores; name a Meta RM (meta), or take \"mean\" or \"majority\"",
            ),
            (
                "--items a.jsonl --record s.parquet",
                "--record: needs --out for a batch: the samples are read from its verdicts in the end",
            ),
            (
                "--items - --out v.jsonl --record s.parquet",
                "--record: needs a file of --items: it is read again in the end",
            ),
            (
                "a.json --endpoint http://h:1 --meta m -k 4 --k-meta 5",
                "--k-meta: must be between 1 and k = 4, is 5",
            ),
            ("a.json --stop confidence=0.3", "--stop: must be above 0.5 and below 1, is 0.3"),
            ("a.json -k 4 --refill 5", "--refill: must be at most k = 4, is 5"),
            ("a.json --scale 5..5", "--scale: must be 0 <= min < max <= 100, is 5..5"),
            ("a.json --budget 0s", "--budget: must be at least 1 ms"),
            ("a.json --threads 0", "--threads: must be at least 1, is 0"),
            ("--items a.jsonl --concurrency 0", "--concurrency: must be between 1 and 1024, is 0"),
        ] {
            assert_eq!(config(line).unwrap_err().to_string(), message, "{line}");
        }
    }

    #[test]
    fn what_only_an_embedded_judge_can_do_is_refused_with_an_endpoint() {
        for flag in ["--template t.j2", "--threads 2"] {
            let error = config(&format!("a.json --endpoint http://h:1 {flag}")).unwrap_err();
            assert!(flag.starts_with(&error.flag), "{error}");
        }
    }

    #[test]
    fn an_option_of_batches_is_refused_for_a_single_item_and_never_ignored() {
        for (line, flag) in [
            ("a.json --out v.jsonl", "--out"),
            ("a.json --out v.jsonl --resume", "--out"),
            ("a.json --unordered", "--unordered"),
        ] {
            let error = config(line).unwrap_err();
            assert_eq!(error.flag, flag, "{line}");
            assert!(error.problem.starts_with("needs --items"), "{error}");
        }
        assert!(config("--items a.jsonl --out v.jsonl --resume --allow-mixed").is_ok());
        assert!(config("a.json --concurrency 2").is_ok(), "it may come from the environment");
    }

    #[test]
    fn the_budget_depends_on_who_judges() {
        let budget_ms = |line| config(line).unwrap().request.budget_ms.unwrap().get();
        assert_eq!(budget_ms("a.json"), 300_000);
        assert_eq!(budget_ms("a.json --endpoint http://h:1"), 60_000);
        assert_eq!(budget_ms("a.json --budget 90s"), 90_000);
    }

    #[test]
    fn a_person_gets_samples_and_a_machine_only_when_it_asks() {
        let samples = |line| config(line).unwrap().request.include_samples;
        assert!(samples("a.json"));
        assert!(!samples("a.json --json"));
        assert!(samples("a.json --json --samples"));
        assert!(!samples("--items a.jsonl"));
        let states = |line| config(line).unwrap().request.include_hidden_states;
        assert!(states("a.json --samples --hidden-states"));
        assert!(!states("a.json --samples"));
    }

    #[test]
    fn votes_and_stop_rules_reach_the_request() {
        let voting = |line| config(line).unwrap().request.voting;
        assert_eq!(voting("a.json"), Voting::default());
        assert_eq!(voting("a.json --meta none"), Voting::default());
        let line = "a.json --endpoint http://h:1 --meta m --vote top --k-meta 2 --stop lossless --refill 1";
        let asked = Voting {
            meta: Some("m".to_owned()),
            rule: Some(VoteRule::Top),
            k_meta: Some(2),
            stop: StopRule::Lossless,
            refill: 1,
        };
        assert_eq!(voting(line), asked);
    }

    #[test]
    fn a_dash_is_stdin() {
        assert_eq!(config("-").unwrap().input, Input::One(Source::Stdin));
        assert_eq!(config("--items -").unwrap().input, Input::Many(Source::Stdin));
    }

    #[test]
    fn a_named_model_is_asked_of_an_endpoint_and_run_without_one() {
        let asked = config("a.json --endpoint http://h:1 --model m").unwrap();
        assert_eq!(asked.request.model.as_deref(), Some("m"));
        let embedded = config("a.json --model m").unwrap();
        assert_eq!(embedded.request.model, None);
        assert!(matches!(embedded.judge, Judge::Embedded { model, .. } if model.name == "m"));
    }
}
