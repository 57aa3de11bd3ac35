//! Messages as they come from the wire, without the wire: for the fuzz targets.

use egress_core::history::Filter;
use egress_core::time::Timestamp;
use egress_core::verdict::Verdict;
use prost::Message as _;

use super::{convert, proto};

/// A question of `Query`. `None`: not even a message.
pub(crate) fn query_request(message: &[u8]) -> Option<Result<Filter, String>> {
    let request = proto::QueryRequest::decode(message).ok()?;
    Some(convert::filter_from_proto(request, Timestamp(0)).map_err(|status| status.message().to_owned()))
}

/// A question of `Explain`; what was understood is written and read again.
pub(crate) fn explain_request(message: &[u8]) -> Option<Result<(), String>> {
    let request = proto::ExplainRequest::decode(message).ok()?;
    let understood = convert::explain_request_from_proto(request);
    let again = |request| convert::explain_request_from_proto(convert::explain_request_to_proto(&request));
    Some(understood.and_then(again).map(drop).map_err(|status| status.message().to_owned()))
}

/// An answer of `Explain`; what was understood is written and read again.
pub(crate) fn explain_answer(message: &[u8]) -> Option<Result<(), String>> {
    let answer = proto::ExplainResponse::decode(message).ok()?;
    let understood = convert::explanation_from_proto(answer);
    let again = |answer| convert::explanation_from_proto(convert::explanation_to_proto(&answer));
    Some(understood.and_then(again).map(drop).map_err(|error| error.to_string()))
}

/// A verdict.
pub(crate) fn verdict(message: &[u8]) -> Option<Result<Verdict, String>> {
    let verdict = proto::Verdict::decode(message).ok()?;
    Some(convert::verdict_from_proto(verdict).map_err(|error| error.to_string()))
}

/// A verdict as it is sent.
pub(crate) fn verdict_message(verdict: &Verdict) -> Vec<u8> {
    convert::verdict_to_proto(verdict).encode_to_vec()
}
