use serde_json::json;

use super::*;
use crate::verdict::Cause;

/// A verdict of `pod` (`ns/name`) towards 203.0.113.4:443, last seen at second `at`.
pub(crate) fn verdict(id: &str, pod: &str, at: i64) -> Verdict {
    let (namespace, name) = pod.split_once('/').unwrap();
    serde_json::from_value(json!({
        "schema": "egress.v1", "id": id, "state": "active", "policies_as_of": "2025-11-20T02:00:00.000000Z",
        "pod": {"namespace": namespace, "name": name, "uid": "u-1", "ip": "10.244.1.5", "node": "worker-1",
                "workload": "Deployment/api"},
        "direction": "egress",
        "peer": {"ip": "203.0.113.4", "port": 443, "protocol": "TCP", "name": "api.Stripe.com.",
                 "kind": "external", "pod": null, "service": null},
        "cause": "policy-drop", "confidence": "certain", "stage": "node", "affects": "tcp",
        "summary": "s", "detail": {"reason": "NETFILTER_DROP"},
        "path": [{"hop": "pod", "device": "eth0", "outcome": "passed"},
                 {"hop": "node", "outcome": "dropped", "where": "netfilter FORWARD"}],
        "translation": {"source": null, "destination": null},
        "policies": [{"kind": "NetworkPolicy", "namespace": "default", "name": "deny", "side": "egress",
                      "result": "does-not-admit", "why": ["no rule"]}],
        "fix": {"text": "allow", "manifest": null}, "hints": [],
        "evidence": [{"time": "2025-11-20T02:00:00.000000Z", "stage": "node", "text": "dropped"}],
        "count": 6, "first_seen": "2025-11-20T02:00:00.000000Z",
        "last_seen": Timestamp(at * 1_000_000).to_string(), "lost_events": 0
    }))
    .unwrap()
}

fn ids(verdicts: &[Arc<Verdict>]) -> Vec<&str> {
    verdicts.iter().map(|v| v.id.as_str()).collect()
}

fn of_pod(namespace: &str, name: &str) -> Filter {
    let pod = PodRef { namespace: namespace.into(), name: name.into() };
    Filter { pods: PodFilter::Pod(pod), ..Filter::default() }
}

#[test]
fn the_most_recently_seen_comes_first_and_a_revision_moves_up() {
    let mut history = History::new(10);
    assert!(history.push(Arc::new(verdict("a", "default/x", 1))).is_none());
    history.push(Arc::new(verdict("b", "default/x", 2)));
    assert_eq!(ids(&history.query(&Filter::default())), ["b", "a"]);
    let previous = history.push(Arc::new(verdict("a", "default/x", 3)));
    assert_eq!(previous.unwrap().last_seen, Timestamp(1_000_000));
    assert_eq!(ids(&history.query(&Filter::default())), ["a", "b"]);
    assert_eq!(ids(&history.query(&of_pod("default", "x"))), ["a", "b"]);
    assert_eq!(history.len(), 2);
    assert_eq!(history.get("a").unwrap().last_seen, Timestamp(3_000_000));
}

#[test]
fn beyond_the_bound_the_oldest_goes_and_is_counted() {
    let mut history = History::new(2);
    for (id, at) in [("a", 5), ("b", 3), ("c", 4)] {
        history.push(Arc::new(verdict(id, &format!("default/{id}"), at)));
    }
    assert_eq!(ids(&history.query(&Filter::default())), ["a", "c"]);
    assert_eq!(history.evicted(), 1);
    assert!(!history.knows_pod(&PodRef { namespace: "default".into(), name: "b".into() }));
    assert!(history.get("b").is_none());
}

#[test]
fn the_bound_of_memory_holds_and_leaves_one_verdict_however_large() {
    let mut history = History::bounded(1000, 64 * 1024);
    for n in 0..200 {
        history.push(Arc::new(verdict(&n.to_string(), "default/x", n)));
    }
    let held = history.len();
    assert!(held > 10 && held < 60, "{held} verdicts in 64 KiB");
    assert_eq!(history.evicted(), 200 - held as u64);
    let mut large = verdict("large", "default/x", 300);
    large.summary = "x".repeat(100 * 1024);
    history.push(Arc::new(large));
    assert_eq!(ids(&history.query(&Filter::default())), ["large"]);
    history.push(Arc::new(verdict("large", "default/x", 301)));
    assert_eq!(history.len(), 1);
    history.push(Arc::new(verdict("small", "default/x", 302)));
    assert_eq!(history.len(), 2, "what a revision gave back is counted");
}

