//! `nat-missing`: it left an uplink with the pod's own address as source (or one that is nobody's), and no answer came.

mod setting;

use serde_json::json;

use crate::decode::Tap;
use crate::flow::{Outcome, Sighting};
use crate::node::{Routed, TranslationRule};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Direction, PeerKind, Stage};

/// Kinds of `IFLA_INFO_KIND` that carry packets to other nodes: nobody translates there.
const OVERLAYS: &[&str] = &[
    "vxlan",
    "geneve",
    "wireguard",
    "ipip",
    "sit",
    "ip6tnl",
    "gre",
    "gretap",
    "ip6gre",
    "ip6gretap",
    "vti",
    "vti6",
    "xfrm",
];
/// Rules that are told.
const RULES: usize = 5;

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    let external = case.peer.kind == PeerKind::External && case.direction == Direction::Egress;
    if !matches!(case.event.outcome, Outcome::Unanswered) || !external || case.is_on_host() {
        return None;
    }
    let journey = &case.event.journey;
    let left = journey.request(Tap::UplinkOut)?;
    // Where it was translated to decides, too: the cluster's own addresses keep their sources.
    let destination = left.tuple.destination;
    let inside =
        case.cluster.resolve(destination.ip, destination.port, case.protocol(), case.event.first).kind;
    if journey.answer(Tap::UplinkIn).is_some()
        || inside != PeerKind::External
        || is_routed_by_cluster(case, left)
    {
        return None;
    }
    // Where flows with such a source get answers, the network knows the way back: silence has another cause.
    let (source, destination) = (left.tuple.source.ip, left.tuple.destination.ip);
    if source != case.event.client.source.ip {
        return foreign(case, left);
    }
    if case.node.answers_untranslated(destination) {
        return None;
    }
    let device = device(case, left);
    let bypass = case.node.device(left.ifindex).and_then(|device| device.bypass.clone());
    let rules = rules(case);
    let translates = case.node.translates(source.is_ipv6());
    let private = crate::node::is_private(destination);
    let confidence = match (&bypass, translates) {
        (Some(_), _) => Confidence::Possible,
        // Networks often route pods' addresses among themselves.
        (None, true) if private => Confidence::Likely,
        (None, true) => Confidence::Certain,
        (None, false) if !rules.is_empty() && !private => Confidence::Likely,
        (None, false) => Confidence::Possible,
    };
    let summary = format!(
        "The {} to {} left {device} with the pod's own address {source} as source and nothing came back: the answer \
         has no way to the pod; {}.",
        case.packet_word(),
        case.target(),
        what_is_there(case, &rules, translates),
    );
    let mut judgement = judgement(case, left, confidence, summary, "untranslated")
        .with("others_translated", translates)
        .advise(setting::advice(case, &rules, private));
    if !rules.is_empty() {
        let texts: Vec<String> = rules.iter().take(RULES).map(ToString::to_string).collect();
        judgement = judgement.with("rules", json!(texts));
    }
    if let Some(bypass) = bypass {
        judgement = judgement.hint(format!("it may be translated after it was seen on {device}: {bypass}"));
    }
    if private {
        judgement = judgement.hint(format!(
            "{destination} is a private address: if the network routes pods' addresses (a VPC, BGP), no translation \
             is due there, and the silence has another cause; an answered flow of a pod to that network would show it"
        ));
    }
    Some(judgement)
}

/// It left with an address that is neither the pod's nor this node's, and nobody ever answered to that one.
fn foreign(case: &Case<'_>, left: &Sighting) -> Option<Judgement> {
    let source = left.tuple.source.ip;
    if case.node.is_own(source) || case.node.answered_as(source) || case.cluster.node_by_ip(source).is_some()
    {
        return None;
    }
    let device = device(case, left);
    let summary = format!(
        "The {} to {} left {device} translated to {source}, which is no address of this node, and nothing came back: \
         no answer to {source} was ever seen here.",
        case.packet_word(),
        case.target(),
    );
    let judgement = judgement(case, left, Confidence::Possible, summary, "foreign-source");
    Some(judgement.advise(format!(
        "Check the rule that translates to {source} (nft list ruleset, iptables-save -t nat): the network must route \
         {source} to this node. If it does, the silence is the remote's."
    )))
}

fn judgement(
    case: &Case<'_>,
    left: &Sighting,
    confidence: Confidence,
    summary: String,
    kind: &str,
) -> Judgement {
    let confidence = if case.lost > 0 { Confidence::Possible } else { confidence };
    Judgement::new(Cause::NatMissing, confidence, Stage::Uplink, summary)
        .with("kind", kind)
        .with("source", left.tuple.source.ip.to_string())
        .with("device", device(case, left))
}

fn device(case: &Case<'_>, left: &Sighting) -> String {
    case.node.device_name(left.ifindex).unwrap_or_else(|| "the uplink".to_owned())
}

/// The cluster's own networks: overlays, and what is routed by way of another node.
fn is_routed_by_cluster(case: &Case<'_>, left: &Sighting) -> bool {
    let tunnel =
        case.node.device(left.ifindex).is_some_and(|device| OVERLAYS.contains(&device.kind.as_str()));
    let packet = Routed {
        source: case.event.client.source.ip,
        destination: left.tuple.destination.ip,
        input: None,
        mark: None,
    };
    let route = case.node.route(&packet).route.filter(|route| route.destination.prefix_len() > 0);
    let by_node =
        route.and_then(|route| route.gateway).is_some_and(|ip| case.cluster.node_by_ip(ip).is_some());
    // A tunnel to the internet carries the default route.
    by_node || (tunnel && route.is_some())
}

/// The rules that could have translated it.
fn rules<'a>(case: &'a Case<'_>) -> Vec<&'a TranslationRule> {
    let v6 = case.event.client.source.ip.is_ipv6();
    let read = case.readings.translations(case.node.netns());
    read.map(|read| read.rules.iter().filter(|rule| rule.fits(v6)).collect()).unwrap_or_default()
}

fn what_is_there(case: &Case<'_>, rules: &[&TranslationRule], translates: bool) -> String {
    let others =
        if translates { "other flows leave translated" } else { "no flow was seen to leave translated" };
    match (case.readings.translations(case.node.netns()), rules) {
        (Some(read), []) if read.unread.is_empty() => {
            format!("no rule of this node translates sources (iptables-legacy not counted), {others}")
        }
        (Some(_), [one]) => {
            format!("the node's rule that translates sources did not take it ({one}), {others}")
        }
        (Some(_), [_, _, ..]) => {
            format!("none of the node's {} rules that translate sources took it, {others}", rules.len())
        }
        _ => others.to_owned(),
    }
}
