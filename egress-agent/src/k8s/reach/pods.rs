//! Pods and the nodes they are on, or were on.

use egress_core::cluster::PodRef;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Api;
use kube::api::ListParams;
use kube::core::Selector;
use serde::de::DeserializeOwned;

use super::error::{Asked, ReachError};
use super::{Reach, in_time};

/// What owns pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// `apps/v1`
    Deployment,
    /// `apps/v1`
    StatefulSet,
    /// `apps/v1`
    DaemonSet,
    /// `batch/v1`
    Job,
}

impl Workload {
    /// The kind as Kubernetes writes it.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Job => "Job",
        }
    }
}

/// A pod of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub pod: PodRef,
    /// Its node, once it has one.
    pub node: Option<String>,
}

impl Reach {
    /// A pod; `None` if there is none of this name.
    ///
    /// # Errors
    ///
    /// The API server does not say.
    pub async fn pod(&self, pod: &PodRef) -> Result<Option<Found>, ReachError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let asked = Asked { verb: "get", resource: "pods", namespace: Some(&pod.namespace) };
        Ok(in_time(asked, pods.get_opt(&pod.name)).await?.and_then(found))
    }

    /// The node that a pod which is gone was on, as its events tell.
    ///
    /// # Errors
    ///
    /// The API server does not say.
    pub async fn node_of_gone(&self, pod: &PodRef) -> Result<Option<String>, ReachError> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &pod.namespace);
        let fields = format!("involvedObject.kind=Pod,involvedObject.name={}", pod.name);
        let asked = Asked { verb: "list", resource: "events", namespace: Some(&pod.namespace) };
        let events = in_time(asked, events.list(&ListParams::default().fields(&fields))).await?;
        Ok(events.items.iter().rev().find_map(|event| node_of(event, pod)))
    }

    /// The pods of a namespace.
    ///
    /// # Errors
    ///
    /// They cannot be listed.
    pub async fn pods_in(&self, namespace: &str) -> Result<Vec<Found>, ReachError> {
        self.list(namespace, &ListParams::default()).await
    }

    /// The pods that a workload selects.
    ///
    /// # Errors
    ///
    /// There is no such workload, or it cannot be read.
    pub async fn pods_of(
        &self,
        workload: Workload,
        namespace: &str,
        name: &str,
    ) -> Result<Vec<Found>, ReachError> {
        let selector = match workload {
            Workload::Deployment => {
                let found: Deployment = self.get(namespace, name, "deployments").await?;
                found.spec.map(|spec| spec.selector)
            }
            Workload::StatefulSet => {
                let found: StatefulSet = self.get(namespace, name, "statefulsets").await?;
                found.spec.map(|spec| spec.selector)
            }
            Workload::DaemonSet => {
                let found: DaemonSet = self.get(namespace, name, "daemonsets").await?;
                found.spec.map(|spec| spec.selector)
            }
            Workload::Job => {
                let found: Job = self.get(namespace, name, "jobs").await?;
                found.spec.and_then(|spec| spec.selector)
            }
        };
        // Without a selector a list would be of every pod.
        let selector: LabelSelector = selector.unwrap_or_default();
        if selector == LabelSelector::default() {
            return Ok(Vec::new());
        }
        let selector = Selector::try_from(selector)
            .map_err(|error| ReachError::Failed(format!("the selector of {name} makes no sense: {error}")))?;
        self.list(namespace, &ListParams::default().labels_from(&selector)).await
    }

    async fn get<K>(&self, namespace: &str, name: &str, resource: &str) -> Result<K, ReachError>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
        K::DynamicType: Default,
    {
        let objects: Api<K> = Api::namespaced(self.client.clone(), namespace);
        in_time(Asked { verb: "get", resource, namespace: Some(namespace) }, objects.get(name)).await
    }

    async fn list(&self, namespace: &str, params: &ListParams) -> Result<Vec<Found>, ReachError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let asked = Asked { verb: "list", resource: "pods", namespace: Some(namespace) };
        Ok(in_time(asked, pods.list(params)).await?.items.into_iter().filter_map(found).collect())
    }
}

fn found(pod: Pod) -> Option<Found> {
    let pod_ref = PodRef { namespace: pod.metadata.namespace?, name: pod.metadata.name? };
    Some(Found { pod: pod_ref, node: pod.spec.and_then(|spec| spec.node_name) })
}

/// The node that an event of a pod tells of: the kubelet's own, or the one the scheduler chose.
fn node_of(event: &Event, pod: &PodRef) -> Option<String> {
    let host = event.source.as_ref().and_then(|source| source.host.clone()).filter(|host| !host.is_empty());
    if host.is_some() {
        return host;
    }
    let instance = event.reporting_instance.clone().filter(|instance| !instance.is_empty());
    if event.reporting_component.as_deref() == Some("kubelet") && instance.is_some() {
        return instance;
    }
    let told = event.message.as_deref()?;
    let prefix = format!("Successfully assigned {}/{} to ", pod.namespace, pod.name);
    told.strip_prefix(&prefix).map(|node| node.trim().to_owned()).filter(|node| !node.is_empty())
}
