//! Follows one resource: a list, then a watch from there on, for ever. Failures are waited out and told.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use egress_core::cluster::{ClusterChange, Object, ObjectRef};
use kube::Client;
use serde_json::Value;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::body::{Body, encoded};
use super::fault::Fault;
use super::hub::{Batch, Hub};
use super::kinds::{Resource, Scope};
use super::object::{ReadObject, forms, stand_in};
use super::pages::{self, Freshness};
use super::split::{Lines, Piece};

/// A watch lasts so long, and up to a quarter longer; then it is begun anew, which costs the server little.
const WATCH: Duration = Duration::from_secs(240);
/// How much longer than it should a watch may be silent.
const LATE: Duration = Duration::from_secs(15);
/// A server that sends bookmarks does so every minute; a watch that stops getting them is dead.
const BOOKMARKS: Duration = Duration::from_secs(150);
/// A watch that lasted so long worked; one that did not is not begun anew at once.
const WORKED: Duration = Duration::from_secs(5);

/// What a resource is followed with.
pub(super) struct Follower {
    client: Client,
    resource: Resource,
    /// Name of this node.
    node: String,
    hub: Arc<Hub>,
    backoff: Backoff,
    /// Objects told of that a reset of the resource's kind does not cover.
    told: BTreeSet<ObjectRef>,
    /// A list from the server's cache is good enough, as long as it cannot be older than what is known.
    any_version: bool,
}

/// What a watch's line says.
#[derive(serde::Deserialize)]
struct Event {
    r#type: String,
    object: Value,
}

impl Follower {
    pub(super) fn new(client: Client, resource: Resource, node: &str, hub: Arc<Hub>) -> Self {
        let backoff = Backoff::new(seed(node, &resource.qualified()));
        let (node, told) = (node.to_owned(), BTreeSet::new());
        Self { client, resource, node, hub, backoff, told, any_version: true }
    }

