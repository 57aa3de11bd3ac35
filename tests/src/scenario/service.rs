//! `service-no-endpoints`: the Service that is dialled has nobody behind it, in each way in which that happens.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::{Health, Scenario, await_ipv6, program};
use crate::enforce::{Backend, Match, Refusal};
use crate::expect::Expect;
use crate::lab::{Lab, Place, TcpBehaviour};
use crate::plan::{CLIENT, Dual, Family, NODE, NODE_NAME, SERVER, SERVICE};
use crate::proxy::{Forwarding, Mode, ServicePort};
use crate::topology::Topology;

/// Port of the Service.
const PORT: u16 = 80;
/// Port of its backend.
const TARGET: u16 = 8080;
/// Its node port.
const NODE_PORT: u16 = 30080;
/// Address of a Service that is gone.
const STALE: Dual = Dual::local([10, 96, 0, 99], 0x99);
/// A port that it lacks.
const OTHER: u16 = 81;
/// A UDP protocol that answers.
const NTP: u16 = 123;

/// The Service as kube-proxy sees it.
const WEB: ServicePort = ServicePort {
    name: "default/web:http",
    ip: SERVICE,
    protocol: "tcp",
    port: PORT,
    node_port: Some((NODE, NODE_PORT)),
};

pub(super) fn all() -> Vec<Scenario> {
    [selectors(), pods(), ports(), proxies()].into_iter().flatten().collect()
}

fn selectors() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "service-selector",
            Topology::Routed,
            "the Service's selector matches no pod by one letter; kube-proxy (nftables) rejects the SYN",
            |run| run.dial(Family::V4, SERVICE, PORT, "refused"),
        )
        .set_up(|lab, health| set_up(lab, health, Mode::Nftables, Forwarding::Reject, &typo()))
        .expect(|| Expect {
            detail: &[("kind", "no-endpoints"), ("service", "default/web"), ("selector", "app=api-serve")],
            says: &[
                ("/summary", "selects no pod of namespace default"),
                ("/summary", "pod default/api-server has all of it except that it has app=api-server"),
                ("/fix/text", "kubectl get endpointslices -n default -l kubernetes.io/service-name=web"),
            ],
            ..verdict()
        }),
        Scenario::new(
            "service-selector-ipv6",
            Topology::Bridge,
            "the same over IPv6 on a bridge node, kube-proxy in iptables mode",
            |run| run.dial(Family::V6, SERVICE, PORT, "refused"),
        )
        .needs(|| program("iptables-nft"))
        .set_up(|lab, health| {
            await_ipv6(lab)?;
            set_up(lab, health, Mode::Iptables, Forwarding::Reject, &typo())
        })
        .expect(|| Expect {
            peer: (SERVICE.of(Family::V6), PORT),
            detail: &[("kind", "no-endpoints"), ("service", "default/web")],
            ..verdict()
        }),
        Scenario::new(
            "service-no-rule",
            Topology::Bridge,
            "a Service without selector and endpoints for which the node has no rule: the SYN leaves by the uplink",
            |run| run.dial_long(Family::V4, SERVICE, PORT, "timeout"),
        )
        .set_up(|lab, health| {
            if health == Health::Healthy {
                return healthy(lab, Mode::Iptables);
            }
            lab.cluster.service(&json!({"ports": [{"name": "http", "port": PORT}]}), &[], &json!([]))
        })
        .expect(|| Expect {
            detail: &[("kind", "no-endpoints")],
            says: &[("/summary", "it has no selector"), ("/summary", "untranslated and nothing came back")],
            broken: ("upstream", "silent"),
            within: Duration::from_millis(3800),
            ..verdict()
        }),
        Scenario::new(
            "service-and-policy",
            Topology::Routed,
            "the Service has no endpoints and a policy denies all: the Service is told first, the policy as a hint",
            |run| {
                if run.broken() {
                    run.lab.cluster.deny_all_egress()?;
                    run.await_policies()?;
                    run.refuse(Backend::Nft, "deny", Match::From(CLIENT), Refusal::Drop)?;
                }
                run.dial(Family::V4, SERVICE, PORT, "timeout")
            },
        )
        .set_up(|lab, health| {
            if health == Health::Healthy {
                return healthy(lab, Mode::Nftables);
            }
            lab.cluster.service(&typo(), &[], &named_port())
        })
        .expect(|| Expect {
            confidence: &["certain", "likely"],
            detail: &[("kind", "no-endpoints")],
            policies: &["deny-all-egress"],
            says: &[("/hints/0", "policies (deny-all-egress) do not admit this traffic either")],
            ..verdict()
        }),
    ]
}

