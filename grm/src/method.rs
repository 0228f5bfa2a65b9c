//! Which method drew a sample: plan, template, parser and guide, each with its version.

use crate::guide::GUIDE_VERSION;
use crate::parse::PARSER_VERSION;
use crate::plan::PLAN_VERSION;
use crate::prompt::Template;

/// Version of parser and guide, which run on the worker. Coordinator and worker must agree on it.
pub fn method_version() -> String {
    format!("parser-{PARSER_VERSION}+guide-{GUIDE_VERSION}")
}

/// Hex digest of plan, template, parser and guide. A vote never mixes samples of different digests.
pub fn method_digest(template: &Template) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("jury.v1 method digest");
    hasher.update(template.digest().as_bytes());
    hasher.update(format!("plan-{PLAN_VERSION}+").as_bytes());
    hasher.update(method_version().as_bytes());
    hasher.finalize().to_hex().to_string()
}
