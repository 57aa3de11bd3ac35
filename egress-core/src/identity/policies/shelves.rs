//! Policies of one kind, each filed once: by its namespace and under a label that everything it selects has.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::cluster::{Labels, Namespace, ObjectKind, Pod, Policy, Scope};
use crate::truth::Truth;

/// What names a policy in its namespace.
type Name = (ObjectKind, Box<str>);
/// A label that a policy is filed under.
type Label = (Scope, Box<str>, Box<str>);
/// Hardly ever more than a few: a list, because there are as many as policies.
type Shelf<P> = Vec<Arc<P>>;
type Labelled<P> = HashMap<Box<str>, HashMap<Box<str>, Shelf<P>>>;

/// All policies of a kind, or of kinds that share a type.
#[derive(Clone, Debug)]
pub(crate) struct Shelves<P> {
    /// By namespace; those that may select pods of any are under the empty name.
    rooms: HashMap<Box<str>, Room<P>>,
}

/// The policies of one namespace.
#[derive(Clone, Debug)]
struct Room<P> {
    by_name: BTreeMap<Name, Arc<P>>,
    by_pod: Labelled<P>,
    by_namespace: Labelled<P>,
    unlabelled: Shelf<P>,
}

impl<P> Default for Shelves<P> {
    fn default() -> Self {
        Self { rooms: HashMap::new() }
    }
}

impl<P> Default for Room<P> {
    fn default() -> Self {
        Self {
            by_name: BTreeMap::new(),
            by_pod: HashMap::new(),
            by_namespace: HashMap::new(),
            unlabelled: Vec::new(),
        }
    }
}

impl<P: Policy> Shelves<P> {
    pub(crate) fn is_empty(&self) -> bool {
        self.rooms.values().all(|room| room.by_name.is_empty())
    }

    pub(crate) fn get(&self, kind: ObjectKind, namespace: &str, name: &str) -> Option<&Arc<P>> {
        self.rooms.get(namespace)?.by_name.get(&(kind, name.into()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<P>> {
        self.rooms.values().flat_map(|room| room.by_name.values())
    }

    pub(super) fn names(&self, kind: ObjectKind) -> Vec<(&str, &str)> {
        let of_kind = self.iter().filter(|policy| policy.kind() == kind);
        of_kind.map(|policy| (policy.namespace(), policy.name())).collect()
    }

    /// The policies that select the pod, by namespace and name, and whether that is certain.
    pub(crate) fn selecting(&self, pod: &Pod, namespace: Option<&Namespace>) -> Vec<(Arc<P>, Truth)> {
        let mut found = Vec::new();
        for room in ["", pod.namespace.as_str()] {
            let Some(room) = self.rooms.get(room) else { continue };
            for policy in room.candidates(pod, namespace) {
                let selects = policy.selects(pod, namespace);
                if selects != Truth::No {
                    found.push((Arc::clone(policy), selects));
                }
            }
        }
        found.sort_by(|(a, _), (b, _)| {
            (a.namespace(), a.kind(), a.name()).cmp(&(b.namespace(), b.kind(), b.name()))
        });
        found
    }

    pub(super) fn apply(&mut self, policy: Arc<P>) {
        self.delete(policy.kind(), policy.namespace(), policy.name());
        let room = self.rooms.entry(policy.namespace().into()).or_default();
        let label = room.rarest_label(&*policy);
        let shelf = room.shelf(label.as_ref());
        shelf.reserve_exact(1);
        shelf.push(Arc::clone(&policy));
        room.by_name.insert((policy.kind(), policy.name().into()), policy);
    }

    pub(super) fn delete(&mut self, kind: ObjectKind, namespace: &str, name: &str) {
        let Some(room) = self.rooms.get_mut(namespace) else { return };
        let Some(policy) = room.by_name.remove(&(kind, name.into())) else { return };
        let others = |held: &Arc<P>| !Arc::ptr_eq(held, &policy);
        // Which of its labels it was filed under depended on who was there then.
        for (scope, key, value) in policy.key_labels() {
            if let Some(values) = room.labelled_mut(scope).get_mut(key)
                && let Some(shelf) = values.get_mut(value)
            {
                shelf.retain(others);
                if shelf.is_empty() {
                    values.remove(value);
                }
            }
        }
        room.unlabelled.retain(others);
    }
}

impl<P: Policy> Room<P> {
    /// What may select the pod. Where the labels of its namespace are not known, all that ask for one.
    fn candidates<'a>(
        &'a self,
        pod: &'a Pod,
        namespace: Option<&'a Namespace>,
    ) -> impl Iterator<Item = &'a Arc<P>> {
        let on_namespace = namespace.map(|namespace| shelves(&self.by_namespace, &namespace.labels));
        let unknown = namespace.is_none().then(|| self.by_namespace.values().flat_map(HashMap::values));
        shelves(&self.by_pod, &pod.labels)
            .chain(on_namespace.into_iter().flatten())
            .chain(unknown.into_iter().flatten())
            .chain([&self.unlabelled])
            .flatten()
    }

    fn labelled(&self, scope: Scope) -> &Labelled<P> {
        match scope {
            Scope::Pod => &self.by_pod,
            Scope::Namespace => &self.by_namespace,
        }
    }

    fn labelled_mut(&mut self, scope: Scope) -> &mut Labelled<P> {
        match scope {
            Scope::Pod => &mut self.by_pod,
            Scope::Namespace => &mut self.by_namespace,
        }
    }

    fn shelf(&mut self, label: Option<&Label>) -> &mut Shelf<P> {
        match label {
            Some((scope, key, value)) => {
                self.labelled_mut(*scope).entry(key.clone()).or_default().entry(value.clone()).or_default()
            }
            None => &mut self.unlabelled,
        }
    }

    /// The label under which the fewest others are filed.
    fn rarest_label(&self, policy: &P) -> Option<Label> {
        let filed = |(scope, key, value): &(Scope, &str, &str)| {
            let values = self.labelled(*scope).get(*key);
            values.and_then(|values| values.get(*value)).map_or(0, Vec::len)
        };
        let (scope, key, value) = policy.key_labels().into_iter().min_by_key(filed)?;
        Some((scope, key.into(), value.into()))
    }
}

/// The shelves of an object's labels.
fn shelves<'a, P>(labelled: &'a Labelled<P>, labels: &'a Labels) -> impl Iterator<Item = &'a Shelf<P>> {
    labels.iter().filter_map(|(key, value)| labelled.get(key)?.get(value))
}
