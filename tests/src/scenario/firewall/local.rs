//! Filters of this machine that no policy explains: named programs, rejections made here, chain policies, and filters
//! inside the pod.

use std::path::Path;
use std::time::Duration;

use super::super::{Run, Scenario, program};
use super::verdict;
use crate::bpf::{Hook, Shot};
use crate::enforce::{Backend, Match, Refusal};
use crate::expect::Expect;
use crate::lab::Place;
use crate::plan::{CLIENT, Family, GITHUB, SERVER};
use crate::tools;
use crate::topology::Topology;

/// A UDP protocol that answers.
const NTP: u16 = 123;
/// Port of the SCTP server.
const DIAMETER: u16 = 3868;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "firewall-tcx",
            Topology::Bridge,
            "a TCX program of another agent on the uplink's egress drops the SYN, over IPv6",
            |run| {
                if run.broken() {
                    let to = GITHUB.of(Family::V6);
                    let (device, hook) = (crate::plan::UPLINK, Hook::TcxEgress);
                    let shot = Shot::attach(&run.lab.node, device, hook, "edge_shield", to)?;
                    run.lab.keep(shot);
                }
                run.dial(Family::V6, GITHUB, 443, "timeout")
            },
        )
        .set_up(|lab, _| super::await_ipv6(lab))
        .expect(|| Expect {
            detail: &[("reason", "TC_EGRESS"), ("program", "edge_shield"), ("device", "uplink0")],
            ..verdict(Family::V6)
        }),
        Scenario::new(
            "firewall-xdp",
            Topology::Routed,
            "an XDP program on the pod's device drops the SYN",
            |run| {
                if run.broken() {
                    let (device, to) = (run.lab.client().device.clone(), GITHUB.of(Family::V4));
                    let shot = Shot::attach(&run.lab.node, &device, Hook::Xdp, "xdp_shield", to)?;
                    run.lab.keep(shot);
                }
                run.dial(Family::V4, GITHUB, 443, "timeout")
            },
        )
        .expect(|| Expect {
            detail: &[("program", "xdp_shield"), ("device", "cali0")],
            says: &[("/path/1/where", "XDP of cali0")],
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "firewall-cgroup",
            Topology::Routed,
            "a BPF program on the egress of the pod's cgroup drops the SYN before it leaves the pod",
            cgroup,
        )
        .needs(crate::cgroup::missing)
        .expect(|| Expect {
            stage: "pod",
            broken: ("pod", "dropped"),
            detail: &[("reason", "BPF_CGROUP_EGRESS")],
            says: &[("/summary", "attached to the pod's cgroup"), ("/fix/text", "bpftool cgroup tree")],
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "firewall-default",
            Topology::Routed,
            "a firewall whose forward chain drops by policy and knows only one other address",
            |run| {
                if run.broken() {
                    run.lab.node.nft(&format!(
                        "table inet firewalld {{
                           chain filter_FORWARD {{
                             type filter hook forward priority filter; policy drop;
                             ct state established,related accept
                             ip saddr != {} accept
                           }}
                         }}",
                        CLIENT.v4
                    ))?;
                }
                run.dial(Family::V4, GITHUB, 443, "timeout")
            },
        )
        .expect(|| Expect {
            confidence: &["certain"],
            detail: &[("chain", "inet firewalld filter_FORWARD"), ("owner", "firewalld")],
            says: &[("/fix/text", "firewalld")],
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "firewall-reject-udp",
            Topology::Bridge,
            "NTP is rejected on the node by an ICMP error that no remote sent",
            |run| {
                if run.broken() {
                    run.refuse(
                        Backend::IptablesNft,
                        "blocklist",
                        Match::Destination(GITHUB),
                        Refusal::Reject,
                    )?;
                }
                run.ask_udp(GITHUB, NTP, "refused")
            },
        )
        .needs(|| program("iptables-nft"))
        .set_up(|lab, _| lab.serve_udp(Place::Internet, (GITHUB, NTP), true))
        .expect(|| Expect {
            affects: "udp",
            peer: (GITHUB.of(Family::V4), NTP),
            within: Duration::from_secs(2),
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "firewall-reject-legacy",
            Topology::Routed,
            "iptables-legacy rejects by a reset: told from a remote's",
            |run| {
                if run.broken() {
                    let (what, how) = (Match::Destination(GITHUB), Refusal::Reject);
                    run.refuse(Backend::IptablesLegacy, "blocklist", what, how)?;
                }
                run.dial(Family::V4, GITHUB, 443, "refused")
            },
        )
        .needs(|| program("iptables-legacy"))
        .expect(|| Expect { detail: &[("rejected_with", "tcp-reset")], ..verdict(Family::V4) }),
        Scenario::new(
            "firewall-in-pod",
            Topology::Bridge,
            "a sidecar's iptables inside the pod rejects one address",
            |run| {
                if run.broken() {
                    let rules = format!("*filter\n-A OUTPUT -d {} -j DROP\nCOMMIT\n", GITHUB.v4);
                    let mut restore = run.lab.client().netns.command("iptables-legacy-restore");
                    tools::feed(&mut restore, &["--noflush", "--wait"], &rules)?;
                }
                run.dial(Family::V4, GITHUB, 443, "timeout")
            },
        )
        .needs(|| program("iptables-legacy"))
        .expect(|| Expect {
            stage: "pod",
            broken: ("pod", "dropped"),
            detail: &[("chain", "ip filter OUTPUT")],
            says: &[("/summary", "inside the pod's own network namespace")],
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "firewall-answer-in-pod",
            Topology::Routed,
            "a packet filter inside the pod drops the SYN-ACK after it reached the pod's device",
            |run| {
                if run.broken() {
                    run.lab.client().netns.nft(&format!(
                        "table ip sidecar {{
                           chain guard {{
                             type filter hook input priority filter; policy accept;
                             ip saddr {} drop
                           }}
                         }}",
                        GITHUB.v4
                    ))?;
                }
                run.dial_long(Family::V4, GITHUB, 443, "timeout")
            },
        )
        .expect(|| Expect {
            stage: "pod",
            broken: ("pod", "dropped"),
            detail: &[("packet", "SYN-ACK"), ("chain", "ip sidecar guard")],
            ..verdict(Family::V4)
        }),
        Scenario::new(
            "firewall-sctp",
            Topology::Routed,
            "an administrator's rule drops SCTP between two pods, which no policy isolates",
            |run| {
                if run.broken() {
                    let what = Match::Destination(SERVER);
                    run.refuse(Backend::Nft, "blocklist", what, Refusal::Drop)?;
                }
                let peer = format!("{}:{DIAMETER}", SERVER.v4);
                run.begin();
                let outcome = run.client(Place::Client, &["connect-sctp", &peer])?;
                run.check(&outcome, "timeout", "connected")
            },
        )
        .set_up(|lab, _| lab.serve_sctp(Place::Server, (SERVER, DIAMETER), false))
        .expect(|| Expect {
            affects: "sctp",
            peer: (SERVER.of(Family::V4), DIAMETER),
            kind: "pod",
            shown_on_server: true,
            within: Duration::from_secs(2),
            ..verdict(Family::V4)
        }),
    ]
}

fn cgroup(run: &mut Run) -> anyhow::Result<()> {
    let folder = crate::cgroup::root().unwrap_or_default().join(run.lab.tag());
    std::fs::create_dir(&folder)?;
    let result = dial_in(run, &folder);
    // Its only process has ended.
    std::fs::remove_dir(&folder)?;
    result
}

fn dial_in(run: &mut Run, folder: &Path) -> anyhow::Result<()> {
    if run.broken() {
        let shot = Shot::attach_cgroup(folder, "sandbox_egress", GITHUB.of(Family::V4))?;
        run.lab.keep(shot);
    }
    let folder = folder.display().to_string();
    run.dial_with(Family::V4, GITHUB, 443, "timeout", &["--timeout", "1.4", "--cgroup", &folder])
}
