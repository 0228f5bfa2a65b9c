//! The `jury.v1` contracts: generated code, conversions to domain types, and error codes.
//!
//! The `.proto` files stand in `proto/jury/v1`; the code generated from them is committed under
//! `src/gen` (`make proto` writes it anew, a test holds it equal), so building needs no protoc.
//!
//! Protobuf becomes domain once, at the edge, by the `TryFrom` impls of [`convert`]; nothing past
//! a `service.rs` sees a [`v1`] message.

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

/// Most items of one stream that a client leaves unanswered, and that a coordinator judges at once: an item that nobody has read yet
/// would spend its budget unseen.
pub const MOST_IN_FLIGHT: usize = 1024;

/// The encoded descriptors of `jury.v1`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/jury.v1.bin");
