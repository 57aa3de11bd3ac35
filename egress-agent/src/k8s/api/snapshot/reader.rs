//! Reads what is wanted into an index, and keeps what could not be read.

use std::collections::{BTreeMap, BTreeSet};

use egress_core::cluster::{ClusterChange, Node, Object, ObjectKind, OtherPolicy, PodRef};
use egress_core::identity::ClusterIndex;
use egress_core::time::Mono;

use super::SnapshotError;
use super::concern::Concern;
use super::lists::{Found, Lists};
use super::want::Want;
use crate::k8s::api::fault::Fault;
use crate::k8s::api::kinds::{Resource, Use};

/// Reads for one question.
pub(super) struct Reader<'a> {
    pub(super) lists: &'a Lists<'a>,
    server: &'a str,
    /// The namespace of what names none.
    pub(super) home: &'a str,
    pub(super) index: ClusterIndex,
    /// Namespaces that were read.
    pub(super) visited: BTreeSet<String>,
    /// Nodes as their pods tell of them.
    pub(super) hosts: BTreeMap<String, Node>,
    /// Pods that stand behind the Service that is dialled.
    pub(super) behind: BTreeSet<PodRef>,
    /// What is to be said, each once.
    pub(super) unseen: Vec<String>,
    /// Policies of custom kinds that may not be read of all namespaces at once.
    pub(super) by_namespace: Vec<Resource>,
    /// Why the Services of the destination's namespace may not be read.
    pub(super) no_services: Option<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lists: &'a Lists<'a>, server: &'a str, home: &'a str) -> Self {
        Self {
            lists,
            server,
            home,
            index: ClusterIndex::new(""),
            visited: BTreeSet::new(),
            hosts: BTreeMap::new(),
            behind: BTreeSet::new(),
            unseen: Vec::new(),
            by_namespace: Vec::new(),
            no_services: None,
        }
    }

    /// Reads, and takes in what comes.
    pub(super) async fn round(&mut self, wants: Vec<Want>, concern: &Concern) -> Result<(), SnapshotError> {
        for (want, outcome) in self.lists.read(wants).await {
            match outcome {
                Ok(found) => self.take(&want, found),
                Err(Fault::Forbidden(message)) => self.refused(&want, &message, concern)?,
                // It was there a moment ago, or its group is without it.
                Err(Fault::Absent) if matches!(want, Want::Custom(..)) => {}
                Err(fault) => {
                    let what = want.resource().map_or_else(String::new, |resource| resource.qualified());
                    return Err(self.failure(&format!("list {what}"), fault));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, want: &Want, found: Found) {
        for invalid in &found.invalid {
            let errors = invalid.errors.iter().map(|error| match error.field.as_str() {
                "" => error.message.clone(),
                field => format!("{field}: {}", error.message),
            });
            self.say(format!("{} cannot be read: {}", invalid.object, Vec::from_iter(errors).join("; ")));
            let kind = want.resource().and_then(|resource| resource.row.object);
            if let Some(kind) = kind.filter(|kind| !kind.is_policy()) {
                self.index.cannot_see(kind);
            }
        }
        if let Want::Holders(ip) = want {
            let holds = |object: &&Object| matches!(object, Object::Pod(pod) if pod.own_ips().contains(ip));
            if found.objects.iter().filter(holds).count() > 1 {
                self.index.cannot_see(ObjectKind::Pod);
                self.say(format!("more than one pod has the address {ip}: whose it is is not known"));
                return;
            }
        }
        self.hosts.extend(found.hosts.into_iter().map(|node| (node.name.clone(), node)));
        found.objects.into_iter().for_each(|object| self.put(object));
    }

    /// What may not be read.
    fn refused(&mut self, want: &Want, message: &str, concern: &Concern) -> Result<(), SnapshotError> {
        let Some(resource) = want.resource() else { return Ok(()) };
        let what = resource.qualified();
        let unseen = |follows: &str| format!("{what} cannot be listed ({message}): {follows}");
        match want {
            Want::Pods(Some(namespace)) if concern.namespaces.contains(namespace) => {
                return Err(needs(want, &what, message));
            }
            Want::Pods(_) | Want::Holders(_) => {
                self.index.cannot_see(ObjectKind::Pod);
                self.say(unseen("whether an address is a pod's is not known"));
            }
            // Only the namespace at home is searched, then.
            Want::PodsNamed(_) | Want::ServicesNamed(_) => {}
            Want::Namespaces(None) => self.say(unseen("the labels of namespaces are not known")),
            Want::Namespaces(Some(name)) => {
                self.say(unseen(&format!("the labels of namespace {name} are not known")));
            }
            Want::Nodes => {
                self.index.cannot_see(ObjectKind::Node);
                self.say(unseen("whether an address is a node's is not known"));
            }
            Want::Services(Some(_)) => self.no_services = Some(needs(want, &what, message).to_string()),
            Want::Services(None) => {
                self.index.cannot_see(ObjectKind::Service);
                self.say(unseen("whether an address is a Service's is not known"));
            }
            Want::Slices(_) => {
                self.index.cannot_see(ObjectKind::EndpointSlice);
                self.say(unseen("what stands behind a Service is not known"));
            }
            Want::Custom(_, None) if resource.is_namespaced_policy() && !concern.everything => {
                self.by_namespace.push(resource);
            }
            Want::Policies(place) | Want::Custom(_, place) if resource.row.use_ == Use::Policies => {
                self.put_stand_in(&resource, place.as_deref(), format!("forbidden ({message})"));
            }
            Want::Policies(_) | Want::Custom(..) => {}
        }
        Ok(())
    }

    /// Stands for all policies of a resource, or those of one namespace.
    pub(super) fn put_stand_in(&mut self, resource: &Resource, namespace: Option<&str>, reason: String) {
        let namespace = namespace.unwrap_or_default();
        let policy = OtherPolicy::unread(resource.api_version, resource.row.kind, namespace, "");
        self.put(OtherPolicy { reason, ..policy }.into());
    }

    pub(super) fn put(&mut self, object: Object) {
        self.index.apply(ClusterChange::Apply { object }, Mono(0));
    }

    pub(super) fn say(&mut self, sentence: String) {
        if !self.unseen.contains(&sentence) {
            self.unseen.push(sentence);
        }
    }

    /// Why nothing more can be read.
    pub(super) fn failure(&self, what: &str, fault: Fault) -> SnapshotError {
        let server = self.server.to_owned();
        match fault {
            Fault::Unauthorized => SnapshotError::Unauthorized(server),
            Fault::Unreachable(why) => SnapshotError::Unreachable { server, why },
            other => SnapshotError::Failed { server, why: format!("cannot {what}: {}", other.words()) },
        }
    }
}

fn needs(want: &Want, what: &str, message: &str) -> SnapshotError {
    let place =
        want.namespace().map_or_else(|| "all namespaces".to_owned(), |name| format!("namespace {name}"));
    SnapshotError::Forbidden(format!("this needs the right to list {what} in {place}: {message}"))
}
