use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use egress_core::cluster::Pod;
use egress_core::tally::Counted;
use egress_core::verdict::{Cause, Direction};

use super::*;
use crate::testing;

fn readings() -> Readings {
    let conntrack = Some(Conntrack { entries: 120, limit: 262_144 });
    Readings { status: testing::status(), conntrack, wall: "2025-11-20T02:00:33Z".parse().unwrap() }
}

/// A pod, its uid and its workload.
fn pod(name: &str, uid: &str, workload: &str) -> Arc<Pod> {
    let workload = Some(workload.to_owned());
    Arc::new(Pod {
        namespace: "default".into(),
        name: name.into(),
        uid: uid.into(),
        workload,
        ..Pod::default()
    })
}

/// The pod of the hand-made verdicts.
fn client() -> Arc<Pod> {
    pod("api-client", "0c5e", "Deployment/api-client")
}

fn dropped(count: u64) -> Counted {
    Counted::Dropped { reason: "NETFILTER_DROP".into(), direction: Direction::Egress, count }
}

/// What a scrape shows `second` seconds after the start.
fn encode(metrics: &Metrics, second: u64) -> String {
    metrics.status(&testing::status(), at(second));
    metrics.encode(readings()).unwrap()
}

fn at(second: u64) -> Mono {
    Mono(second * 1_000_000_000)
}

fn count(metrics: &Metrics, pod: &Arc<Pod>, what: Counted) {
    metrics.tally(&Tally { pod: Arc::clone(pod), what });
}

fn gone(metrics: &Metrics, pod: &Pod, second: u64) {
    metrics.pod_gone(&PodRef { namespace: pod.namespace.clone(), name: pod.name.clone() }, at(second));
}

/// Metrics with one series of every kind.
fn full(pod_label: bool) -> Metrics {
    let metrics = Metrics::new(pod_label);
    metrics.verdict(&testing::policy_drop(), None);
    let latency = Some(std::time::Duration::from_micros(700));
    for what in [
        dropped(200_000),
        Counted::Retransmit { syn: true },
        Counted::Retransmit { syn: false },
        Counted::ConnectFailure { outcome: "timeout" },
        Counted::DnsResponse { outcome: "noerror", latency },
        Counted::DnsResponse { outcome: "timeout", latency: None },
        Counted::Drift { kind: "denied-but-passed" },
    ] {
        count(&metrics, &client(), what);
    }
    metrics
}

/// Families as `name type label,label`, sorted.
fn families(text: &str) -> Vec<String> {
    let mut kinds = BTreeMap::new();
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kinds.insert(name.to_owned(), kind.to_owned());
        }
        if line.starts_with('#') {
            continue;
        }
        let name = &line[..line.find(['{', ' ']).unwrap()];
        let family = kinds.keys().filter(|family| name.starts_with(family.as_str())).max_by_key(|f| f.len());
        let keys = labels.entry(family.unwrap().clone()).or_default();
        if let Some((set, _)) = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')) {
            let parts = set.split("\",").map(|pair| pair.split_once('=').unwrap().0.to_owned());
            keys.extend(parts.filter(|key| key != "le"));
        }
    }
    let join =
        |set: Option<&BTreeSet<String>>| set.into_iter().flatten().cloned().collect::<Vec<_>>().join(",");
    let line = |(name, kind)| format!("{name} {kind} {}", join(labels.get(name))).trim_end().to_owned();
    kinds.iter().map(line).collect()
}

