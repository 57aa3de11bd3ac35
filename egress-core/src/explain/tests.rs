//! Questions and answers.

use std::net::IpAddr;

use serde_json::json;

use super::{ExplainError, ExplainRequest, Explanation, PartView, explain, render};
use crate::cluster::testing::{Topology, block, ip, pods, policy, rule};
use crate::identity::ClusterIndex;
use crate::policy::Decision::{self, Allow, Deny, Undecidable};
use crate::protocol::Protocol;

fn cluster() -> Topology {
    Topology::new()
        .node("worker-1", "192.0.2.10", "10.244.1.0/24")
        .namespace("default", "")
        .namespace("data", "")
        .pod("default/api-client", "10.244.1.5,fd00::5", "app=firewall-test")
        .on("worker-1")
        .pod("data/db", "10.244.1.7", "app=db")
        .pod("data/v6", "fd00::7", "app=v6")
        .pod("default/twin", "10.244.1.8", "app=twin")
        .pod("data/twin", "10.244.1.9", "app=twin")
        .pod("default/agent", "192.0.2.10", "app=agent")
        .but(|pod| pod.host_network = true)
        .on("worker-1")
        .pod("default/draft", "", "app=draft")
        .pod("data/web-1", "10.244.1.11", "app=web,track=stable")
        .pod("data/web-2", "10.244.1.12", "app=web,track=canary")
        .service("data/web", "10.96.0.40", "app=web", "http:80:8080/TCP")
        .slice("data/web", "10.244.1.11,10.244.1.12", "http:8080/TCP")
        .service("data/empty", "10.96.0.41", "app=none", "http:80:8080/TCP")
        .slice("data/empty", "", "http:8080/TCP")
        .service("data/db", "10.96.0.42", "app=db", "pg:5432:5432/TCP")
        .policy(policy("default/deny-all-egress", "app=firewall-test").egress_to([]))
        .policy(policy("default/draft", "app=draft").egress_to([rule([block("203.0.113.0/24")], "TCP 443")]))
}

fn ask(index: &ClusterIndex, from: &str, to: &str, port: u16) -> Result<Explanation, ExplainError> {
    let dns: Vec<(String, IpAddr)> = [
        ("api.stripe.com", "203.0.113.4"),
        ("two.example", "203.0.113.4"),
        ("two.example", "198.51.100.1"),
        ("two.example", "2001:db8::4"),
    ]
    .map(|(name, address)| (name.to_owned(), ip(address)))
    .to_vec();
    let request = ExplainRequest { from: from.into(), to: to.into(), port, protocol: Protocol::Tcp, dns };
    explain(index, &request)
}

#[test]
fn names_are_found_and_decided() {
    let index = cluster().index();
    let table = [
        ("default/api-client", "203.0.113.4", 443, Deny),
        ("api-client", "203.0.113.4", 443, Deny),
        ("10.244.1.5", "203.0.113.4", 443, Deny),
        ("default/api-client", "[2001:db8::4]", 443, Deny),
        ("data/db", "203.0.113.4", 443, Allow),
        ("data/db", "api.stripe.com", 443, Allow),
        ("data/db", "API.stripe.com.", 443, Allow),
        ("data/db", "web", 80, Allow),
        ("data/db", "data/web", 80, Allow),
        ("data/db", "svc/data/web", 80, Allow),
        ("data/db", "web.data.svc", 80, Allow),
        ("data/db", "web.data.svc.cluster.local", 80, Allow),
        ("data/db", "10.96.0.40", 80, Allow),
        ("data/db", "pod/data/db", 80, Allow),
        ("203.0.113.4", "data/web-1", 80, Allow),
        ("default/agent", "203.0.113.4", 443, Allow),
        ("default/draft", "203.0.113.4", 443, Allow),
        ("data/db", "default/draft", 443, Allow),
        ("data/db", "data/empty", 80, Undecidable),
        ("default/api-client", "data/empty", 80, Deny),
        ("data/db", "data/web", 81, Undecidable),
    ];
    for (from, to, port, expected) in table {
        let answer = ask(&index, from, to, port).unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
        assert_eq!(answer.decision, expected, "{from} to {to}");
    }
}

