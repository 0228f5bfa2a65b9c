//! Makes prompts fit the model's context: smaller panels, without the responses that do not fit even alone.

use std::collections::BTreeMap;

use super::{Plan, distinct, in_panels};
use crate::domain::ScoreRequest;

/// How the responses of a request are shown if its prompts are longer than the model's context.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fitting {
    /// Maximum number of responses in a prompt; `None`: as many as the request asks for.
    pub panel: Option<u32>,
    /// Distinct responses that do not fit even alone, each with what is known of a prompt that showed it. They are in
    /// no prompt, so that neither the panels nor the samples of the other responses suffer from them.
    pub apart: BTreeMap<usize, Overflow>,
}

/// What is known of a prompt that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overflow {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Maximum tokens that it may have.
    pub limit_tokens: u32,
    /// The caller's index of the longest response in the prompt, if known.
    pub longest_response: Option<usize>,
    /// Tokens of that response; 0 if not known.
    pub longest_response_tokens: u32,
}

/// What to try next for `request` after a prompt of its `plan`, which was made for `current`, turned out too long. The
/// prompt showed `order`. `None` if nothing would fit.
///
/// A response that cannot fit even alone is set apart, and the others start again with panels of the requested size.
/// Otherwise panels become smaller. A prompt of all responses gives an estimate of the tokens of every panel, from the
/// tokens per byte of its longest response: the next size is the largest for which all panels fit by that estimate. A
/// panel only gives information about its own responses, so from then on the size decreases by one response at a time.
/// The result does not depend on which prompt is reported first, though that is chance: all responses that fit alone
/// are shown.
pub fn refit(
    request: &ScoreRequest,
    current: &Fitting,
    (plan, order): (&Plan, &[usize]),
    told: &Overflow,
) -> Option<Fitting> {
    let shown = shown(&plan.duplicate_of, current);
    if is_full_without(request, order, told) {
        return None;
    }
    if let Some(longest) = hopeless(order, told) {
        let mut apart = current.apart.clone();
        apart.insert(longest, *told);
        return (apart.len() < shown.len() + current.apart.len())
            .then_some(Fitting { panel: None, apart });
    }
    let largest = plan.samples.iter().map(|spec| spec.order.len()).max().unwrap_or(0);
    // Panels are dealt evenly, so the largest may be smaller than allowed.
    let dealt = |size: usize| shown.len().div_ceil(shown.len().div_ceil(size));
    // Only a prompt of all responses gives information about them all.
    let estimate = match order.len() == shown.len() {
        true => Estimate::of(request, order, told),
        false => None,
    };
    let fits = |&panel: &usize| {
        let panels =
            || in_panels(request, plan.duplicate_of.clone(), (&shown, plan.content), panel);
        estimate.as_ref().is_none_or(|estimate| estimate.fits(&panels()))
    };
    let smaller = (1..largest).rev().map(dealt).find(fits);
    let panel = smaller.or_else(|| (largest > 1).then_some(1))?;
    let panel = u32::try_from(panel).expect("responses are below the request's limit");
    Some(Fitting { panel: Some(panel), ..current.clone() })
}

/// Bytes that the built-in template writes for each response in addition to its text: two markers, and a score in the
/// example.
const AROUND_RESPONSE: usize = 56;

/// The longest response, if it is certain not to fit even alone: it was tried alone, or has more tokens than a prompt
/// may have.
fn hopeless(order: &[usize], told: &Overflow) -> Option<usize> {
    // If there is only one, it is the longest, even if the server did not report it.
    if let [alone] = order {
        return Some(*alone);
    }
    let is_sure = told.longest_response_tokens > told.limit_tokens;
    told.longest_response.filter(|longest| is_sure && order.contains(longest))
}

/// True if the prompt would be too long without any response. Only a prompt with a single response shows that.
fn is_full_without(request: &ScoreRequest, order: &[usize], told: &Overflow) -> bool {
    let &[alone] = order else { return false };
    // If its tokens were not counted: at most one per byte.
    let at_most = match told.longest_response {
        Some(_) => told.longest_response_tokens,
        None => u32::try_from(request.item.responses[alone].len()).unwrap_or(u32::MAX),
    };
    told.prompt_tokens.saturating_sub(at_most) >= told.limit_tokens
}