fn pods() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "service-not-ready",
            Topology::Bridge,
            "the only pod of the Service is not ready; kube-proxy (iptables) rejects the SYN",
            |run| run.dial(Family::V4, SERVICE, PORT, "refused"),
        )
        .needs(|| program("iptables-nft"))
        .set_up(|lab, health| unready(lab, health, Mode::Iptables))
        .expect(not_ready),
        Scenario::new(
            "service-not-ready-legacy",
            Topology::Bridge,
            "the same with kube-proxy's rules in iptables-legacy",
            |run| run.dial(Family::V4, SERVICE, PORT, "refused"),
        )
        .needs(|| program("iptables-legacy"))
        .set_up(|lab, health| unready(lab, health, Mode::IptablesLegacy))
        .expect(not_ready),
        Scenario::new(
            "service-local",
            Topology::Routed,
            "internalTrafficPolicy is Local and the only endpoint is on another node: kube-proxy drops the SYN",
            |run| run.dial(Family::V4, SERVICE, PORT, "timeout"),
        )
        .set_up(|lab, health| {
            let mut spec = web("api-server", json!(TARGET));
            if health == Health::Healthy {
                return healthy(lab, Mode::Nftables);
            }
            spec["internalTrafficPolicy"] = json!("Local");
            let far = json!({"addresses": ["10.244.2.7"], "nodeName": "worker-2", "conditions": {"ready": true}});
            lab.cluster.service(&spec, &[far], &named_port())?;
            Mode::Nftables.program(&lab.node, &WEB, Forwarding::Drop)
        })
        .expect(|| Expect {
            detail: &[("kind", "no-endpoints")],
            says: &[("/summary", "internalTrafficPolicy is Local"), ("/fix/text", "on node worker-1")],
            ..verdict()
        }),
    ]
}

