//! Which pods are meant: `POD`, `NS/POD`, `pod/POD`, `ns/NAME`.

use std::str::FromStr;

use egress_core::cluster::PodRef;
use egress_core::history::PodFilter;

/// What stands on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A pod, with its namespace if that was given.
    Pod {
        /// Namespace.
        namespace: Option<String>,
        /// Name.
        name: String,
    },
    /// All pods of a namespace.
    Namespace(String),
}

/// Kinds that own pods: their pods are found through an API server, which one agent does not ask.
const OWNERS: &[&str] = &[
    "deploy",
    "deployment",
    "deployments",
    "sts",
    "statefulset",
    "statefulsets",
    "ds",
    "daemonset",
    "daemonsets",
    "job",
    "jobs",
];

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, name) = match text.split_once('/') {
            Some((first, name)) => (Some(first), name),
            None => (None, text),
        };
        let valid = |name: &str| {
            !name.is_empty()
                && name.len() <= 253
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'))
        };
        if !valid(name) || first.is_some_and(|first| !valid(first)) {
            return Err(format!("\"{text}\" is not POD, NS/POD, pod/POD or ns/NAME"));
        }
        match first {
            None | Some("pod" | "pods" | "po") => Ok(Self::Pod { namespace: None, name: name.to_owned() }),
            Some("ns" | "namespace" | "namespaces") => Ok(Self::Namespace(name.to_owned())),
            Some(kind) if OWNERS.contains(&kind) => Err(format!(
                "the pods of a {kind} are known to the API server and not to one agent: name a pod or ns/NAME"
            )),
            Some(namespace) => Ok(Self::Pod { namespace: Some(namespace.to_owned()), name: name.to_owned() }),
        }
    }
}

/// The pods meant by a target and the flag `-n`.
pub(super) fn pod_filter(target: Option<&Target>, namespace: Option<&str>) -> Result<PodFilter, String> {
    let other = |own: &str| match namespace {
        Some(flag) if flag != own => {
            Err(format!("the pod is given with namespace {own} and -n says {flag}: which one is meant?"))
        }
        _ => Ok(own.to_owned()),
    };
    Ok(match target {
        None => namespace.map_or(PodFilter::All, |namespace| PodFilter::Namespace(namespace.to_owned())),
        Some(Target::Namespace(own)) => PodFilter::Namespace(other(own)?),
        Some(Target::Pod { namespace: Some(own), name }) => {
            PodFilter::Pod(PodRef { namespace: other(own)?, name: name.clone() })
        }
        Some(Target::Pod { namespace: None, name }) => {
            let namespace = namespace.unwrap_or("default").to_owned();
            PodFilter::Pod(PodRef { namespace, name: name.clone() })
        }
    })
}

/// What is meant, in words.
pub(super) fn describe(pods: &PodFilter) -> String {
    match pods {
        PodFilter::All => "any pod of this node".to_owned(),
        PodFilter::Namespace(namespace) => format!("any pod of namespace {namespace}"),
        PodFilter::Pod(pod) => format!("{}/{}", pod.namespace, pod.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(target: &str, namespace: Option<&str>) -> Result<String, String> {
        let target = target.parse::<Target>()?;
        pod_filter(Some(&target), namespace).map(|pods| describe(&pods))
    }

    #[test]
    fn targets_are_read() {
        assert_eq!(filter("x", None).unwrap(), "default/x");
        assert_eq!(filter("x", Some("a")).unwrap(), "a/x");
        assert_eq!(filter("a/x", None).unwrap(), "a/x");
        assert_eq!(filter("a/x", Some("a")).unwrap(), "a/x");
        assert_eq!(filter("pod/x", Some("a")).unwrap(), "a/x");
        assert_eq!(filter("ns/a", None).unwrap(), "any pod of namespace a");
        assert_eq!(pod_filter(None, None), Ok(PodFilter::All));
        assert_eq!(pod_filter(None, Some("a")), Ok(PodFilter::Namespace("a".into())));
        assert!(filter("a/x", Some("b")).unwrap_err().contains("which one"));
        assert!(filter("deploy/x", None).unwrap_err().contains("API server"));
        for text in ["", "/", "a/", "/x", "a/b/c", "A", "x y", "x\u{1b}[0m"] {
            assert!(filter(text, None).unwrap_err().contains("is not POD"), "{text}");
        }
    }
}
