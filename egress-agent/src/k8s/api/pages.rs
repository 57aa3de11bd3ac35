//! A list, page by page and object by object.

use std::time::Duration;

use kube::Client;
use serde_json::Value;

use super::body::{Body, encoded};
use super::fault::Fault;
use super::split::{Items, Piece};

/// Objects in a page.
const PAGE: u32 = 500;
/// A list is dead when nothing came for so long.
const SILENCE: Duration = Duration::from_secs(30);

/// How old a list may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// As old as the server's cache.
    Cached,
    /// As things are now.
    Now,
}

/// Reads all pages of the list at `path` and gives each object's text to `each`; the version of the list.
pub(super) async fn read(
    client: &Client,
    path: &str,
    selectors: &[String],
    freshness: Freshness,
    mut each: impl FnMut(Piece),
) -> Result<String, Fault> {
    let mut next = None::<String>;
    loop {
        let mut query = vec![format!("limit={PAGE}")];
        query.extend(next.as_ref().map(|token| format!("continue={}", encoded(token))));
        if freshness == Freshness::Cached && next.is_none() {
            query.push("resourceVersion=0".to_owned());
        }
        query.extend_from_slice(selectors);
        let mut body = Body::get(client, &format!("{path}?{}", query.join("&"))).await?;
        let mut items = Items::default();
        loop {
            let bytes = body.next(SILENCE).await?;
            if bytes.is_empty() {
                break;
            }
            items.push(&bytes).into_iter().for_each(&mut each);
        }
        let head = items.head().ok_or_else(|| Fault::Unreachable("the list ended early".to_owned()))?;
        let head: Value = serde_json::from_slice(&head).map_err(|error| Fault::Garbled(error.to_string()))?;
        let metadata = |field: &str| head["metadata"][field].as_str().filter(|text| !text.is_empty());
        next = metadata("continue").map(str::to_owned);
        if next.is_none() {
            let version = metadata("resourceVersion").map(str::to_owned);
            return version.ok_or_else(|| Fault::Garbled("a list without resourceVersion".to_owned()));
        }
    }
}
