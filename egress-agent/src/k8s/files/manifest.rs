//! One document into objects: kinds, lists, and what is not for us.

use std::fmt;

use egress_core::cluster::{Object, Pod};
use k8s_openapi::api::core::v1;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::k8s::convert::{self, Errors, FieldError};

/// Path of a pod's network namespace.
const NETNS_ANNOTATION: &str = "egress-agent.io/netns";

/// What a document turned out to hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// An object we keep.
    Object(Object),
    /// A policy of a kind that is not evaluated, as `Kind namespace/name`. Verdicts must not ignore it.
    Unevaluated(String),
    /// An object of a kind that has no bearing, as `apiVersion Kind`.
    Skipped(String),
}

/// Errors of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Invalid {
    /// `Kind namespace/name`, as far as known.
    pub(super) object: String,
    /// What is wrong, field by field.
    pub(super) errors: Vec<FieldError>,
}

/// A document: an object, or a list of them. Items that say what they are are converted while the document is
/// being read, so that a list of a whole cluster never stands in memory as it was written.
#[derive(Debug, Default)]
pub(super) struct Manifest {
    /// The fields, without `items`.
    fields: Map<String, Value>,
    items: Vec<ListItem>,
}

/// An item of a list.
#[derive(Debug)]
enum ListItem {
    Converted(Result<Item, Invalid>),
    /// Without kind or apiVersion: the API server leaves them out of the items of a PodList.
    Untyped(Value),
}

impl Manifest {
    /// What the document holds.
    pub(super) fn into_items(self) -> Vec<Result<Item, Invalid>> {
        let document = Value::Object(self.fields);
        let (api_version, kind) = type_of(&document);
        let Some(element) = kind.strip_suffix("List") else {
            return vec![item(document)];
        };
        let converted = self.items.into_iter().enumerate().map(|(index, listed)| {
            let converted = match listed {
                ListItem::Converted(converted) => converted,
                ListItem::Untyped(mut value) => {
                    if let (Value::Object(fields), false) = (&mut value, element.is_empty()) {
                        fields.entry("kind").or_insert_with(|| element.into());
                        fields.entry("apiVersion").or_insert_with(|| api_version.as_str().into());
                    }
                    item(value)
                }
            };
            converted.map_err(|mut invalid| {
                if invalid.object.is_empty() {
                    invalid.object = format!("{kind} items[{index}]");
                }
                invalid
            })
        });
        converted.collect()
    }
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Manifest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a Kubernetes object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Manifest, A::Error> {
                let mut manifest = Manifest::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "items" {
                        manifest.items = map.next_value::<Option<Vec<ListItem>>>()?.unwrap_or_default();
                    } else {
                        manifest.fields.insert(name, map.next_value()?);
                    }
                }
                Ok(manifest)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

impl<'de> Deserialize<'de> for ListItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let (api_version, kind) = type_of(&value);
        let typed = !api_version.is_empty() && !kind.is_empty();
        Ok(if typed { Self::Converted(item(value)) } else { Self::Untyped(value) })
    }
}

fn type_of(value: &Value) -> (String, String) {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    (text("apiVersion"), text("kind"))
}

fn item(value: Value) -> Result<Item, Invalid> {
    let (api_version, kind) = type_of(&value);
    if kind.is_empty() || api_version.is_empty() {
        let message = "is no Kubernetes object: apiVersion or kind is missing".to_owned();
        return Err(Invalid {
            object: String::new(),
            errors: vec![FieldError { field: String::new(), message }],
        });
    }
    let object = match (api_version.as_str(), kind.as_str()) {
        ("v1", "Pod") => typed(value, &kind, pod)?.into(),
        ("v1", "Namespace") => typed(value, &kind, convert::namespace)?.into(),
        ("v1", "Node") => typed(value, &kind, convert::node)?.into(),
        ("v1", "Service") => typed(value, &kind, convert::service)?.into(),
        ("discovery.k8s.io/v1", "EndpointSlice") => typed(value, &kind, convert::endpoint_slice)?.into(),
        ("networking.k8s.io/v1", "NetworkPolicy") => typed(value, &kind, convert::network_policy)?.into(),
        // AdminNetworkPolicy, CiliumNetworkPolicy, Calico's NetworkPolicy and GlobalNetworkPolicy, and their kin.
        // Calico's Staged… kinds enforce nothing.
        (_, other) if other.ends_with("NetworkPolicy") && !other.starts_with("Staged") => {
            return Ok(Item::Unevaluated(named(&kind, &value)));
        }
        _ => return Ok(Item::Skipped(format!("{api_version} {kind}"))),
    };
    Ok(Item::Object(object))
}

/// A pod with the path of its network namespace. The annotation is honoured here and nowhere else: whoever writes
/// these files may name any namespace, a tenant of an API server may not.
fn pod(mut object: v1::Pod, errors: &mut Errors) -> Pod {
    let annotations = object.metadata.annotations.take();
    let netns_path = annotations.and_then(|mut annotations| annotations.remove(NETNS_ANNOTATION));
    Pod { netns_path, ..convert::pod(object, errors) }
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
fn named(kind: &str, value: &Value) -> String {
    let metadata = |field: &str| value.pointer(&format!("/metadata/{field}")).and_then(Value::as_str);
    let name = metadata("name").unwrap_or("(no name)");
    match metadata("namespace") {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}
