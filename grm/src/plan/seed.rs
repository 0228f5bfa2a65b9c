//! Seeds: a hash of the request's seed, of what is rendered, and of the sample's index.

use crate::domain::{Item, Role, limits};

/// Digest of everything of an item that reaches a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentDigest(pub [u8; 32]);

/// Digest of query, distinct responses, reference, criteria and principles. Every part is
/// hashed with its length, so no two items run together.
pub fn content_digest(item: &Item, classes: &[usize]) -> ContentDigest {
    let mut hasher = blake3::Hasher::new_derive_key("jury.v1 content digest");
    let mut part = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    for turn in item.query.turns() {
        part(match turn.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        });
        part(&turn.content);
    }
    part("responses");
    for (response, text) in item.responses.iter().enumerate() {
        if classes[response] == response {
            part(text);
        }
    }
    part("reference");
    item.reference.iter().for_each(|text| part(text));
    part("criteria");
    item.criteria.iter().flatten().for_each(|text| part(text));
    part("principles");
    item.principles.iter().flatten().for_each(|text| part(text));
    ContentDigest(*hasher.finalize().as_bytes())
}

/// The seed of sample `index`, below 2^53.
pub(super) fn of_sample(request_seed: u64, content: &ContentDigest, index: u32) -> u64 {
    derive("jury.v1 sample seed", request_seed, content, u64::from(index)) & limits::MAX_SEED
}

/// 64 bits for one purpose, named by `context`.
pub(super) fn derive(
    context: &str,
    request_seed: u64,
    content: &ContentDigest,
    number: u64,
) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(&request_seed.to_le_bytes());
    hasher.update(&content.0);
    hasher.update(&number.to_le_bytes());
    let bytes = hasher.finalize();
    let first: [u8; 8] = bytes.as_bytes()[..8].try_into().expect("a hash has 32 bytes");
    u64::from_le_bytes(first)
}
