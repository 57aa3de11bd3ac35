//! What Calico's selectors see of the cluster's objects: their labels, and those that Calico adds.

use super::{Label, Labelled};
use crate::cluster::{Labels, NAMESPACE_NAME, Namespace, Pod};

/// What the labels that Calico adds begin with.
pub(super) const OWN: &str = "projectcalico.org/";
const NAMESPACE: &str = "projectcalico.org/namespace";
const SERVICE_ACCOUNT: &str = "projectcalico.org/serviceaccount";
const ORCHESTRATOR: &str = "projectcalico.org/orchestrator";
const NAME: &str = "projectcalico.org/name";

fn of<'a>(labels: &'a Labels, key: &str) -> Label<'a> {
    labels.get(key).map_or(Label::Absent, Label::Value)
}

/// A pod.
pub(crate) struct PodLabels<'a>(pub(crate) &'a Pod);

impl Labelled for PodLabels<'_> {
    fn label(&self, key: &str) -> Label<'_> {
        let Self(pod) = self;
        match key {
            NAMESPACE => Label::Value(&pod.namespace),
            ORCHESTRATOR => Label::Value("k8s"),
            // The API server gives every pod a service account; a file may leave it out.
            SERVICE_ACCOUNT if pod.service_account.is_empty() => Label::Unknown,
            SERVICE_ACCOUNT => Label::Value(&pod.service_account),
            _ => of(&pod.labels, key),
        }
    }

    fn global(&self) -> bool {
        false
    }
}

/// A network set, with the name of its namespace.
pub(crate) struct SetLabels<'a> {
    pub(crate) labels: &'a Labels,
    /// Empty for a GlobalNetworkSet.
    pub(crate) namespace: &'a str,
}

impl Labelled for SetLabels<'_> {
    fn label(&self, key: &str) -> Label<'_> {
        match key {
            NAMESPACE if !self.namespace.is_empty() => Label::Value(self.namespace),
            _ => of(self.labels, key),
        }
    }

    fn global(&self) -> bool {
        self.namespace.is_empty()
    }
}

/// The namespace of something, for a `namespaceSelector`. What is in no namespace has no label, so that `!=` matches
/// it; `all()` is every namespace and `global()` is none.
pub(crate) struct NamespaceLabels<'a> {
    /// `None`: it is in no namespace.
    pub(crate) name: Option<&'a str>,
    /// The namespace, if it is known.
    pub(crate) object: Option<&'a Namespace>,
}

impl Labelled for NamespaceLabels<'_> {
    fn label(&self, key: &str) -> Label<'_> {
        let Some(name) = self.name else { return Label::Absent };
        match (key, self.object) {
            (NAME | NAMESPACE_NAME, _) => Label::Value(name),
            (_, Some(object)) => of(&object.labels, key),
            (_, None) => Label::Unknown,
        }
    }

    fn all(&self) -> bool {
        self.name.is_some()
    }

    fn global(&self) -> bool {
        self.name.is_none()
    }
}

/// A service account, of which the name is known alone.
pub(crate) struct ServiceAccountLabels<'a> {
    /// Empty where it is not known.
    pub(crate) name: &'a str,
}

impl Labelled for ServiceAccountLabels<'_> {
    fn label(&self, key: &str) -> Label<'_> {
        if key == NAME && !self.name.is_empty() { Label::Value(self.name) } else { Label::Unknown }
    }

    fn global(&self) -> bool {
        false
    }
}
