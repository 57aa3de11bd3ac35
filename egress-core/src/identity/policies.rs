//! Policies by namespace and by what they select: the ones that select a pod are found without looking at the rest.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::cluster::{NetworkPolicy, Pod};

/// A label that a policy is filed under.
type Label = (String, String);
type Shelf = BTreeMap<String, Arc<NetworkPolicy>>;

/// All NetworkPolicies known.
#[derive(Clone, Debug, Default)]
pub(super) struct PolicyIndex {
    namespaces: HashMap<String, Namespace>,
}

/// The policies of one namespace. Each is filed once: under one of its `matchLabels`, or under none.
#[derive(Clone, Debug, Default)]
struct Namespace {
    by_name: BTreeMap<String, (Arc<NetworkPolicy>, Option<Label>)>,
    by_label: HashMap<String, HashMap<String, Shelf>>,
    unlabelled: Shelf,
}

impl PolicyIndex {
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<NetworkPolicy>> {
        self.namespaces.get(namespace)?.by_name.get(name).map(|(policy, _)| policy)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<NetworkPolicy>> {
        self.namespaces.values().flat_map(|namespace| namespace.by_name.values().map(|(policy, _)| policy))
    }

    pub(super) fn len(&self) -> usize {
        self.namespaces.values().map(|namespace| namespace.by_name.len()).sum()
    }

    /// The policies whose `podSelector` selects the pod, by name.
    pub(super) fn selecting(&self, pod: &Pod) -> Vec<Arc<NetworkPolicy>> {
        let Some(namespace) = self.namespaces.get(&pod.namespace) else { return Vec::new() };
        let labelled = pod.labels.iter().filter_map(|(key, value)| namespace.by_label.get(key)?.get(value));
        let mut found: Vec<_> = labelled
            .chain([&namespace.unlabelled])
            .flat_map(BTreeMap::values)
            .filter(|policy| policy.selector.matches(&pod.labels))
            .cloned()
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    pub(super) fn apply(&mut self, policy: Arc<NetworkPolicy>) {
        self.delete(&policy.namespace, &policy.name);
        let namespace = self.namespaces.entry(policy.namespace.clone()).or_default();
        let label = namespace.rarest_label(&policy);
        let shelf = match &label {
            Some((key, value)) => {
                namespace.by_label.entry(key.clone()).or_default().entry(value.clone()).or_default()
            }
            None => &mut namespace.unlabelled,
        };
        shelf.insert(policy.name.clone(), Arc::clone(&policy));
        namespace.by_name.insert(policy.name.clone(), (policy, label));
    }

    pub(super) fn delete(&mut self, namespace: &str, name: &str) {
        let Some(policies) = self.namespaces.get_mut(namespace) else { return };
        let Some((_, label)) = policies.by_name.remove(name) else { return };
        let Some((key, value)) = label else {
            policies.unlabelled.remove(name);
            return;
        };
        if let Some(values) = policies.by_label.get_mut(&key)
            && let Some(shelf) = values.get_mut(&value)
        {
            shelf.remove(name);
            if shelf.is_empty() {
                values.remove(&value);
            }
        }
    }
}

impl Namespace {
    /// The label of the policy's `matchLabels` under which the fewest others are filed.
    fn rarest_label(&self, policy: &NetworkPolicy) -> Option<Label> {
        let filed = |(key, value): &(&str, &str)| {
            self.by_label.get(*key).and_then(|values| values.get(*value)).map_or(0, BTreeMap::len)
        };
        let (key, value) = policy.selector.match_labels.iter().min_by_key(filed)?;
        Some((key.to_owned(), value.to_owned()))
    }
}
