//! The plan: k samples with their seeds and orders, as a pure function of the request.
//!
//! ```text
//! responses -> classes (identical ones collapsed) -> orders, balanced by index -> seeds
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
    /// Per response, the lowest index with the same bytes. Only those are ever shown.
    pub classes: Vec<usize>,
    /// Digest of what is rendered.
    pub content: ContentDigest,
}

/// Plans `request`, which must be valid.
pub fn plan(request: &ScoreRequest) -> Plan {
    let classes = classes(&request.item.responses);
    let content = content_digest(&request.item, &classes);
    let shown: Vec<usize> =
        (0..classes.len()).filter(|&response| classes[response] == response).collect();
    let max_panel = request.settings.max_panel as usize;
    let samples = (0..request.settings.k)
        .map(|index| SampleSpec {
            index,
            seed: seed::of_sample(request.seed, &content, index),
            order: order::of_sample(&shown, max_panel, &content, request.seed, index),
        })
        .collect();
    Plan { samples, classes, content }
}

/// Per response, the lowest index of a response with the same bytes.
pub fn classes(responses: &[String]) -> Vec<usize> {
    responses
        .iter()
        .map(|text| responses.iter().position(|first| first == text).expect("it is in there"))
        .collect()
}

#[cfg(test)]
mod tests;
