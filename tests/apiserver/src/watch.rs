//! Watches: an event a line, for as long as the client stays or its timeout lasts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, watch};

use crate::fault::Disturbance;
use crate::request::Call;
use crate::select::Selection;
use crate::status::Refusal;
use crate::store::{Change, Store};

/// Events on their way to a client that does not read.
const WAITING: usize = 64;
/// How long a watch lasts that names no timeout; the API server takes 30 to 60 minutes.
const TIMEOUT: Duration = Duration::from_secs(1800);
/// How often a client that wants bookmarks gets one (`bookmarkFrequency` of the watch cache).
const BOOKMARKS: Duration = Duration::from_secs(60);

pub(crate) type Lines = mpsc::Receiver<Result<Frame<Bytes>, std::io::Error>>;
/// The body of a watch's answer.
pub(crate) type Body = StreamBody<LineStream>;

/// The lines as a stream.
pub(crate) struct LineStream(Lines);

impl futures_util::Stream for LineStream {
    type Item = Result<Frame<Bytes>, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

/// Disturbances told to every open watch, with the resource they are for.
pub(crate) type Disturbances = broadcast::Sender<(String, Disturbance)>;

/// One open watch.
struct Watch {
    store: Arc<Mutex<Store>>,
    call: Call,
    selection: Selection,
    /// Told up to this version.
    version: u64,
    bookmarks: bool,
    lines: mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>,
}

/// The client is gone, or was made to be.
struct Ended;

/// Begins a watch; it goes on in a task of its own.
pub(crate) fn watch(
    store: &Arc<Mutex<Store>>,
    disturbances: &Disturbances,
    call: &Call,
) -> Result<Body, Refusal> {
    let selection = Selection::of(call)?;
    let initial = call.query.is_set("sendInitialEvents");
    let bookmarks = call.query.is_set("allowWatchBookmarks");
    if initial && !(bookmarks && call.query.get("resourceVersionMatch") == Some("NotOlderThan")) {
        let message =
            "sendInitialEvents: needs resourceVersionMatch=NotOlderThan and allowWatchBookmarks=true";
        return Err(Refusal::new(422, message));
    }
    let asked = call.query.number("resourceVersion")?.unwrap_or(0);
    let timeout = call.query.number("timeoutSeconds")?.map_or(TIMEOUT, Duration::from_secs);
    let held = store.lock().unwrap_or_else(PoisonError::into_inner);
    held.kind(&call.resource).ok_or_else(Refusal::no_such_resource)?;
    if asked > 0 && asked < held.compacted() {
        return Err(Refusal::expired(asked, held.compacted()));
    }
    // Without a version everything there is comes as added first.
    let present: Vec<_> = if initial || asked == 0 {
        let objects = held.list(&call.resource).map(|(_, object)| Arc::clone(object));
        objects.filter(|object| selection.selects(object)).collect()
    } else {
        Vec::new()
    };
    let version = if initial || asked == 0 { held.version() } else { asked };
    let newest = held.newest();
    drop(held);
    let (lines, body) = mpsc::channel(WAITING);
    let watch = Watch { store: Arc::clone(store), call: call.clone(), selection, version, bookmarks, lines };
    tokio::spawn(watch.run(present, initial, timeout, newest, disturbances.subscribe()));
    Ok(StreamBody::new(LineStream(body)))
}

impl Watch {
    async fn run(
        mut self,
        present: Vec<Arc<Value>>,
        initial: bool,
        timeout: Duration,
        newest: watch::Receiver<u64>,
        disturbances: broadcast::Receiver<(String, Disturbance)>,
    ) {
        let told = async {
            for object in present {
                self.event("ADDED", &object).await?;
            }
            if initial {
                self.bookmark(true).await?;
            }
            self.follow(newest, disturbances).await
        };
        // Either way the body ends when the sender goes.
        let _: Result<Result<(), Ended>, _> = tokio::time::timeout(timeout, told).await;
        if self.bookmarks {
            // Just before a watch times out, as the API server does; where the client is gone nobody hears it.
            let _: Result<(), Ended> = self.bookmark(false).await;
        }
    }

