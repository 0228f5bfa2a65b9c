//! The plan: k samples with their seeds and orders, as a pure function of the request.
//!
//! ```text
//! responses -> distinct ones -> orders, balanced by index -> seeds
//! ```
//!
//! The plan depends on what is rendered and on the request's seed and settings; never on ids,
//! labels or the best response.

mod order;
mod seed;

use crate::domain::{SampleSpec, ScoreRequest};

pub use seed::{ContentDigest, content_digest};

/// Version of orders and seeds. Part of the method digest: change it when the same request would get others.
pub const PLAN_VERSION: u32 = 2;

/// The samples of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Every sample, by index.
    pub samples: Vec<SampleSpec>,
    /// Per response, the lowest index with the same bytes: its own if it is distinct from those
    /// before it. Only distinct responses are ever shown.
    pub duplicate_of: Vec<usize>,
    /// Digest of what is rendered.
    pub content: ContentDigest,
}

/// Plans `request`, which must be valid.
pub fn plan(request: &ScoreRequest) -> Plan {
    let duplicate_of = duplicate_of(&request.item.responses);
    let content = content_digest(&request.item, &duplicate_of);
    let shown: Vec<usize> =
        (0..duplicate_of.len()).filter(|&response| duplicate_of[response] == response).collect();
    let max_panel = request.settings.max_panel as usize;
    let samples = (0..request.settings.k)
        .map(|index| SampleSpec {
            index,
            seed: seed::of_sample(request.seed, &content, index),
            order: order::of_sample(&shown, max_panel, &content, request.seed, index),
        })
        .collect();
    Plan { samples, duplicate_of, content }
}

/// Per response, the lowest index of a response with the same bytes.
pub fn duplicate_of(responses: &[String]) -> Vec<usize> {
    responses
        .iter()
        .map(|text| responses.iter().position(|first| first == text).expect("it is in there"))
        .collect()
}

#[cfg(test)]
mod tests;
