//! The `jury.v1` contracts: generated code, conversions to domain types, and error codes.
//!
//! The `.proto` files are in `proto/jury/v1`. The code generated from them is committed under `src/gen`, so building
//! needs no protoc; `make proto` regenerates it, and a test checks that it is up to date.
//!
//! Protobuf becomes domain types once, at the edge, through the `TryFrom` impls of [`convert`].

mod codec;
pub mod convert;
pub mod error;
mod stream;

pub use error::{ErrorCode, JuryError};

/// Messages, clients and servers generated from `jury/v1/*.proto`.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic)]
#[rustfmt::skip]
pub mod v1 {
    include!("gen/jury.v1.rs");

    pub use crate::stream::ScoreStreamRequest;
}

/// Maximum number of items of one stream that a client leaves unanswered and that a coordinator judges at once: an
/// item that nobody has read yet would spend its budget unnoticed.
pub const MOST_IN_FLIGHT: usize = 1024;

/// The encoded descriptors of `jury.v1`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/jury.v1.bin");
