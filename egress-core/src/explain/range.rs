//! A range of addresses as one end. It is cut where policies and the cluster's objects draw a line, so that within a
//! part every address gets the same answer; nothing is sampled.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use serde::{Deserialize, Serialize};

use super::answer::{endpoint, in_words};
use super::ends::End;
use super::notes::host_network;
use super::{ExplainError, ExplainRequest, Explanation};
use crate::identity::{ClusterIndex, Endpoint};
use crate::policy::{Decision, PolicyFlow, PolicyView, SideView, evaluate, lines};
use crate::time::Mono;
use crate::verdict::{PolicyResult, Side};

/// Parts that are looked at at most.
const MOST: usize = 8192;

/// A part of a range, all of whose addresses get the same answer from the same policies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartView {
    /// The part, as networks.
    pub nets: Vec<IpNet>,
    /// Both sides together.
    pub decision: Decision,
    /// The source's side, as for the first address.
    pub egress: Option<SideView>,
    /// The destination's side, likewise.
    pub ingress: Option<SideView>,
}

/// What one address gets, without the words.
type Answer = (Decision, Vec<(String, Option<String>, String, PolicyResult)>);

/// Addresses that get the same answer.
struct Alike {
    answer: Answer,
    /// Of the first address.
    view: PolicyView,
    /// First and last address of each piece.
    pieces: Vec<(u128, u128)>,
}

/// The answer where one end is a range.
pub(super) fn explain(
    index: &ClusterIndex,
    request: &ExplainRequest,
    source: &End,
    target: &End,
) -> Result<Explanation, ExplainError> {
    let (range, other, outward) = match (source, target) {
        (other, End::Range(range)) => (*range, other, true),
        (End::Range(range), other) => (*range, other, false),
        _ => return Err(ExplainError::Malformed { text: request.to.clone() }),
    };
    let same_family = |ip: &&IpAddr| ip.is_ipv4() == range.addr().is_ipv4();
    let Some(own) = other.ips().iter().find(same_family).copied() else {
        return Err(ExplainError::NoCommonFamily { from: source.name(), to: target.name() });
    };
    let fixed = endpoint(index, other, own, request);
    let flow =
        |from, to| PolicyFlow { from, to, port: request.port, protocol: request.protocol, names: Vec::new() };
    let judge = |ip| {
        let flow = if outward {
            flow(fixed.clone(), index.resolve(ip, request.port, request.protocol, Mono(u64::MAX)))
        } else {
            flow(index.resolve_client(ip, Mono(u64::MAX)), fixed.clone())
        };
        evaluate(index, &flow)
    };
    let side = if outward { Side::Egress } else { Side::Ingress };
    let parts = parts(index, range, &lines(index, &fixed, side), judge)?;
    let decision = Decision::agreed(parts.iter().map(|part| part.decision)).unwrap_or(Decision::Undecidable);
    let mut notes: Vec<String> = host_network(other).into_iter().collect();
    if let (End::Workload(name, pods), Some(pod)) = (other, &fixed.pod)
        && pods.len() > 1
    {
        notes.push(format!("of the {} pods of {name} only {} was asked for", pods.len(), pod.reference()));
    }
    if decision == Decision::Deny {
        notes.push("to get the rule that admits it, ask for one address".into());
    }
    let nowhere = Endpoint::external(range.addr());
    let (from, to) = if outward { (&fixed, &nowhere) } else { (&nowhere, &fixed) };
    Ok(Explanation {
        decision,
        egress: None,
        ingress: None,
        fix: None,
        backends: None,
        parts: Some(parts),
        notes,
        from: in_words(source, from, None),
        to: in_words(target, to, Some((request.port, request.protocol))),
    })
}

/// The parts of a range. `lines` are the networks that policies tell apart.
fn parts(
    index: &ClusterIndex,
    range: IpNet,
    lines: &[IpNet],
    judge: impl Fn(IpAddr) -> PolicyView,
) -> Result<Vec<PartView>, ExplainError> {
    let starts = starts(index, range, lines);
    if starts.len() > MOST {
        return Err(ExplainError::TooManyParts { range: range.to_string(), parts: starts.len() });
    }
    let last = bits(range.broadcast());
    let mut found: Vec<Alike> = Vec::new();
    let ends = starts.iter().skip(1).map(|next| next - 1).chain([last]);
    for (start, end) in starts.iter().copied().zip(ends) {
        let view = judge(address(start, range));
        let answer = answer(&view);
        match found.iter_mut().find(|alike| alike.answer == answer) {
            Some(alike) => match alike.pieces.last_mut() {
                Some(piece) if piece.1 + 1 == start => piece.1 = end,
                _ => alike.pieces.push((start, end)),
            },
            None => found.push(Alike { answer, view, pieces: vec![(start, end)] }),
        }
    }
    let part = |Alike { view, pieces, .. }| PartView {
        nets: pieces.iter().flat_map(|(start, end)| nets(*start, *end, range)).collect(),
        decision: view.decision,
        egress: view.egress,
        ingress: view.ingress,
    };
    Ok(found.into_iter().map(part).collect())
}

/// Where a part begins.
fn starts(index: &ClusterIndex, range: IpNet, lines: &[IpNet]) -> BTreeSet<u128> {
    let (first, last) = (bits(range.network()), bits(range.broadcast()));
    let mut starts = BTreeSet::from([first]);
    for line in lines.iter().copied().chain(index.landmarks()) {
        if line.addr().is_ipv4() != range.addr().is_ipv4() {
            continue;
        }
        let behind = bits(line.broadcast()).checked_add(1);
        let edges = [Some(bits(line.network())), behind];
        starts.extend(edges.into_iter().flatten().filter(|edge| *edge > first && *edge <= last));
    }
    starts
}

fn answer(view: &PolicyView) -> Answer {
    let findings = view.findings().map(|finding| {
        (finding.kind.clone(), finding.namespace.clone(), finding.name.clone(), finding.result)
    });
    (view.decision, findings.collect())
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// An address of the range's family.
fn address(bits: u128, range: IpNet) -> IpAddr {
    match (range, u32::try_from(bits)) {
        (IpNet::V4(_), Ok(bits)) => Ipv4Addr::from_bits(bits).into(),
        _ => Ipv6Addr::from_bits(bits).into(),
    }
}

fn nets(start: u128, end: u128, range: IpNet) -> Vec<IpNet> {
    match (address(start, range), address(end, range)) {
        (IpAddr::V4(start), IpAddr::V4(end)) => Ipv4Subnets::new(start, end, 0).map(IpNet::V4).collect(),
        (IpAddr::V6(start), IpAddr::V6(end)) => Ipv6Subnets::new(start, end, 0).map(IpNet::V6).collect(),
        _ => Vec::new(),
    }
}
