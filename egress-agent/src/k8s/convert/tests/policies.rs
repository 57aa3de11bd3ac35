//! Policies of the cluster and of Cilium, as they are written, and what is said of those that are wrong.

use egress_core::cluster::{
    CidrGroups, CiliumFqdn, CiliumPeer, Object, Operator, PolicyPort, PortMatch, Tier, TieredAction,
    TieredPeer, TieredPort,
};
use egress_core::protocol::Protocol;
use serde_json::Value;

use crate::k8s::convert::{Item, Origin, item};

fn read(yaml: &str) -> Result<Object, Vec<String>> {
    let value: Value = serde_saphyr::from_str(yaml).unwrap();
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    match item(&text("apiVersion"), &text("kind"), value.clone(), Origin::Files) {
        Ok(Item::Object(object)) => Ok(object),
        Ok(other) => panic!("no object: {other:?}"),
        Err(invalid) => Err(invalid
            .errors
            .iter()
            .map(|error| format!("{}: {}: {}", invalid.object, error.field, error.message))
            .collect()),
    }
}

fn errors(yaml: &str) -> Vec<String> {
    read(yaml).unwrap_err()
}

#[test]
fn an_admin_network_policy_with_everything() {
    let object = read(
        "
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: edge}
spec:
  priority: 7
  subject: {pods: {namespaceSelector: {matchLabels: {team: a}}, podSelector: {}}}
  ingress:
  - {action: Deny, from: [{namespaces: {}}], ports: [{namedPort: http}]}
  egress:
  - name: dns
    action: Allow
    to: [{domainNames: ['*.example.com']}, {nodes: {}}, {services: {}}]
    ports: [{portNumber: {protocol: UDP, port: 53}}, {portRange: {start: 80, end: 90}}]
  - {action: Pass, to: [{networks: [10.0.0.0/8, 'fd00::/8']}]}
",
    );
    let Ok(Object::TieredPolicy(policy)) = object else { panic!("{object:?}") };
    assert_eq!((policy.tier, policy.priority, policy.name.as_str()), (Tier::Admin, 7, "edge"));
    assert_eq!(policy.ingress[0].ports, [TieredPort::Name("http".into())]);
    let number = |protocol, port| TieredPort::Number(PolicyPort { protocol, port: Some(port) });
    assert_eq!(
        policy.egress[0].ports,
        [number(Protocol::Udp, PortMatch::Number(53)), number(Protocol::Tcp, PortMatch::Range(80, 90))]
    );
    assert_eq!(policy.egress[0].peers[0], TieredPeer::DomainNames(vec!["*.example.com".into()]));
    assert_eq!(policy.egress[0].peers[2], TieredPeer::Unknown("services".into()));
    assert_eq!((policy.egress[1].action, policy.egress.len()), (TieredAction::Pass, 2));
}

#[test]
fn a_cluster_network_policy_and_its_protocols() {
    let object = read(
        "
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: base}
spec:
  tier: Baseline
  priority: 10
  subject: {namespaces: {}}
  egress:
  - action: Accept
    to: [{networks: [0.0.0.0/0]}]
    protocols: [{tcp: {destinationPort: {number: 443}}}, {udp: {destinationPort: {range: {start: 1, end: 9}}}}, {sctp: {}}]
  - {action: Deny, to: [{pods: {namespaceSelector: {}, podSelector: {}}}], protocols: [{destinationNamedPort: web}]}
",
    );
    let Ok(Object::TieredPolicy(policy)) = object else { panic!("{object:?}") };
    assert_eq!(policy.tier, Tier::Baseline);
    let number = |protocol, port| TieredPort::Number(PolicyPort { protocol, port });
    assert_eq!(
        policy.egress[0].ports,
        [
            number(Protocol::Tcp, Some(PortMatch::Number(443))),
            number(Protocol::Udp, Some(PortMatch::Range(1, 9))),
            number(Protocol::Sctp, None)
        ]
    );
    assert_eq!(policy.egress[1].ports, [TieredPort::Name("web".into())]);
}

