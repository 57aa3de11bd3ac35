//! Finds what the two ends of the question name.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::ExplainError;
use crate::cluster::{Pod, PodRef, Service};
use crate::identity::ClusterIndex;
use crate::similar::similar;

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// An address.
    Ip(IpAddr),
    /// A name of the world outside, and its addresses.
    Name(String, Vec<IpAddr>),
    /// A pod.
    Pod(Arc<Pod>),
    /// A Service.
    Service(Arc<Service>),
    /// A range of addresses.
    Range(IpNet),
    /// The pods of a workload, in the order of their names; at least one.
    Workload(String, Vec<Arc<Pod>>),
}

impl End {
    /// The addresses to choose from; none where they are not known.
    pub(super) fn ips(&self) -> &[IpAddr] {
        match self {
            Self::Ip(ip) => std::slice::from_ref(ip),
            Self::Name(_, ips) => ips,
            Self::Pod(pod) => &pod.ips,
            Self::Service(service) => &service.cluster_ips,
            Self::Range(_) => &[],
            Self::Workload(_, pods) => pods.first().map_or(&[], |pod| &pod.ips),
        }
    }

    /// The names that lead to it: the one that the question was asked by, else those that were given for the address.
    pub(super) fn resolved_names(&self, dns: &[(String, IpAddr)]) -> Vec<String> {
        let plain = |name: &str| name.trim_end_matches('.').to_owned();
        match self {
            Self::Name(name, _) => vec![plain(name)],
            Self::Ip(ip) => dns.iter().filter(|(_, of)| of == ip).map(|(name, _)| plain(name)).collect(),
            _ => Vec::new(),
        }
    }

    /// As a person calls it, without the address.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Ip(ip) => ip.to_string(),
            Self::Name(name, _) => name.clone(),
            Self::Pod(pod) => pod.reference().to_string(),
            Self::Service(service) => format!("Service {}", service.reference()),
            Self::Range(range) => range.to_string(),
            Self::Workload(name, _) => name.clone(),
        }
    }
}

/// `[NS/]POD`, `TYPE/[NS/]NAME`, an address or a range of them.
pub(super) fn source(index: &ClusterIndex, text: &str) -> Result<End, ExplainError> {
    if let Some(end) = address(text).map(End::Ip).or_else(|| range(text)) {
        return Ok(end);
    }
    let Name { kind, namespace, name } = Name::parse(text)?;
    if let Kind::Workload(kind) = kind {
        return workload(index, text, kind, namespace, name);
    }
    let mut pods = find(index.pods(), namespace, name, |pod| pod.reference());
    match (pods.pop(), pods.is_empty()) {
        (Some(pod), true) => Ok(End::Pod(pod)),
        (Some(pod), false) => {
            Err(ambiguous(text, pods.iter().chain([&pod]).map(|pod| pod.reference().to_string())))
        }
        (None, _) => {
            let is_service =
                !find(index.services(), namespace, name, |service| service.reference()).is_empty();
            let hint = if is_service {
                " (it is a Service; traffic comes from pods)".into()
            } else {
                elsewhere(index, namespace, name, false)
            };
            Err(ExplainError::NoSuchPod { name: text.to_owned(), hint })
        }
    }
}

/// `[NS/]POD`, `[NS/]SERVICE`, `TYPE/[NS/]NAME`, a Service's DNS name, a name given with its address, an address or a
/// range of them.
pub(super) fn destination(
    index: &ClusterIndex,
    text: &str,
    dns: &[(String, IpAddr)],
) -> Result<End, ExplainError> {
    if let Some(end) = address(text).map(End::Ip).or_else(|| range(text)) {
        return Ok(end);
    }
    let ips = given(text, dns);
    if !ips.is_empty() {
        return Ok(End::Name(text.to_owned(), ips));
    }
    let Name { kind, namespace, name } = Name::parse(text)?;
    if let Kind::Workload(kind) = kind {
        return workload(index, text, kind, namespace, name);
    }
    let pods = match kind {
        Kind::Service | Kind::Workload(_) => Vec::new(),
        Kind::Pod | Kind::Any => find(index.pods(), namespace, name, |pod| pod.reference()),
    };
    let services = match kind {
        Kind::Pod | Kind::Workload(_) => Vec::new(),
        Kind::Service | Kind::Any => find(index.services(), namespace, name, |service| service.reference()),
    };
    match (pods.as_slice(), services.as_slice()) {
        ([pod], []) => Ok(End::Pod(Arc::clone(pod))),
        ([], [service]) => Ok(End::Service(Arc::clone(service))),
        ([], []) => {
            let hint = if name.contains('.') {
                format!(" (for a name of the outside, say its address: --dns {text}=IP)")
            } else {
                elsewhere(index, namespace, name, true)
            };
            Err(ExplainError::NoSuchDestination { name: text.to_owned(), hint })
        }
        (pods, services) => {
            let pods = pods.iter().map(|pod| format!("pod/{}", pod.reference()));
            let services = services.iter().map(|service| format!("svc/{}", service.reference()));
            Err(ambiguous(text, pods.chain(services)))
        }
    }
}

