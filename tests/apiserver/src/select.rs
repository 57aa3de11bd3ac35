//! Label and field selectors of lists and watches.

use serde_json::Value;

use crate::kinds::Resource;
use crate::request::Call;
use crate::status::Refusal;

/// Which objects a list or a watch is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    namespace: Option<String>,
    fields: Vec<Requirement>,
    labels: Vec<Requirement>,
}

/// One of the requirements, all of which must hold.
#[derive(Clone, Debug)]
struct Requirement {
    key: String,
    /// `None`: whether the key is there.
    values: Option<Vec<String>>,
    negated: bool,
}

impl Selection {
    pub(crate) fn of(call: &Call) -> Result<Self, Refusal> {
        let mut fields = Vec::new();
        for text in call.query.get("fieldSelector").into_iter().flat_map(|text| text.split(',')) {
            let requirement = equality(text)
                .ok_or_else(|| Refusal::new(400, format!("invalid field selector: \"{text}\"")))?;
            if !is_selectable(&call.resource, &requirement.key) {
                let message = format!("field label not supported: {}", requirement.key);
                return Err(Refusal::new(400, message));
            }
            fields.push(requirement);
        }
        let mut labels = Vec::new();
        for text in call.query.get("labelSelector").map(split).unwrap_or_default() {
            labels.push(
                label_requirement(text.trim())
                    .ok_or_else(|| Refusal::new(400, format!("unable to parse requirement: \"{text}\"")))?,
            );
        }
        Ok(Self { namespace: call.namespace.clone(), fields, labels })
    }

    pub(crate) fn selects(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        let namespace = || metadata["namespace"].as_str().unwrap_or_default();
        let label = |key: &str| metadata["labels"].get(key).and_then(Value::as_str);
        self.namespace.as_ref().is_none_or(|wanted| namespace() == wanted)
            && self.fields.iter().all(|requirement| requirement.holds(Some(&field(object, &requirement.key))))
            && self.labels.iter().all(|requirement| requirement.holds(label(&requirement.key)))
    }
}

impl Requirement {
    /// `value`: `None` where the key is not there.
    fn holds(&self, value: Option<&str>) -> bool {
        let found = match &self.values {
            Some(values) => value.is_some_and(|value| values.iter().any(|wanted| wanted == value)),
            None => value.is_some(),
        };
        found != self.negated
    }
}

/// The text at a path such as `spec.nodeName`; empty where there is none.
fn field(object: &Value, path: &str) -> String {
    match path.split('.').fold(object, |value, step| &value[step]) {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Fields that the API server selects by (`pkg/apis/core/v1/conversion.go` and the registry strategies).
fn is_selectable(resource: &Resource, path: &str) -> bool {
    let more: &[&str] = match resource.plural.as_str() {
        "pods" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "nodes" => &["spec.unschedulable"],
        "services" => &["spec.clusterIP", "spec.type"],
        "namespaces" => &["status.phase"],
        "secrets" => &["type"],
        "events" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.fieldPath",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "reason",
            "type",
            "reportingComponent",
            "reportingController",
        ],
        _ => &[],
    };
    ["metadata.name", "metadata.namespace"].contains(&path) || more.contains(&path)
}

/// `a=b`, `a==b`, `a!=b`
fn equality(text: &str) -> Option<Requirement> {
    let (key, value, negated) = if let Some((key, value)) = text.split_once("!=") {
        (key, value, true)
    } else if let Some((key, value)) = text.split_once("==") {
        (key, value, false)
    } else {
        let (key, value) = text.split_once('=')?;
        (key, value, false)
    };
    Some(Requirement { key: key.trim().to_owned(), values: Some(vec![value.trim().to_owned()]), negated })
}

fn label_requirement(text: &str) -> Option<Requirement> {
    if text.contains('=') {
        return equality(text);
    }
    for (word, negated) in [(" notin ", true), (" in ", false)] {
        if let Some((key, values)) = text.split_once(word) {
            let values = values.trim().strip_prefix('(')?.strip_suffix(')')?;
            let values = values.split(',').map(|value| value.trim().to_owned()).collect();
            return Some(Requirement { key: key.trim().to_owned(), values: Some(values), negated });
        }
    }
    let (key, negated) = text.strip_prefix('!').map_or((text, false), |key| (key, true));
    (!key.is_empty()).then(|| Requirement { key: key.trim().to_owned(), values: None, negated })
}

/// At the commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => inside = true,
            ')' => inside = false,
            ',' if !inside => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use hyper::Method;
    use serde_json::json;

    use super::*;
    use crate::request::Path;

    fn selection(query: &str) -> Result<Selection, Refusal> {
        let Ok(Path::Call(call)) = Path::parse(&Method::GET, "/api/v1/pods", Some(query)) else {
            panic!("{query}")
        };
        Selection::of(&call)
    }

    #[test]
    fn selectors_select_as_the_api_documents() {
        let pod = json!({"metadata": {"namespace": "shop", "name": "a", "labels": {"app": "web", "tier": "x"}},
            "spec": {"nodeName": "worker-1"}, "status": {"podIP": "10.0.0.1"}});
        let table = [
            ("", true),
            ("fieldSelector=spec.nodeName=worker-1", true),
            ("fieldSelector=spec.nodeName%3Dworker-2", false),
            ("fieldSelector=spec.nodeName=worker-1,status.podIP!=10.0.0.1", false),
            ("labelSelector=app=web,tier in (x,y)", true),
            ("labelSelector=app notin (web)", false),
            ("labelSelector=role notin (web),!role", true),
            ("labelSelector=app,!tier", false),
        ];
        for (query, expected) in table {
            assert_eq!(selection(query).unwrap().selects(&pod), expected, "{query}");
        }
        let refused = selection("fieldSelector=spec.replicas=1").unwrap_err();
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (400, "field label not supported: spec.replicas")
        );
    }
}