fn ports() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "service-port-name",
            Topology::Routed,
            "targetPort names a container port that no pod of the Service has",
            |run| run.dial(Family::V4, SERVICE, PORT, "refused"),
        )
        .set_up(|lab, health| {
            let spec = web("api-server", json!("web"));
            if health == Health::Healthy {
                return healthy(lab, Mode::Nftables);
            }
            // The control plane lists the pod, without a port.
            lab.cluster.service(&spec, &[ready(SERVER.v4.into())], &json!([]))?;
            Mode::Nftables.program(&lab.node, &WEB, Forwarding::Reject)
        })
        .expect(|| Expect {
            detail: &[("kind", "no-endpoints")],
            says: &[
                ("/summary", "its targetPort is \"web\""),
                ("/summary", "there is \"http\""),
                ("/detail/pods", "no container port is called \\\"web\\\""),
            ],
            ..verdict()
        }),
        Scenario::new(
            "service-no-such-port",
            Topology::Routed,
            "the client dials a port that the Service lacks: kube-proxy rejects all other ports of a ClusterIP",
            |run| run.dial(Family::V4, SERVICE, if run.broken() { OTHER } else { PORT }, "refused"),
        )
        .set_up(|lab, _| {
            healthy(lab, Mode::Nftables)?;
            Mode::reject_other_ports(&lab.node, SERVICE)
        })
        .expect(no_such_port),
        Scenario::new(
            "service-no-such-port-iptables",
            Topology::Bridge,
            "the same where kube-proxy has no rule for other ports: the SYN leaves by the uplink and nothing comes back",
            |run| run.dial_long(Family::V4, SERVICE, if run.broken() { OTHER } else { PORT }, "timeout"),
        )
        .needs(|| program("iptables-nft"))
        .set_up(|lab, _| healthy(lab, Mode::Iptables))
        .expect(|| Expect {
            broken: ("upstream", "silent"),
            within: Duration::from_millis(3800),
            ..no_such_port()
        }),
        Scenario::new(
            "service-node-port",
            Topology::Routed,
            "the client dials the node port of a Service without endpoints",
            |run| run.dial(Family::V4, NODE, NODE_PORT, "refused"),
        )
        .set_up(|lab, health| set_up(lab, health, Mode::Nftables, Forwarding::Reject, &typo()))
        .expect(|| Expect {
            peer: (NODE.of(Family::V4), NODE_PORT),
            detail: &[("kind", "no-endpoints"), ("service", "default/web"), ("hook", "INPUT")],
            ..verdict()
        }),
        Scenario::new(
            "service-udp",
            Topology::Routed,
            "an NTP question to a Service without endpoints is rejected",
            |run| run.ask_udp(SERVICE, NTP, "refused"),
        )
        .set_up(|lab, health| {
            let mut spec = if health == Health::Broken { typo() } else { web("api-server", json!(NTP)) };
            spec["ports"] = json!([{"name": "ntp", "port": NTP, "protocol": "UDP", "targetPort": NTP}]);
            let ports = json!([{"name": "ntp", "port": NTP, "protocol": "UDP"}]);
            udp(lab, health, &spec, &ports, "default/web:ntp", (SERVER, NTP))?;
            lab.serve_udp(Place::Server, (SERVER, NTP), true)
        })
        .expect(|| Expect {
            affects: "udp",
            peer: (SERVICE.of(Family::V4), NTP),
            // The kernel sends the ICMP error before it drops the packet.
            broken: ("node", "refused"),
            detail: &[("kind", "no-endpoints")],
            ..verdict()
        }),
        Scenario::new(
            "service-dns",
            Topology::Routed,
            "the DNS Service of the pod has no endpoints: its questions are rejected",
            |run| {
                let server = format!("{}:53", SERVICE.v4);
                run.ask("api.stripe.com", "refused", &["--dns", &server, "--dns-timeout", "1"])
            },
        )
        .set_up(|lab, health| {
            let mut spec = if health == Health::Broken { typo() } else { web("coredns", json!(53)) };
            spec["ports"] = json!([{"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53}]);
            let ports = json!([{"name": "dns", "port": 53, "protocol": "UDP"}]);
            udp(lab, health, &spec, &ports, "default/web:dns", (crate::plan::COREDNS, 53))
        })
        .expect(|| Expect {
            affects: "dns",
            peer: (SERVICE.of(Family::V4), 53),
            detail: &[("kind", "no-endpoints")],
            says: &[("/detail/names", "api.stripe.com")],
            ..verdict()
        }),
    ]
}

fn proxies() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "service-stale-backend",
            Topology::Routed,
            "a rule of a Service that is gone sends the SYN to an address of the node's range that no pod has",
            |run| {
                let to = if run.broken() { "10.244.1.77" } else { "10.244.1.6" };
                run.lab.node.nft(&format!(
                    "table ip stale {{
                       chain services {{
                         type nat hook prerouting priority dstnat - 10; policy accept;
                         ip daddr {} tcp dport 80 dnat to {to}
                       }}
                     }}",
                    STALE.v4
                ))?;
                run.dial_long(Family::V4, STALE, 80, "timeout")
            },
        )
        .set_up(|lab, _| lab.serve_tcp(Place::Server, &[(SERVER, 80)], TcpBehaviour::Echo))
        .expect(|| Expect {
            kind: "external",
            stage: "upstream",
            broken: ("upstream", "silent"),
            confidence: &["likely"],
            detail: &[("backend", "10.244.1.77")],
            within: Duration::from_secs(3),
            ..Expect::of("upstream-timeout", (STALE.of(Family::V4), 80))
        }),
        Scenario::new(
            "service-not-programmed",
            Topology::Routed,
            "the Service has a ready endpoint but the node does not know it: the SYN leaves by the uplink as it is",
            |run| run.dial_long(Family::V4, SERVICE, PORT, "timeout"),
        )
        .set_up(|lab, health| not_programmed(lab, health, &web("api-server", json!(TARGET))))
        .expect(|| Expect {
            detail: &[("kind", "not-programmed"), ("ready", "1")],
            says: &[
                ("/summary", "1 ready endpoint (10.244.1.6:8080)"),
                ("/fix/text", "look at kube-proxy (or the CNI that replaces it) on node worker-1"),
            ],
            broken: ("upstream", "silent"),
            within: Duration::from_millis(3800),
            ..verdict()
        }),
        Scenario::new(
            "service-denied",
            Topology::Routed,
            "a policy denies traffic to a Service with a ready endpoint: that stays the policy's",
            |run| {
                if run.broken() {
                    run.lab.cluster.deny_all_egress()?;
                    run.await_policies()?;
                    run.refuse(Backend::Nft, "deny", Match::From(CLIENT), Refusal::Drop)?;
                }
                run.dial(Family::V4, SERVICE, PORT, "timeout")
            },
        )
        .set_up(|lab, _| healthy(lab, Mode::Nftables))
        .expect(|| Expect {
            cause: "policy-drop",
            confidence: &["certain", "likely"],
            policies: &["deny-all-egress"],
            shown_on_server: true,
            ..verdict()
        }),
    ]
}

