//! One item of a `ScoreStream`, with its request still encoded.
//!
//! tonic ends a stream if one of its messages cannot be decoded, and everything in flight is lost. An embedded message
//! and a bytes field look the same on the wire, so only the outer message is decoded first, and a malformed request
//! becomes an error of its own item.

use bytes::Bytes;
use prost::Message;

use crate::JuryError;
use crate::v1;

/// `jury.v1.ScoreStreamRequest`, in place of the generated type.
#[derive(Clone, PartialEq, Message)]
pub struct ScoreStreamRequest {
    /// Chosen by the caller, echoed in the answer.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// A `jury.v1.ScoreRequest`, not yet decoded.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub request: Option<Bytes>,
    /// Whether to report progress of this item.
    #[prost(bool, tag = "3")]
    pub with_progress: bool,
}

// === impl ScoreStreamRequest ===

impl ScoreStreamRequest {
    /// A request as an item of a stream, without progress.
    pub fn new(sequence: u64, request: &v1::ScoreRequest) -> Self {
        Self { sequence, request: Some(request.encode_to_vec().into()), with_progress: false }
    }

    /// Decodes the request and frees the bytes it came in: what decoding skips, such as unknown fields, may be most of them.
    ///
    /// # Errors
    /// INVALID_ARGUMENT if it is missing, or if its bytes are not a `ScoreRequest`.
    pub fn into_request(self) -> Result<v1::ScoreRequest, JuryError> {
        let bytes = self.request.ok_or_else(|| JuryError::invalid("request", "is missing"))?;
        v1::ScoreRequest::decode(bytes)
            .map_err(|error| JuryError::invalid("request", format!("cannot be decoded: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_the_way_through_the_stream() {
        let request = v1::ScoreRequest { seed: 7, ..v1::ScoreRequest::default() };
        let sent = ScoreStreamRequest::new(3, &request).encode_to_vec();
        let read = ScoreStreamRequest::decode(&sent[..]).unwrap();
        assert_eq!((read.sequence, read.into_request().unwrap()), (3, request));
    }

    #[test]
    fn text_that_is_not_utf_8_is_an_error_of_its_item_and_the_sequence_is_still_read() {
        // Field 2 (model), two bytes that are not UTF-8.
        let broken = Bytes::from_static(&[0x12, 0x02, 0xff, 0xfe]);
        let sent = ScoreStreamRequest { sequence: 9, request: Some(broken), with_progress: false }
            .encode_to_vec();
        let read = ScoreStreamRequest::decode(&sent[..]).unwrap();
        assert_eq!(read.sequence, 9);
        let error = read.into_request().unwrap_err();
        assert!(error.message.contains("UTF-8"), "{error}");
    }
}
