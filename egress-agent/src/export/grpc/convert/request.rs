//! The question of `Query`.

use std::time::Duration;

use egress_core::cluster::PodRef;
use egress_core::history::{Filter, PodFilter};
use egress_core::time::Timestamp;
use egress_core::verdict::Cause;
use tonic::Status;

use super::super::client::QueryOptions;
use super::super::proto;
use super::words::Word as _;

pub(in super::super) fn query_to_proto(options: &QueryOptions) -> proto::QueryRequest {
    let (namespace, pod) = match &options.pods {
        PodFilter::All => (String::new(), String::new()),
        PodFilter::Namespace(namespace) => (namespace.clone(), String::new()),
        PodFilter::Pod(pod) => (pod.namespace.clone(), pod.name.clone()),
    };
    proto::QueryRequest {
        namespace,
        pod,
        since: options.since.map(|since| prost_types::Duration {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
        }),
        causes: options.causes.iter().map(|cause| cause.to_proto()).collect(),
        to: options.to.as_ref().map(ToString::to_string).unwrap_or_default(),
        follow: options.follow,
        limit: options.limit.unwrap_or(0),
    }
}

/// The filter of a question. What this agent does not understand is refused: an answer that leaves out a condition
/// would be a wrong answer.
pub(in super::super) fn filter_from_proto(
    request: proto::QueryRequest,
    now: Timestamp,
) -> Result<Filter, Status> {
    let pods = match (request.namespace.is_empty(), request.pod.is_empty()) {
        (true, true) => PodFilter::All,
        (false, true) => PodFilter::Namespace(request.namespace),
        (false, false) => PodFilter::Pod(PodRef { namespace: request.namespace, name: request.pod }),
        (true, false) => return Err(Status::invalid_argument("`pod` needs `namespace`")),
    };
    let since = match request.since {
        None => None,
        Some(since) => {
            let since = Duration::try_from(since)
                .map_err(|_| Status::invalid_argument("`since` is a duration before now: not negative"))?;
            let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
            Some(Timestamp(now.0.saturating_sub(micros)))
        }
    };
    let cause = |number: &i32| {
        Cause::known(*number).ok_or_else(|| {
            Status::invalid_argument(format!("this agent does not know the cause numbered {number}"))
        })
    };
    let mut causes = request.causes.iter().map(cause).collect::<Result<Vec<_>, _>>()?;
    // Said often they mean no more, and each is compared with every verdict.
    causes.sort_unstable();
    causes.dedup();
    let to = match request.to.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|e| Status::invalid_argument(format!("`to`: {e}")))?),
    };
    Ok(Filter { pods, since, causes, to })
}
