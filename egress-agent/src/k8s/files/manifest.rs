//! One document into objects: lists are taken apart.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::k8s::convert::{self, Invalid, Item, Origin};

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

/// Converts an object that says what it is.
fn item(value: Value) -> Result<Item, Invalid> {
    let (api_version, kind) = type_of(&value);
    convert::item(&api_version, &kind, value, Origin::Files)
}
