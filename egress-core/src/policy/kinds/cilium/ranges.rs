//! Ranges of addresses, written into a rule or kept in CiliumCIDRGroups. They match neither pods nor, by default, nodes.

use std::sync::Arc;

use ipnet::IpNet;

use crate::cluster::{CidrGroups, CiliumCidrGroup};
use crate::identity::Endpoint;
use crate::policy::kinds::Question;
use crate::policy::kinds::compare::{Comparison, address_name, compare_range, unresolved};
use crate::truth::Truth;
use crate::verdict::PeerKind;

/// One range.
pub(super) fn compare(cidr: &IpNet, except: &[IpNet], question: &Question<'_>) -> Comparison {
    let other = question.peer;
    outside_alone(compare_range(cidr, except, other), question)
}

/// What a range says of what is in the cluster.
fn outside_alone(compared: Comparison, question: &Question<'_>) -> Comparison {
    let other = question.peer;
    match (compared.truth, other.kind) {
        (Truth::Yes, PeerKind::Pod) => no_pod(other),
        (Truth::Yes, PeerKind::Node) => Comparison::new(
            Truth::Unknown,
            format!(
                "{} is a node: whether ranges match nodes is a setting (policy-cidr-match-mode)",
                other.ip
            ),
        ),
        (Truth::Yes, PeerKind::Unresolved | PeerKind::Service) => unresolved(other),
        _ => compared,
    }
}

fn no_pod(peer: &Endpoint) -> Comparison {
    Comparison::new(false, format!("{} is a pod, and Cilium's ranges match none", address_name(peer)))
}

/// The ranges of groups.
pub(super) fn compare_groups(groups: &CidrGroups, except: &[IpNet], question: &Question<'_>) -> Comparison {
    let index = question.index;
    let all: Vec<&Arc<CiliumCidrGroup>> = match groups {
        CidrGroups::Named(name) => index.cilium_cidr_group(name).into_iter().collect(),
        CidrGroups::Selected(labels) => {
            index.cilium_cidr_groups().filter(|group| labels.matches(&group.labels)).collect()
        }
    };
    let is_known = match groups {
        CidrGroups::Named(_) => !all.is_empty(),
        // Where there is none at all, they may not have been read.
        CidrGroups::Selected(_) => index.cilium_cidr_groups().next().is_some(),
    };
    let ranges = all.iter().flat_map(|group| group.cidrs.iter().map(move |cidr| (cidr, group)));
    let held = ranges.map(|(cidr, group)| (compare_range(cidr, &[], question.peer), cidr, group));
    let inside = held.max_by_key(|(compared, ..)| compared.truth);
    match inside {
        Some((Comparison { truth: Truth::Yes, .. }, cidr, group)) => {
            let ip = question.peer.ip;
            let words = format!("{ip} is inside {cidr} of {}", group.name);
            if except.iter().any(|hole| hole.contains(&ip)) {
                let words =
                    format!("{words}, and whether except counts beside a group depends on Cilium's version");
                let compared = outside_alone(Comparison::new(true, ""), question);
                return if compared.truth == Truth::Yes {
                    Comparison::new(Truth::Unknown, words)
                } else {
                    compared
                };
            }
            outside_alone(Comparison::new(true, words), question)
        }
        Some((unknown @ Comparison { truth: Truth::Unknown, .. }, ..)) => unknown,
        _ if question.peer.kind == PeerKind::Pod => no_pod(question.peer),
        _ if !is_known => Comparison::new(
            Truth::Unknown,
            format!("what {} holds is not known", describe_groups(groups, &[])),
        ),
        _ => Comparison::new(false, format!("{} is outside", question.peer.ip)),
    }
}

/// `CiliumCIDRGroup office`
pub(super) fn describe_groups(groups: &CidrGroups, except: &[IpNet]) -> String {
    let words = match groups {
        CidrGroups::Named(name) => format!("CiliumCIDRGroup {name}"),
        CidrGroups::Selected(labels) if labels.is_empty() => "every CiliumCIDRGroup".into(),
        CidrGroups::Selected(labels) => format!("CiliumCIDRGroups {labels}"),
    };
    if except.is_empty() {
        return words;
    }
    let except: Vec<String> = except.iter().map(ToString::to_string).collect();
    format!("{words} except {}", except.join(", "))
}
