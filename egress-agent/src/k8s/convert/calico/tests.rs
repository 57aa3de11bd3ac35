//! Calico's manifests, and what is wrong with them.

use egress_core::cluster::Object;
use egress_core::cluster::calico::{Action, CalicoPolicy, Forwarded};
use serde_json::{Value, json};

use crate::k8s::convert::{Item, Origin, item};

fn convert(api_version: &str, kind: &str, value: Value) -> Result<Object, Vec<String>> {
    match item(api_version, kind, value, Origin::Api) {
        Ok(Item::Object(object)) => Ok(object),
        Ok(Item::Skipped(what)) => panic!("{what} is skipped"),
        Err(invalid) => {
            let text = |error: &crate::k8s::convert::FieldError| {
                format!("{}: {}: {}", invalid.object, error.field, error.message)
            };
            Err(invalid.errors.iter().map(text).collect())
        }
    }
}

fn policy(api_version: &str, kind: &str, spec: Value) -> CalicoPolicy {
    let value = json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec});
    match convert(api_version, kind, value) {
        Ok(Object::CalicoPolicy(policy)) => (*policy).clone(),
        other => panic!("{other:?}"),
    }
}

const V3: &str = "projectcalico.org/v3";

#[test]
fn a_policy_with_everything_is_read() {
    let spec = json!({
        "tier": "security", "order": 12.5, "selector": "app == 'web'", "types": ["Egress"],
        "egress": [{
            "action": "Allow", "protocol": "TCP", "ipVersion": 4,
            "metadata": {"annotations": {"why": "x"}},
            "source": {"serviceAccounts": {"names": ["web"]}},
            "destination": {
                "nets": ["203.0.113.4", "10.1.2.3/8"], "notNets": ["10.9.0.0/16"],
                "ports": [443, "8000:8080", "http"], "notPorts": ["9090"],
            },
        }, {
            "action": "Deny", "notProtocol": 17, "destination": {"services": {"name": "db"}, "geo": "XX"},
        }, {
            "action": "Log", "protocol": "ICMP", "icmp": {"type": 8, "code": 0},
        }],
    });
    let policy = policy(V3, "NetworkPolicy", spec);
    let expected = json!({
        "namespace": "shop", "name": "p", "tier": "security", "order": 12.5, "selector": "app == \"web\"",
        "egress": [{
            "action": "Allow", "ip_version": 4, "protocol": 6,
            "source": {"service_accounts": {"names": ["web"], "selector": null}},
            "destination": {
                "nets": ["203.0.113.4/32", "10.0.0.0/8"], "not_nets": ["10.9.0.0/16"],
                "ports": [{"number": 443}, {"range": [8000, 8080]}, {"name": "http"}],
                "not_ports": [{"number": 9090}],
            },
        }, {
            "action": "Deny", "not_protocol": 17, "unknown": ["destination.geo"],
            "destination": {"service": {"namespace": "shop", "name": "db"}},
        }, {
            "action": "Log", "protocol": 1, "icmp": {"kind": 8, "code": 0},
        }],
    });
    assert_eq!(serde_json::to_value(&policy).unwrap(), expected);
    assert_eq!(serde_json::from_value::<CalicoPolicy>(expected).unwrap(), policy);
}

#[test]
fn types_are_filled_in_as_the_api_does_and_not_where_it_was_passed_by() {
    let rule = || json!([{"action": "Allow"}]);
    let table = [
        (V3, json!({}), (true, false)),
        (V3, json!({"egress": rule()}), (false, true)),
        (V3, json!({"ingress": rule()}), (true, false)),
        (V3, json!({"ingress": rule(), "egress": rule()}), (true, true)),
        (V3, json!({"types": ["Ingress", "Egress"]}), (true, true)),
        ("crd.projectcalico.org/v1", json!({"egress": rule()}), (true, true)),
        ("crd.projectcalico.org/v1", json!({"types": ["Egress"]}), (false, true)),
    ];
    for (version, spec, expected) in table {
        let policy = policy(version, "NetworkPolicy", spec.clone());
        assert_eq!((policy.ingress.is_some(), policy.egress.is_some()), expected, "{version} {spec}");
    }
}

#[test]
fn global_policies_have_no_namespace_and_may_govern_forwarded_traffic() {
    let spec = json!({"namespaceSelector": "env == 'prod'", "doNotTrack": true, "applyOnForward": true});
    let policy = policy(V3, "GlobalNetworkPolicy", spec);
    assert_eq!((policy.namespace.as_str(), policy.forwarded), ("", Some(Forwarded::DoNotTrack)));
    assert_eq!(policy.namespaces.unwrap().to_string(), "env == \"prod\"");
    assert_eq!(policy.tier, CalicoPolicy::DEFAULT_TIER);
    let rules = json!([{"action": "Pass"}]);
    let policy = self::policy(V3, "GlobalNetworkPolicy", json!({"ingress": rules}));
    assert_eq!(policy.ingress.unwrap()[0].action, Action::Pass);
}

#[test]
fn sets_and_tiers_are_read() {
    let set = json!({"metadata": {"name": "s", "labels": {"a": "b"}}, "spec": {"nets": ["10.0.0.0/8"]}});
    let Ok(Object::CalicoNetworkSet(set)) = convert(V3, "GlobalNetworkSet", set) else { panic!() };
    assert_eq!((set.namespace.as_str(), set.labels.get("a"), set.nets.len()), ("", Some("b"), 1));
    let tier = json!({"metadata": {"name": "t"}, "spec": {"order": 100, "defaultAction": "Pass"}});
    let Ok(Object::CalicoTier(tier)) = convert(V3, "Tier", tier) else { panic!() };
    assert_eq!((tier.order, tier.passes), (Some(100.0), true));
}

#[test]
fn what_is_wrong_is_told_with_object_and_field() {
    let value = json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": {
        "selector": "app = 'web'",
        "types": ["Sideways"],
        "ingress": [
            {"action": "Maybe"},
            {"action": "Allow", "protocol": "TPC", "source": {"nets": ["10.0.0"], "ports": ["90:80", 70000]}},
            {"action": "Allow", "source": {"selector": "has("}},
            {"action": "Allow", "destination": {"nets": "10.0.0.0/8"}},
        ],
    }});
    let errors = convert(V3, "NetworkPolicy", value).unwrap_err();
    let expected = [
        "spec.types[0]: \"Sideways\" is none of Ingress, Egress",
        "spec.ingress[0].action: \"Maybe\" is none of Allow, Deny, Pass, Log",
        "spec.ingress[1].protocol: \"TPC\" is none of TCP, UDP, SCTP, ICMP, ICMPv6, UDPLite, and no number from 1 to 255",
        "spec.ingress[1].source.nets[0]: \"10.0.0\" is neither a CIDR nor an IP address",
        "spec.ingress[1].source.ports[0]: 80 is below 90",
        "spec.ingress[1].source.ports[1]: 70000 is not a port number",
        "spec.ingress[2].source.selector: \"has(\" is no selector: column 5: expected the name of a label, not the end",
        "spec.ingress[3].destination.nets: invalid type: string \"10.0.0.0/8\", expected a sequence",
        "spec.selector: \"app = 'web'\" is no selector: column 5: expected ==, !=, in, not in, contains, starts with or ends \
         with, not \"=\"",
    ]
    .map(|text| format!("NetworkPolicy shop/p: {text}"));
    assert_eq!(errors, expected);
}