/// The addresses that were given for this name.
pub(super) fn given(text: &str, dns: &[(String, IpAddr)]) -> Vec<IpAddr> {
    let same = |name: &str| name.trim_end_matches('.').eq_ignore_ascii_case(text.trim_end_matches('.'));
    dns.iter().filter(|(name, _)| same(name)).map(|(_, ip)| ip.to_canonical()).collect()
}

pub(super) fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// `10.0.0.0/8`; bits beyond the prefix are cleared. A range of one address is that address.
pub(super) fn range(text: &str) -> Option<End> {
    let range = text.parse::<IpNet>().ok()?.trunc();
    let single = range.prefix_len() == range.max_prefix_len();
    Some(if single { End::Ip(range.addr().to_canonical()) } else { End::Range(range) })
}

/// Labels of a Job's pods, by which they are found where their CronJob stands for it.
const JOB_NAME: &[&str] = &["batch.kubernetes.io/job-name", "job-name"];

/// The pods that a workload owns and that have not finished.
fn workload(
    index: &ClusterIndex,
    text: &str,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
) -> Result<End, ExplainError> {
    let owner = format!("{kind}/{name}");
    let owned = |pod: &&Arc<Pod>| {
        !pod.finished
            && (pod
                .workload
                .as_deref()
                .is_some_and(|of| of == owner || (kind == "CronJob" && is_run(of, name)))
                || (kind == "Job" && JOB_NAME.iter().any(|label| pod.labels.get(label) == Some(name))))
            && namespace.is_none_or(|namespace| pod.namespace == namespace)
    };
    let pods: Vec<Arc<Pod>> = index.pods().filter(owned).cloned().collect();
    let mut namespaces: Vec<&str> = pods.iter().map(|pod| pod.namespace.as_str()).collect();
    namespaces.dedup();
    match namespaces.as_slice() {
        [] => Err(ExplainError::NoSuchPod { name: text.to_owned(), hint: " (no pod has this owner)".into() }),
        [namespace] => Ok(End::Workload(format!("{kind} {namespace}/{name}"), pods.clone())),
        several => {
            let first = text.split('/').next().unwrap_or_default();
            Err(ambiguous(text, several.iter().map(|namespace| format!("{first}/{namespace}/{name}"))))
        }
    }
}

/// `Job/backup-29384756` is a run of the CronJob `backup`: its controller puts the time behind the name, in minutes, once
/// in seconds (`getJobName` of `pkg/controller/cronjob`). For pods whose own time did not confirm that.
fn is_run(workload: &str, cron_job: &str) -> bool {
    let run = workload.strip_prefix("Job/").and_then(|job| job.strip_prefix(cron_job)?.strip_prefix('-'));
    run.is_some_and(|time| matches!(time.len(), 8..=10) && time.bytes().all(|b| b.is_ascii_digit()))
}

fn ambiguous(text: &str, candidates: impl Iterator<Item = String>) -> ExplainError {
    let mut candidates: Vec<String> = candidates.collect();
    candidates.sort();
    ExplainError::Ambiguous { name: text.to_owned(), candidates }
}

/// Where else a pod of this name is; else which names look like it, those of Services too where one may be `dialled`.
fn elsewhere(index: &ClusterIndex, namespace: Option<&str>, name: &str, dialled: bool) -> String {
    let other: Vec<String> =
        index.pods().filter(|pod| pod.name == name).map(|pod| pod.reference().to_string()).collect();
    if !other.is_empty() {
        return format!(" (there is {})", other.join(", "));
    }
    let here = |own: &str| namespace.is_none_or(|namespace| own == namespace);
    let pods = index.pods().filter(|pod| here(&pod.namespace)).map(|pod| pod.name.as_str());
    let services = index.services().filter(|service| dialled && here(&service.namespace));
    let alike = similar(name, pods.chain(services.map(|service| service.name.as_str())));
    if alike.is_empty() { String::new() } else { format!(" (did you mean {}?)", alike.join(" or ")) }
}

