//! Seeds: a hash of the request's seed, the rendered content and the sample's index.

use crate::digest::Encoder;
use crate::domain::{Item, limits};

/// Digest of everything in an item that reaches a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentDigest(pub [u8; 32]);

/// Digest of query, distinct responses, reference, criteria and principles, and of nothing else.
pub fn content_digest(item: &Item, duplicate_of: &[usize]) -> ContentDigest {
    let distinct = (0..duplicate_of.len()).filter(|&response| duplicate_of[response] == response);
    digest_of_shown(item, &distinct.collect::<Vec<_>>())
}

/// As [`content_digest`], with only the responses in `shown`.
pub(super) fn digest_of_shown(item: &Item, shown: &[usize]) -> ContentDigest {
    let texts: Vec<&str> = shown.iter().map(|&response| &*item.responses[response]).collect();
    let mut encoder = Encoder::new("jury.v1 content digest");
    encoder.query(item);
    encoder.texts(texts.into_iter());
    encoder.guidance(item);
    ContentDigest(encoder.finish())
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
