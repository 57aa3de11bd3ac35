//! Which pods are meant: `POD`, `NS/POD`, `TYPE/NAME`.

use std::str::FromStr;

use egress_core::cluster::PodRef;
use egress_core::history::PodFilter;

use crate::k8s::reach::Workload;

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
    /// The pods of a workload.
    Workload {
        /// Its kind.
        workload: Workload,
        /// Its name.
        name: String,
    },
}

impl Target {
    /// Whether it stands for the pods of a workload.
    pub(super) const fn is_workload(&self) -> bool {
        matches!(self, Self::Workload { .. })
    }
}

/// What is asked: of which pods, and that in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) pods: PodFilter,
    pub(super) words: String,
}

/// What one agent is asked by a target and the flag `-n`.
pub(super) fn asked(target: Option<&Target>, namespace: Option<&str>) -> Result<Asked, String> {
    let pods = pod_filter(target, namespace)?;
    let words = describe(&pods);
    Ok(Asked { pods, words })
}

fn workload(workload: Workload, name: &str) -> Target {
    Target::Workload { workload, name: name.to_owned() }
}

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
            return Err(format!("\"{text}\" is not POD, NS/POD or TYPE/NAME: pod, deploy, sts, ds, job, ns"));
        }
        // As kubectl prints names: deployment.apps/web.
        let first = first.map(|kind| {
            ["apps", "batch"]
                .iter()
                .find_map(|group| kind.strip_suffix(&format!(".{group}")[..]))
                .unwrap_or(kind)
        });
        match first {
            None | Some("pod" | "pods" | "po") => Ok(Self::Pod { namespace: None, name: name.to_owned() }),
            Some("ns" | "namespace" | "namespaces") => Ok(Self::Namespace(name.to_owned())),
            Some("deploy" | "deployment" | "deployments") => Ok(workload(Workload::Deployment, name)),
            Some("sts" | "statefulset" | "statefulsets") => Ok(workload(Workload::StatefulSet, name)),
            Some("ds" | "daemonset" | "daemonsets") => Ok(workload(Workload::DaemonSet, name)),
            Some("job" | "jobs") => Ok(workload(Workload::Job, name)),
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
        Some(Target::Workload { .. }) => {
            return Err("the pods of a workload are known to the API server and not to one agent".to_owned());
        }
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
        assert_eq!("sts/x".parse::<Target>(), Ok(workload(Workload::StatefulSet, "x")));
        assert_eq!("deployment.apps/x".parse::<Target>(), Ok(workload(Workload::Deployment, "x")));
        for text in ["", "/", "a/", "/x", "a/b/c", "A", "x y", "x\u{1b}[0m"] {
            assert!(filter(text, None).unwrap_err().contains("is not POD"), "{text}");
        }
    }
}
