//! The ways in which network plugins enforce: TC programs, ipset, verdict maps, chain policies, every table and hook,
//! and inside the pod itself.

use super::super::{Run, Scenario, program};
use super::{HTTP, admitting, egress_verdict, ingress_verdict, server_admitting};
use crate::bpf::{Hook, Shot};
use crate::expect::Expect;
use crate::lab::Lab;
use crate::plan::{CLIENT, COREDNS, Family, PODS_V4, SERVER, STRIPE};
use crate::tools;
use crate::topology::Topology;

/// A scenario of the client's egress to api.stripe.com, in which `enforce` makes the node drop it.
macro_rules! egress {
    ($name:literal, $topology:ident, $sentence:literal, $enforce:expr) => {
        Scenario::new($name, Topology::$topology, $sentence, |run| {
            if run.broken() {
                run.lab.cluster.deny_all_egress()?;
                let enforce: fn(&mut Run) -> anyhow::Result<()> = $enforce;
                enforce(run)?;
                run.await_policies()?;
            }
            run.dial(Family::V4, STRIPE, 443, "timeout")
        })
        .set_up(admitting)
    };
}

pub(super) fn all() -> Vec<Scenario> {
    let mut all = programs();
    all.extend(rules());
    all.extend(hooks());
    all.extend(inside());
    all
}

fn programs() -> Vec<Scenario> {
    vec![
        egress!(
            "policy-tc",
            Routed,
            "a TC program on the pod's device, behind ours in the clsact qdisc, drops what policies deny",
            |run| {
                let device = run.lab.client().device.clone();
                let clsact = ["qdisc", "add", "dev", &device, "clsact"];
                tools::run(&mut run.lab.node.command("tc"), &clsact)?;
                let shoot = "6,40 0 0 12,21 0 3 2048,32 0 0 30,21 0 1 3405803780,6 0 0 2,6 0 0 4294967295";
                let filter = ["filter", "add", "dev", &device, "ingress", "bpf", "da", "bytecode", shoot];
                tools::run(&mut run.lab.node.command("tc"), &filter)
            }
        )
        .needs(|| program("tc"))
        .expect(|| Expect {
            confidence: &["certain"],
            detail: &[("reason", "TC_INGRESS"), ("device", "cali0")],
            says: &[("/detail/program", "bpf filter"), ("/path/1/where", "tc ingress of cali0")],
            ..egress_verdict(Family::V4)
        }),
        egress!(
            "policy-tcx-before",
            Routed,
            "a TCX program ahead of ours, as Cilium attaches them, drops the SYN before our own tap sees it",
            |run| {
                let (to, device) = (STRIPE.of(Family::V4), run.lab.client().device.clone());
                let shot = Shot::attach(&run.lab.node, &device, Hook::TcxIngress, "cil_from_container", to)?;
                run.lab.keep(shot);
                Ok(())
            }
        )
        .expect(|| Expect {
            confidence: &["certain"],
            detail: &[("reason", "TC_INGRESS"), ("program", "cil_from_contai"), ("owner", "Cilium")],
            ..egress_verdict(Family::V4)
        }),
        Scenario::new(
            "policy-tcx-egress",
            Topology::Routed,
            "a TCX program at the egress of the server pod's device enforces its ingress policy",
            |run| {
                if run.broken() {
                    run.lab.cluster.deny_all_ingress()?;
                    let device = run.lab.server().device.clone();
                    let to = SERVER.of(Family::V4);
                    let shot = Shot::attach(&run.lab.node, &device, Hook::TcxEgress, "cil_to_container", to)?;
                    run.lab.keep(shot);
                    run.await_policies()?;
                }
                run.dial(Family::V4, SERVER, HTTP, "timeout")
            },
        )
        .set_up(server_admitting)
        .expect(|| Expect {
            confidence: &["certain"],
            detail: &[("reason", "TC_EGRESS"), ("program", "cil_to_containe"), ("device", "cali1")],
            ..ingress_verdict(Family::V4)
        }),
    ]
}