#[test]
fn a_failure_between_two_pods_is_found_under_both_once() {
    let mut history = History::new(10);
    let mut between = verdict("a", "default/client", 1);
    between.peer.pod = Some(PodRef { namespace: "default".into(), name: "server".into() });
    history.push(Arc::new(between));
    history.push(Arc::new(verdict("b", "other/client", 2)));
    assert_eq!(ids(&history.query(&of_pod("default", "client"))), ["a"]);
    assert_eq!(ids(&history.query(&of_pod("default", "server"))), ["a"]);
    let namespace = Filter { pods: PodFilter::Namespace("default".into()), ..Filter::default() };
    assert_eq!(ids(&history.query(&namespace)), ["a"]);
    assert!(history.query(&of_pod("other", "server")).is_empty());
}

#[test]
fn a_revision_may_change_the_other_end() {
    let mut history = History::new(10);
    history.push(Arc::new(verdict("a", "default/client", 1)));
    let mut resolved = verdict("a", "default/client", 1);
    resolved.peer.pod = Some(PodRef { namespace: "default".into(), name: "server".into() });
    history.push(Arc::new(resolved));
    assert_eq!(ids(&history.query(&of_pod("default", "server"))), ["a"]);
    history.push(Arc::new(verdict("a", "default/client", 1)));
    assert!(history.query(&of_pod("default", "server")).is_empty());
}

#[test]
fn since_and_cause_narrow() {
    let mut history = History::new(10);
    let mut refused = verdict("a", "default/x", 10);
    refused.cause = Cause::UpstreamRefused;
    history.push(Arc::new(refused));
    history.push(Arc::new(verdict("b", "default/x", 20)));
    let since = |s: i64| Filter { since: Some(Timestamp(s * 1_000_000)), ..of_pod("default", "x") };
    assert_eq!(ids(&history.query(&since(10))), ["b", "a"]);
    assert_eq!(ids(&history.query(&since(11))), ["b"]);
    assert_eq!(ids(&history.query(&Filter { pods: PodFilter::All, ..since(11) })), ["b"]);
    let cause = Filter { causes: vec![Cause::UpstreamRefused, Cause::Mtu], ..Filter::default() };
    assert_eq!(ids(&history.query(&cause)), ["a"]);
}

#[test]
fn to_takes_names_and_addresses_with_and_without_a_port() {
    let plain = verdict("a", "default/x", 1);
    let mut service = plain.clone();
    service.peer.ip = "fd00::1".parse().unwrap();
    service.translation.destination =
        Some(crate::verdict::SocketAddress { ip: "fd00::2".parse().unwrap(), port: 8443 });
    for (text, plain_matches, service_matches) in [
        ("api.stripe.com", true, true),
        ("API.stripe.com.", true, true),
        ("api.stripe.com:443", true, true),
        ("api.stripe.com:80", false, false),
        ("stripe.com", false, false),
        ("203.0.113.4", true, false),
        ("203.0.113.4:443", true, false),
        ("203.0.113.4:444", false, false),
        ("::ffff:203.0.113.4", true, false),
        ("fd00::1", false, true),
        ("[fd00::1]", false, true),
        ("[fd00::1]:443", false, true),
        ("[fd00::2]:8443", false, true),
        ("[fd00::2]:443", false, false),
    ] {
        let to: ToFilter = text.parse().unwrap();
        assert_eq!(to.matches(&plain), plain_matches, "{text}");
        assert_eq!(to.matches(&service), service_matches, "{text}");
        for (verdict, matches) in [(&plain, plain_matches), (&service, service_matches)] {
            assert!(!matches || peer_keys(verdict).contains(&to.key()), "{text} is not found by its key");
        }
    }
}

#[test]
fn what_is_no_peer_is_refused_by_name() {
    for text in
        ["", ".", "203.0.113", "203.0.113.4:", "203.0.113.4:http", "a..b", "a b", "[fd00::1]:x", "h:70000"]
    {
        let error = text.parse::<ToFilter>().unwrap_err();
        assert!(error.to_string().starts_with(&format!("\"{text}\" is not HOST")), "{error}");
    }
}

#[test]
fn the_json_of_a_verdict_comes_back_whole() {
    let verdict = verdict("a", "default/x", 1);
    let json = serde_json::to_string(&verdict).unwrap();
    assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), verdict);
}

#[test]
fn a_pod_is_found_fast_among_100_000_verdicts() {
    let mut history = History::new(100_000);
    let template = verdict("t", "default/x", 1);
    for n in 0..100_100_i64 {
        let mut next = template.clone();
        next.id = n.to_string();
        next.pod.name = format!("pod-{}", n % 250);
        next.last_seen = Timestamp(n);
        history.push(Arc::new(next));
    }
    assert_eq!((history.len(), history.evicted()), (100_000, 100));
    let filter = Filter { since: Some(Timestamp(100_000)), ..of_pod("default", "pod-207") };
    let start = std::time::Instant::now();
    for _ in 0..100 {
        assert!(history.query(&filter).is_empty());
        assert_eq!(history.query(&of_pod("default", "pod-99")).len(), 400);
    }
    // A walk over all verdicts for every question would take seconds.
    assert!(start.elapsed() < std::time::Duration::from_secs(2), "{:?}", start.elapsed());
}