#[test]
fn the_list_of_metrics_is_the_contract() {
    let text = encode(&full(true), 0);
    assert_eq!(families(&text), include_str!("golden.txt").lines().map(str::to_owned).collect::<Vec<_>>());
    assert!(text.ends_with("# EOF\n"));
    for line in [
        "egress_verdicts_total{cause=\"policy-drop\",direction=\"egress\",namespace=\"default\",pod=\"api-client\",workload=\"Deployment/api-client\"} 1",
        "egress_dropped_packets_total{reason=\"NETFILTER_DROP\",direction=\"egress\",namespace=\"default\",pod=\"api-client\",workload=\"Deployment/api-client\"} 200000",
        "egress_tcp_retransmits_total{kind=\"syn\",namespace=\"default\",pod=\"api-client\",workload=\"Deployment/api-client\"} 1",
        "egress_dns_latency_seconds_bucket{le=\"0.0005\",outcome=\"noerror\",namespace=\"default\",pod=\"api-client\",workload=\"Deployment/api-client\"} 0",
        "egress_dns_latency_seconds_bucket{le=\"+Inf\",outcome=\"noerror\",namespace=\"default\",pod=\"api-client\",workload=\"Deployment/api-client\"} 1",
        "egress_agent_hook_attached{hook=\"nf:nf_hook_slow\"} 0",
        "egress_agent_events_total{kind=\"drop\"} 199841",
        "egress_agent_events_lost_total{stage=\"ring\"} 7",
        "egress_conntrack_entries 120",
        "egress_conntrack_entries_limit 262144",
        "egress_policy_view_age_seconds 33.0",
        "egress_agent_build_info{version=\"0.1.0\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn without_the_label_no_series_names_a_pod() {
    let text = encode(&full(false), 0);
    assert!(!text.contains("pod=\""), "{text}");
    assert!(text.contains(
        "egress_verdicts_total{cause=\"policy-drop\",direction=\"egress\",namespace=\"default\",workload="
    ));
}

#[test]
fn a_verdict_counts_when_made_and_when_its_cause_changes() {
    let metrics = Metrics::new(true);
    let first = testing::unknown();
    metrics.verdict(&first, None);
    let mut later = first.clone();
    later.count = 9;
    metrics.verdict(&later, Some(&first));
    let mut better = later.clone();
    better.cause = Cause::PolicyDrop;
    metrics.verdict(&better, Some(&later));
    let text = encode(&metrics, 0);
    let counts: Vec<_> = text.lines().filter(|line| line.starts_with("egress_verdicts_total")).collect();
    assert_eq!(counts.len(), 2);
    assert!(counts.iter().all(|line| line.ends_with(" 1")), "{counts:?}");
}

#[test]
fn the_series_of_a_pod_end_a_minute_after_it() {
    let metrics = full(true);
    let shown = |second| encode(&metrics, second).contains("pod=\"api-client\"");
    gone(&metrics, &client(), 100);
    assert!(shown(159));
    // Late events of the dead pod neither keep it nor bring it back.
    count(&metrics, &client(), dropped(1));
    assert!(!shown(160));
    count(&metrics, &client(), dropped(1));
    assert!(!shown(161));
    assert!(!shown(460));
}

#[test]
fn a_successor_of_the_same_name_has_series() {
    let metrics = full(true);
    let line = |second| {
        encode(&metrics, second).lines().find(|l| l.starts_with("egress_dropped")).map(str::to_owned)
    };
    gone(&metrics, &client(), 100);
    count(&metrics, &pod("api-client", "next", "StatefulSet/api-client"), dropped(1));
    assert!(line(200).unwrap().ends_with(" 200001"), "within the minute it goes on");
    gone(&metrics, &pod("api-client", "next", ""), 200);
    assert_eq!(line(300), None);
    count(&metrics, &pod("api-client", "third", "StatefulSet/api-client"), dropped(7));
    assert!(line(301).unwrap().ends_with(" 7"), "after it, it begins anew");
}

#[test]
fn a_sum_over_a_workload_does_not_fall_when_one_of_its_pods_goes() {
    let metrics = Metrics::new(false);
    let (a, b) = (pod("a", "1", "Deployment/d"), pod("b", "2", "Deployment/d"));
    count(&metrics, &a, dropped(5));
    count(&metrics, &b, dropped(5));
    let sum = |second| {
        let text = encode(&metrics, second);
        let line = text.lines().find(|line| line.starts_with("egress_dropped_packets_total"));
        line.map(|line| line.rsplit_once(' ').unwrap().1.to_owned())
    };
    assert_eq!(sum(0).as_deref(), Some("10"));
    gone(&metrics, &a, 0);
    assert_eq!(sum(100).as_deref(), Some("10"));
    gone(&metrics, &b, 100);
    assert_eq!(sum(200), None);
}

#[test]
fn churn_leaves_nothing_behind() {
    let metrics = Metrics::new(true);
    for second in 0..10_000 {
        let pod = pod(&format!("job-{second}"), &second.to_string(), "Job/x");
        count(&metrics, &pod, dropped(1));
        gone(&metrics, &pod, second);
        metrics.status(&testing::status(), at(second));
    }
    let text = encode(&metrics, 10_000);
    let series = text.lines().filter(|line| line.starts_with("egress_dropped_packets_total")).count();
    assert!(series <= 60, "{series}");
}
