//! A verdict as bytes: what travels over the wire is also what is stored.

use egress_core::verdict::Verdict;
use prost::Message as _;

use super::{ConvertError, convert, proto};

/// Bytes that are no verdict.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not even a message.
    #[error("not a message: {0}")]
    Message(#[from] prost::DecodeError),
    /// A message that cannot be a verdict.
    #[error(transparent)]
    Verdict(#[from] ConvertError),
}

/// A verdict as the message `egress.v1.Verdict`.
#[must_use]
pub fn encode_verdict(verdict: &Verdict) -> Vec<u8> {
    convert::verdict_to_proto(verdict).encode_to_vec()
}

/// The verdict of such a message.
///
/// # Errors
///
/// The bytes are no verdict.
pub fn decode_verdict(bytes: &[u8]) -> Result<Verdict, DecodeError> {
    Ok(convert::verdict_from_proto(proto::Verdict::decode(bytes)?)?)
}
