//! What a URL asks for.

use std::collections::BTreeMap;

use hyper::Method;

use crate::kinds::Resource;
use crate::status::Refusal;

/// A request for objects.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// As RBAC names it: get, list, watch, create, update, patch, delete.
    pub(crate) verb: &'static str,
    pub(crate) resource: Resource,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
    pub(crate) query: Query,
}

/// What a path names.
#[derive(Debug)]
pub(crate) enum Path {
    /// `/version`
    Version,
    /// `/healthz`, `/readyz`, `/livez`
    Health,
    /// `/api`
    Core,
    /// `/apis`
    Groups,
    /// `/apis/GROUP`
    Group(String),
    /// `/api/v1`, `/apis/GROUP/VERSION`
    Resources { group: String, version: String },
    /// Objects.
    Call(Call),
}

/// The parameters after `?`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(k, v)| (decoded(k), decoded(v)))
                .collect(),
        )
    }

    /// A parameter that is given and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some_and(|text| text == "true" || text == "1")
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Refusal::new(400, format!("invalid {name}: \"{text}\"")))
    }
}

/// Percent decoding; `+` is a space, as forms have it.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = text.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, hex) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl Path {
    pub(crate) fn parse(method: &Method, path: &str, query: Option<&str>) -> Result<Self, Refusal> {
        let query = Query::parse(query.unwrap_or_default());
        let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["version"] => return Ok(Self::Version),
            ["healthz" | "readyz" | "livez", ..] => return Ok(Self::Health),
            ["api"] => return Ok(Self::Core),
            ["apis"] => return Ok(Self::Groups),
            ["apis", group] => return Ok(Self::Group((*group).to_owned())),
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(Refusal::no_such_resource()),
        };
        let (group, version) = (group.to_owned(), version.to_owned());
        let (namespace, rest) = match rest {
            [] => return Ok(Self::Resources { group, version }),
            ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => (None, rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
            _ => (None, rest),
        };
        let [plural, rest @ ..] = rest else { return Err(Refusal::no_such_resource()) };
        let (name, subresource) = match rest {
            [] => (None, None),
            [name] => (Some((*name).to_owned()), None),
            [name, sub] => (Some((*name).to_owned()), Some((*sub).to_owned())),
            _ => return Err(Refusal::no_such_resource()),
        };
        let verb = verb(method, name.is_some(), query.is_set("watch"))?;
        let resource = Resource { group, version, plural: (*plural).to_owned() };
        Ok(Self::Call(Call { verb, resource, namespace, name, subresource, query }))
    }
}

fn verb(method: &Method, named: bool, watch: bool) -> Result<&'static str, Refusal> {
    Ok(match (method.as_str(), named) {
        ("GET", true) => "get",
        ("GET", false) if watch => "watch",
        ("GET", false) => "list",
        ("POST", _) => "create",
        ("PUT", true) => "update",
        ("PATCH", true) => "patch",
        ("DELETE", true) => "delete",
        _ => {
            return Err(Refusal::new(405, "the server does not allow this method on the requested resource"));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_verb_resource_and_object() {
        let table = [
            ("GET", "/api/v1/pods?watch=1", "watch pods - -"),
            ("GET", "/api/v1/namespaces", "list namespaces - -"),
            ("GET", "/api/v1/namespaces/shop", "get namespaces - shop"),
            ("PATCH", "/api/v1/namespaces/shop/status", "patch namespaces - shop/status"),
            ("GET", "/api/v1/namespaces/shop/pods/a/portforward?ports=1", "get pods shop a/portforward"),
            ("POST", "/apis/events.k8s.io/v1/namespaces/shop/events", "create events.events.k8s.io shop -"),
            (
                "GET",
                "/apis/networking.k8s.io/v1/networkpolicies?limit=5",
                "list networkpolicies.networking.k8s.io - -",
            ),
        ];
        for (method, uri, expected) in table {
            let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
            let method = method.parse().unwrap();
            let Path::Call(call) = Path::parse(&method, path, query).unwrap() else { panic!("{uri}") };
            let name = call.name.as_deref().unwrap_or("-");
            let sub = call.subresource.map(|sub| format!("/{sub}")).unwrap_or_default();
            let namespace = call.namespace.as_deref().unwrap_or("-");
            let found = format!("{} {} {namespace} {name}{sub}", call.verb, call.resource.qualified());
            assert_eq!(found, expected, "{uri}");
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let query =
            Query::parse("fieldSelector=spec.nodeName%3Dworker-1&watch=true&labelSelector=a+in+%28b%29");
        assert_eq!(query.get("fieldSelector"), Some("spec.nodeName=worker-1"));
        assert_eq!(query.get("labelSelector"), Some("a in (b)"));
        assert!(query.is_set("watch"));
    }
}
