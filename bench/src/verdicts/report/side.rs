//! The results of one side over all rounds.

use serde::Serialize;

use super::Who;
use crate::spread::Spread;
use crate::verdicts::peer::Drafting;
use crate::verdicts::round::{Drafts, Round};

/// Decimals of a rate below ten.
const DECIMALS: usize = 2;

/// One row.
#[derive(Debug, Serialize)]
pub struct Side {
    #[serde(skip)]
    who: Who,
    pub verdicts_per_minute: Spread,
    /// Generated tokens per second, of all samples together; the time includes the prompts.
    pub tokens_per_second: Spread,
    /// Mean over all rounds. The sides draw different samples, so lengths may differ.
    pub tokens_per_sample: f64,
    /// Tokens generated for samples that already had their scores, which are counted nowhere else, divided by the
    /// counted tokens.
    pub surplus_share: f64,
    /// Share of the samples whose text gave scores, over all rounds.
    pub read_share: f64,
    /// Share of the verdicts in which every response has a reward, over all rounds.
    pub rewarded_share: f64,
    /// Whether drafting is on when there are few samples.
    pub drafts: bool,
    /// Over all rounds. Absent without drafts and for the peer, which reports nothing for samples that are ended
    /// early.
    pub drafted_tokens: Option<u64>,
    /// The drafted tokens that were then drawn.
    pub accepted_tokens: Option<u64>,
    pub rounds: Vec<Round>,
}

// === impl Side ===

impl Side {
    /// `None` if there are no rounds.
    pub fn of(who: Who, rounds: Vec<Round>) -> Option<Self> {
        let sum = |count: fn(&Round) -> u64| rounds.iter().map(count).sum::<u64>() as f64;
        let rates: Vec<f64> = rounds.iter().map(Round::verdicts_per_minute).collect();
        let tokens: Vec<f64> =
            rounds.iter().map(|round| round.generated_tokens as f64 / round.seconds).collect();
        let samples = sum(|round| round.samples).max(1.0);
        let generated = sum(|round| round.generated_tokens);
        let drafts: Option<Vec<Drafts>> = rounds.iter().map(|round| round.drafts).collect();
        let drafted =
            |count: fn(&Drafts) -> u64| drafts.as_ref().map(|of| of.iter().map(count).sum());
        Some(Self {
            who,
            verdicts_per_minute: Spread::of(&rates)?,
            tokens_per_second: Spread::of(&tokens)?,
            tokens_per_sample: generated / samples,
            surplus_share: sum(|round| round.surplus_tokens) / generated.max(1.0),
            read_share: sum(|round| round.read_samples) / samples,
            rewarded_share: sum(|round| round.rewarded) / sum(|round| round.verdicts).max(1.0),
            drafts: match who {
                Who::Ours { drafts } => drafts,
                Who::Peer(setting) => setting.drafts != Drafting::Off,
            },
            drafted_tokens: drafted(|drafts| drafts.drafted_tokens),
            accepted_tokens: drafted(|drafts| drafts.accepted_tokens),
            rounds,
        })
    }

    pub fn cells(&self) -> [String; super::HEADINGS.len()] {
        [
            self.who.describe(),
            self.verdicts_per_minute.shown(DECIMALS),
            self.tokens_per_second.shown(DECIMALS),
            format!("{:.0}", self.tokens_per_sample),
            format!("{:.0} %", self.read_share * 100.0),
            format!("{:.0} %", self.rewarded_share * 100.0),
            self.drafts_shown(),
        ]
    }

    fn drafts_shown(&self) -> String {
        match (self.drafts, self.drafted_tokens, self.accepted_tokens) {
            (false, ..) => "off".to_owned(),
            (true, Some(drafted), Some(accepted)) => {
                format!("on: {drafted} tokens, {accepted} accepted")
            }
            (true, ..) => "on".to_owned(),
        }
    }
}
