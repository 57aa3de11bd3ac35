//! Pods.

use std::collections::BTreeMap;
use std::net::IpAddr;

use egress_core::cluster::{Container, ContainerPort, Labels, Pod, PodDns};
use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};

use super::field::Field;
use super::{Errors, ip, names, port, port_name, protocol};

/// Label by which a ReplicaSet of a Deployment tells its pods from its siblings'.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// Annotations that kubelet gives to the mirror of a static pod.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";
const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";
/// Environment variables that set a proxy, and where none is used; programs read either case.
const PROXY_VARIABLES: &[&str] = &["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

/// Converts a Pod. `netns_path` stays empty: only a file source may set it.
pub fn pod(mut object: v1::Pod, errors: &mut Errors) -> Pod {
    let (namespace, name) = names(&mut object.metadata, errors);
    let labels = Labels::from(object.metadata.labels.unwrap_or_default());
    let (owners, created) = (object.metadata.owner_references.as_deref(), object.metadata.creation_timestamp);
    let workload = owners.and_then(|owners| workload(owners, &labels, created.as_ref()));
    let spec = object.spec.unwrap_or_default();
    let status = object.status.unwrap_or_default();
    Pod {
        ips: ips(&status, errors),
        node: spec.node_name.clone().unwrap_or_default(),
        host_network: spec.host_network.unwrap_or(false),
        service_account: spec.service_account_name.clone().unwrap_or_default(),
        finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
        ready: status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        trouble: trouble(&status),
        dns: Box::new(dns(&spec, errors)),
        static_uid: static_uid(object.metadata.annotations.as_ref()),
        containers: containers(spec, &status, errors),
        uid: object.metadata.uid.unwrap_or_default(),
        namespace,
        name,
        labels,
        workload,
        netns_path: None,
    }
}

/// Of the mirror of a static pod, the UID that kubelet gave it, by which the runtime knows it.
fn static_uid(annotations: Option<&BTreeMap<String, String>>) -> Option<String> {
    let annotations = annotations?;
    let hash = annotations.get(CONFIG_HASH).filter(|hash| !hash.is_empty())?;
    annotations.contains_key(CONFIG_MIRROR).then(|| hash.clone())
}

/// Why a pod is not ready: what a container waits for or died of, else what the Ready condition (or, before it is
/// bound to a node, PodScheduled) says.
fn trouble(status: &v1::PodStatus) -> Option<String> {
    let conditions = || status.conditions.iter().flatten();
    if conditions().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
        return None;
    }
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let stuck = containers.filter(|container| !container.ready).find_map(|container| {
        let state = container.state.as_ref()?;
        let waits = state.waiting.as_ref().and_then(|waiting| waiting.reason.clone());
        // An init container that has completed is fine.
        let died = state.terminated.as_ref().filter(|terminated| terminated.exit_code != 0);
        let why = waits.or_else(|| died.map(|died| format!("exited with {}", died.exit_code)))?;
        Some(format!("container {}: {why}", container.name))
    });
    let said = || {
        let failed = |kind| conditions().find(|c| c.type_ == kind && c.status == "False");
        let condition = failed("PodScheduled").or_else(|| failed("Ready"))?;
        condition.message.clone().filter(|text| !text.is_empty()).or_else(|| condition.reason.clone())
    };
    stuck.or_else(said)
}

/// `status.podIPs`, else `status.podIP`; a pod that is not yet running has neither.
fn ips(status: &v1::PodStatus, errors: &mut Errors) -> Vec<IpAddr> {
    let at = Field::root("status");
    let many = at.then("podIPs");
    let listed = status.pod_ips.iter().flatten().enumerate();
    let ips: Vec<_> =
        listed.filter_map(|(index, entry)| ip(&entry.ip, &many.item(index).then("ip"), errors)).collect();
    match &status.pod_ip {
        Some(text) if ips.is_empty() && !text.is_empty() => {
            ip(text, &at.then("podIP"), errors).into_iter().collect()
        }
        _ => ips,
    }
}

/// `spec.dnsPolicy` and `spec.dnsConfig`.
fn dns(spec: &v1::PodSpec, errors: &mut Errors) -> PodDns {
    let config = spec.dns_config.as_ref();
    let at = Field::root("spec.dnsConfig.nameservers");
    let given = config.and_then(|config| config.nameservers.as_ref()).into_iter().flatten().enumerate();
    PodDns {
        policy: spec.dns_policy.clone(),
        nameservers: given.filter_map(|(index, text)| ip(text, &at.item(index), errors)).collect(),
        searches: config.and_then(|config| config.searches.clone()).unwrap_or_default(),
    }
}