#[test]
fn errors_of_tiered_policies_name_object_and_field() {
    let admin = |spec: &str| {
        format!(
            "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {{name: a}}\nspec: {spec}\n"
        )
    };
    let table = [
        (
            "{priority: 1001, subject: {namespaces: {}}}",
            "AdminNetworkPolicy a: spec.priority: 1001 is not a priority (0 to 1000)",
        ),
        ("{priority: 1, subject: {}}", "AdminNetworkPolicy a: spec.subject: needs one of namespaces, pods"),
        (
            "{priority: 1, subject: {namespaces: {}}, egress: [{action: Accept, to: [{nodes: {}}]}]}",
            "AdminNetworkPolicy a: spec.egress[0].action: \"Accept\" is none of Allow, Deny, Pass",
        ),
        (
            "{priority: 1, subject: {namespaces: {}}, egress: [{action: Deny, to: [{domainNames: [a.b]}]}]}",
            "AdminNetworkPolicy a: spec.egress[0].to[0].domainNames: is for rules with action Allow only",
        ),
        (
            "{priority: 1, subject: {namespaces: {}}, egress: [{action: Deny, to: [{networks: [x]}]}]}",
            "AdminNetworkPolicy a: spec.egress[0].to[0].networks[0]: \"x\" is not a CIDR such as 10.0.0.0/8 or \
             2001:db8::/32",
        ),
        (
            "{priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: []}]}",
            "AdminNetworkPolicy a: spec.ingress[0].from: must have at least one peer",
        ),
    ];
    for (spec, expected) in table {
        assert_eq!(errors(&admin(spec)), [expected], "{spec}");
    }
}

#[test]
fn a_cilium_network_policy_with_everything() {
    let object = read(
        "
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api, namespace: shop}
specs:
- endpointSelector: {matchLabels: {'k8s:app': api}}
  egress:
  - toFQDNs: [{matchName: api.example.com}, {matchPattern: '*.example.com'}]
    toPorts: [{ports: [{port: '443', protocol: TCP}]}]
  - toEndpoints: [{}, {matchLabels: {'k8s:io.kubernetes.pod.namespace': kube-system, k8s-app: kube-dns}}]
    toPorts: [{ports: [{port: '53', protocol: ANY}], rules: {dns: [{matchPattern: '*'}]}}]
  - toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}, {cidrGroupRef: office}]
  - toEndpoints: [{matchLabels: {'reserved:host': ''}}]
  - {}
  egressDeny: [{toEntities: [world], toPorts: [{ports: [{port: '8000', endPort: 9000}]}]}]
  ingress: [{fromEntities: [cluster], icmps: [{fields: [{type: 8}]}], fromRequires: [{}]}]
  enableDefaultDeny: {ingress: false}
- nodeSelector: {}
  ingress: [{}]
",
    );
    let Ok(Object::CiliumPolicy(policy)) = object else { panic!("{object:?}") };
    let [spec] = policy.specs.as_slice() else { panic!("{policy:?}") };
    assert_eq!((spec.isolates_ingress, spec.isolates_egress), (false, true));
    assert_eq!(spec.selector.requirements[0].key, "app");
    let fqdns: Vec<_> = spec.egress[0].peers.iter().flatten().cloned().collect();
    assert_eq!(fqdns[1], CiliumPeer::Fqdn(CiliumFqdn::Pattern("*.example.com".into())));
    let keys = |rule: usize, peer: usize| -> Vec<(String, Operator)> {
        match &spec.egress[rule].peers.as_ref().unwrap()[peer] {
            CiliumPeer::Endpoints(one) => {
                one.requirements.iter().map(|one| (one.key.clone(), one.operator)).collect()
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(keys(1, 0), [("io.kubernetes.pod.namespace".to_owned(), Operator::In)]);
    assert_eq!(keys(1, 1).len(), 2, "its own namespace, nothing added");
    assert_eq!(keys(3, 0), [("reserved:host".to_owned(), Operator::Exists)]);
    let dns = &spec.egress[1].ports[0];
    assert_eq!((dns.protocol, dns.beyond.as_str()), (None, "DNS rules"));
    assert_eq!(dns.dns, [CiliumFqdn::Pattern("*".into())]);
    assert_eq!(
        spec.egress[2].peers.as_ref().unwrap()[1],
        CiliumPeer::CidrGroups { groups: CidrGroups::Named("office".into()), except: vec![] }
    );
    assert_eq!((spec.egress[4].peers.is_none(), spec.egress[4].ports.len()), (true, 0));
    assert_eq!(spec.egress_deny[0].ports[0].port, Some(PortMatch::Range(8000, 9000)));
    assert_eq!(spec.ingress[0].unknown, ["fromRequires"]);
    assert_eq!(spec.ingress[0].icmps.len(), 1);
}

#[test]
fn a_clusterwide_rule_means_pods_of_any_namespace() {
    let object = read(
        "
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: all}
spec: {endpointSelector: {}, ingress: [{fromEndpoints: [{}]}]}
",
    );
    let Ok(Object::CiliumPolicy(policy)) = object else { panic!("{object:?}") };
    assert_eq!(policy.namespace, "");
    let peer = &policy.specs[0].ingress[0].peers.as_ref().unwrap()[0];
    let CiliumPeer::Endpoints(selector) = peer else { panic!("{peer:?}") };
    assert_eq!(selector.requirements[0].operator, Operator::Exists);
}

#[test]
fn a_group_of_ranges_is_read_in_both_versions_and_by_its_labels() {
    for version in ["v2", "v2alpha1"] {
        let object = read(&format!(
            "
apiVersion: cilium.io/{version}
kind: CiliumCIDRGroup
metadata: {{name: office, labels: {{site: a}}}}
spec: {{externalCIDRs: [203.0.113.0/24, 2001:db8::/32]}}
"
        ));
        let Ok(Object::CiliumCidrGroup(group)) = object else { panic!("{object:?}") };
        assert_eq!(
            (group.name.as_str(), group.labels.get("site"), group.cidrs.len()),
            ("office", Some("a"), 2)
        );
    }
    let yaml = "apiVersion: cilium.io/v2
kind: CiliumCIDRGroup
metadata: {name: a}
spec: {externalCIDRs: [x]}
";
    let expected =
        "CiliumCIDRGroup a: spec.externalCIDRs[0]: \"x\" is not a CIDR such as 10.0.0.0/8 or 2001:db8::/32";
    assert_eq!(errors(yaml), [expected]);
    let object = read(
        "
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: a, namespace: b}
spec:
  endpointSelector: {}
  egress: [{toCIDRSet: [{cidrGroupSelector: {matchLabels: {site: a}}, except: [203.0.113.4/32]}]}]
",
    );
    let Ok(Object::CiliumPolicy(policy)) = object else { panic!("{object:?}") };
    let peer = &policy.specs[0].egress[0].peers.as_ref().unwrap()[0];
    let CiliumPeer::CidrGroups { groups: CidrGroups::Selected(labels), except } = peer else {
        panic!("{peer:?}")
    };
    assert_eq!((labels.match_labels.get("site"), except.len()), (Some("a"), 1));
}

