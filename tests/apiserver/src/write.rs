//! Create, replace, patch, delete.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::request::Call;
use crate::status::Refusal;
use crate::store::{Key, Store};

/// Answers a request that changes an object: status and body.
pub(crate) fn write(
    store: &mut Store,
    call: &Call,
    content_type: &str,
    body: &[u8],
) -> Result<(u16, Value), Refusal> {
    let namespaced = store.kind(&call.resource).ok_or_else(Refusal::no_such_resource)?.namespaced;
    let namespace = if namespaced { call.namespace.clone().unwrap_or_default() } else { String::new() };
    match call.verb {
        "create" => create(store, call, namespace, parse(body)?),
        "update" => {
            let key = named(call, namespace)?;
            update(store, call, key, parse(body)?)
        }
        "patch" => {
            let key = named(call, namespace)?;
            patch(store, call, key, content_type, &parse(body)?)
        }
        "delete" => {
            let key = named(call, namespace)?;
            let gone = store.delete(&call.resource, &key);
            gone.map(|object| (200, (*object).clone())).ok_or_else(|| missing(call, &key))
        }
        verb => Err(Refusal::new(405, format!("{verb} is not supported"))),
    }
}

fn create(
    store: &mut Store,
    call: &Call,
    namespace: String,
    mut object: Value,
) -> Result<(u16, Value), Refusal> {
    let given = object["metadata"]["namespace"].as_str();
    if let Some(given) = given.filter(|given| *given != namespace) {
        let message = format!(
            "the namespace of the provided object does not match the namespace sent on the request: {given}"
        );
        return Err(Refusal::new(400, message));
    }
    let name = match (object["metadata"]["name"].as_str(), object["metadata"]["generateName"].as_str()) {
        (Some(name), _) => name.to_owned(),
        (None, Some(prefix)) => format!("{prefix}{:05x}", store.version()),
        (None, None) => {
            return Err(Refusal::new(422, "metadata.name: Required value: name or generateName is required"));
        }
    };
    let key = (namespace, name);
    if store.get(&call.resource, &key).is_some() {
        let message = format!("{} \"{}\" already exists", call.resource.qualified(), key.1);
        return Err(Refusal { reason: "AlreadyExists", ..Refusal::new(409, message) });
    }
    object["metadata"]["name"] = key.1.as_str().into();
    Ok((201, (*put(store, call, key, object)).clone()))
}

fn update(store: &mut Store, call: &Call, key: Key, object: Value) -> Result<(u16, Value), Refusal> {
    let known = store.get(&call.resource, &key).ok_or_else(|| missing(call, &key))?;
    let based_on = object["metadata"]["resourceVersion"].as_str();
    if based_on.is_some_and(|version| known["metadata"]["resourceVersion"] != version) {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{}\": the object has been modified; please apply your changes to the latest version and try again",
            call.resource.qualified(),
            key.1
        );
        return Err(Refusal::new(409, message));
    }
    Ok((200, (*put(store, call, key, object)).clone()))
}

/// Merge patches, and server-side apply as a merge that may create. Lists are replaced: a strategic merge of lists
/// is not modelled.
fn patch(
    store: &mut Store,
    call: &Call,
    key: Key,
    content_type: &str,
    patch: &Value,
) -> Result<(u16, Value), Refusal> {
    let known = store.get(&call.resource, &key).map(|object| (**object).clone());
    let apply = content_type.starts_with("application/apply-patch");
    if !apply
        && !["application/merge-patch+json", "application/strategic-merge-patch+json"].contains(&content_type)
    {
        return Err(Refusal::new(
            415,
            format!("the body of the request was in an unknown format: {content_type}"),
        ));
    }
    let code = if known.is_some() { 200 } else { 201 };
    let mut object = match known {
        Some(known) => known,
        None if apply => json!({}),
        None => return Err(missing(call, &key)),
    };
    merge(&mut object, patch);
    Ok((code, (*put(store, call, key, object)).clone()))
}

/// RFC 7386
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (field, value) in patch {
        if value.is_null() {
            if let Value::Object(fields) = target {
                fields.remove(field);
            }
        } else {
            merge(&mut target[field], value);
        }
    }
}

fn put(store: &mut Store, call: &Call, key: Key, mut object: Value) -> Arc<Value> {
    if let Some(kind) = store.kind(&call.resource) {
        object["kind"] = kind.kind.as_str().into();
        object["apiVersion"] = call.resource.api_version().into();
    }
    store.put(&call.resource, key, object)
}

fn named(call: &Call, namespace: String) -> Result<Key, Refusal> {
    let name = call.name.clone().ok_or_else(|| Refusal::new(405, "a name is needed"))?;
    Ok((namespace, name))
}

fn missing(call: &Call, key: &Key) -> Refusal {
    Refusal::not_found(&call.resource, &key.1)
}

fn parse(body: &[u8]) -> Result<Value, Refusal> {
    let object = serde_json::from_slice::<Value>(body)
        .map_err(|error| Refusal::new(400, format!("the object provided is unrecognized: {error}")))?;
    if object.is_object() { Ok(object) } else { Err(Refusal::new(400, "the body is no object")) }
}