/// The Service is healthy, or this of it is wrong and kube-proxy acts on having no endpoint.
fn set_up(lab: &mut Lab, health: Health, mode: Mode, without: Forwarding, wrong: &Value) -> Result<()> {
    if health == Health::Healthy {
        return healthy(lab, mode);
    }
    lab.cluster.service(wrong, &[], &named_port())?;
    mode.program(&lab.node, &WEB, without)
}

/// A Service with the server pod behind it.
fn healthy(lab: &mut Lab, mode: Mode) -> Result<()> {
    lab.serve_tcp(Place::Server, &[(SERVER, TARGET)], TcpBehaviour::Echo)?;
    list_server(lab, &web("api-server", json!(TARGET)))?;
    mode.program(&lab.node, &WEB, Forwarding::To(SERVER, TARGET))
}

fn not_programmed(lab: &mut Lab, health: Health, spec: &Value) -> Result<()> {
    if health == Health::Healthy {
        return healthy(lab, Mode::Nftables);
    }
    lab.cluster.service(
        spec,
        &[json!({"addresses": [SERVER.v4], "nodeName": NODE_NAME, "conditions": {"ready": true}})],
        &named_port(),
    )
}

fn unready(lab: &mut Lab, health: Health, mode: Mode) -> Result<()> {
    if health == Health::Healthy {
        return healthy(lab, mode);
    }
    lab.cluster.pod_elsewhere(
        "web-0",
        json!({"app": "web"}),
        json!([{"name": "http", "containerPort": TARGET}]),
        json!({"phase": "Running", "podIP": "10.244.2.7", "podIPs": [{"ip": "10.244.2.7"}],
               "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady",
                               "message": "containers with unready status: [web]"}],
               "containerStatuses": [{"name": "web", "ready": false, "restartCount": 7, "image": "web", "imageID": "",
                                      "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
    )?;
    let endpoint = json!({"addresses": ["10.244.2.7"], "nodeName": "worker-2",
                          "conditions": {"ready": false, "serving": false},
                          "targetRef": {"kind": "Pod", "namespace": "default", "name": "web-0"}});
    lab.cluster.service(&web("web", json!(TARGET)), &[endpoint], &named_port())?;
    mode.program(&lab.node, &WEB, Forwarding::Reject)
}

fn udp(
    lab: &mut Lab,
    health: Health,
    spec: &Value,
    ports: &Value,
    name: &'static str,
    to: (Dual, u16),
) -> Result<()> {
    let broken = health == Health::Broken;
    let port = ServicePort { name, ip: SERVICE, protocol: "udp", port: to.1, node_port: None };
    let endpoints = if broken { vec![] } else { vec![ready(to.0.v4.into())] };
    lab.cluster.service(spec, &endpoints, ports)?;
    let forwarding = if broken { Forwarding::Reject } else { Forwarding::To(to.0, to.1) };
    Mode::Nftables.program(&lab.node, &port, forwarding)
}

fn list_server(lab: &Lab, spec: &Value) -> Result<()> {
    lab.cluster.service(spec, &[ready(SERVER.v4.into()), ready(SERVER.v6.into())], &named_port())
}

fn ready(ip: std::net::IpAddr) -> Value {
    json!({"addresses": [ip], "nodeName": NODE_NAME, "conditions": {"ready": true}})
}

fn named_port() -> Value {
    json!([{"name": "http", "port": TARGET, "protocol": "TCP"}])
}

/// The Service's `spec`.
fn web(app: &str, target: Value) -> Value {
    json!({"type": "NodePort", "selector": {"app": app},
           "ports": [{"name": "http", "port": PORT, "targetPort": target, "nodePort": NODE_PORT}]})
}

/// A letter is missing in the selector.
fn typo() -> Value {
    web("api-serve", json!(TARGET))
}

fn verdict() -> Expect {
    Expect { kind: "service", ..Expect::of("service-no-endpoints", (SERVICE.of(Family::V4), PORT)) }
}

fn not_ready() -> Expect {
    Expect {
        detail: &[("kind", "not-ready"), ("not_ready", "1"), ("ready", "0")],
        says: &[
            ("/summary", "pod web-0 (not ready: container web: CrashLoopBackOff)"),
            ("/fix/text", "kubectl describe pod -n default web-0"),
        ],
        ..verdict()
    }
}

fn no_such_port() -> Expect {
    Expect {
        peer: (SERVICE.of(Family::V4), OTHER),
        detail: &[("kind", "no-such-port")],
        says: &[("/summary", "it has no port 81/TCP (it has 80/TCP)")],
        ..verdict()
    }
}