    async fn follow(
        &mut self,
        mut newest: watch::Receiver<u64>,
        mut disturbances: broadcast::Receiver<(String, Disturbance)>,
    ) -> Result<(), Ended> {
        let mut bookmarks = tokio::time::interval_at(tokio::time::Instant::now() + BOOKMARKS, BOOKMARKS);
        loop {
            self.catch_up().await?;
            let lines = self.lines.clone();
            tokio::select! {
                changed = newest.changed() => changed.map_err(|_| Ended)?,
                disturbed = disturbances.recv() => {
                    let Ok((resource, disturbance)) = disturbed else { continue };
                    if resource == "*" || resource == self.call.resource.plural {
                        self.catch_up().await?;
                        self.disturb(disturbance).await?;
                    }
                }
                _ = bookmarks.tick(), if self.bookmarks => self.bookmark(false).await?,
                () = lines.closed() => return Err(Ended),
            }
        }
    }

    /// Tells what changed since the version told last.
    async fn catch_up(&mut self) -> Result<(), Ended> {
        let (events, newest) = {
            let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
            let mine = |change: &&Change| change.resource == self.call.resource;
            let changes = store.changes_after(self.version).filter(mine);
            (changes.filter_map(|change| self.told(change)).collect::<Vec<_>>(), store.version())
        };
        for (kind, object) in events {
            self.event(kind, &object).await?;
        }
        self.version = newest;
        Ok(())
    }

    /// How a change looks to a watch of its selection.
    fn told(&self, change: &Change) -> Option<(&'static str, Arc<Value>)> {
        let selects = |object: &Option<Arc<Value>>| {
            object.as_ref().is_some_and(|object| self.selection.selects(object))
        };
        let kind = match (selects(&change.before), selects(&change.after)) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return None,
        };
        Some((kind, Arc::clone(&change.last)))
    }

    async fn disturb(&mut self, disturbance: Disturbance) -> Result<(), Ended> {
        match disturbance {
            Disturbance::Bookmark => self.bookmark(false).await,
            Disturbance::Line(line) => self.line(format!("{line}\n")).await,
            Disturbance::End => Err(Ended),
            Disturbance::Gone => {
                let status = Refusal::expired(self.version, self.version + 1).to_json();
                self.line(format!("{}\n", json!({"type": "ERROR", "object": status}))).await?;
                Err(Ended)
            }
            Disturbance::Cut => {
                self.bookmarks = false;
                self.line("{\"type\":\"MODIFIED\",\"object\":{\"kind\":".to_owned()).await?;
                // The half event leaves before the connection breaks.
                while self.lines.capacity() < WAITING {
                    tokio::task::yield_now().await;
                }
                tokio::task::yield_now().await;
                let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                // Where the client is gone already it needs no breaking.
                let _ = self.lines.send(Err(broken)).await;
                Err(Ended)
            }
        }
    }

    async fn bookmark(&self, initial_end: bool) -> Result<(), Ended> {
        let resource = &self.call.resource;
        let kind = {
            let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
            store.kind(resource).map(|kind| kind.kind.clone()).unwrap_or_default()
        };
        let mut metadata = json!({"resourceVersion": self.version.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = json!({"kind": kind, "apiVersion": resource.api_version(), "metadata": metadata});
        self.line(format!("{}\n", json!({"type": "BOOKMARK", "object": object}))).await
    }

    async fn event(&self, kind: &str, object: &Value) -> Result<(), Ended> {
        self.line(format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")).await
    }

    async fn line(&self, line: String) -> Result<(), Ended> {
        self.lines.send(Ok(Frame::data(Bytes::from(line)))).await.map_err(|_| Ended)
    }
}
