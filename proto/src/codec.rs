//! tonic's Protobuf codec with one change: bytes that are not the message they claim to be (text that is not UTF-8, a
//! truncated field) are the sender's fault, so they are answered with INVALID_ARGUMENT and the name of the field,
//! where tonic would answer INTERNAL.

use prost::Message;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic::{Code, Status};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use crate::error::{ErrorCode, JuryError};

/// tonic's [`ProstCodec`] with typed decoding errors.
#[derive(Debug, Clone)]
pub struct TypedCodec<T, U>(ProstCodec<T, U>);

/// Decodes, and turns malformed bytes into [`ErrorCode::InvalidArgument`].
#[derive(Debug, Clone)]
pub struct TypedDecoder<U>(ProstDecoder<U>);

// === impl TypedCodec ===

impl<T, U> Default for TypedCodec<T, U> {
    fn default() -> Self {
        Self(ProstCodec::default())
    }
}

impl<T, U> Codec for TypedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = TypedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        self.0.encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        TypedDecoder(self.0.decoder())
    }
}

// === impl TypedDecoder ===

impl<U: Message + Default> Decoder for TypedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        self.0.decode(source).map_err(|status| match status.code() {
            Code::Internal => {
                JuryError::new(ErrorCode::InvalidArgument, status.message().to_owned()).into()
            }
            _ => status,
        })
    }
}