#[test]
fn what_cannot_be_answered_says_why() {
    let index = cluster().index();
    let table = [
        ("nobody", "203.0.113.4", "no such pod: nobody", true),
        ("default/db", "203.0.113.4", "no such pod: default/db (there is data/db)", true),
        ("data/web", "203.0.113.4", "no such pod: data/web (it is a Service; traffic comes from pods)", true),
        ("twin", "203.0.113.4", "twin could be data/twin or default/twin; write which", false),
        ("data/db", "data/nothing", "no such pod or Service: data/nothing", true),
        ("data/db", "data/db", "data/db could be pod/data/db or svc/data/db; write which", false),
        (
            "data/db",
            "github.com",
            "no such pod or Service: github.com (for a name of the outside, say its address: --dns github.com=IP)",
            true,
        ),
        ("a b", "203.0.113.4", "\"a b\" is neither an address nor [NAMESPACE/]NAME", false),
        ("a/b/c", "203.0.113.4", "\"a/b/c\" is neither an address nor [NAMESPACE/]NAME", false),
        ("data/db", "data/v6", "data/db and data/v6 have no address of the same family", false),
    ];
    for (from, to, expected, not_found) in table {
        let error = ask(&index, from, to, 443).expect_err(from);
        assert_eq!((error.to_string().as_str(), error.is_not_found()), (expected, not_found));
    }
}

#[test]
fn notes_say_what_the_decision_does_not() {
    let index = cluster().index();
    let table = [
        (
            "data/db",
            "data/empty",
            80,
            "Service data/empty has no endpoints (its selector is app=none): nothing answers there, whatever the \
             policies say",
        ),
        (
            "data/db",
            "data/web",
            81,
            "Service data/web has no port TCP 81 (it has TCP 80): nothing answers there, whatever the policies say",
        ),
        (
            "default/agent",
            "203.0.113.4",
            443,
            "pod default/agent is on the host's network: policies see its node, and none of them selects it",
        ),
        (
            "default/draft",
            "203.0.113.4",
            443,
            "pod default/draft has no address yet: rules by address cannot be decided",
        ),
    ];
    for (from, to, port, expected) in table {
        assert_eq!(ask(&index, from, to, port).unwrap().notes, [expected]);
    }
}

#[test]
fn a_name_with_several_addresses_is_decided_for_each() {
    let index = cluster().index();
    let answer = ask(&index, "default/draft", "two.example", 443).unwrap();
    let decisions: Vec<_> =
        answer.backends.as_ref().unwrap().iter().map(|one| (one.ip, one.decision)).collect();
    assert_eq!(decisions, [(ip("203.0.113.4"), Allow), (ip("198.51.100.1"), Deny)]);
    assert_eq!(answer.decision, Undecidable);
    assert!(answer.fix.unwrap().text.contains("198.51.100.1/32"));
}

#[test]
fn the_json_is_the_contract() {
    let index = cluster().index();
    let answer = ask(&index, "default/api-client", "203.0.113.4", 443).unwrap();
    let json = serde_json::to_value(&answer).unwrap();
    let finding = json!({
        "kind": "NetworkPolicy", "namespace": "default", "name": "deny-all-egress", "side": "egress",
        "result": "does-not-admit",
        "why": ["selects this pod (app=firewall-test) for egress", "has no egress rules, so it admits nothing"],
    });
    let manifest = answer.fix.as_ref().unwrap().manifest.as_deref().unwrap();
    let expected = json!({
        "decision": "deny",
        "egress": {"isolated": true, "decision": "deny", "policies": [finding]},
        "ingress": null,
        "fix": {"text": "podSelector: app=firewall-test   egress: to 203.0.113.4/32, TCP 443", "manifest": manifest},
    });
    assert_eq!(json, expected);
    let mut read: Explanation = serde_json::from_value(json).unwrap();
    (read.from, read.to) = (answer.from.clone(), answer.to.clone());
    assert_eq!(read, answer);
    let service = serde_json::to_value(ask(&index, "data/db", "data/web", 80).unwrap()).unwrap();
    assert_eq!(
        service["backends"][0],
        json!({
            "ip": "10.244.1.11", "port": 8080, "pod": {"namespace": "data", "name": "web-1"}, "ready": true,
            "decision": "allow", "egress": {"isolated": false, "decision": "allow", "policies": []},
            "ingress": {"isolated": false, "decision": "allow", "policies": []},
        })
    );
}

#[test]
fn the_table_reads_like_a_compiler_error() {
    let index = cluster().index();
    let answer = ask(&index, "default/api-client", "203.0.113.4", 443).unwrap();
    let text = render(&answer, 80, false);
    let (before, manifest) = text.split_once("apiVersion").unwrap();
    let expected = "\
default/api-client (10.244.1.5) → 203.0.113.4:443/TCP                       deny

  egress  deny
    ✗ NetworkPolicy default/deny-all-egress  does-not-admit
        selects this pod (app=firewall-test) for egress
        has no egress rules, so it admits nothing
    no other policy selects the pod for egress

  ingress  no say: the destination is not a pod with an address of its own

  Fix
    podSelector: app=firewall-test   egress: to 203.0.113.4/32, TCP 443

";
    assert_eq!(before, expected);
    assert!(manifest.ends_with("port: 443\n"));
    assert!(!text.contains('\u{1b}') && render(&answer, 80, true).contains("\u{1b}[1;31mdeny"));
}

