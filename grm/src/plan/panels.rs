//! Smaller panels where a prompt is longer than the model's context.

use super::{Plan, plan, with_settings};
use crate::domain::{ScoreRequest, Settings};

/// What is known of a prompt that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow {
    /// Its tokens.
    pub prompt_tokens: u32,
    /// Tokens that it may have.
    pub limit_tokens: u32,
    /// The caller's index of the longest response that it shows.
    pub longest_response: Option<usize>,
    /// Tokens of that response.
    pub longest_response_tokens: u32,
}

/// The settings of `request`, one of whose prompts does not fit, with panels of fewer responses, and with enough samples for a
/// whole round of them. `None` when each prompt shows a single response already.
///
/// A prompt of all responses tells enough to estimate the tokens of every panel, from its longest response's tokens a byte: the
/// largest panels are taken all of which fit. A panel tells of its own responses only, and which panel is heard of first is
/// chance, so from there on panels become smaller by one response, until all fit: the end does not depend on
/// who told first.
pub fn smaller_panels(request: &ScoreRequest, told: &Overflow) -> Option<Settings> {
    let current = plan(request);
    let n_distinct = distinct(&current.duplicate_of).count();
    let largest = current.samples.iter().map(|spec| spec.order.len()).max().unwrap_or(0);
    let with_panels_of = |size: usize| {
        let number = |n: usize| u32::try_from(n).expect("responses are below the request's limit");
        let n_panels = n_distinct.div_ceil(size);
        // Panels are dealt evenly: the largest may be smaller than it might.
        let max_panel = number(n_distinct.div_ceil(n_panels));
        let k = request.settings.k.max(number(n_panels));
        Settings { max_panel, k, ..request.settings.clone() }
    };
    // Only a prompt of all responses tells of them all.
    let estimate = if largest == n_distinct { Estimate::of(request, &current, told) } else { None };
    let fits = |settings: &Settings| {
        let (duplicate_of, content) = (current.duplicate_of.clone(), current.content);
        let panels = with_settings(request, settings, duplicate_of, content);
        estimate.as_ref().is_none_or(|estimate| estimate.fits(&panels))
    };
    let smaller = (1..largest).rev().map(with_panels_of).find(fits);
    smaller.or_else(|| (largest > 1).then(|| with_panels_of(1)))
}

/// Tokens of prompts, from what is known of one that shows all responses.
struct Estimate<'a> {
    responses: &'a [String],
    tokens_per_byte: f64,
    /// Tokens of a prompt without its responses.
    frame: f64,
    limit: f64,
}

// === impl Estimate ===

impl<'a> Estimate<'a> {
    fn of(request: &'a ScoreRequest, current: &Plan, told: &Overflow) -> Option<Self> {
        let responses = &request.item.responses;
        let bytes = responses.get(told.longest_response?)?.len();
        let tokens_per_byte = f64::from(told.longest_response_tokens) / bytes.max(1) as f64;
        let total: usize =
            distinct(&current.duplicate_of).map(|response| responses[response].len()).sum();
        let frame = (f64::from(told.prompt_tokens) - tokens_per_byte * total as f64).max(0.0);
        Some(Self { responses, tokens_per_byte, frame, limit: told.limit_tokens.into() })
    }

    fn fits(&self, panels: &Plan) -> bool {
        panels.samples.iter().chain(&panels.spares).all(|spec| {
            let bytes: usize = spec.order.iter().map(|&shown| self.responses[shown].len()).sum();
            self.frame + self.tokens_per_byte * bytes as f64 <= self.limit
        })
    }
}

fn distinct(duplicate_of: &[usize]) -> impl Iterator<Item = usize> + '_ {
    (0..duplicate_of.len()).filter(|&response| duplicate_of[response] == response)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Item, Query};

    /// A worker that counts a token for each byte, and 100 for the frame.
    const FRAME: usize = 100;

    fn request(lengths: &[usize], k: u32, max_panel: u32) -> ScoreRequest {
        let texts = lengths
            .iter()
            .zip(b'!'..)
            .map(|(&length, letter)| char::from(letter).to_string().repeat(length));
        let item = Item::bare(Query::Text("Which is best?".into()), texts.collect());
        let mut request = ScoreRequest::new(item);
        request.settings.k = k;
        request.settings.max_panel = max_panel;
        request
    }

    fn overflow(request: &ScoreRequest, order: &[usize], limit: usize) -> Option<Overflow> {
        let length = |response: &usize| request.item.responses[*response].len();
        let prompt = FRAME + order.iter().map(length).sum::<usize>();
        let longest = order.iter().copied().max_by_key(length);
        (prompt > limit).then(|| Overflow {
            prompt_tokens: prompt as u32,
            limit_tokens: limit as u32,
            longest_response: longest,
            longest_response_tokens: longest.map_or(0, |longest| length(&longest)) as u32,
        })
    }

    /// Splits until everything fits or nothing can be split; `turn` chooses which sample's answer is heard first.
    fn settle(mut request: ScoreRequest, limit: usize, turn: usize) -> ScoreRequest {
        loop {
            let mut samples = plan(&request).samples;
            let turn = turn % samples.len();
            samples.rotate_left(turn);
            let told = samples.iter().find_map(|spec| overflow(&request, &spec.order, limit));
            match told.and_then(|told| smaller_panels(&request, &told)) {
                Some(settings) => request.settings = settings,
                None => return request,
            }
        }
    }

    #[test]
    fn a_prompt_of_all_responses_is_split_at_once_into_the_fewest_panels_that_fit() {
        let request = request(&[100; 8], 8, 8);
        let told = overflow(&request, &[0, 1, 2, 3, 4, 5, 6, 7], 500).unwrap();
        let settings = smaller_panels(&request, &told).unwrap();
        assert_eq!((settings.max_panel, settings.k), (4, 8));
    }

    #[test]
    fn sixty_four_long_responses_are_all_judged() {
        let settled = settle(request(&[1000; 64], 8, 8), 4096, 0);
        let settings = &settled.settings;
        assert_eq!((settings.max_panel, settings.k), (3, 22), "a whole round of panels");
        let shown = |spec: &crate::domain::SampleSpec| spec.order.clone();
        let mut all: Vec<usize> = plan(&settled).samples.iter().flat_map(shown).collect();
        all.sort_unstable();
        assert_eq!(all, (0..64).collect::<Vec<_>>());
    }

    #[test]
    fn a_single_response_cannot_be_split() {
        let request = request(&[5000], 4, 8);
        let told = overflow(&request, &[0], 4096).unwrap();
        assert_eq!(smaller_panels(&request, &told), None);
    }

    proptest! {
        #[test]
        fn all_that_fit_alone_are_judged_and_whoever_is_heard_first_changes_nothing(
            lengths in prop::collection::vec(1usize..900, 2..20),
            k in 1u32..12, max_panel in 2u32..20, turn in 0usize..64,
        ) {
            let request = request(&lengths, k, max_panel);
            let settled = settle(request.clone(), 1000, 0);
            prop_assert_eq!(&settled, &settle(request, 1000, turn));
            for spec in plan(&settled).samples {
                prop_assert_eq!(overflow(&settled, &spec.order, 1000), None);
            }
        }
    }
}
