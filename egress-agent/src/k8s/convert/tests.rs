//! Objects as `kubectl get -o yaml` prints them, and what the agent makes of them.

mod policies;

use egress_core::cluster::{
    Backend, Container, ContainerPort, EndpointSlice, Expression, IpBlock, LabelSelector, NetworkPolicy,
    Node, Operator, Peer, Pod, PodRef, PolicyPort, PortMatch, Rule, Service, ServicePort, ServiceTarget,
};
use egress_core::protocol::Protocol;
use serde::de::DeserializeOwned;

use super::Errors;

fn convert<K: DeserializeOwned, T>(yaml: &str, convert: impl FnOnce(K, &mut Errors) -> T) -> T {
    let mut errors = Errors::default();
    let converted = convert(serde_saphyr::from_str(yaml).unwrap(), &mut errors);
    assert_eq!(errors.into_vec(), []);
    converted
}

fn labels(pairs: &[(&str, &str)]) -> egress_core::cluster::Labels {
    pairs.iter().copied().collect()
}

#[test]
fn a_pod_of_a_deployment() {
    let pod = convert(
        r"
metadata:
  name: api-6d4cf56db6-x2x7q
  namespace: shop
  uid: 0c7a8f8e
  labels: {app: api, pod-template-hash: 6d4cf56db6}
  annotations: {egress-agent.io/netns: /run/netns/stolen}
  ownerReferences:
  - {apiVersion: v1, kind: ConfigMap, name: other, uid: a}
  - {apiVersion: apps/v1, kind: ReplicaSet, name: api-6d4cf56db6, uid: b, controller: true}
spec:
  nodeName: worker-1
  serviceAccountName: api
  initContainers:
  - {name: once, image: a, ports: [{containerPort: 1, name: once}]}
  - {name: sidecar, image: a, restartPolicy: Always, ports: [{containerPort: 15001, name: mesh}]}
  containers:
  - name: main
    image: a
    ports:
    - {containerPort: 8080, name: http}
    - {containerPort: 5353, protocol: UDP}
    env:
    - {name: https_proxy, value: 'http://proxy:3128'}
    - {name: HTTP_PROXY, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
    - {name: OTHER, value: x}
status:
  phase: Running
  podIP: 10.244.1.5
  podIPs: [{ip: 10.244.1.5}, {ip: 'fd00::5'}]
  conditions: [{type: Ready, status: 'True'}]
",
        super::pod,
    );
    let port =
        |name: Option<&str>, port, protocol| ContainerPort { name: name.map(str::to_owned), port, protocol };
    let expected = Pod {
        namespace: "shop".to_owned(),
        name: "api-6d4cf56db6-x2x7q".to_owned(),
        uid: "0c7a8f8e".to_owned(),
        static_uid: None,
        labels: labels(&[("app", "api"), ("pod-template-hash", "6d4cf56db6")]),
        node: "worker-1".to_owned(),
        ips: vec!["10.244.1.5".parse().unwrap(), "fd00::5".parse().unwrap()],
        host_network: false,
        service_account: "api".to_owned(),
        workload: Some("Deployment/api".to_owned()),
        finished: false,
        ready: true,
        containers: vec![
            Container {
                name: "main".to_owned(),
                ports: vec![port(Some("http"), 8080, Protocol::Tcp), port(None, 5353, Protocol::Udp)],
                proxy_env: vec![("https_proxy".to_owned(), "http://proxy:3128".to_owned())],
                id: None,
            },
            Container {
                name: "sidecar".to_owned(),
                ports: vec![port(Some("mesh"), 15001, Protocol::Tcp)],
                proxy_env: vec![],
                id: None,
            },
        ],
        dns: Box::default(),
        // The annotation is for file sources only.
        netns_path: None,
        trouble: None,
    };
    assert_eq!(pod, expected);
}

#[test]
fn a_pod_that_has_little() {
    let pending =
        convert("metadata: {name: a}\nspec: {containers: []}\nstatus: {phase: Pending}", super::pod);
    assert_eq!((pending.namespace.as_str(), pending.ips.len(), pending.finished), ("default", 0, false));
    let host = convert(
        "metadata: {name: a}\nspec: {hostNetwork: true, containers: []}\nstatus: {podIP: 192.0.2.1, phase: Failed}",
        super::pod,
    );
    assert!(host.host_network && host.finished);
    assert_eq!(host.ips, ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
}

#[test]
fn the_workload_is_the_controlling_owner() {
    let of = |owner: &str, labels: &str| {
        let yaml = format!("metadata: {{name: a, labels: {{{labels}}}, ownerReferences: [{owner}]}}");
        convert(&yaml, super::pod).workload
    };
    let table = [
        (
            "{apiVersion: apps/v1, kind: ReplicaSet, name: web-abc, uid: a, controller: true}",
            "pod-template-hash: abc",
            Some("Deployment/web"),
        ),
        (
            "{apiVersion: apps/v1, kind: ReplicaSet, name: web-abc, uid: a, controller: true}",
            "",
            Some("ReplicaSet/web-abc"),
        ),
        (
            "{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: a, controller: true}",
            "pod-template-hash: abc",
            Some("ReplicaSet/web"),
        ),
        (
            "{apiVersion: batch/v1, kind: Job, name: nightly-123, uid: a, controller: true}",
            "",
            Some("Job/nightly-123"),
        ),
        (
            "{apiVersion: apps/v1, kind: StatefulSet, name: db, uid: a, controller: true}",
            "",
            Some("StatefulSet/db"),
        ),
        ("{apiVersion: v1, kind: Node, name: n, uid: a}", "", None),
    ];
    for (owner, labels, expected) in table {
        assert_eq!(of(owner, labels).as_deref(), expected, "{owner}");
    }
}

#[test]
fn a_job_named_after_the_time_of_its_pod_stands_for_its_cron_job() {
    // The minute 29384756 of Unix time is 2025-11-14T01:56.
    let of = |job: &str, created: &str| {
        let owner = format!("{{apiVersion: batch/v1, kind: Job, name: {job}, uid: a, controller: true}}");
        let yaml =
            format!("metadata: {{name: a, creationTimestamp: \"{created}\", ownerReferences: [{owner}]}}");
        convert(&yaml, super::pod).workload.unwrap()
    };
    for created in ["2025-11-14T01:56:00Z", "2025-11-14T01:59:07Z", "2025-11-15T01:00:00Z"] {
        assert_eq!(of("nightly-backup-29384756", created), "CronJob/nightly-backup", "{created}");
    }
    for created in ["2025-11-14T01:54:00Z", "2025-11-16T02:00:00Z", "2026-11-14T01:56:00Z"] {
        assert_eq!(of("backup-29384756", created), "Job/backup-29384756", "{created}");
    }
    assert_eq!(of("import-20251114", "2025-11-14T01:56:00Z"), "Job/import-20251114", "a date is no time");
}

#[test]
fn a_network_policy_with_everything() {
    let policy = convert(
        r"
metadata: {name: everything, namespace: shop}
spec:
  podSelector:
    matchLabels: {app: api}
    matchExpressions:
    - {key: tier, operator: In, values: [a, b]}
    - {key: legacy, operator: DoesNotExist}
  policyTypes: [Egress]
  ingress:
  - {}
  egress:
  - to:
    - ipBlock: {cidr: 10.1.2.3/8, except: [10.1.0.0/16]}
    - namespaceSelector: {}
      podSelector: {matchLabels: {app: db}}
    - podSelector: {}
    ports:
    - {port: 5432}
    - {protocol: UDP, port: 6000, endPort: 6010}
    - {protocol: SCTP}
    - {port: metrics}
  - {}
",
        super::network_policy,
    );
    let app = |value: &str| LabelSelector { match_labels: labels(&[("app", value)]), expressions: vec![] };
    let expected = NetworkPolicy {
        namespace: "shop".to_owned(),
        name: "everything".to_owned(),
        selector: LabelSelector {
            expressions: vec![
                Expression {
                    key: "tier".to_owned(),
                    operator: Operator::In,
                    values: vec!["a".to_owned(), "b".to_owned()],
                },
                Expression { key: "legacy".to_owned(), operator: Operator::DoesNotExist, values: vec![] },
            ],
            ..app("api")
        },
        isolates_ingress: false,
        isolates_egress: true,
        ingress: vec![Rule::default()],
        egress: vec![
            Rule {
                peers: vec![
                    Peer::IpBlock(IpBlock {
                        cidr: "10.0.0.0/8".parse().unwrap(),
                        except: vec!["10.1.0.0/16".parse().unwrap()],
                    }),
                    Peer::Pods { namespaces: Some(LabelSelector::default()), pods: Some(app("db")) },
                    Peer::Pods { namespaces: None, pods: Some(LabelSelector::default()) },
                ],
                ports: vec![
                    PolicyPort { protocol: Protocol::Tcp, port: Some(PortMatch::Number(5432)) },
                    PolicyPort { protocol: Protocol::Udp, port: Some(PortMatch::Range(6000, 6010)) },
                    PolicyPort { protocol: Protocol::Sctp, port: None },
                    PolicyPort { protocol: Protocol::Tcp, port: Some(PortMatch::Name("metrics".to_owned())) },
                ],
            },
            Rule::default(),
        ],
    };
    assert_eq!(policy, expected);
}

#[test]
fn policy_types_default_as_the_api_documents() {
    // What the spec has, and what is isolated: ingress, egress.
    let table = [
        ("", (true, false)),
        ("ingress: [{}]", (true, false)),
        ("egress: []", (true, false)),
        ("egress: [{}]", (true, true)),
        ("policyTypes: []\n  egress: [{}]", (true, true)),
        ("policyTypes: [Ingress]\n  egress: [{}]", (true, false)),
        ("policyTypes: [Egress]", (false, true)),
        ("policyTypes: [Egress]\n  ingress: [{}]", (false, true)),
        ("policyTypes: [Ingress, Egress]", (true, true)),
    ];
    for (spec, expected) in table {
        let yaml = format!("metadata: {{name: a}}\nspec:\n  podSelector: {{}}\n  {spec}\n");
        let policy = convert(&yaml, super::network_policy);
        assert_eq!((policy.isolates_ingress, policy.isolates_egress), expected, "{spec}");
    }
}

#[test]
fn a_service_and_its_slice() {
    let service = convert(
        r"
metadata: {name: db, namespace: shop}
spec:
  clusterIP: 10.96.0.7
  clusterIPs: [10.96.0.7, 'fd00:96::7']
  externalIPs: [198.51.100.7]
  selector: {app: db}
  ports:
  - {name: sql, port: 5432, targetPort: sql, nodePort: 30432}
  - {name: http, port: 80, targetPort: 8080}
  - {name: dns, port: 53, protocol: UDP}
status: {loadBalancer: {ingress: [{ip: 203.0.113.7}, {hostname: lb.example.com}]}}
",
        super::service,
    );
    let port = |name: &str, port, protocol, target, node_port| ServicePort {
        name: Some(name.to_owned()),
        port,
        protocol,
        target,
        node_port,
    };
    let expected = Service {
        namespace: "shop".to_owned(),
        name: "db".to_owned(),
        labels: labels(&[]),
        cluster_ips: vec!["10.96.0.7".parse().unwrap(), "fd00:96::7".parse().unwrap()],
        external_ips: vec!["198.51.100.7".parse().unwrap(), "203.0.113.7".parse().unwrap()],
        ports: vec![
            port("sql", 5432, Protocol::Tcp, ServiceTarget::Name("sql".to_owned()), Some(30432)),
            port("http", 80, Protocol::Tcp, ServiceTarget::Number(8080), None),
            port("dns", 53, Protocol::Udp, ServiceTarget::Number(53), None),
        ],
        selector: Some(labels(&[("app", "db")])),
        ..Service::default()
    };
    assert_eq!(service, expected);
    let headless =
        convert("metadata: {name: a}\nspec: {clusterIP: None, clusterIPs: [None]}", super::service);
    assert_eq!((headless.cluster_ips, headless.selector), (vec![], None));

    let slice = convert(
        r"
metadata: {name: db-x1, namespace: shop, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: sql, port: 5432}, {name: any}]
endpoints:
- addresses: [10.244.1.6]
  conditions: {ready: false, serving: true, terminating: true}
  targetRef: {kind: Pod, name: db-0, namespace: shop}
  nodeName: worker-1
- addresses: [10.244.2.6]
",
        super::endpoint_slice,
    );
    let expected = EndpointSlice {
        namespace: "shop".to_owned(),
        name: "db-x1".to_owned(),
        service: Some("db".to_owned()),
        ports: vec![("sql".to_owned(), 5432, Protocol::Tcp)],
        backends: vec![
            Backend {
                ip: "10.244.1.6".parse().unwrap(),
                ready: false,
                serving: true,
                pod: Some(PodRef { namespace: "shop".to_owned(), name: "db-0".to_owned() }),
                node: Some("worker-1".to_owned()),
            },
            Backend { ip: "10.244.2.6".parse().unwrap(), ready: true, serving: true, pod: None, node: None },
        ],
    };
    assert_eq!(slice, expected);
}

#[test]
fn a_node_and_a_namespace() {
    let node = convert(
        r"
metadata: {name: worker-1, labels: {zone: a}}
spec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24, 'fd00:1::/64']}
status:
  addresses:
  - {type: InternalIP, address: 192.0.2.10}
  - {type: ExternalIP, address: 192.0.2.10}
  - {type: Hostname, address: worker-1}
",
        super::node,
    );
    let expected = Node {
        name: "worker-1".to_owned(),
        labels: labels(&[("zone", "a")]),
        ips: vec!["192.0.2.10".parse().unwrap()],
        pod_cidrs: vec!["10.244.1.0/24".parse().unwrap(), "fd00:1::/64".parse().unwrap()],
    };
    assert_eq!(node, expected);
    let namespace = convert("metadata: {name: shop, labels: {team: x}}", super::namespace);
    assert_eq!(namespace.labels, labels(&[("kubernetes.io/metadata.name", "shop"), ("team", "x")]));
}