/// What kind of object a name asks for.
pub(super) enum Kind {
    Any,
    Pod,
    Service,
    /// As the owner of a pod is written.
    Workload(&'static str),
}

/// Kinds that own pods, as `kubectl` takes them.
const WORKLOADS: &[(&str, &[&str])] = &[
    ("Deployment", &["deploy", "deployment", "deployments"]),
    ("StatefulSet", &["sts", "statefulset", "statefulsets"]),
    ("DaemonSet", &["ds", "daemonset", "daemonsets"]),
    ("ReplicaSet", &["rs", "replicaset", "replicasets"]),
    ("Job", &["job", "jobs"]),
    ("CronJob", &["cj", "cronjob", "cronjobs"]),
];

pub(super) struct Name<'a> {
    pub(super) kind: Kind,
    pub(super) namespace: Option<&'a str>,
    pub(super) name: &'a str,
}

impl<'a> Name<'a> {
    /// `NAME`, `NS/NAME`, `pod/NAME`, `svc/NS/NAME`, `deploy/NAME`, `NAME.NS.svc[.ZONE]`.
    pub(super) fn parse(text: &'a str) -> Result<Self, ExplainError> {
        let malformed = || ExplainError::Malformed { text: text.to_owned() };
        // As kubectl prints names: deployment.apps/web.
        let workload = |word: &str| {
            let group =
                ["apps", "batch"].into_iter().find_map(|group| word.strip_suffix(group)?.strip_suffix('.'));
            let word = group.unwrap_or(word);
            let found = WORKLOADS.iter().find(|(_, words)| words.contains(&word));
            found.map(|(kind, _)| Kind::Workload(kind))
        };
        let (kind, rest) = match text.split_once('/') {
            Some((word, rest)) if workload(word).is_some() => (workload(word).unwrap_or(Kind::Any), rest),
            Some(("pod" | "pods" | "po", rest)) => (Kind::Pod, rest),
            Some(("service" | "services" | "svc", rest)) => (Kind::Service, rest),
            _ => (Kind::Any, text),
        };
        let parts: Vec<&str> = rest.split('/').collect();
        let well_formed = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
        };
        if !parts.iter().all(well_formed) {
            return Err(malformed());
        }
        let dotted: Vec<&str> = rest.split('.').collect();
        match (parts.as_slice(), dotted.as_slice()) {
            ([_], [name, namespace, "svc", ..]) => {
                Ok(Self { kind: Kind::Service, namespace: Some(namespace), name })
            }
            ([name], _) => Ok(Self { kind, namespace: None, name }),
            ([namespace, name], _) => Ok(Self { kind, namespace: Some(namespace), name }),
            _ => Err(malformed()),
        }
    }
}

fn find<'a, T: 'a>(
    all: impl Iterator<Item = &'a Arc<T>>,
    namespace: Option<&str>,
    name: &str,
    reference: impl Fn(&T) -> PodRef,
) -> Vec<Arc<T>> {
    let named = |object: &&Arc<T>| {
        let PodRef { namespace: ns, name: n } = reference(object);
        n == name && namespace.is_none_or(|namespace| ns == namespace)
    };
    all.filter(named).cloned().collect()
}

/// Addresses of one family for the two ends, from the source's primary on. Where an end's addresses are not known, it
/// takes part in any family. `None` if the ends have no family in common.
pub(super) fn pair(from: &[IpAddr], to: &[IpAddr]) -> Option<(IpAddr, IpAddr)> {
    const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    match (from.first(), to.first()) {
        (None, None) => Some((UNKNOWN, UNKNOWN)),
        (Some(from), None) => Some((*from, UNKNOWN)),
        (None, Some(to)) => Some((UNKNOWN, *to)),
        (Some(_), Some(_)) => {
            from.iter().find_map(|a| to.iter().find(|b| a.is_ipv4() == b.is_ipv4()).map(|b| (*a, *b)))
        }
    }
}
