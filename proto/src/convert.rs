//! Conversions between protobuf and domain types, made once, at the edge.
//!
//! Reading is `TryFrom`: a message from the wire may lack anything, and the error names the field. Writing is `From`:
//! a domain value always has a wire form.

mod enums;
mod error;
mod item;
mod progress;
mod ranking;
mod request;
mod sample;
mod sampling;
mod settings;
mod verdict;
mod voting;
mod worker;

#[cfg(test)]
mod tests;

pub use ranking::{RankRequest, Ranked, Trajectory};
pub use sampling::{SampleGroup, TooLarge, TooLong};
pub use worker::{AdaptedModel, Capabilities, Head, WorkerInfo, WorkerRole};

use crate::error::JuryError;

/// The value of a required field.
fn required<T>(field: &'static str, value: Option<T>) -> Result<T, JuryError> {
    value.ok_or_else(|| JuryError::invalid(field, "is missing"))
}

fn indices_to_pb(indices: &[usize]) -> Vec<u32> {
    indices.iter().map(|&index| index_to_pb(index)).collect()
}

fn indices_from_pb(indices: Vec<u32>) -> Vec<usize> {
    indices.into_iter().map(|index| index as usize).collect()
}

/// Indices of responses and samples are bounded by the request's limits, far below 2^32.
fn index_to_pb(index: usize) -> u32 {
    u32::try_from(index).expect("an index is below the limits of a request")
}
