//! How drawn samples become rewards. A sample's bytes never depend on any of this, so the same samples can be voted on
//! again under other rules.

use serde::{Deserialize, Serialize};

use super::request::{RequestError, require, require_name};

/// What ranks the samples, which of them vote and how, and when enough samples are drawn.
///
/// When read from JSON, fields that are absent or null take their defaults.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(expecting = "an object", default)]
pub struct Voting {
    /// Name of the Meta RM that ranks the samples: a head bound to the judging model, or a model served with the role
    /// `meta`. `None`: no ranking.
    pub meta: Option<String>,
    /// How samples vote. `None` means [`VoteRule::Top`] with a Meta RM, else [`VoteRule::Mean`].
    pub rule: Option<VoteRule>,
    /// Samples that vote under [`VoteRule::Top`], best meta score first, 1..=k. `None` means k / 2, rounded down, but
    /// at least 1 (paper, section 5.3).
    pub k_meta: Option<u32>,
    /// When to stop drawing.
    #[serde(deserialize_with = "super::json::null_as_default")]
    pub stop: StopRule,
    /// Spare samples, 0..=k: one is drawn, in index order, for each sample whose own text gave no scores.
    #[serde(deserialize_with = "super::json::null_as_default")]
    pub refill: u32,
}

/// How samples vote. `docs/voting.md` has the formulas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoteRule {
    /// The mean score over all valid samples (paper, section 4.1; a sum there).
    Mean,
    /// The mean over the `k_meta` samples with the highest meta scores (paper, section 4.2).
    Top,
    /// The share of valid samples that prefer the response, among those that showed it beside another; ties are split.
    Majority,
    /// The mean, weighted by the Meta RM's probability that a sample is right.
    Weighted,
}

/// When to stop before all k samples are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopRule {
    /// Draws all k.
    #[default]
    Never,
    /// Once no outcome of the samples left can change the pick.
    Lossless,
    /// Once the pick over all k samples is known with this probability, above 0.5 and below 1.
    Confidence(f64),
    /// Once the 95 % interval of every reward is at most this wide, in points of the scale.
    Width(f64),
}

// === impl Voting ===

impl Voting {
    /// The rule in force.
    pub fn effective_rule(&self) -> VoteRule {
        self.rule.unwrap_or(if self.meta.is_some() { VoteRule::Top } else { VoteRule::Mean })
    }

    /// Samples that vote under [`VoteRule::Top`] when `k` are asked for.
    pub fn effective_k_meta(&self, k: u32) -> u32 {
        self.k_meta.unwrap_or((k / 2).max(1))
    }

    /// The same settings with every default that the rule uses written out, as reported in a verdict's provenance.
    pub fn effective(&self, k: u32) -> Self {
        let rule = self.effective_rule();
        let k_meta = (rule == VoteRule::Top).then(|| self.effective_k_meta(k));
        Self { rule: Some(rule), k_meta, ..self.clone() }
    }

