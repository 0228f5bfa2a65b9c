//! What `jury bench engine` is to measure.

use std::path::PathBuf;

use jury_engine::{CardWeights, DeviceKind};
use jury_terminal::Refused;
use jury_terminal::model::cache_folder;

use crate::args::{BenchEngineArgs, SharingArg};
use crate::peer::Setting;
use crate::{device, threads};

const MODELS: [&str; 4] =
    ["smollm2-135m-q8_0", "smollm2-135m-q4_0", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"];
/// For a quick check: the model that the tests need anyway.
const QUICK_MODELS: [&str; 1] = ["smollm2-135m"];
const ROUNDS: usize = 4;

/// What to measure, and with which programs.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub models: Vec<String>,
    /// Numbers of samples, ascending.
    pub k: Vec<usize>,
    pub prompts: Vec<usize>,
    pub generated: Vec<usize>,
    /// Concurrent prompts.
    pub groups: usize,
    /// Whether attention shares the prompt; one entry for each variant to measure.
    pub sharing: &'static [bool],
    pub rounds: usize,
    pub threads: usize,
    pub device: DeviceKind,
    /// How weights are stored on a GPU.
    pub card_weights: CardWeights,
    /// The peer, if it is to be measured, and its program, if one was named.
    pub peer: Option<Option<PathBuf>>,
    /// The folder of models.
    pub cache: PathBuf,
    pub markdown: Option<PathBuf>,
    pub json: bool,
}

impl TryFrom<BenchEngineArgs> for Config {
    type Error = Refused;

    fn try_from(args: BenchEngineArgs) -> Result<Self, Refused> {
        let quick = args.quick;
        let device = device(&args.measuring);
        args.card.refuse_without_a_card(device)?;
        let is_cpu = device == DeviceKind::Cpu;
        let is_card = matches!(device, DeviceKind::Cuda(_));
        if args.sharing != SharingArg::On && !is_card {
            let problem = "attention reads prompts apart on an NVIDIA card alone; take --device cuda:0, or leave it out";
            return Err(Refused::new("--sharing", problem));
        }
        if args.groups > 1 && args.peer.is_some() {
            let problem = "llama.cpp is measured with one prompt; leave --peer out";
            return Err(Refused::new("--groups", problem));
        }
        let has_peer = args.peer.is_some() || (is_cpu && args.groups == 1);
        let models = if quick { &QUICK_MODELS[..] } else { &MODELS[..] };
        let models = match args.models.is_empty() {
            true => models.iter().copied().map(str::to_owned).collect(),
            false => args.models,
        };
        let (k, prompts, generated): (&[_], &[_], &[_]) =
            if quick { (&[1, 4], &[128], &[8]) } else { (&[1, 8, 32], &[512, 1500], &[64, 250]) };
        Ok(Self {
            models,
            k: numbers(args.k, k),
            prompts: numbers(args.prompt, prompts),
            generated: numbers(args.generated, generated),
            groups: args.groups,
            sharing: match args.sharing {
                SharingArg::On => &[true],
                SharingArg::Off => &[false],
                SharingArg::Both => &[true, false],
            },
            rounds: args.rounds.unwrap_or(if quick { 1 } else { ROUNDS }),
            threads: threads(&args.measuring),
            device,
            card_weights: args.card.card_weights.unwrap_or_default(),
            peer: (!args.no_peer && has_peer).then_some(args.peer),
            cache: cache_folder(&args.measuring.cache)?,
            markdown: args.markdown,
            json: args.measuring.json,
        })
    }
}

/// The requested numbers, or the defaults if there are none; ascending and unique.
fn numbers(asked: Vec<usize>, default: &[usize]) -> Vec<usize> {
    let mut numbers = if asked.is_empty() { default.to_vec() } else { asked };
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

// === impl Config ===

impl Config {
    /// Approximate number of runs, for a progress bar: the peer may need one or two settings per round.
    pub fn runs(&self, with_peer: bool) -> u64 {
        let places =
            self.models.len() * self.sharing.len() * self.prompts.len() * self.generated.len();
        let ours = self.k.len() * (self.rounds + 1);
        let theirs = if with_peer { Setting::ALL.len() * (self.rounds + 1) } else { 0 };
        (places * (ours + theirs)) as u64
    }

    pub fn longest_prompt(&self) -> usize {
        self.prompts.last().copied().unwrap_or(1)
    }

    pub fn most_samples(&self) -> usize {
        self.k.last().copied().unwrap_or(1)
    }

    pub fn most_generated(&self) -> usize {
        self.generated.last().copied().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::BenchCommand;
    use crate::args::tests::command;
    use crate::args::tests::quick_as_typed;

    fn config(typed: &str) -> Result<Config, Refused> {
        let words = format!("jury bench engine --model-cache m {typed}");
        match command(&words) {
            BenchCommand::Engine(args) => Config::try_from(args),
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn what_is_asked_for_wins_over_quick() {
        let found = config("--quick --k 16,2,2 --prompt 64").unwrap();
        assert_eq!((found.k, found.prompts, found.generated), (vec![2, 16], vec![64], vec![8]));
        assert_eq!((found.rounds, found.models.len()), (1, 1));
    }

    #[test]
    fn quick_is_the_same_as_its_help_says() {
        assert_eq!(config("--quick"), config(&quick_as_typed("engine")));
    }

    #[test]
    fn ours_alone_has_no_peer() {
        assert_eq!(config("--no-peer").unwrap().peer, None);
        assert_eq!(config("").unwrap().peer, Some(None));
        assert_eq!(config("--peer a/b").unwrap().peer, Some(Some("a/b".into())));
    }
}
