//! Hairpins: a Service leads a pod back to itself. Not a cause, but what other causes say of such packets.

use crate::decode::{DropSeen, DropSite};
use crate::verdict::case::Case;

/// The packet was on its way back to the pod that had sent it.
pub(super) fn is_hairpin(case: &Case<'_>, drop: &DropSeen) -> bool {
    let client = case.event.client.source.ip;
    let tuple = &drop.packet.tuple;
    tuple.destination.ip == client && (tuple.source.ip == client || case.node.is_own(tuple.source.ip))
        || case.translation.destination.is_some_and(|to| to.ip == client)
}

/// A bridge does not send a packet out by the port that it came in by, unless told to.
pub(super) fn at_bridge(case: &Case<'_>, drop: &DropSeen) -> Option<(String, String)> {
    if drop.site != DropSite::Bridge || !is_hairpin(case, drop) {
        return None;
    }
    let device = super::place::device(case, drop).unwrap_or_else(|| "DEVICE".to_owned());
    let summary = format!(
        "The {} to {} led back to the pod itself, and the bridge dropped it at {device}: it sends nothing out by the \
         port that it came in by unless that port is in hairpin mode.",
        case.packet_word(),
        case.target(),
    );
    let fix = format!(
        "Switch hairpin mode on: bridge link set dev {device} hairpin on; for every pod: hairpinMode: true in the \
         bridge plugin's configuration, or promiscuous mode of the bridge (promiscMode). Until then the pod reaches itself by \
         localhost."
    );
    Some((summary, fix))
}

/// What returns to its sender needs another source, or the sender's own stack takes it for a forgery.
pub(super) fn masquerade(case: &Case<'_>) -> String {
    let ip = case.event.client.source.ip;
    format!(
        "The Service chose the pod that dialled as its own backend. What comes back to it must carry the node's address: \
         the rule that masquerades such packets is missing or does not take them (kube-proxy marks what goes from {ip} to \
         {ip}, KUBE-MARK-MASQ; see nft list ruleset or iptables-save -t nat | grep {ip}). Until then the pod reaches \
         itself by localhost."
    )
}
