//! Policies as text: YAML that `kubectl apply` takes, and lines for the terminal.

mod calico;
mod cilium;
mod network;

use super::Allow;
use super::yaml::{Yaml, map};
use crate::cluster::{Object, Pod};

/// `podSelector: app=web   egress: to 203.0.113.4/32, TCP 443`, a line for each policy, and one for what there is to know.
pub(super) fn text(allows: &[Allow], source: Option<&Pod>) -> String {
    let mut lines = Vec::new();
    for Allow { object, remark } in allows {
        let namespace = object.reference().namespace;
        let elsewhere = source.is_none_or(|pod| pod.namespace != namespace);
        let place = if elsewhere { format!("namespace {namespace}   ") } else { String::new() };
        let words = match object {
            Object::NetworkPolicy(policy) => network::text(policy),
            Object::CiliumPolicy(policy) => cilium::text(policy),
            Object::CalicoPolicy(policy) => calico::text(policy),
            _ => continue,
        };
        lines.push(format!("{place}{words}"));
        lines.extend(remark.clone());
    }
    lines.join("\n")
}

/// Documents, separated by `---`.
pub(super) fn yaml(allows: &[Allow]) -> String {
    let documents: Vec<String> = allows
        .iter()
        .map(|allow| {
            let document = match &allow.object {
                Object::NetworkPolicy(policy) => network::document(policy),
                Object::CiliumPolicy(policy) => cilium::document(policy),
                Object::CalicoPolicy(policy) => calico::document(policy),
                _ => map([]),
            };
            let mut text = String::new();
            document.write(&mut text, 0);
            text
        })
        .collect();
    documents.join("---\n")
}

/// A list of strings.
fn words(all: impl IntoIterator<Item = impl ToString>) -> Yaml {
    Yaml::List(all.into_iter().map(|one| Yaml::Text(one.to_string())).collect())
}