fn rules() -> Vec<Scenario> {
    vec![
        egress!(
            "policy-ipset-legacy",
            Routed,
            "iptables-legacy with ipset, as Weave Net does: destinations in no set fall through to a drop",
            |run| {
                ipset(run, "weave-allowed hash:net", COREDNS.v4)?;
                let client = CLIENT.v4;
                legacy(
                    run,
                    &format!(
                        "*filter\n:WEAVE-NPC-EGRESS - [0:0]\n:WEAVE-NPC-EGRESS-DEFAULT - [0:0]\n\
                         -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n\
                         -A FORWARD -s {client} -j WEAVE-NPC-EGRESS\n\
                         -A WEAVE-NPC-EGRESS -m set --match-set weave-allowed dst -j RETURN\n\
                         -A WEAVE-NPC-EGRESS -g WEAVE-NPC-EGRESS-DEFAULT\n\
                         -A WEAVE-NPC-EGRESS-DEFAULT -j DROP\nCOMMIT\n"
                    ),
                )
            }
        )
        .needs(|| program("iptables-legacy").or_else(|| program("ipset")))
        .expect(|| Expect {
            confidence: &["certain"],
            detail: &[("table", "ip filter"), ("chain", "ip filter FORWARD"), ("owner", "Weave Net")],
            says: &[("/detail/rule", "chain WEAVE-NPC-EGRESS-DEFAULT rule 1 drop")],
            ..egress_verdict(Family::V4)
        }),
        egress!(
            "policy-ipset-nft",
            Bridge,
            "iptables-nft with ipset, as Calico does: dispatch by device, one chain a pod, drop where no policy matched",
            |run| {
                ipset(run, "cali40s:dns hash:net", COREDNS.v4)?;
                let device = run.lab.client().device.clone();
                let rules = format!(
                    "*filter\n:cali-FORWARD - [0:0]\n:cali-from-wl-dispatch - [0:0]\n:cali-fw-client - [0:0]\n\
                     -A FORWARD -j cali-FORWARD\n\
                     -A cali-FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n\
                     -A cali-FORWARD -m physdev --physdev-in {device} -j cali-from-wl-dispatch\n\
                     -A cali-FORWARD -s {} -j cali-from-wl-dispatch\n\
                     -A cali-from-wl-dispatch -g cali-fw-client\n\
                     -A cali-fw-client -m set --match-set cali40s:dns dst -j RETURN\n\
                     -A cali-fw-client -m comment --comment \"Drop if no policies passed packet\" -j DROP\nCOMMIT\n",
                    CLIENT.v4
                );
                tools::feed(
                    &mut run.lab.node.command("iptables-nft-restore"),
                    &["--noflush", "--wait"],
                    &rules,
                )
            }
        )
        .needs(|| program("iptables-nft").or_else(|| program("ipset")))
        .expect(|| Expect {
            confidence: &["certain"],
            detail: &[("table", "ip filter"), ("owner", "Calico")],
            says: &[("/detail/rule", "drop (Drop if no policies passed packet)")],
            ..egress_verdict(Family::V4)
        }),
        egress!(
            "policy-vmap",
            Routed,
            "nftables with a verdict map from pod to chain, as kube-network-policies does",
            |run| {
                run.lab.node.nft(&format!(
                    "table inet policies {{
                       set allowed {{ type ipv4_addr; elements = {{ {dns} }} }}
                       chain client {{ ip daddr @allowed return; drop comment \"no policy admits it\"; }}
                       map pods {{ type ipv4_addr : verdict; elements = {{ {client} : jump client }} }}
                       chain forward {{
                         type filter hook forward priority filter; policy accept;
                         ct state established,related accept
                         ip saddr vmap @pods
                       }}
                     }}",
                    dns = COREDNS.v4,
                    client = CLIENT.v4,
                ))
            }
        )
        .expect(|| Expect {
            confidence: &["certain"],
            detail: &[("chain", "inet policies forward")],
            says: &[("/detail/rule", "chain client"), ("/detail/rule", "no policy admits it")],
            ..egress_verdict(Family::V4)
        }),
        egress!(
            "policy-chain-default",
            Routed,
            "nothing but the policy of a base chain drops: its rules only accept",
            |run| {
                run.lab.node.nft(&format!(
                    "table ip policies {{
                       chain forward {{
                         type filter hook forward priority filter; policy drop;
                         ct state established,related accept
                         ip saddr != {client} accept
                         ip daddr {dns} accept
                       }}
                     }}",
                    dns = COREDNS.v4,
                    client = CLIENT.v4,
                ))
            }
        )
        .expect(|| Expect {
            confidence: &["certain"],
            detail: &[("chain", "ip policies forward"), ("rule", "policy drop"), ("hook", "FORWARD")],
            ..egress_verdict(Family::V4)
        }),
    ]
}

