//! What `jury bench verdicts` is to measure.

use std::num::NonZeroU64;
use std::path::PathBuf;

use jury_engine::DeviceKind;
use jury_grm::domain::{Item, Query, Readout, ScoreRequest, Settings, limits};
use jury_terminal::Refused;
use jury_terminal::model::cache_folder;

use crate::args::{BenchVerdictsArgs, DraftsArg};
use crate::{device, threads};

const ROUNDS: usize = 3;
/// Tokens per sample in a quick check.
const QUICK_TOKENS: u32 = 16;
/// Tokens per unmeasured sample.
const WARM_UP_TOKENS: u32 = 4;
/// Our engine drafts for at most this many samples in flight: the rows of a step still fit into one tile of its
/// kernels.
const FEW_SAMPLES: usize = 3;

/// What to measure, and with which programs.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub items: PathBuf,
    pub model: String,
    pub settings: Settings,
    /// Number of items to judge, from the start of the file; `None` judges all.
    pub limit: Option<usize>,
    /// Items in flight, on both sides.
    pub at_once: usize,
    pub rounds: usize,
    pub threads: usize,
    pub device: DeviceKind,
    /// Whether our engine drafts tokens when there are few samples.
    pub drafts: DraftsArg,
    /// Whether to try several settings of the peer; otherwise it has one.
    pub tries_settings: bool,
    /// The peer, if it is to be measured, and its program, if one was named.
    pub peer: Option<Option<PathBuf>>,
    /// The folder of models.
    pub cache: PathBuf,
    pub markdown: Option<PathBuf>,
    pub json: bool,
}

impl TryFrom<BenchVerdictsArgs> for Config {
    type Error = Refused;

    fn try_from(args: BenchVerdictsArgs) -> Result<Self, Refused> {
        let quick = args.quick;
        let device = device(&args.measuring);
        let is_cpu = device == DeviceKind::Cpu;
        let default = Settings::default();
        let default_tokens = if quick { QUICK_TOKENS } else { default.max_critique_tokens };
        let settings = Settings {
            k: args.k,
            temperature: args.temperature.unwrap_or(default.temperature),
            top_p: args.top_p.unwrap_or(default.top_p),
            max_critique_tokens: args.max_critique_tokens.unwrap_or(default_tokens),
            readout: Readout::Free,
            ..default
        };
        Ok(Self {
            limit: args.limit.or(quick.then_some(1)),
            at_once: args.at_once,
            rounds: args.rounds.unwrap_or(if quick { 1 } else { ROUNDS }),
            threads: threads(&args.measuring),
            device,
            drafts: args.drafts,
            tries_settings: !quick,
            peer: (!args.no_peer && (is_cpu || args.peer.is_some())).then_some(args.peer),
            cache: cache_folder(&args.measuring.cache)?,
            markdown: args.markdown,
            json: args.measuring.json,
            items: args.items,
            model: args.model,
            settings,
        })
    }
}

// === impl Config ===

impl Config {
    /// One entry for each side of ours to measure: whether it drafts.
    pub fn sides_of_ours(&self) -> &'static [bool] {
        match self.drafts {
            DraftsArg::On => &[true],
            DraftsArg::Off => &[false],
            DraftsArg::Both => &[true, false],
        }
    }

    /// Samples in flight; the peer has a slot for each.
    pub fn in_flight(&self) -> usize {
        self.settings.k as usize * self.at_once
    }

    /// True if ours drafts from the first token to the last. With more samples, it drafts once few are left.
    pub fn few_in_flight(&self) -> bool {
        self.in_flight() <= FEW_SAMPLES
    }

    /// The request to judge an item, equal for both sides.
    pub fn request(&self, item: Item, seed: u64) -> ScoreRequest {
        ScoreRequest {
            settings: self.settings.clone(),
            seed,
            // A verdict that is cut off would be useless for the measurement.
            budget_ms: NonZeroU64::new(limits::MAX_BUDGET_MS),
            ..ScoreRequest::new(item)
        }
    }

    /// The same request with only a few tokens per sample.
    pub fn short(&self, mut request: ScoreRequest) -> ScoreRequest {
        let tokens = &mut request.settings.max_critique_tokens;
        *tokens = (*tokens).min(WARM_UP_TOKENS);
        request
    }
}

/// Judged before the measured items, so that memory has been touched and the fixed beginning of the prompt is cached,
/// as in a running server.
pub fn warm_up_item() -> Item {
    Item {
        id: "warm-up".to_owned(),
        source: None,
        query: Query::Text("Name an even number.".to_owned()),
        responses: vec!["Two.".to_owned(), "Three.".to_owned()],
        reference: None,
        criteria: None,
        principles: None,
        best: None,
        labels: None,
        category: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::BenchCommand;
    use crate::args::tests::command;
    use crate::args::tests::quick_as_typed;

    fn config(typed: &str) -> Result<Config, Refused> {
        let words = format!("jury bench verdicts --items i.jsonl --model-cache m {typed}");
        match command(&words) {
            BenchCommand::Verdicts(args) => Config::try_from(*args),
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn scores_are_always_read_from_free_text() {
        assert_eq!(config("").unwrap().settings.readout, Readout::Free);
    }

    #[test]
    fn what_is_asked_for_wins_over_quick() {
        let found = config("--quick --limit 3 --rounds 2").unwrap();
        assert_eq!((found.limit, found.rounds), (Some(3), 2));
        assert_eq!(found.settings.max_critique_tokens, QUICK_TOKENS);
        assert_eq!(config("--quick").unwrap().limit, Some(1));
    }

    #[test]
    fn quick_is_the_same_as_its_help_says_with_one_setting_of_the_peer() {
        let quick = config("--quick").unwrap();
        let typed = config(&quick_as_typed("verdicts")).unwrap();
        assert!(typed.tries_settings);
        assert_eq!(quick, Config { tries_settings: false, ..typed });
    }

    #[test]
    fn both_ways_of_drafting_are_two_sides_of_ours() {
        let sides = |typed| config(typed).unwrap().sides_of_ours();
        assert_eq!(sides(""), [true]);
        assert_eq!(sides("--drafts off"), [false]);
        assert_eq!(sides("--drafts both"), [true, false]);
    }

    #[test]
    fn samples_in_flight_are_those_of_all_items_at_once() {
        assert!(config("-k 3").unwrap().few_in_flight());
        assert!(!config("-k 2 --at-once 2").unwrap().few_in_flight());
    }
}