#[test]
fn the_table_of_a_service_lists_its_backends_and_wraps() {
    let index = cluster()
        .policy(policy("data/canary", "track=canary").ingress_from([rule([pods("app=db")], "TCP 9090")]))
        .index();
    let text = render(&ask(&index, "data/twin", "data/web", 80).unwrap(), 60, false);
    let expected = "\
data/twin (10.244.1.9) → Service data/web (10.96.0.40):80/TCP
  undecidable

  → 10.244.1.11:8080 (data/web-1): allow
  → 10.244.1.12:8080 (data/web-2): deny

  egress  allow
    no policy selects the pod for egress

  ingress  undecidable
    ✗ NetworkPolicy data/canary  does-not-admit
        selects the destination pod data/web-2
        (track=canary) for ingress
        ingress rule 1 admits TCP 9090 from pods app=db in
        namespace data; pod data/twin has app=twin and port
        8080 is not 9090
        this concerns only backend 10.244.1.12:8080
    no other policy selects the pod for ingress

  Fix
";
    let (before, _) = text.split_once("  Fix\n").unwrap();
    assert_eq!(format!("{before}  Fix\n"), expected);
    let prose = text.lines().skip(1).take_while(|line| !line.starts_with("apiVersion"));
    assert!(prose.into_iter().all(|line| line.chars().count() <= 60), "{text}");
}

fn parts(answer: &Explanation) -> Vec<(String, Decision)> {
    let nets = |part: &PartView| part.nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    answer.parts.as_ref().expect("parts").iter().map(|part| (nets(part), part.decision)).collect()
}

#[test]
fn a_range_is_cut_where_policies_and_objects_draw_a_line() {
    let index = Topology::new()
        .node("worker-1", "192.0.2.10", "10.244.1.0/24")
        .namespace("default", "")
        .pod("default/web", "10.244.1.5", "app=web")
        .pod("default/db", "10.244.1.7", "app=db")
        .policy(policy("default/web", "app=web").egress_to([
            rule([block("10.0.0.0/8 except 10.9.0.0/16")], ""),
            rule([pods("app=db")], "TCP 443"),
            rule([block("203.0.113.128/25")], "TCP 443"),
        ]))
        .policy(policy("default/db", "app=db").ingress_from([rule([block("198.51.100.0/25")], "")]))
        .index();
    let table = [
        ("default/web", "203.0.113.0/24", vec![("203.0.113.0/25", Deny), ("203.0.113.128/25", Allow)]),
        ("default/web", "203.0.113.128/26", vec![("203.0.113.128/26", Allow)]),
        ("default/web", "10.8.0.0/14", vec![("10.8.0.0/16 10.10.0.0/15", Allow), ("10.9.0.0/16", Deny)]),
        // What is not known in the pods' network may have policies of its own.
        (
            "default/web",
            "10.244.1.4/30",
            vec![
                ("10.244.1.4/32 10.244.1.6/32", Undecidable),
                ("10.244.1.5/32", Allow),
                ("10.244.1.7/32", Deny),
            ],
        ),
        ("198.51.100.0/24", "default/db", vec![("198.51.100.0/25", Allow), ("198.51.100.128/25", Deny)]),
    ];
    for (from, to, expected) in table {
        let expected: Vec<_> =
            expected.into_iter().map(|(nets, decision)| (nets.to_owned(), decision)).collect();
        assert_eq!(parts(&ask(&index, from, to, 443).unwrap()), expected, "{from} to {to}");
    }
    let error = ask(&index, "default/web", "2001:db8::/32", 443).unwrap_err();
    assert_eq!(error.to_string(), "default/web and 2001:db8::/32 have no address of the same family");
    let answer = ask(&index, "default/web", "203.0.113.0/24", 443).unwrap();
    assert_eq!((answer.decision, answer.to.as_str()), (Undecidable, "203.0.113.0/24 port 443/TCP"));
    let text = render(&answer, 80, false);
    assert!(text.contains("  deny\n    203.0.113.0/25\n    ✗ NetworkPolicy default/web"), "{text}");
}

/// Every address of a small range, asked one by one, gets what its part says.
#[test]
fn parts_say_what_each_address_gets() {
    use crate::policy::tests::generate::{Random, topology};
    let mut compared = 0;
    for seed in 0..60 {
        let cluster = topology(&mut Random::new(seed));
        let index = cluster.index();
        for pod in index.pods().filter(|pod| !pod.host_network).cloned().collect::<Vec<_>>() {
            let from = pod.reference().to_string();
            for range in ["203.0.113.0/27", "203.0.113.64/27", "10.244.1.0/28", "192.0.2.0/28"] {
                let answer = ask(&index, &from, range, 80).unwrap();
                for part in answer.parts.as_ref().unwrap() {
                    for ip in part.nets.iter().flat_map(ipnet::IpNet::hosts) {
                        let one = ask(&index, &from, &ip.to_string(), 80).unwrap();
                        assert_eq!(one.decision, part.decision, "seed {seed}: {from} to {ip} in {range}");
                        compared += 1;
                    }
                }
            }
        }
    }
    assert!(compared > 10_000, "{compared}");
}

