//! The objects, and what happened to them: one history of versions for everything, as etcd has it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::kinds::{self, Kind, Resource};

/// Versions begin here: a client that mixes them up with counts is caught.
const FIRST_VERSION: u64 = 1000;
/// So many changes are remembered for watches.
const HISTORY: usize = 65_536;

/// An object that cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It has no name.
    #[error("the object has no apiVersion, kind or metadata.name: {0}")]
    Unnamed(String),
    /// Nothing serves its kind: define it first.
    #[error(
        "no resource of kind {kind} in {api_version}: define it, or apply its CustomResourceDefinition first"
    )]
    UnknownKind {
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
}

/// Namespace (empty for objects of the cluster) and name.
pub(crate) type Key = (String, String);

/// What happened to an object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) resource: Resource,
    pub(crate) before: Option<Arc<Value>>,
    /// `None`: it was deleted, and `last` is how a watch is told.
    pub(crate) after: Option<Arc<Value>>,
    pub(crate) last: Arc<Value>,
}

#[derive(Debug)]
pub(crate) struct Store {
    kinds: BTreeMap<Resource, Kind>,
    objects: BTreeMap<Resource, BTreeMap<Key, Arc<Value>>>,
    version: u64,
    /// Changes up to this version are forgotten.
    compacted: u64,
    changes: VecDeque<Change>,
    /// Tells the newest version.
    newest: watch::Sender<u64>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            kinds: kinds::built_in().collect(),
            objects: BTreeMap::new(),
            version: FIRST_VERSION,
            compacted: FIRST_VERSION,
            changes: VecDeque::new(),
            newest: watch::Sender::new(FIRST_VERSION),
        }
    }

    pub(crate) fn define(&mut self, resource: Resource, kind: Kind) {
        self.kinds.insert(resource, kind);
    }

    /// A resource is no longer served, and its objects are gone.
    pub(crate) fn undefine(&mut self, resource: &Resource) {
        self.kinds.remove(resource);
        self.objects.remove(resource);
    }

    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&Resource, &Kind)> {
        self.kinds.iter()
    }

    pub(crate) fn kind(&self, resource: &Resource) -> Option<&Kind> {
        self.kinds.get(resource)
    }

    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    pub(crate) const fn compacted(&self) -> u64 {
        self.compacted
    }

    pub(crate) fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Where an object belongs, by its `apiVersion`, `kind` and metadata.
    pub(crate) fn place(&self, object: &Value) -> Result<(Resource, Key), StoreError> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
        if api_version.is_empty() || kind.is_empty() || name.is_empty() {
            return Err(StoreError::Unnamed(object.to_string()));
        }
        let found = self
            .kinds
            .iter()
            .find(|(resource, known)| known.kind == kind && resource.api_version() == api_version);
        let Some((resource, known)) = found else {
            return Err(StoreError::UnknownKind {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
            });
        };
        let namespace = match text("/metadata/namespace") {
            _ if !known.namespaced => "",
            "" => "default",
            namespace => namespace,
        };
        Ok((resource.clone(), (namespace.to_owned(), name.to_owned())))
    }

    pub(crate) fn get(&self, resource: &Resource, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(resource)?.get(key)
    }

    /// The objects of a resource, by namespace and name.
    pub(crate) fn list(&self, resource: &Resource) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.get(resource).into_iter().flatten()
    }

    /// Stores an object as it is; metadata that the server gives is added.
    pub(crate) fn put(&mut self, resource: &Resource, key: Key, mut object: Value) -> Arc<Value> {
        self.version += 1;
        let before = self.get(resource, &key).cloned();
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        let uid = before.as_ref().map(|before| before["metadata"]["uid"].clone());
        let metadata = &mut object["metadata"];
        if !key.0.is_empty() {
            metadata["namespace"] = key.0.as_str().into();
        }
        metadata["name"] = key.1.as_str().into();
        metadata["resourceVersion"] = self.version.to_string().into();
        if metadata["uid"].is_null() {
            metadata["uid"] =
                uid.unwrap_or_else(|| format!("00000000-0000-4000-8000-{:012}", self.version).into());
        }
        if metadata["creationTimestamp"].is_null() {
            metadata["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        if resource.plural == "customresourcedefinitions" {
            for (resource, kind) in kinds::defined_by(&object) {
                self.define(resource, kind);
            }
        }
        let object = Arc::new(object);
        self.objects.entry(resource.clone()).or_default().insert(key, Arc::clone(&object));
        let (after, last) = (Some(Arc::clone(&object)), Arc::clone(&object));
        self.note(Change { version: self.version, resource: resource.clone(), before, after, last });
        object
    }

    /// Removes an object and gives how it was at last.
    pub(crate) fn delete(&mut self, resource: &Resource, key: &Key) -> Option<Arc<Value>> {
        let before = self.objects.get_mut(resource)?.remove(key)?;
        self.version += 1;
        if resource.plural == "customresourcedefinitions" {
            for (resource, _) in kinds::defined_by(&before) {
                self.undefine(&resource);
            }
        }
        let mut last = (*before).clone();
        last["metadata"]["resourceVersion"] = self.version.to_string().into();
        let last = Arc::new(last);
        let change = Change {
            version: self.version,
            resource: resource.clone(),
            before: Some(before),
            after: None,
            last: Arc::clone(&last),
        };
        self.note(change);
        Some(last)
    }

    /// Forgets every change so far: who asks for an older version gets 410 Gone.
    pub(crate) fn compact(&mut self) {
        self.compacted = self.version;
        self.changes.clear();
    }

    /// The changes after this version.
    pub(crate) fn changes_after(&self, version: u64) -> impl Iterator<Item = &Change> {
        let first = self.changes.partition_point(|change| change.version <= version);
        self.changes.range(first..)
    }

    fn note(&mut self, change: Change) {
        let version = change.version;
        self.changes.push_back(change);
        if self.changes.len() > HISTORY
            && let Some(forgotten) = self.changes.pop_front()
        {
            self.compacted = forgotten.version;
        }
        self.newest.send_replace(version);
    }
}
