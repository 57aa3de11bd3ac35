//! The page for people: what fails on this node now, with the way of each packet and where it broke.
//!
//! Made on the server, whole without scripts; a few lines of script renew it in place. It tells what the gRPC port of
//! the loopback tells, so it answers whom that port answers: peers on the loopback, which a port-forward is.

mod access;
mod assets;
mod card;
mod frame;
mod overview;
mod pod;
mod route;

pub use access::Peer;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use egress_core::cluster::PodRef;
use egress_core::history::{Filter, PodFilter, in_order_of_repair};
use egress_core::time::Timestamp;
use egress_core::verdict::Verdict;
use maud::Markup;

use crate::answers::Answers;
use crate::host;
use crate::status::AgentStatus;

/// How far back the page looks.
const SPAN: Duration = Duration::from_secs(24 * 3600);
/// Verdicts on one page; `query` has the rest.
const MAX_SHOWN: usize = 100;
/// Of the rest, so many are counted at most.
const MAX_COUNTED: usize = 500;
/// How long the engine may take to answer.
const ENGINE: Duration = Duration::from_secs(2);

/// The routes of the page, guarded.
pub fn routes<A: Answers>(answers: Arc<A>) -> Router {
    Router::new()
        .route("/", get(overview_page::<A>))
        .route("/pods/{namespace}/{name}", get(pod_page::<A>))
        .with_state(answers)
        .layer(from_fn(access::guard))
}

/// What a page is made of.
struct Seen {
    status: AgentStatus,
    /// In the order of repair, at most [`MAX_SHOWN`].
    verdicts: Vec<Verdict>,
    /// Verdicts that there are beside these.
    more: usize,
    now: Timestamp,
}

async fn overview_page<A: Answers>(State(answers): State<Arc<A>>) -> Response {
    let Some(seen) = look(&*answers, PodFilter::All).await else { return late() };
    let pods = tokio::time::timeout(ENGINE, answers.local_pods()).await.ok().flatten();
    page(overview::overview(&seen, &pods.unwrap_or_default()))
}

async fn pod_page<A: Answers>(
    State(answers): State<Arc<A>>,
    Path((namespace, name)): Path<(String, String)>,
) -> Response {
    let pod = PodRef { namespace, name };
    let Some(seen) = look(&*answers, PodFilter::Pod(pod.clone())).await else { return late() };
    let known = !seen.verdicts.is_empty() || answers.knows_pod(pod.clone()).await;
    let code = if known { StatusCode::OK } else { StatusCode::NOT_FOUND };
    (code, page(pod::pod(&seen, &pod, known))).into_response()
}

impl Seen {
    /// How many are not shown, in words.
    fn older(&self) -> String {
        match self.more {
            MAX_COUNTED => format!("{MAX_COUNTED} or more"),
            more => more.to_string(),
        }
    }
}

async fn look<A: Answers>(answers: &A, pods: PodFilter) -> Option<Seen> {
    let status = tokio::time::timeout(ENGINE, answers.status()).await.ok().flatten()?;
    let now = host::wall_clock();
    let asked = if let PodFilter::Pod(pod) = &pods { Some(pod.clone()) } else { None };
    let span = i64::try_from(SPAN.as_micros()).unwrap_or(i64::MAX);
    let since = Some(Timestamp(now.0.saturating_sub(span)));
    let mut search = answers.search(Filter { pods, since, ..Filter::default() });
    let found = search.next(MAX_SHOWN).await;
    let more = search.next(MAX_COUNTED).await.len();
    let mut verdicts: Vec<Verdict> = found.iter().map(|found| Verdict::clone(found)).collect();
    in_order_of_repair(&mut verdicts, asked.as_ref());
    Some(Seen { status, more, verdicts, now })
}

fn page(content: Markup) -> Response {
    (assets::headers(), content.into_string()).into_response()
}

fn late() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the engine does not answer\n").into_response()
}

#[cfg(test)]
mod tests;