#[test]
fn the_pods_of_a_workload_are_asked_one_by_one() {
    let owned = |pod: &mut crate::cluster::Pod| pod.workload = Some("Deployment/api".into());
    let topology = cluster()
        .pod("default/api-1", "10.244.1.21", "app=api")
        .but(owned)
        .pod("default/api-2", "10.244.1.22", "app=api,canary=1")
        .but(owned);
    let index = topology.clone().index();
    let answer = ask(&index, "deploy/api", "203.0.113.4", 443).unwrap();
    assert_eq!((answer.decision, answer.from.as_str()), (Allow, "Deployment default/api"));
    assert_eq!(
        answer.notes,
        ["the 2 pods of Deployment default/api get the same answer; below is default/api-1 (10.244.1.21)"]
    );
    let index = topology
        .policy(policy("default/canary", "canary=1").egress_to([]))
        .policy(policy("default/api", "canary=1").ingress_from([]))
        .index();
    let answer = ask(&index, "deploy/default/api", "203.0.113.4", 443).unwrap();
    assert_eq!(answer.decision, Undecidable);
    assert_eq!(
        answer.notes,
        ["the pods of Deployment default/api differ: deny: default/api-2; allow: default/api-1; below is \
          default/api-2 (10.244.1.22)"]
    );
    let answer = ask(&index, "data/db", "deploy/api", 443).unwrap();
    let decisions: Vec<_> = answer.backends.unwrap().iter().map(|one| one.decision).collect();
    assert_eq!((answer.decision, decisions), (Undecidable, vec![Allow, Deny]));
    let error = ask(&index, "sts/api", "203.0.113.4", 443).unwrap_err();
    assert_eq!(error.to_string(), "no such pod: sts/api (no pod has this owner)");
    let error = ask(&index, "10.0.0.0/8", "10.0.0.0/8", 443).unwrap_err();
    assert!(error.to_string().contains("both ranges"), "{error}");
}

#[test]
fn a_cron_job_is_the_jobs_that_have_its_name_and_a_time() {
    let run = |job: &'static str| move |pod: &mut crate::cluster::Pod| pod.workload = Some(job.into());
    let index = cluster()
        .pod("data/backup-29384756-x", "10.244.1.20", "")
        .but(run("Job/backup-29384756"))
        .pod("data/backup-manual-x", "10.244.1.21", "")
        .but(run("Job/backup-manual"))
        .pod("data/backup-2-x", "10.244.1.22", "")
        .but(run("Job/backup-2"))
        .index();
    let answer = ask(&index, "cj/backup", "203.0.113.4", 443).unwrap();
    assert_eq!((answer.from.as_str(), answer.notes.len()), ("CronJob data/backup", 0), "one pod");
    assert!(ask(&index, "cj/backup-manual", "203.0.113.4", 443).is_err());
    // Where the CronJob stands for it, a Job is found by its pods' label.
    let index = cluster()
        .pod("data/backup-29384756-x", "10.244.1.20", "batch.kubernetes.io/job-name=backup-29384756")
        .but(run("CronJob/backup"))
        .index();
    for name in ["cj/backup", "job/backup-29384756"] {
        assert!(ask(&index, name, "203.0.113.4", 443).is_ok(), "{name}");
    }
}

#[test]
fn a_rule_by_name_is_given_once_for_all_addresses_and_an_address_has_the_names_given_for_it() {
    use crate::cluster::{CiliumFqdn, CiliumPeer, CiliumPolicy, CiliumRule, CiliumSelector, CiliumSpec};
    let by_name = CiliumPeer::Fqdn(CiliumFqdn::Name("other.example".into()));
    let spec = CiliumSpec {
        selector: CiliumSelector::default(),
        isolates_egress: true,
        egress: vec![CiliumRule { peers: Some(vec![by_name]), ..CiliumRule::default() }],
        ..CiliumSpec::default()
    };
    let cilium = CiliumPolicy { namespace: "data".into(), name: "c".into(), specs: vec![spec] };
    let index = cluster().with(cilium).index();
    let manifest = |to: &str| ask(&index, "data/db", to, 443).unwrap().fix.unwrap().manifest.unwrap();
    let by_name = manifest("two.example");
    assert_eq!(by_name.matches("kind: CiliumNetworkPolicy").count(), 1, "{by_name}");
    assert!(manifest("198.51.100.1").contains("matchName: two.example\n"));
}
