//! The text of an object into what the engine is told of it.

use egress_core::cluster::{Object, ObjectKind, ObjectRef, OtherPolicy};
use serde_json::Value;

use super::kinds::{Resource, Use};
use super::split::Piece;
use crate::k8s::convert::{self, FieldError, Invalid, Item, Origin};

/// An object as it was read.
#[derive(Debug)]
pub(super) struct ReadObject {
    /// `Kind namespace/name`, for people.
    pub(super) label: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// Its `metadata.resourceVersion`, empty if it has none.
    pub(super) version: String,
    /// It, or what stands for it; `None` if it has no bearing.
    pub(super) object: Option<Object>,
    /// What is wrong with it.
    pub(super) invalid: Option<Invalid>,
}

impl ReadObject {
    /// Reads an item of a list.
    pub(super) fn of_piece(resource: &Resource, piece: Piece) -> Self {
        match piece {
            Piece::Whole(text) => match serde_json::from_slice(&text) {
                Ok(value) => Self::of_value(resource, value),
                Err(error) => Self::unreadable(resource, "", "", &format!("is no JSON: {error}")),
            },
            Piece::TooLarge(beginning) => {
                let beginning = String::from_utf8_lossy(&beginning);
                let (namespace, name) = (text_after(&beginning, "namespace"), text_after(&beginning, "name"));
                let message = format!("is larger than {} MiB and is not read", super::split::LARGEST >> 20);
                Self::unreadable(resource, namespace, name, &message)
            }
        }
    }

    /// Converts an object.
    pub(super) fn of_value(resource: &Resource, value: Value) -> Self {
        let label = convert::named(resource.row.kind, &value);
        let field = |pointer| text(&value, pointer).to_owned();
        let (namespace, name) = (field("/metadata/namespace"), field("/metadata/name"));
        let version = field("/metadata/resourceVersion");
        let (object, invalid) =
            match convert::item(resource.api_version, resource.row.kind, value, Origin::Api) {
                Ok(Item::Object(object)) => (Some(object), None),
                Ok(Item::Skipped(_)) => (None, None),
                Err(invalid) => (
                    stand_in(resource, &namespace, &name),
                    Some(Invalid { object: label.clone(), ..invalid }),
                ),
            };
        Self { label, namespace, name, version, object, invalid }
    }

    fn unreadable(resource: &Resource, namespace: &str, name: &str, message: &str) -> Self {
        let slash = if namespace.is_empty() { "" } else { "/" };
        let shown = if name.is_empty() { "(no name)" } else { name };
        let label = format!("{} {namespace}{slash}{shown}", resource.row.kind);
        let error = FieldError { field: String::new(), message: message.to_owned() };
        Self {
            invalid: Some(Invalid { object: label.clone(), errors: vec![error] }),
            object: stand_in(resource, namespace, name),
            label,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            version: String::new(),
        }
    }
}

/// The names that an object may be known by: its own, and that of what stands for it.
pub(super) fn forms(
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> impl Iterator<Item = ObjectRef> + use<> {
    let named = |kind| ObjectRef { kind, namespace: namespace.to_owned(), name: name.to_owned() };
    let stands = stand_in(resource, namespace, name).map(|object| object.reference());
    // Kinds of other groups may have the same name: what was not told of is not forgotten.
    let kinds = ObjectKind::all().filter(|kind| kind.as_str() == resource.row.kind);
    kinds.map(named).chain(stands).collect::<Vec<_>>().into_iter()
}

/// Stands for policies that cannot be read: what they say of pods that they may select is not decidable. Without a
/// name, for all policies of a resource.
pub(super) fn stand_in(resource: &Resource, namespace: &str, name: &str) -> Option<Object> {
    let policies = resource.row.use_ == Use::Policies;
    let other = || OtherPolicy::unread(resource.api_version, resource.row.kind, namespace, name);
    policies.then(|| other().into())
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The string behind the first `"field":` of a text that is cut off.
fn text_after<'a>(text: &'a str, field: &str) -> &'a str {
    let found = text.split_once(&format!("\"{field}\":\"")).map(|(_, rest)| rest);
    found.and_then(|rest| rest.split_once('"')).map_or("", |(value, _)| value)
}