/// Bytes of responses, including what the template writes around them.
fn bytes_of<'a>(responses: &[String], shown: impl Iterator<Item = &'a usize>) -> usize {
    shown.map(|&response| responses[response].len() + AROUND_RESPONSE).sum()
}

/// Estimates the tokens of prompts from what is known of one that shows all responses.
struct Estimate<'a> {
    responses: &'a [String],
    tokens_per_byte: f64,
    /// Tokens of a prompt without its responses and what the template writes around each.
    frame: f64,
    limit: f64,
}

// === impl Estimate ===

impl<'a> Estimate<'a> {
    fn of(request: &'a ScoreRequest, order: &[usize], told: &Overflow) -> Option<Self> {
        let responses = &request.item.responses;
        let bytes = responses.get(told.longest_response?)?.len();
        let tokens_per_byte = f64::from(told.longest_response_tokens) / bytes.max(1) as f64;
        let total = bytes_of(responses, order.iter());
        let frame = (f64::from(told.prompt_tokens) - tokens_per_byte * total as f64).max(0.0);
        Some(Self { responses, tokens_per_byte, frame, limit: told.limit_tokens.into() })
    }

    fn fits(&self, panels: &Plan) -> bool {
        panels.samples.iter().chain(&panels.spares).all(|spec| {
            let bytes = bytes_of(self.responses, spec.order.iter());
            self.frame + self.tokens_per_byte * bytes as f64 <= self.limit
        })
    }
}

