//! The plan: k samples with their seeds and orders, and spare samples, as a pure function of the request.
//!
//! ```text
//! responses -> distinct ones -> orders, balanced by index -> seeds
//! ```
//!
//! The plan depends on what is rendered and on the request's seed and settings, never on ids, labels or the best
//! response.

mod fitting;
mod order;
mod seed;

use crate::domain::{SampleSpec, ScoreRequest, Settings};

pub use fitting::{Fitting, Overflow, refit};
pub use seed::{ContentDigest, content_digest};

/// Version of orders and seeds. Part of the method digest: change it when the same request would get different ones.
pub const PLAN_VERSION: u32 = 3;

/// The samples of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The k samples, by index; or as many as one round of panels takes, if that is more.
    pub samples: Vec<SampleSpec>,
    /// Spare samples, whose indices and orders continue those of `samples`. Spare j is drawn when at least j + 1 of the
    /// samples before it ended without scores of their own.
    pub spares: Vec<SampleSpec>,
    /// Number of samples after which orders are balanced: each multiple of it has shown every response equally often,
    /// and, with up to `max_panel` responses, in every position equally often. At least 1.
    pub block: u32,
    /// For each response, the lowest index with the same bytes; this is its own index if no earlier response is equal.
    /// Only distinct responses are ever shown.
    pub duplicate_of: Vec<usize>,
    /// Digest of what is rendered.
    pub content: ContentDigest,
}

/// How much has to be prefilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Distinct prompts. With several panels, counted as one per sample: two deals may coincide, but hardly ever do.
    pub n_prompts: u32,
    /// Samples planned: k, or one per panel if there are more panels than that.
    pub n_samples: u32,
    /// Distinct responses.
    pub n_shown: u32,
    /// Bytes of the distinct responses.
    pub shown_bytes: u64,
    /// Maximum number of responses that a prompt shows.
    pub panel: u32,
}

/// Plans `request`, which must be valid.
pub fn plan(request: &ScoreRequest) -> Plan {
    plan_fitting(request, &Fitting::default())
}

/// As [`plan`], with prompts that fit the model's context. The responses that are shown are planned as if there were no
/// others.
pub fn plan_fitting(request: &ScoreRequest, fitting: &Fitting) -> Plan {
    let duplicate_of = duplicate_of(&request.item.responses);
    let shown = fitting::shown(&duplicate_of, fitting);
    let content = seed::digest_of_shown(&request.item, &shown);
    let max_panel = fitting.panel.unwrap_or(request.settings.max_panel) as usize;
    in_panels(request, duplicate_of, (&shown, content), max_panel)
}

/// Plans a request that shows these responses, given their digest: no text is read.
fn in_panels(
    request: &ScoreRequest,
    duplicate_of: Vec<usize>,
    (shown, content): (&[usize], ContentDigest),
    max_panel: usize,
) -> Plan {
    // Every response is shown.
    let n_panels = u32::try_from(shown.len().div_ceil(max_panel));
    let n_panels = n_panels.expect("responses are below the request's limit");
    let k = request.settings.k.max(n_panels);
    let spec = |index| SampleSpec {
        index,
        seed: seed::of_sample(request.seed, &content, index),
        order: order::of_sample(shown, max_panel, &content, request.seed, index),
    };
    let samples = (0..k).map(spec).collect();
    let spares = (k..k + request.voting.refill).map(spec).collect();
    let block = order::block(shown.len(), max_panel);
    Plan { samples, spares, block, duplicate_of, content }
}

/// How much has to be prefilled for the k samples of `request`, without planning them.
pub fn extent(request: &ScoreRequest) -> Extent {
    let Settings { k, max_panel, .. } = request.settings;
    let responses = &request.item.responses;
    let shown = distinct(&duplicate_of(responses));
    let shown_bytes = shown.iter().map(|&response| responses[response].len() as u64).sum();
    let n_shown = u32::try_from(shown.len()).expect("responses are below the request's limit");
    let n_panels = n_shown.div_ceil(max_panel).max(1);
    let n_samples = k.max(n_panels);
    let n_prompts = if n_panels == 1 { k.min(n_shown) } else { n_samples };
    Extent { n_prompts, n_samples, n_shown, shown_bytes, panel: n_shown.div_ceil(n_panels) }
}

/// For each response, the lowest index of a response with the same bytes.
pub fn duplicate_of(responses: &[String]) -> Vec<usize> {
    responses
        .iter()
        .map(|text| responses.iter().position(|first| first == text).expect("it is in there"))
        .collect()
}

/// The responses that are shown: the first of each set with the same bytes.
fn distinct(duplicate_of: &[usize]) -> Vec<usize> {
    (0..duplicate_of.len()).filter(|&response| duplicate_of[response] == response).collect()
}

#[cfg(test)]
mod tests;
