//! What was seen of a packet for a Service that was not forwarded to a backend.

use crate::decode::{DropSeen, DropSite, FilterKind, Hook, Tap};
use crate::flow::{DnsOutcome, DropRole, Outcome, Sighting};
use crate::identity::{Behind, Door};
use crate::node::Attribution;
use crate::verdict::Stage;
use crate::verdict::case::Case;
use crate::verdict::causes::place;

/// What was seen.
pub(super) enum Sight<'a> {
    /// A filter of the node dropped or rejected it.
    Dropped(&'a DropSeen),
    /// It was to be routed to the Service's own address.
    Unroutable(&'a DropSeen),
    /// The node answered with an ICMP error.
    Told,
    /// A reset that came from nowhere but the node.
    Refused,
    /// It left the node for the Service's own address.
    Left(&'a Sighting),
    /// It was seen to leave the pod, and nowhere after.
    Vanished,
}

impl Sight<'_> {
    /// It went on to another node, where it failed: that is the way of a node port there.
    pub(super) const fn is_far(&self, behind: &Behind) -> bool {
        matches!((self, &behind.door), (Self::Left(_), Door::NodePort { own: false, .. } | Door::External))
    }
}

/// What was seen; `None` if it tells nothing about the Service.
pub(super) fn of<'a>(case: &'a Case<'_>, behind: &Behind) -> Option<Sight<'a>> {
    let journey = &case.event.journey;
    match &case.event.outcome {
        Outcome::Dropped { drop, role: DropRole::Opening, .. } => {
            let here = place::stage(case, drop) == Stage::Node;
            let untranslated = drop.packet.tuple.destination.ip == case.event.client.destination.ip;
            return match drop.site {
                _ if !here || !untranslated => None,
                DropSite::Filter(_) => Some(Sight::Dropped(drop)),
                // On its way to another node it is an ordinary packet.
                DropSite::Route | DropSite::Neighbour if behind.door == Door::ClusterIp => {
                    Some(Sight::Unroutable(drop))
                }
                _ => None,
            };
        }
        Outcome::Unanswered | Outcome::Refused { .. } | Outcome::Unreachable { .. } => {}
        Outcome::Dns(failure)
            if matches!(failure.outcome, DnsOutcome::Timeout | DnsOutcome::Refused)
                && journey.answer(Tap::PodIn).is_none() => {}
        _ => return None,
    }
    // A backend got it, or somebody answered for one.
    if journey.request(Tap::PodIn).is_some() || journey.answer(Tap::PodOut).is_some() {
        return None;
    }
    if let Some(left) = journey.request(Tap::UplinkOut) {
        return (left.tuple.destination.ip == case.event.client.destination.ip).then_some(Sight::Left(left));
    }
    // An answer of somebody else was to a packet that left somewhere.
    if journey.answer(Tap::UplinkIn).is_some() {
        return None;
    }
    match &case.event.outcome {
        Outcome::Unreachable { .. } => Some(Sight::Told),
        Outcome::Dns(failure) if failure.outcome == DnsOutcome::Refused => Some(Sight::Told),
        Outcome::Refused { .. } => Some(Sight::Refused),
        _ if case.lost == 0 && behind.lack.is_some() => Some(Sight::Vanished),
        _ => None,
    }
}

/// Rules of kube-proxy drop there, and nobody else's.
pub(super) fn by_kube_proxy(case: &Case<'_>, drop: &DropSeen) -> bool {
    // Before the destination is translated nothing can be said of Services.
    if !matches!(drop.site, DropSite::Filter(FilterKind::Nftables | FilterKind::Netfilter))
        || place::hook(case, drop) == Hook::Prerouting
    {
        return false;
    }
    let Attribution::Only { table, .. } = place::attribution(case, drop) else { return false };
    if table.ends_with(" kube-proxy") {
        return true;
    }
    let hook = place::hook(case, drop).as_str().to_ascii_lowercase();
    let mut chains = case
        .node
        .filters()
        .chains
        .iter()
        .filter(|chain| chain.hook == hook && format!("{} {}", chain.family, chain.table) == table)
        .peekable();
    // As kube-proxy names its chains in iptables.
    chains.peek().is_some()
        && chains.all(|chain| {
            !chain.drops_by_default
                && chain.dropping_rules.iter().all(|rule| {
                    rule.starts_with("chain KUBE-SERVICES ")
                        || rule.starts_with("chain KUBE-EXTERNAL-SERVICES ")
                        || rule.starts_with("chain KUBE-NODEPORTS ")
                })
        })
}
