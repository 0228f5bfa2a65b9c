//! Computes the distribution of one score from lists of likely next tokens: pure.
//!
//! A score may consist of several tokens, one score may begin another ("1" and "10"), and a token may contain more than
//! the score ("8}"). The walk therefore follows texts, not tokens: it asks for the next tokens after `""`, takes those
//! that complete a legal score, and asks again after those that only begin one. If another score continues a complete
//! one, its probability is that of the character that must follow. An upstream reports only its likeliest tokens; the
//! probability that legal scores may have beyond them is bounded.

use super::answer::Listed;
use super::error::UpstreamError;

/// A beginning less probable than this is not followed: it counts as unseen.
const WORTH_ASKING: f64 = 1e-4;
/// Maximum unseen probability of legal scores, as a share of what was seen.
const MAX_UNSEEN_SHARE: f64 = 0.05;

/// A walk through the legal scores of one slot.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    choices: &'a [String],
    /// The first character after a score.
    follow: char,
    weights: Vec<f64>,
    /// Beginnings whose next tokens are still to be requested, with their probabilities. The last one is requested
    /// next.
    begun: Vec<(String, f64)>,
    /// Upper bound of the unseen probability of legal scores.
    unseen: f64,
    /// Tokens in the longest list.
    listed: usize,
}

/// The result for one slot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slot {
    /// Probability of every choice; adds up to 1.
    pub(super) distribution: Vec<f64>,
    /// Probability that the model gave to the legal scores.
    pub(super) mass: f64,
}

/// Whether a list contains all legal tokens or only the likeliest of all tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// This many of the likeliest; the token that was drawn may be listed in addition, however unlikely it is.
    Likeliest(usize),
    /// Every token that may be part of a score.
    All,
}

// === impl Walk ===

impl<'a> Walk<'a> {
    pub(super) fn new(choices: &'a [String], follow: char) -> Self {
        Self {
            choices,
            follow,
            weights: vec![0.0; choices.len()],
            begun: vec![(String::new(), 1.0)],
            unseen: 0.0,
            listed: 0,
        }
    }

    /// The beginning of a score whose next tokens are needed; `None` when everything is read.
    pub(super) fn next(&self) -> Option<&str> {
        self.begun.last().map(|(beginning, _)| beginning.as_str())
    }

    /// Records the tokens after that beginning.
    pub(super) fn record(&mut self, listed: &[Listed], told: Told) {
        let Some((beginning, probability)) = self.begun.pop() else { return };
        self.listed = self.listed.max(listed.len());
        let mut has_follow = false;
        let mut seen: Vec<&str> = Vec::new();
        for token in listed.iter().filter(|token| !token.text.is_empty()) {
            let weight = probability * token.logprob.exp();
            let text = format!("{beginning}{}", token.text);
            if let Some(choice) = self.completed_by(&beginning, &text) {
                self.weights[choice] += weight;
                has_follow |= self.choices[choice] == beginning;
            } else if self.choices.iter().any(|choice| choice.starts_with(&text)) {
                self.follow_up(text, weight);
            }
            seen.push(&token.text);
        }
        if let Told::Likeliest(asked) = told {
            let missing = self.missing(&beginning, &seen, has_follow);
            let mut probabilities: Vec<f64> =
                listed.iter().map(|token| token.logprob.exp()).collect();
            probabilities.sort_unstable_by(|a, b| b.total_cmp(a));
            let least =
                probabilities[..probabilities.len().min(asked)].last().copied().unwrap_or(1.0);
            let rest = 1.0 - probabilities.iter().sum::<f64>();
            self.unseen += probability * (least * missing as f64).min(rest.max(0.0));
        }
    }

    /// The slot, once there is nothing left to request.
    ///
    /// # Errors
    /// Legal scores may have too much probability that the upstream did not report.
    pub(super) fn finish(self) -> Result<Slot, UpstreamError> {
        let Self { mut weights, unseen, listed, .. } = self;
        let mass: f64 = weights.iter().sum();
        if mass.is_nan() || mass <= 0.0 || unseen > MAX_UNSEEN_SHARE * mass {
            return Err(UpstreamError::Unseen { listed, unseen, mass });
        }
        weights.iter_mut().for_each(|weight| *weight /= mass);
        Ok(Slot { distribution: weights, mass: mass.min(1.0) })
    }

    /// The choice that `text` completes, if `beginning` alone did not determine it.
    fn completed_by(&self, beginning: &str, text: &str) -> Option<usize> {
        self.choices.iter().position(|choice| {
            let Some(rest) = text.strip_prefix(choice.as_str()) else { return false };
            match rest.chars().next() {
                None => choice != beginning && !self.is_continued(choice),
                Some(next) => next == self.follow,
            }
        })
    }

