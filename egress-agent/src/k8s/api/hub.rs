//! Where the followers of all resources tell what they see, and what the engine is told of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use egress_core::cluster::ClusterChange;
use egress_core::time::Timestamp;

use super::fault::Fault;
use super::kinds::Resource;
use super::standing::Standing;
use crate::k8s::SourceEvent;
use crate::k8s::convert::Invalid;

/// What is told, to whom.
pub(super) struct Hub {
    standing: Mutex<Standing>,
    sink: Box<dyn Fn(SourceEvent) + Send + Sync>,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

/// What a watch brought: changes of the cluster, and which objects can or cannot be read.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) changes: Vec<ClusterChange>,
    /// `Kind namespace/name`, and what is wrong with it.
    pub(super) read: Vec<(String, Option<Invalid>)>,
}

impl Hub {
    pub(super) fn new(
        server: &str,
        sink: impl Fn(SourceEvent) + Send + Sync + 'static,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        Self { standing: Mutex::new(Standing::new(server)), sink: Box::new(sink), clock: Box::new(clock) }
    }

    /// Now.
    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Resources that are to be watched.
    pub(super) fn expect(&self, resources: impl IntoIterator<Item = Resource>) {
        let mut standing = self.standing();
        resources.into_iter().for_each(|resource| standing.expect(resource));
    }

    /// Which custom resources there are was found out, or not.
    pub(super) fn discovered(&self, outcome: Result<(), Fault>) {
        self.standing().discovered(outcome);
        self.tell(Vec::new());
    }

    /// Everything there is of a resource, as of then.
    pub(super) fn listed(
        &self,
        resource: &Resource,
        at: Timestamp,
        changes: Vec<ClusterChange>,
        invalid: Vec<Invalid>,
    ) {
        let mut standing = self.standing();
        standing.in_step(resource, at);
        standing.malformed_all(resource, invalid);
        drop(standing);
        self.tell(changes);
    }

    /// What a watch brought just now; nothing is news as well: it is in step.
    pub(super) fn watched(&self, resource: &Resource, batch: Batch) {
        let mut standing = self.standing();
        standing.in_step(resource, self.now());
        for (object, invalid) in batch.read {
            standing.malformed(resource, &object, invalid);
        }
        drop(standing);
        self.tell(batch.changes);
    }

    /// A watch was accepted.
    pub(super) fn answers(&self, resource: &Resource) {
        self.standing().answers(resource);
        self.tell(Vec::new());
    }

    /// A request failed.
    pub(super) fn failed(
        &self,
        resource: &Resource,
        verb: &'static str,
        fault: Fault,
        changes: Vec<ClusterChange>,
    ) {
        self.standing().failed(resource, verb, fault);
        self.tell(changes);
    }

    /// A custom resource is not there (any more).
    pub(super) fn absent(&self, resource: &Resource, changes: Vec<ClusterChange>) {
        self.standing().absent(resource);
        self.tell(changes);
    }

    /// Tells changes of the cluster, and what else is news.
    pub(super) fn tell(&self, mut changes: Vec<ClusterChange>) {
        let mut standing = self.standing();
        let (as_of, problems) = (standing.news(), standing.problems());
        drop(standing);
        changes.extend(as_of.map(|at| ClusterChange::Synced { at }));
        if !changes.is_empty() {
            (self.sink)(SourceEvent::Changes(changes));
        }
        if let Some(problems) = problems {
            (self.sink)(SourceEvent::Problems(problems));
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
