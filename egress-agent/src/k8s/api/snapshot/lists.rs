//! Lists, a few at a time, begun anew where the server asks for that.

use std::time::Duration;

use egress_core::cluster::{Node, Object};
use futures_util::future::join_all;
use kube::Client;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::progress::Progress;
use super::want::Want;
use crate::k8s::api::body::{Body, encoded};
use crate::k8s::api::discover;
use crate::k8s::api::fault::Fault;
use crate::k8s::api::kinds::Resource;
use crate::k8s::api::object::ReadObject;
use crate::k8s::api::pages::{self, Freshness};
use crate::k8s::api::split::Piece;
use crate::k8s::convert::Invalid;

/// Lists at a time.
const AT_A_TIME: usize = 4;
/// How often a list is begun.
const TRIES: u32 = 4;
/// How long to wait before the next try, at least.
const WAIT: Duration = Duration::from_millis(500);
/// A single object takes no longer.
const SILENCE: Duration = Duration::from_secs(30);

/// What a list brought.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) objects: Vec<Object>,
    /// Objects that cannot be read.
    pub(super) invalid: Vec<Invalid>,
    /// What pods say of the nodes they are on.
    pub(super) hosts: Vec<Node>,
}

/// Reads lists.
pub(super) struct Lists<'a> {
    client: &'a Client,
    progress: &'a Progress,
    places: Semaphore,
}

impl<'a> Lists<'a> {
    pub(super) fn new(client: &'a Client, progress: &'a Progress) -> Self {
        Self { client, progress, places: Semaphore::new(AT_A_TIME) }
    }

    /// Which custom kinds are installed.
    pub(super) async fn custom(&self) -> Result<Vec<Resource>, Fault> {
        discover::installed(self.client).await
    }

    /// Reads everything wanted, and says of each how it went.
    pub(super) async fn read(&self, wants: Vec<Want>) -> Vec<(Want, Result<Found, Fault>)> {
        join_all(wants.into_iter().map(|want| async {
            let outcome = self.read_one(&want).await;
            (want, outcome)
        }))
        .await
    }

    async fn read_one(&self, want: &Want) -> Result<Found, Fault> {
        let Some(resource) = want.resource() else { return Err(Fault::Absent) };
        let _place = self.places.acquire().await;
        if let Want::Namespaces(Some(name)) = want {
            match self.get(&resource, name).await {
                Err(Fault::Forbidden(_)) => {}
                outcome => return outcome,
            }
        }
        let (path, selectors) = (resource.path_in(want.namespace()), Vec::from_iter(want.selector()));
        let mut tries = 0;
        loop {
            let mut found = Found::default();
            let outcome = pages::read(self.client, &path, &selectors, Freshness::Now, |piece| {
                self.progress.count(resource.row.plural);
                found.take(&resource, piece);
            });
            let fault = match outcome.await {
                Ok(_) => return Ok(found),
                Err(fault) => fault,
            };
            tries += 1;
            let begun = !found.objects.is_empty();
            if tries >= TRIES || !passes(&fault, begun) {
                return Err(fault);
            }
            tokio::time::sleep(fault.wait().max(WAIT)).await;
        }
    }

    /// One object of the cluster by its name, which needs another right than a list; none if it is not there.
    async fn get(&self, resource: &Resource, name: &str) -> Result<Found, Fault> {
        let uri = format!("{}/{}", resource.path(), encoded(name));
        let text = match Body::get(self.client, &uri).await {
            Ok(body) => body.whole(SILENCE).await?,
            Err(Fault::Absent) => return Ok(Found::default()),
            Err(fault) => return Err(fault),
        };
        let mut found = Found::default();
        found.take(resource, Piece::Whole(text));
        Ok(found)
    }
}

/// Whether a failure may be over at the next try. `begun`: some of the list has come.
fn passes(fault: &Fault, begun: bool) -> bool {
    match fault {
        Fault::Expired | Fault::Busy(_) => true,
        Fault::Refused(code, _) => *code >= 500,
        Fault::Unreachable(_) => begun,
        Fault::Unauthorized | Fault::Forbidden(_) | Fault::Absent | Fault::Garbled(_) => false,
    }
}

impl Found {
    fn take(&mut self, resource: &Resource, piece: Piece) {
        let value = match &piece {
            Piece::Whole(text) => serde_json::from_slice::<Value>(text).ok(),
            Piece::TooLarge(_) => None,
        };
        let read = match value {
            Some(value) => {
                if resource.row.kind == "Pod" {
                    self.hosts.extend(host(&value));
                }
                ReadObject::of_value(resource, value)
            }
            None => ReadObject::of_piece(resource, piece),
        };
        self.objects.extend(read.object);
        self.invalid.extend(read.invalid);
    }
}

/// The node of a pod, as far as the pod's status tells of it.
fn host(pod: &Value) -> Option<Node> {
    let name = pod["spec"]["nodeName"].as_str().filter(|name| !name.is_empty())?.to_owned();
    let status = &pod["status"];
    let several = status["hostIPs"].as_array().into_iter().flatten().map(|host| &host["ip"]);
    let mut ips = Vec::new();
    for text in several.chain([&status["hostIP"]]).filter_map(Value::as_str) {
        ips.extend(text.parse().ok().filter(|ip| !ips.contains(ip)));
    }
    Some(Node { name, ips, ..Node::default() })
}