    fn is_continued(&self, choice: &str) -> bool {
        self.choices.iter().any(|other| other.len() > choice.len() && other.starts_with(choice))
    }

    fn follow_up(&mut self, beginning: String, probability: f64) {
        match self.begun.iter_mut().find(|(known, _)| *known == beginning) {
            Some((_, known)) => *known += probability,
            None if probability < WORTH_ASKING => self.unseen += probability,
            None => self.begun.push((beginning, probability)),
        }
    }

    /// Number of legal next tokens, at least one per choice, that are missing from the list.
    fn missing(&self, beginning: &str, seen: &[&str], has_follow: bool) -> usize {
        let is_missing = |choice: &&String| match choice.strip_prefix(beginning) {
            None => false,
            Some("") => !has_follow && self.is_continued(choice),
            Some(rest) => {
                !seen.iter().any(|token| rest.starts_with(token) || token.starts_with(rest))
            }
        };
        self.choices.iter().filter(is_missing).count()
    }
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::Scale;

    use super::*;

    fn listed(tokens: &[(&str, f64)]) -> Vec<Listed> {
        let token = |&(text, probability): &(&str, f64)| Listed {
            text: text.to_owned(),
            logprob: f64::ln(probability),
        };
        tokens.iter().map(token).collect()
    }

    /// Answers every beginning from a table.
    fn read(told: Told, table: &[(&str, &[(&str, f64)])]) -> Result<Slot, UpstreamError> {
        let choices = Scale::POINTWISE.choices();
        let mut walk = Walk::new(&choices, ',');
        while let Some(beginning) = walk.next() {
            let tokens = table.iter().find(|(known, _)| *known == beginning).expect("asked for").1;
            walk.record(&listed(tokens), told);
        }
        walk.finish()
    }

    const DIGITS: &[(&str, f64)] = &[
        ("8", 0.4),
        ("1", 0.2),
        ("9", 0.1),
        ("7", 0.05),
        ("6", 0.05),
        ("5", 0.04),
        ("4", 0.03),
        ("3", 0.02),
        ("2", 0.01),
        ("x", 0.1),
    ];

    #[test]
    fn a_score_that_begins_another_has_what_follows_it() {
        let slot = read(
            Told::Likeliest(20),
            &[("", DIGITS), ("1", &[(",", 0.25), ("0", 0.5), ("1", 0.25)])],
        )
        .unwrap();
        // 10 is complete: nothing legal continues it.
        assert!((slot.mass - (0.7 + 0.2 * 0.75)).abs() < 1e-9, "{slot:?}");
        assert!((slot.distribution[9] - 0.1 / slot.mass).abs() < 1e-9);
        assert!((slot.distribution[0] - 0.05 / slot.mass).abs() < 1e-9);
        assert!((slot.distribution.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn tokens_that_hold_more_than_a_score_count_for_it() {
        let table: &[(&str, f64)] = &[("8,", 0.5), ("8", 0.25), ("10", 0.125), ("10,", 0.125)];
        let slot = read(Told::All, &[("", table)]).unwrap();
        assert!(
            (slot.distribution[7] - 0.75).abs() < 1e-9
                && (slot.distribution[9] - 0.25).abs() < 1e-9
        );
        let longer = read(Told::All, &[("", &[("80", 0.5), ("100", 0.25), ("8", 0.25)])]).unwrap();
        assert!(longer.distribution[7] == 1.0 && (longer.mass - 0.25).abs() < 1e-9);
    }

    #[test]
    fn scores_that_may_hide_behind_the_list_are_not_taken_as_zero() {
        let error = read(Told::Likeliest(20), &[("", &[("x", 0.5), ("8", 0.1)])]).unwrap_err();
        let UpstreamError::Unseen { listed, unseen, mass } = error else { panic!("{error}") };
        assert_eq!(listed, 2);
        assert!((mass - 0.1).abs() < 1e-9 && (unseen - 0.4).abs() < 1e-9, "{unseen}");
        // Hardly any probability is left for them.
        assert!(read(Told::Likeliest(20), &[("", &[("8", 0.99), ("x", 0.0099)])]).is_ok());
        assert!(read(Told::All, &[("", &[("x", 0.5), ("8", 0.1)])]).is_ok());
    }

    #[test]
    fn an_unlikely_token_that_was_drawn_bounds_nothing() {
        let table: &[(&str, &[(&str, f64)])] = &[("", &[("x", 0.4), ("8", 0.1), ("y", 1e-9)])];
        assert!(read(Told::Likeliest(2), table).is_err());
        assert!(read(Told::Likeliest(3), table).is_ok());
    }

    #[test]
    fn no_legal_score_is_an_error_and_never_a_distribution() {
        assert!(read(Told::All, &[("", &[("x", 1.0)])]).is_err());
        assert!(read(Told::All, &[("", &[])]).is_err());
    }
}