#[test]
fn errors_of_cilium_policies_name_object_and_field() {
    let table = [
        (
            "{endpointSelector: {}, egress: [{toPorts: [{ports: [{port: '53'}], rules: {dns: [{matchName: a, matchPattern: b}]}}]}]}",
            "spec.egress[0].toPorts[0].rules.dns[0]: needs one of matchName, matchPattern",
        ),
        (
            "{endpointSelector: {}, egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, cidrGroupRef: x}]}]}",
            "spec.egress[0].toCIDRSet[0]: needs one of cidr, cidrGroupRef, cidrGroupSelector",
        ),
        ("{ingress: []}", "spec: needs one of endpointSelector, nodeSelector"),
        (
            "{endpointSelector: {}, egress: [{toCIDR: [x]}]}",
            "spec.egress[0].toCIDR[0]: \"x\" is not a CIDR such as 10.0.0.0/8 or 2001:db8::/32",
        ),
        (
            "{endpointSelector: {}, egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, except: [11.0.0.0/8]}]}]}",
            "spec.egress[0].toCIDRSet[0].except[0]: \"11.0.0.0/8\" is not within cidr \"10.0.0.0/8\"",
        ),
        (
            "{endpointSelector: {}, egressDeny: [{toPorts: [{ports: [{port: '70000'}]}]}]}",
            "spec.egressDeny[0].toPorts[0].ports[0].port: 70000 is not a port number (0 to 65535)",
        ),
        (
            "{endpointSelector: {}, egress: [{toPorts: [{ports: [{port: '1', protocol: GRE}]}]}]}",
            "spec.egress[0].toPorts[0].ports[0].protocol: \"GRE\" is none of TCP, UDP, SCTP, ANY",
        ),
        (
            "{endpointSelector: {}, egress: [{toFQDNs: [{}]}]}",
            "spec.egress[0].toFQDNs[0]: needs one of matchName, matchPattern",
        ),
    ];
    for (spec, expected) in table {
        let yaml = format!(
            "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: a, namespace: b}}\nspec: {spec}\n"
        );
        assert_eq!(errors(&yaml), [format!("CiliumNetworkPolicy b/a: {expected}")], "{spec}");
    }
    let entity = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: a, namespace: b}\n\
                  spec: {endpointSelector: {}, ingress: [{fromEntities: [moon]}]}\n";
    let told = errors(entity);
    assert!(told[0].starts_with(
        "CiliumNetworkPolicy b/a: spec.ingress[0].fromEntities[0]: \"moon\" is none of all, world"
    ));
}