/// Distinct responses that are in a prompt.
pub(super) fn shown(duplicate_of: &[usize], fitting: &Fitting) -> Vec<usize> {
    let distinct = distinct(duplicate_of).into_iter();
    distinct.filter(|response| !fitting.apart.contains_key(response)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Item, Query};
    use crate::plan::{plan, plan_fitting};

    /// Simulates a worker that counts one token per byte, plus 100 for the frame.
    const FRAME: usize = 100;
    const MARKERS: usize = AROUND_RESPONSE;

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
        let prompt = FRAME + order.iter().map(|shown| MARKERS + length(shown)).sum::<usize>();
        let longest = order.iter().copied().max_by_key(length);
        (prompt > limit).then(|| Overflow {
            prompt_tokens: prompt as u32,
            limit_tokens: limit as u32,
            longest_response: longest,
            longest_response_tokens: longest.map_or(0, |longest| length(&longest)) as u32,
        })
    }

    /// Repeats until everything fits or nothing can; `turn` chooses which sample's answer is seen first.
    fn settle(request: &ScoreRequest, limit: usize, turn: usize) -> (Fitting, Plan) {
        settle_with(request, limit, turn, |told| told)
    }

    /// As `settle`, with a server that accepts text: it counts the tokens of the prompt, not those of its responses.
    fn settle_on_text(request: &ScoreRequest, limit: usize, turn: usize) -> (Fitting, Plan) {
        let of_text =
            |told| Overflow { longest_response: None, longest_response_tokens: 0, ..told };
        settle_with(request, limit, turn, of_text)
    }

    fn settle_with(
        request: &ScoreRequest,
        limit: usize,
        turn: usize,
        tell: impl Fn(Overflow) -> Overflow,
    ) -> (Fitting, Plan) {
        let mut fitting = Fitting::default();
        loop {
            let plan = plan_fitting(request, &fitting);
            let mut samples = plan.samples.clone();
            let turn = turn % samples.len();
            samples.rotate_left(turn);
            let told = samples
                .iter()
                .find_map(|spec| Some((tell(overflow(request, &spec.order, limit)?), &spec.order)));
            match told.and_then(|(told, order)| refit(request, &fitting, (&plan, order), &told)) {
                Some(next) => fitting = next,
                None => return (fitting, plan),
            }
        }
    }

    #[test]
    fn a_prompt_of_all_responses_is_split_at_once_into_the_fewest_panels_that_fit() {
        let request = request(&[100; 8], 8, 8);
        let all = [0, 1, 2, 3, 4, 5, 6, 7];
        let told = overflow(&request, &all, 750).unwrap();
        let fitting = refit(&request, &Fitting::default(), (&plan(&request), &all), &told).unwrap();
        assert_eq!(fitting, Fitting { panel: Some(4), ..Fitting::default() });
    }

    #[test]
    fn sixty_four_long_responses_are_all_judged() {
        let (fitting, plan) = settle(&request(&[1000; 64], 8, 8), 4096, 0);
        assert_eq!(fitting, Fitting { panel: Some(3), ..Fitting::default() });
        assert_eq!(plan.samples.len(), 22, "a whole round of panels");
        let mut all: Vec<usize> = plan.samples.into_iter().flat_map(|spec| spec.order).collect();
        all.sort_unstable();
        assert_eq!(all, (0..64).collect::<Vec<_>>());
    }

    #[test]
    fn one_that_is_too_long_costs_the_others_nothing() {
        let others = request(&[120, 80, 100], 4, 8);
        let mut long = others.clone();
        long.item.responses.insert(1, "~".repeat(5000));
        let (fitting, planned) = settle(&long, 1000, 0);
        assert_eq!((fitting.panel, fitting.apart.keys().collect::<Vec<_>>()), (None, vec![&1]));
        // The same as without it, except for the indices of the responses after it.
        let moved = |spec: &crate::domain::SampleSpec| {
            let place = |&response: &usize| response + usize::from(response > 0);
            crate::domain::SampleSpec {
                order: spec.order.iter().map(place).collect(),
                ..spec.clone()
            }
        };
        let alone = plan(&others).samples;
        assert_eq!(planned.samples, alone.iter().map(moved).collect::<Vec<_>>());
    }

    #[test]
    fn one_that_is_too_long_is_set_apart_even_if_its_tokens_are_not_counted() {
        let long = request(&[120, 5000, 80, 100], 4, 8);
        let (fitting, planned) = settle_on_text(&long, 1000, 0);
        assert_eq!((fitting.panel, fitting.apart.keys().collect::<Vec<_>>()), (None, vec![&1]));
        assert_eq!(planned.samples, settle(&long, 1000, 0).1.samples);
        assert_eq!(fitting.apart[&1].prompt_tokens as usize, FRAME + MARKERS + 5000);
    }

    #[test]
    fn without_counts_the_bytes_of_a_response_show_that_the_prompt_is_full_without_it() {
        let (fitting, _) = settle_on_text(&request(&[10, 20, 30], 4, 8), FRAME, 0);
        assert!(fitting.apart.is_empty(), "{fitting:?}");
    }

    #[test]
    fn where_nothing_fits_nothing_is_tried() {
        for (lengths, limit) in [(&[5000][..], 4096), (&[10], FRAME), (&[10, 20], FRAME)] {
            let (fitting, plan) = settle(&request(lengths, 4, 8), limit, 0);
            assert!(fitting.apart.is_empty(), "{fitting:?}");
            assert!(plan.samples.iter().all(|spec| spec.order.len() == 1));
        }
    }

    /// The markers of many short responses weigh more than their texts.
    #[test]
    fn short_responses_whose_markers_overflow_the_prompt_are_split() {
        let request = request(&[2; 8], 8, 8);
        let (fitting, plan) = settle(&request, FRAME + 5 * (MARKERS + 2), 0);
        assert_eq!(fitting, Fitting { panel: Some(4), ..Fitting::default() });
        assert_eq!(plan.samples.len(), 8);
    }

    proptest! {
        #[test]
        fn all_that_fit_alone_are_judged_and_whoever_is_heard_first_changes_nothing(
            lengths in prop::collection::vec(prop_oneof![4 => 1usize..900, 1 => 850usize..2000], 2..20),
            k in 1u32..12, max_panel in 2u32..20, turn in 0usize..64, takes_text in any::<bool>(),
        ) {
            let request = request(&lengths, k, max_panel);
            let settle = if takes_text { settle_on_text } else { settle };
            let (fitting, settled) = settle(&request, 1000, 0);
            let (other, _) = settle(&request, 1000, turn);
            let apart = |fitting: &Fitting| fitting.apart.keys().copied().collect::<Vec<_>>();
            let too_long: Vec<usize> =
                (0..lengths.len()).filter(|&response| FRAME + MARKERS + lengths[response] > 1000).collect();
            if too_long.len() < lengths.len() {
                prop_assert_eq!((fitting.panel, apart(&fitting)), (other.panel, apart(&other)));
                prop_assert_eq!(apart(&fitting), too_long);
                for spec in settled.samples {
                    prop_assert_eq!(overflow(&request, &spec.order, 1000), None);
                }
            }
        }
    }
}
