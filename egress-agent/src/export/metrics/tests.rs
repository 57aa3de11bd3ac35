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

fn pod(namespace: &str, name: &str, workload: &str) -> Arc<Pod> {
    let workload = Some(workload.to_owned()).filter(|workload| !workload.is_empty());
    Arc::new(Pod { namespace: namespace.into(), name: name.into(), workload, ..Pod::default() })
}

fn tally(pod: &Arc<Pod>, what: Counted) -> Tally {
    Tally { pod: Arc::clone(pod), what }
}

fn dropped(count: u64) -> Counted {
    Counted::Dropped { reason: "NETFILTER_DROP".into(), direction: Direction::Egress, count }
}

fn encode(metrics: &Metrics, now: Instant) -> String {
    metrics.encode(readings(), now).unwrap()
}

/// Metrics with one series of every kind.
fn full(pod_label: bool) -> Metrics {
    let metrics = Metrics::new(pod_label);
    let pod = pod("default", "api-client", "Deployment/api-client");
    metrics.pod_known("default", "api-client");
    metrics.verdict(&testing::policy_drop(), None);
    let latency = Some(std::time::Duration::from_micros(700));
    metrics.tally(&[
        tally(&pod, dropped(200_000)),
        tally(&pod, Counted::Retransmit { syn: true }),
        tally(&pod, Counted::Retransmit { syn: false }),
        tally(&pod, Counted::ConnectFailure { outcome: "timeout" }),
        tally(&pod, Counted::DnsResponse { outcome: "noerror", latency }),
        tally(&pod, Counted::DnsResponse { outcome: "timeout", latency: None }),
        tally(&pod, Counted::Drift { kind: "denied-but-passed" }),
    ]);
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
    let text = encode(&full(true), Instant::now());
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
fn every_family_says_what_it_is_and_in_which_unit() {
    let text = encode(&full(true), Instant::now());
    let described = |keyword: &str| -> BTreeMap<String, String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(keyword)?.split_once(' '));
        lines.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
    };
    let (kinds, help, units) = (described("# TYPE "), described("# HELP "), described("# UNIT "));
    assert_eq!(kinds.keys().collect::<Vec<_>>(), help.keys().collect::<Vec<_>>());
    for (name, kind) in &kinds {
        let unit = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(&format!("_{unit}")));
        assert_eq!(units.get(name).map(String::as_str), unit, "unit of {name}");
        let suffixes: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        for suffix in suffixes {
            let sample = format!("{name}{suffix}");
            let is_there =
                |line: &str| line.strip_prefix(&sample).is_some_and(|rest| rest.starts_with(['{', ' ']));
            assert!(text.lines().any(is_there), "{sample} is not in\n{text}");
        }
    }
}

#[test]
fn a_thousand_pods_that_come_and_go_do_not_grow_the_page() {
    let metrics = Metrics::new(true);
    let start = Instant::now();
    let churn = |from: u64| {
        for n in from..from + 1000 {
            let pod = pod("ns", &format!("job-{n}"), &format!("Job/job-{n}"));
            metrics.pod_known("ns", &pod.name);
            metrics.tally(&[tally(&pod, dropped(1)), tally(&pod, Counted::Retransmit { syn: true })]);
            metrics.forget("ns", &pod.name, start + Duration::from_secs(n));
        }
        // A minute later.
        encode(&metrics, start + Duration::from_secs(from + 1060)).lines().count()
    };
    let sizes = [encode(&metrics, start).lines().count(), churn(0), churn(2000), churn(4000)];
    assert_eq!(sizes, [sizes[0]; 4]);
}

#[test]
fn without_the_label_no_series_names_a_pod() {
    let text = encode(&full(false), Instant::now());
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
    metrics.verdict(&later, Some(first.cause));
    let mut better = later.clone();
    better.cause = Cause::PolicyDrop;
    metrics.verdict(&better, Some(later.cause));
    let text = encode(&metrics, Instant::now());
    let counts: Vec<_> = text.lines().filter(|line| line.starts_with("egress_verdicts_total")).collect();
    assert_eq!(counts.len(), 2);
    assert!(counts.iter().all(|line| line.ends_with(" 1")), "{counts:?}");
}

#[test]
fn the_series_of_a_pod_end_a_minute_after_it() {
    let metrics = full(true);
    let gone = Instant::now();
    metrics.forget("default", "api-client", gone);
    assert!(encode(&metrics, gone + Duration::from_secs(59)).contains("pod=\"api-client\""));
    // Late events of the dead pod do not keep it, nor bring it back for good.
    metrics.tally(&[tally(&pod("default", "api-client", ""), dropped(1))]);
    assert!(!encode(&metrics, gone + Duration::from_secs(60)).contains("pod=\"api-client\""));
    metrics.tally(&[tally(&pod("default", "api-client", ""), dropped(1))]);
    assert!(encode(&metrics, gone + Duration::from_secs(61)).contains("pod=\"api-client\""));
    assert!(!encode(&metrics, gone + Duration::from_secs(121)).contains("pod=\"api-client\""));
}

#[test]
fn a_pod_that_comes_back_under_its_name_goes_on() {
    let metrics = full(true);
    let gone = Instant::now();
    metrics.forget("default", "api-client", gone);
    metrics.pod_known("default", "api-client");
    metrics.tally(&[tally(&pod("default", "api-client", ""), dropped(1))]);
    assert!(encode(&metrics, gone + Duration::from_secs(600)).contains(" 200001"));
}

#[test]
fn a_sum_over_a_workload_does_not_fall_when_one_of_its_pods_goes() {
    let metrics = Metrics::new(false);
    let (a, b) = (pod("ns", "a", "Deployment/d"), pod("ns", "b", "Deployment/d"));
    for pod in [&a, &b] {
        metrics.pod_known("ns", &pod.name);
        metrics.tally(&[tally(pod, dropped(5))]);
    }
    let start = Instant::now();
    let sum = |at: u64| {
        let text = encode(&metrics, start + Duration::from_secs(at));
        let line = text.lines().find(|line| line.starts_with("egress_dropped_packets_total"));
        line.map(|line| line.rsplit_once(' ').unwrap().1.to_owned())
    };
    assert_eq!(sum(0).as_deref(), Some("10"));
    metrics.forget("ns", "a", start);
    assert_eq!(sum(100).as_deref(), Some("10"));
    metrics.forget("ns", "b", start + Duration::from_secs(100));
    assert_eq!(sum(200), None);
}

#[test]
fn churn_leaves_nothing_behind() {
    let metrics = Metrics::new(true);
    let start = Instant::now();
    for n in 0..10_000_u64 {
        let pod = pod("ns", &format!("job-{n}"), "Job/x");
        let now = start + Duration::from_secs(n);
        metrics.pod_known("ns", &pod.name);
        metrics.tally(&[tally(&pod, dropped(1))]);
        metrics.forget("ns", &pod.name, now);
    }
    let text = encode(&metrics, start + Duration::from_secs(10_000));
    let series = text.lines().filter(|line| line.starts_with("egress_dropped_packets_total")).count();
    assert!(series <= 60, "{series}");
}