fn hooks() -> Vec<Scenario> {
    vec![
        egress!("policy-raw", Routed, "the raw table drops it before routing and translation", |run| {
            legacy(run, &format!("*raw\n-A PREROUTING -s {} -d {} -j DROP\nCOMMIT\n", CLIENT.v4, STRIPE.v4))
        })
        .needs(|| program("iptables-legacy"))
        .expect(|| Expect {
            confidence: &["certain"],
            detail: &[("chain", "ip raw PREROUTING"), ("hook", "PREROUTING")],
            ..egress_verdict(Family::V4)
        }),
        egress!("policy-mangle", Bridge, "the mangle table drops it after routing", |run| {
            run.lab.node.nft(&format!(
                "table ip later {{ chain post {{
                   type filter hook postrouting priority mangle; policy accept;
                   ip saddr {} ip daddr {} drop;
                 }}
                 }}",
                CLIENT.v4, STRIPE.v4
            ))
        })
        .expect(|| Expect {
            confidence: &["certain"],
            detail: &[("chain", "ip later post"), ("hook", "POSTROUTING")],
            ..egress_verdict(Family::V4)
        }),
        egress!(
            "policy-netdev",
            Routed,
            "a netdev chain at the ingress of the pod's device drops it",
            |run| {
                let device = run.lab.client().device.clone();
                run.lab.node.nft(&format!(
                    "table netdev early {{ chain in {{
                   type filter hook ingress device \"{device}\" priority 0; policy accept;
                   ip daddr {} drop;
                 }}
                 }}
                 table ip other {{ chain pre {{
                   type filter hook forward priority 0; policy accept; ip daddr 192.0.2.99 drop;
                 }}
                 }}",
                    STRIPE.v4
                ))
            }
        )
        .expect(|| Expect {
            confidence: &["certain"],
            detail: &[("chain", "netdev early in"), ("hook", "INGRESS")],
            ..egress_verdict(Family::V4)
        }),
        Scenario::new(
            "policy-bridge-family",
            Topology::Bridge,
            "a chain of the bridge family drops between two ports, while an ip chain drops elsewhere",
            |run| {
                if run.broken() {
                    run.lab.cluster.deny_all_ingress()?;
                    run.lab.node.nft(&format!(
                        "table bridge ports {{ chain between {{
                           type filter hook forward priority 0; policy accept;
                           ip daddr {} tcp flags & (syn | ack) == syn drop;
                         }}
                         }}
                         table ip other {{ chain in {{
                           type filter hook input priority 0; policy accept; ip saddr 192.0.2.99 drop;
                         }}
                         }}",
                        SERVER.v4
                    ))?;
                    run.await_policies()?;
                }
                run.dial(Family::V4, SERVER, HTTP, "timeout")
            },
        )
        .set_up(server_admitting)
        .expect(|| Expect {
            confidence: &["certain"],
            detail: &[("chain", "bridge ports between"), ("hook", "FORWARD")],
            ..ingress_verdict(Family::V4)
        }),
    ]
}

fn inside() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "policy-in-pod",
            Topology::Routed,
            "iptables inside the pod's own namespace, put there by an init container, drops it; the node's own table \
             is not blamed",
            |run| {
                if run.broken() {
                    run.lab.cluster.deny_all_egress()?;
                    blameless(&run.lab)?;
                    run.lab.client().netns.nft(&format!(
                        "table inet guard {{ chain out {{
                           type filter hook output priority 0; policy accept; ip daddr {} drop;
                         }}
                         }}",
                        STRIPE.v4
                    ))?;
                    run.await_policies()?;
                }
                run.dial(Family::V4, STRIPE, 443, "timeout")
            },
        )
        .set_up(admitting)
        .expect(|| Expect {
            confidence: &["certain"],
            stage: "pod",
            broken: ("pod", "dropped"),
            detail: &[("chain", "inet guard out"), ("hook", "OUTPUT")],
            ..egress_verdict(Family::V4)
        }),
        Scenario::new(
            "policy-in-server",
            Topology::Routed,
            "the destination pod's own packet filter drops what its ingress policy denies",
            |run| {
                if run.broken() {
                    run.lab.cluster.deny_all_ingress()?;
                    run.lab.server().netns.nft(&format!(
                        "table inet guard {{ chain in {{
                           type filter hook input priority 0; policy accept; tcp dport {HTTP} drop;
                         }}
                         }}"
                    ))?;
                    run.await_policies()?;
                }
                run.dial(Family::V4, SERVER, HTTP, "timeout")
            },
        )
        .set_up(server_admitting)
        .expect(|| Expect {
            confidence: &["certain"],
            stage: "upstream",
            broken: ("peer", "dropped"),
            detail: &[("chain", "inet guard in"), ("hook", "INPUT")],
            ..ingress_verdict(Family::V4)
        }),
    ]
}

/// A rule of the node that drops something else in the same hook.
fn blameless(lab: &Lab) -> anyhow::Result<()> {
    lab.node.nft(&format!(
        "table inet node {{ chain out {{
           type filter hook output priority 0; policy accept; ip daddr {PODS_V4} tcp dport 1 drop;
         }}
         }}"
    ))
}

fn ipset(run: &Run, set: &str, member: std::net::Ipv4Addr) -> anyhow::Result<()> {
    let name = set.split(' ').next().unwrap_or_default();
    let commands = format!("create {set}\nadd {name} {member}\n");
    tools::feed(&mut run.lab.node.command("ipset"), &["restore"], &commands)
}

fn legacy(run: &Run, rules: &str) -> anyhow::Result<()> {
    let mut restore = run.lab.node.command("iptables-legacy-restore");
    tools::feed(&mut restore, &["--noflush", "--wait"], rules)
}