    /// Follows; ends when the server has no such resource (any more) and it is one that may be absent.
    pub(super) async fn follow(mut self) -> Resource {
        let mut version = None;
        loop {
            let (verb, outcome) = match &mut version {
                None => ("list", self.list().await.map(|listed| version = Some(listed))),
                Some(version) => ("watch", self.watch(version).await),
            };
            let Err(fault) = outcome else { continue };
            if fault == Fault::Absent && self.resource.row.is_custom() {
                let gone = std::mem::take(&mut self.told);
                let changes = gone.into_iter().map(|object| ClusterChange::Delete { object }).collect();
                self.hub.absent(&self.resource, changes);
                return self.resource;
            }
            // After a refusal, and where it is not known what was missed, only a list says what there is.
            if fault.is_refusal() || matches!(fault, Fault::Expired | Fault::Garbled(_)) {
                version = None;
            }
            let wait = self.backoff.next(fault.wait());
            // That a version is too old is not worth a word: the list that follows mends it.
            if fault != Fault::Expired {
                self.tell_fault(verb, fault);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Policies that cannot be read at all: there is one thing that stands for all of them.
    fn tell_fault(&mut self, verb: &'static str, fault: Fault) {
        let mut changes = Vec::new();
        if matches!(fault, Fault::Forbidden(_) | Fault::Absent)
            && let Some(object) = stand_in(&self.resource, "", "")
        {
            // What was known of them is of an earlier time, and nobody tells any more.
            if self.told.insert(object.reference()) {
                changes.push(ClusterChange::Apply { object });
            }
        }
        self.hub.failed(&self.resource, verb, fault, changes);
    }

    /// Reads everything there is, and gives the version to watch from.
    async fn list(&mut self) -> Result<String, Fault> {
        let at = self.hub.now();
        let (mut objects, mut invalid) = (Vec::new(), Vec::new());
        let freshness = if self.any_version { Freshness::Cached } else { Freshness::Now };
        let version =
            pages::read(&self.client, &self.resource.path(), &self.selectors(), freshness, |piece| {
                let read = ReadObject::of_piece(&self.resource, piece);
                objects.extend(read.object);
                invalid.extend(read.invalid);
            })
            .await?;
        self.any_version = false;
        let changes = self.reset(objects);
        self.hub.listed(&self.resource, at, changes, invalid);
        Ok(version)
    }

    /// What a list changes.
    fn reset(&mut self, objects: Vec<Object>) -> Vec<ClusterChange> {
        let own = self.resource.row.object;
        let (mine, others): (Vec<_>, Vec<_>) =
            objects.into_iter().partition(|object| Some(object.reference().kind) == own);
        let mut changes: Vec<_> =
            own.map(|kind| ClusterChange::Reset { kind, objects: mine }).into_iter().collect();
        let now: BTreeSet<_> = others.iter().map(Object::reference).collect();
        let gone = self.told.difference(&now).cloned();
        changes.extend(gone.map(|object| ClusterChange::Delete { object }));
        changes.extend(others.into_iter().map(|object| ClusterChange::Apply { object }));
        self.told = now;
        changes
    }

    /// Follows from a version on, until the watch ends.
    async fn watch(&mut self, version: &mut String) -> Result<(), Fault> {
        let lasts = WATCH + self.backoff.jittered(WATCH / 6);
        let query = vec![
            "watch=true".to_owned(),
            "allowWatchBookmarks=true".to_owned(),
            format!("timeoutSeconds={}", lasts.as_secs()),
            format!("resourceVersion={}", encoded(version)),
        ];
        let mut body = Body::get(&self.client, &self.uri(query)).await?;
        let began = Instant::now();
        self.hub.answers(&self.resource);
        let mut lines = Lines::default();
        let mut silence = lasts + LATE;
        loop {
            let next = body.next(silence).await;
            if began.elapsed() >= WORKED {
                self.backoff.reset();
            }
            let bytes = next?;
            if bytes.is_empty() {
                break;
            }
            let mut batch = Batch::default();
            let mut ended = Ok(());
            let mut heard = false;
            for piece in lines.push(&bytes) {
                match self.event(piece, version, &mut batch) {
                    Ok(bookmark) => {
                        heard = true;
                        if bookmark {
                            silence = silence.min(BOOKMARKS);
                        }
                    }
                    Err(fault) => {
                        ended = Err(fault);
                        break;
                    }
                }
            }
            if heard {
                self.hub.watched(&self.resource, batch);
            }
            ended?;
        }
        if began.elapsed() < WORKED {
            return Err(Fault::Unreachable("the watch ended as soon as it began".to_owned()));
        }
        // A watch that lasted and ended in order has told everything.
        self.hub.watched(&self.resource, Batch::default());
        Ok(())
    }

    /// One line of a watch. Whether it is a bookmark.
    fn event(&mut self, piece: Piece, version: &mut String, batch: &mut Batch) -> Result<bool, Fault> {
        let text = match piece {
            Piece::Whole(text) => text,
            too_large @ Piece::TooLarge(_) => {
                self.applied(ReadObject::of_piece(&self.resource, too_large), version, batch);
                return Ok(false);
            }
        };
        let event: Event = serde_json::from_slice(&text)
            .map_err(|error| Fault::Garbled(format!("a line that is no event: {error}")))?;
        match event.r#type.as_str() {
            "ADDED" | "MODIFIED" => {
                self.applied(ReadObject::of_value(&self.resource, event.object), version, batch);
            }
            "DELETED" => {
                let read = ReadObject::of_value(&self.resource, event.object);
                let converted = read.object.map(|object| object.reference());
                let forms = forms(&self.resource, &read.namespace, &read.name).chain(converted);
                for object in forms.collect::<BTreeSet<_>>() {
                    self.forget(object, batch);
                }
                *version = read.version;
                batch.read.push((read.label, None));
            }
            "BOOKMARK" => {
                let told = event.object["metadata"]["resourceVersion"].as_str();
                *version =
                    told.ok_or_else(|| Fault::Garbled("a bookmark without a version".to_owned()))?.to_owned();
                return Ok(true);
            }
            "ERROR" => {
                let code = event.object["code"].as_u64().and_then(|code| u16::try_from(code).ok());
                let message = event.object["message"].as_str().unwrap_or_default();
                return Err(Fault::of_status(code.unwrap_or(500), message, Duration::ZERO));
            }
            other => return Err(Fault::Garbled(format!("an event of type \"{other}\""))),
        }
        Ok(false)
    }

    fn applied(&mut self, read: ReadObject, version: &mut String, batch: &mut Batch) {
        if !read.version.is_empty() {
            *version = read.version;
        }
        // An object that cannot be read any more gives way to what stands for it, and the other way round.
        let now = read.object.as_ref().map(Object::reference);
        for other in forms(&self.resource, &read.namespace, &read.name) {
            if Some(&other) != now.as_ref() {
                self.forget(other, batch);
            }
        }
        if let Some(object) = read.object {
            let reference = object.reference();
            if Some(reference.kind) != self.resource.row.object {
                self.told.insert(reference);
            }
            batch.changes.push(ClusterChange::Apply { object });
        }
        batch.read.push((read.label, read.invalid));
    }

    /// Tells that an object is gone, if it was told of.
    fn forget(&mut self, object: ObjectRef, batch: &mut Batch) {
        // Those of the resource's own kind are not counted: deleting what is not there does nothing.
        if self.told.remove(&object) || Some(object.kind) == self.resource.row.object {
            batch.changes.push(ClusterChange::Delete { object });
        }
    }

    fn uri(&self, mut query: Vec<String>) -> String {
        query.extend(self.selectors());
        format!("{}?{}", self.resource.path(), query.join("&"))
    }

    /// Which objects of the resource are meant, as a query says it.
    fn selectors(&self) -> Vec<String> {
        match self.resource.row.scope {
            Scope::Node => {
                vec![format!("fieldSelector={}", encoded(&format!("spec.nodeName={}", self.node)))]
            }
            Scope::All => Vec::new(),
        }
    }
}

/// Tells nodes and resources apart, so that they do not wait alike.
pub(super) fn seed(node: &str, resource: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (node, resource, std::process::id()).hash(&mut hasher);
    hasher.finish()
}
