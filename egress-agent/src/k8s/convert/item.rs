//! One object of any kind, from whichever source: a row of [`item`] for each kind that is known.

use egress_core::cluster::{Object, OtherPolicy, Pod};
use k8s_openapi::api::core::v1;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::field::{Errors, FieldError};

/// Calico's API, and how its objects are stored where it is not served.
const PROJECT_CALICO: &str = "projectcalico.org/v3";
const PROJECT_CALICO_STORED: &str = "crd.projectcalico.org/v1";
/// Path of a pod's network namespace.
const NETNS_ANNOTATION: &str = "egress-agent.io/netns";

/// Where an object comes from; it decides what the object may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Files. Who writes them may name any network namespace (`egress-agent.io/netns`).
    Files,
    /// An API server. A tenant may write there, so it names none.
    Api,
}

/// What an object turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// An object we keep.
    Object(Object),
    /// An object of a kind that has no bearing, as `apiVersion Kind`.
    Skipped(String),
}

/// Errors of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// `Kind namespace/name`, as far as known.
    pub object: String,
    /// What is wrong, field by field.
    pub errors: Vec<FieldError>,
}

/// Converts an object of this `apiVersion` and `kind`, which a list may leave out of the object itself.
///
/// # Errors
/// Everything that is wrong with it.
pub fn item(api_version: &str, kind: &str, value: Value, origin: Origin) -> Result<Item, Invalid> {
    if kind.is_empty() || api_version.is_empty() {
        let message = "is no Kubernetes object: apiVersion or kind is missing".to_owned();
        return Err(Invalid {
            object: String::new(),
            errors: vec![FieldError { field: String::new(), message }],
        });
    }
    let object = match (api_version, kind) {
        ("v1", "Pod") => typed(value, kind, |object, errors| pod(object, origin, errors))?.into(),
        ("v1", "Namespace") => typed(value, kind, super::namespace)?.into(),
        ("v1", "Node") => typed(value, kind, super::node)?.into(),
        ("v1", "Service") => typed(value, kind, super::service)?.into(),
        ("discovery.k8s.io/v1", "EndpointSlice") => typed(value, kind, super::endpoint_slice)?.into(),
        ("networking.k8s.io/v1", "NetworkPolicy") => typed(value, kind, super::network_policy)?.into(),
        (PROJECT_CALICO | PROJECT_CALICO_STORED, "NetworkPolicy") => {
            let stored = api_version == PROJECT_CALICO_STORED;
            typed(value, kind, |object, errors| super::calico_policy(object, stored, errors))?.into()
        }
        (PROJECT_CALICO | PROJECT_CALICO_STORED, "GlobalNetworkPolicy") => {
            let stored = api_version == PROJECT_CALICO_STORED;
            typed(value, kind, |object, errors| super::calico_global_policy(object, stored, errors))?.into()
        }
        (PROJECT_CALICO | PROJECT_CALICO_STORED, "NetworkSet") => {
            typed(value, kind, super::calico_network_set)?.into()
        }
        (PROJECT_CALICO | PROJECT_CALICO_STORED, "GlobalNetworkSet") => {
            typed(value, kind, super::calico_global_network_set)?.into()
        }
        (PROJECT_CALICO | PROJECT_CALICO_STORED, "Tier") => typed(value, kind, super::calico_tier)?.into(),
        ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy") => {
            typed(value, kind, super::admin_network_policy)?.into()
        }
        ("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy") => {
            typed(value, kind, super::baseline_admin_network_policy)?.into()
        }
        ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy") => {
            typed(value, kind, super::cluster_network_policy)?.into()
        }
        ("cilium.io/v2", "CiliumNetworkPolicy") => typed(value, kind, super::cilium_network_policy)?.into(),
        ("cilium.io/v2", "CiliumClusterwideNetworkPolicy") => {
            typed(value, kind, super::cilium_clusterwide_network_policy)?.into()
        }
        ("cilium.io/v2" | "cilium.io/v2alpha1", "CiliumCIDRGroup") => {
            typed(value, kind, super::cilium_cidr_group)?.into()
        }
        // Policies of kinds, or of versions, that are not evaluated. Calico's Staged… kinds enforce nothing.
        (_, other) if other.ends_with("NetworkPolicy") && !other.starts_with("Staged") => {
            let metadata = |field| value.pointer(field).and_then(Value::as_str).unwrap_or_default();
            let (namespace, name) = (metadata("/metadata/namespace"), metadata("/metadata/name"));
            OtherPolicy::new(api_version, kind, namespace, name).into()
        }
        _ => return Ok(Item::Skipped(format!("{api_version} {kind}"))),
    };
    Ok(Item::Object(object))
}

/// A pod, with the path of its network namespace where its origin may name one.
fn pod(mut object: v1::Pod, origin: Origin, errors: &mut Errors) -> Pod {
    let annotations = object.metadata.annotations.take().filter(|_| origin == Origin::Files);
    let netns_path = annotations.and_then(|mut annotations| annotations.remove(NETNS_ANNOTATION));
    Pod { netns_path, ..super::pod(object, errors) }
}

/// Deserializes into the Kubernetes type and converts from there.
fn typed<K: DeserializeOwned, T>(
    value: Value,
    kind: &str,
    convert: impl FnOnce(K, &mut Errors) -> T,
) -> Result<T, Invalid> {
    let object = named(kind, &value);
    let read = serde_path_to_error::deserialize(value).map_err(|error| {
        let field = error.path().to_string();
        let field = if field == "." { String::new() } else { field };
        FieldError { field, message: error.into_inner().to_string() }
    });
    let read: K = match read {
        Ok(read) => read,
        Err(error) => return Err(Invalid { object, errors: vec![error] }),
    };
    let mut errors = Errors::default();
    let converted = convert(read, &mut errors);
    let errors = errors.into_vec();
    if errors.is_empty() { Ok(converted) } else { Err(Invalid { object, errors }) }
}

/// `Kind namespace/name`, or `Kind name` without a namespace.
#[must_use]
pub fn named(kind: &str, value: &Value) -> String {
    let metadata = |field: &str| value.pointer(&format!("/metadata/{field}")).and_then(Value::as_str);
    let name = metadata("name").unwrap_or("(no name)");
    match metadata("namespace") {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}