    pub(super) fn validate(&self, k: u32, width_of_scale: f64) -> Result<(), RequestError> {
        require_name("voting.meta", self.meta.as_deref())?;
        let needs_meta =
            self.rule.filter(|rule| matches!(rule, VoteRule::Top | VoteRule::Weighted));
        require(self.meta.is_some() || needs_meta.is_none(), "voting.rule", || {
            "needs meta scores; name a Meta RM (--meta, or meta in JSON), or take \"mean\" or \"majority\"".to_owned()
        })?;
        if let Some(k_meta) = self.k_meta {
            require((1..=k).contains(&k_meta), "voting.k_meta", || {
                format!("must be between 1 and k = {k}, is {k_meta}")
            })?;
            require(self.effective_rule() == VoteRule::Top, "voting.k_meta", || {
                "counts only when the best by meta score vote; name a Meta RM (--meta, or meta in JSON)".to_owned()
            })?;
        }
        let counts_on_equals = matches!(self.stop, StopRule::Confidence(_) | StopRule::Width(_));
        let chooses = matches!(self.effective_rule(), VoteRule::Top | VoteRule::Weighted);
        require(!(counts_on_equals && chooses), "voting.stop", || {
            "confidence and width are not shown to hold where meta scores choose or weigh the voters; \
             take \"lossless\", or the rule \"mean\" or \"majority\""
                .to_owned()
        })?;
        match self.stop {
            StopRule::Never | StopRule::Lossless => {}
            StopRule::Confidence(level) => {
                require(level > 0.5 && level < 1.0, "voting.stop.confidence", || {
                    format!("must be above 0.5 and below 1, is {level}")
                })?;
            }
            StopRule::Width(width) => {
                let (whose, most) = match self.effective_rule() {
                    VoteRule::Majority => ("a share's", 1.0),
                    _ => ("the scale's", width_of_scale),
                };
                require(width > 0.0 && width <= most, "voting.stop.width", || {
                    format!("must be above 0 and at most {whose} {most}, is {width}")
                })?;
            }
        }
        require(self.refill <= k, "voting.refill", || {
            format!("must be at most k = {k}, is {}", self.refill)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Voting {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn voting_reads_from_json_with_its_defaults() {
        assert_eq!(read("{}"), Voting::default());
        assert_eq!(read(r#"{"stop": null, "refill": null, "meta": null}"#), Voting::default());
        assert_eq!(read(r#"{"stop": "lossless"}"#).stop, StopRule::Lossless);
        assert_eq!(read(r#"{"stop": {"confidence": 0.95}}"#).stop, StopRule::Confidence(0.95));
        assert_eq!(read(r#"{"stop": {"width": 0.3}}"#).stop, StopRule::Width(0.3));
        assert_eq!(read(r#"{"rule": "majority"}"#).rule, Some(VoteRule::Majority));
    }

    #[test]
    fn the_best_half_votes_where_a_meta_rm_ranks() {
        let ranked = Voting { meta: Some("m".to_owned()), ..Voting::default() };
        for (k, k_meta) in [(1, 1), (2, 1), (3, 1), (8, 4), (32, 16)] {
            assert_eq!(ranked.effective(k).k_meta, Some(k_meta));
        }
        assert_eq!(ranked.effective_rule(), VoteRule::Top);
        assert_eq!(Voting::default().effective(8).rule, Some(VoteRule::Mean));
        assert_eq!(Voting::default().effective(8).k_meta, None);
    }

    #[test]
    fn what_cannot_be_voted_on_is_refused_by_field() {
        let field = |voting: Voting| voting.validate(8, 9.0).unwrap_err().field;
        let default = Voting::default;
        assert_eq!(default().validate(8, 9.0), Ok(()));
        assert_eq!(field(Voting { rule: Some(VoteRule::Top), ..default() }), "voting.rule");
        assert_eq!(field(Voting { k_meta: Some(4), ..default() }), "voting.k_meta");
        let meta = Some("m".to_owned());
        assert_eq!(field(Voting { k_meta: Some(9), meta, ..default() }), "voting.k_meta");
        assert_eq!(field(Voting { refill: 9, ..default() }), "voting.refill");
        let ranked = || Voting { meta: Some("m".to_owned()), ..default() };
        for stop in [StopRule::Confidence(0.9), StopRule::Width(0.5)] {
            assert_eq!(field(Voting { stop, ..ranked() }), "voting.stop");
            let plain = Voting { stop, rule: Some(VoteRule::Mean), ..ranked() };
            assert_eq!(plain.validate(8, 9.0), Ok(()));
        }
        assert_eq!(Voting { stop: StopRule::Lossless, ..ranked() }.validate(8, 9.0), Ok(()));
        for level in [0.5, 1.0, f64::NAN] {
            let stop = StopRule::Confidence(level);
            assert_eq!(field(Voting { stop, ..default() }), "voting.stop.confidence");
        }
        for width in [0.0, 9.5, f64::NAN] {
            let stop = StopRule::Width(width);
            assert_eq!(field(Voting { stop, ..default() }), "voting.stop.width");
        }
    }
}
