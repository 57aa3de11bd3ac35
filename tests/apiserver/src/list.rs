//! Lists, in pages.

use serde_json::{Value, json};

use crate::request::Call;
use crate::select::Selection;
use crate::status::Refusal;
use crate::store::{Key, Store};

/// Answers a list. A page that is not the last names where the next begins, and the version it belongs to.
///
/// Pages of a changing store are those of the store as it is, not as of the first page: close enough for clients,
/// which watch from that version on.
pub(crate) fn list(store: &Store, call: &Call) -> Result<Value, Refusal> {
    let kind = store.kind(&call.resource).ok_or_else(Refusal::no_such_resource)?;
    let selection = Selection::of(call)?;
    let (version, after) = match call.query.get("continue") {
        Some(token) => {
            let (version, key) = parse(token)?;
            if version < store.compacted() {
                let message =
                    "The provided continue parameter is too old to display a consistent list result";
                return Err(Refusal { reason: "Expired", ..Refusal::new(410, message) });
            }
            (version, Some(key))
        }
        None => (store.version(), None),
    };
    // From the watch cache (`resourceVersion=0`) everything comes at once, whatever the limit.
    let cached = call.query.get("resourceVersion") == Some("0");
    let limit = call.query.number("limit")?.filter(|limit| *limit > 0 && !cached);
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut matching = store
        .list(&call.resource)
        .filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after))
        .filter(|(_, object)| selection.selects(object));
    let mut last = None;
    let mut items = Vec::new();
    for (key, object) in matching.by_ref().take(limit) {
        let mut item = (**object).clone();
        // Items of a list of a built-in kind do not repeat their kind.
        if let (Value::Object(fields), false) =
            (&mut item, call.resource.group.contains('.') && !is_typed(call))
        {
            fields.remove("kind");
            fields.remove("apiVersion");
        }
        items.push(item);
        last = Some(key);
    }
    let remaining = matching.count();
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let Some((namespace, name)) = last.filter(|_| remaining > 0) {
        metadata["continue"] = format!("{version}:{namespace}/{name}").into();
        metadata["remainingItemCount"] = remaining.into();
    }
    Ok(json!({
        "kind": format!("{}List", kind.kind), "apiVersion": call.resource.api_version(),
        "metadata": metadata, "items": items,
    }))
}

/// Whether the kind is one of the API server's own, not of a CustomResourceDefinition.
fn is_typed(call: &Call) -> bool {
    crate::kinds::built_in().any(|(resource, _)| resource == call.resource)
}

fn parse(token: &str) -> Result<(u64, Key), Refusal> {
    let parse = || {
        let (version, key) = token.split_once(':')?;
        let (namespace, name) = key.split_once('/')?;
        Some((version.parse().ok()?, (namespace.to_owned(), name.to_owned())))
    };
    parse().ok_or_else(|| Refusal::new(400, "continue key is not valid"))
}