/// The controlling owner; a ReplicaSet whose name ends in the template hash stands for its Deployment, and a Job whose
/// name ends in the time of its pod for its CronJob.
fn workload(owners: &[OwnerReference], labels: &Labels, created: Option<&Time>) -> Option<String> {
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    if owner.kind == "ReplicaSet"
        && let Some(hash) = labels.get(TEMPLATE_HASH)
        && let Some(deployment) = owner.name.strip_suffix(hash).and_then(|name| name.strip_suffix('-'))
    {
        return Some(format!("Deployment/{deployment}"));
    }
    if owner.kind == "Job"
        && let Some((cron_job, scheduled)) = owner.name.rsplit_once('-')
        && created.is_some_and(|created| is_run_of(scheduled, created))
    {
        return Some(format!("CronJob/{cron_job}"));
    }
    Some(format!("{}/{}", owner.kind, owner.name))
}

/// Whether a Job's name ends in when it was due, as a CronJob's does: minutes since 1970 (`getJobName` of
/// `pkg/controller/cronjob`). Only a time within a day before its pod's is believed.
fn is_run_of(scheduled: &str, created: &Time) -> bool {
    const DAY: i64 = 24 * 60;
    let digits = scheduled.len() >= 8 && scheduled.bytes().all(|byte| byte.is_ascii_digit());
    let due = scheduled.parse::<i64>().ok().filter(|_| digits);
    due.is_some_and(|due| (0..=DAY).contains(&(created.0.as_second() / 60 - due)))
}

/// The containers, and those init containers that keep running beside them (sidecars).
fn containers(spec: v1::PodSpec, status: &v1::PodStatus, errors: &mut Errors) -> Vec<Container> {
    let statuses = status.container_statuses.iter().chain(&status.init_container_statuses);
    let ids: Vec<(&str, &str)> = statuses
        .flatten()
        .filter_map(|status| {
            let (_, id) = status.container_id.as_deref()?.split_once("://")?;
            Some((status.name.as_str(), id))
        })
        .collect();
    let id_of = |name: &str| ids.iter().find(|(known, _)| *known == name).map(|(_, id)| (*id).into());
    let at = Field::root("spec");
    let init = spec.init_containers.unwrap_or_default();
    let mut all = Vec::with_capacity(spec.containers.len());
    for (list, given) in [("containers", spec.containers), ("initContainers", init)] {
        let at = at.then(list);
        for (index, given) in given.into_iter().enumerate() {
            if list == "containers" || given.restart_policy.as_deref() == Some("Always") {
                let id = id_of(&given.name);
                all.push(Container { id, ..container(given, &at.item(index), errors) });
            }
        }
    }
    all
}

fn container(given: v1::Container, at: &Field<'_>, errors: &mut Errors) -> Container {
    let ports_at = at.then("ports");
    let mut ports = Vec::new();
    for (index, given) in given.ports.unwrap_or_default().into_iter().enumerate() {
        let at = ports_at.item(index);
        let number = port(given.container_port, &at.then("containerPort"), errors);
        let protocol = protocol(given.protocol.as_deref(), &at.then("protocol"), errors);
        let name = given.name.filter(|name| !name.is_empty());
        let name = name.and_then(|name| port_name(name, &at.then("name"), errors));
        ports.extend(number.map(|port| ContainerPort { name, port, protocol }));
    }
    let env = given.env.unwrap_or_default().into_iter();
    let proxy_env = env
        .filter(|env| PROXY_VARIABLES.iter().any(|name| env.name.eq_ignore_ascii_case(name)))
        .filter_map(|env| {
            let value = env.value.filter(|value| !value.is_empty())?;
            Some((env.name, without_credentials(&value)))
        })
        .collect();
    Container { name: given.name, ports, proxy_env, id: None }
}

/// A proxy's address without user and password: they are not needed, and captures hold what is kept here.
fn without_credentials(value: &str) -> String {
    let (scheme, rest) = match value.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, value),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let place = rest[..end].rsplit_once('@').map_or(&rest[..end], |(_, place)| place);
    let tail = &rest[end..];
    scheme.map_or_else(|| format!("{place}{tail}"), |scheme| format!("{scheme}://{place}{tail}"))
}
