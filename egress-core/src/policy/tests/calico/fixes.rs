//! Fixes among Calico's policies: in which place they stand, and when they go by name.

use super::{OUTSIDE, WEB, all, cluster, egress, in_tier, tier, to};
use crate::cluster::calico::{Action, CalicoPolicy, Entity};
use crate::cluster::testing::Topology;
use crate::policy::Decision::{self, Allow};
use crate::policy::tests::flow;
use crate::policy::{evaluate, fix, fix_policies};

/// What the fix says, its manifest, and the decision once it is applied.
fn mended(topology: &Topology, names: &[&str]) -> (String, Option<String>, Decision) {
    let ask = |topology: &Topology| {
        let index = topology.clone().index();
        let mut flow = flow(&index, WEB, OUTSIDE);
        flow.names = names.iter().map(|name| (*name).to_owned()).collect();
        let view = evaluate(&index, &flow);
        (index, flow, view)
    };
    let (index, flow, view) = ask(topology);
    let fix = fix(&index, &flow, &view).expect("it is denied");
    let policies = fix_policies(&index, &flow, &view).unwrap_or_default();
    let with = policies.into_iter().fold(topology.clone(), Topology::with);
    (fix.text, fix.manifest, ask(&with).2.decision)
}

fn among(policies: impl IntoIterator<Item = CalicoPolicy>) -> Topology {
    policies.into_iter().fold(cluster(), Topology::with)
}

#[test]
fn a_fix_is_a_network_policy_where_its_place_lets_it() {
    let rule = "podSelector: app=web   egress: to 203.0.113.4/32, TCP 443";
    for order in [None, Some(1.0)] {
        let (text, manifest, decision) = mended(&among([egress("first", order, "all()", vec![])]), &[]);
        assert_eq!((text.as_str(), manifest.is_some(), decision), (rule, true, Allow));
    }
    let late = egress("late", 1001.0, "all()", vec![all(Action::Deny)]);
    let (text, _, decision) = mended(&among([late]), &[]);
    assert_eq!((text.as_str(), decision), (rule, Allow), "order 1000 is early enough");
}

#[test]
fn before_a_deny_or_in_another_tier_a_fix_is_a_policy_of_calicos_in_that_place() {
    let denying = egress("first", 1.0, "all()", vec![all(Action::Deny)]);
    let (text, manifest, decision) = mended(&among([denying]), &[]);
    let expected = "Calico NetworkPolicy for app == \"web\"   egress: to 203.0.113.4/32, TCP 443\n\
                    stands at order 0 of tier default, before GlobalNetworkPolicy first, which denies it (egress rule 1 \
                    denies everything to anyone)";
    assert_eq!((text.as_str(), decision), (expected, Allow));
    let expected = "\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: allow-egress-web-to-203-0-113-4-443
  namespace: shop
spec:
  tier: default
  order: 0
  selector: \"app == \\\"web\\\"\"
  types:
    - Egress
  egress:
    - action: Allow
      protocol: TCP
      destination:
        nets:
          - 203.0.113.4/32
        ports:
          - 443
";
    assert_eq!(manifest.unwrap(), expected);
    let ends =
        among([in_tier(egress("p", 1.0, "all()", vec![]), "security")]).with(tier("security", 1.0, false));
    let (text, manifest, decision) = mended(&ends, &[]);
    assert_eq!((text.lines().count(), decision), (1, Allow), "{text}");
    let manifest = manifest.unwrap();
    assert!(manifest.contains("name: security.allow-egress-web-to-203-0-113-4-443\n"), "{manifest}");
    assert!(manifest.contains("tier: security\n"), "{manifest}");
    // A NetworkPolicy would admit it before that tier, and cut the pod off from everything else.
    let late = among([in_tier(egress("p", 1.0, "all()", vec![]), "late")]).with(tier("late", 2e6, false));
    let (_, manifest, decision) = mended(&late, &[]);
    let manifest = manifest.unwrap();
    assert!(decision == Allow && manifest.contains("tier: late\n"), "{manifest}");
    // Deny comes at the same order as NetworkPolicies: which is asked first depends on the version.
    let equal = among([egress("same", 1000.0, "all()", vec![all(Action::Deny)])]);
    let (text, _, decision) = mended(&equal, &[]);
    assert!(decision == Allow && text.contains("stands at order 999 of tier default"), "{text}");
}

#[test]
fn a_fix_that_would_cut_off_another_pod_of_its_tier_is_none() {
    let topology = cluster().pod("shop/other", "10.244.1.6", "app=web,x=y");
    let (text, manifest, _) = mended(&topology.clone().with(egress("p", None, "!has(x)", vec![])), &[]);
    assert!(manifest.is_none() && text.contains("would cut off pod shop/other"), "{text}");
    let elsewhere = topology
        .with(tier("security", 1.0, true))
        .with(in_tier(egress("watch", 1.0, "all()", vec![all(Action::Pass)]), "security"))
        .with(egress("p", None, "!has(x)", vec![]));
    let (text, manifest, _) = mended(&elsewhere, &[]);
    assert!(
        manifest.is_none() && text.contains("would cut off pod shop/other"),
        "another tier is no help: {text}"
    );
}

#[test]
fn a_fix_goes_by_name_where_domains_are_in_use() {
    let names = ["old.example", "API.example."];
    let closed = egress("closed", None, "all()", vec![]);
    let (text, ..) = mended(&among([closed.clone()]), &names);
    assert!(text.starts_with("podSelector: "), "an edition without domains would admit everybody: {text}");
    let other = Entity { domains: vec!["*.other".into()], ..Entity::default() };
    let in_use = among([closed, egress("by-name", 10.0, "all()", vec![to(other)])]);
    let (text, manifest, decision) = mended(&in_use, &names);
    let expected = "Calico NetworkPolicy for app == \"web\"   egress: to api.example, TCP 443";
    assert_eq!((text.as_str(), decision), (expected, Allow));
    assert!(manifest.unwrap().contains("domains:\n          - api.example\n"));
}
