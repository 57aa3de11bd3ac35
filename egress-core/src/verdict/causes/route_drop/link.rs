//! A device that is down or has no carrier drops what is sent by it.

use super::{judgement, what, whose};
use crate::decode::DropSeen;
use crate::flow::DropRole;
use crate::node::{Answer, DeviceRole, LinkState};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Stage, questions};

/// A queue or a transmit function dropped it, and its device cannot carry anything.
pub(super) fn judge(case: &Case<'_>, drop: &DropSeen, role: DropRole) -> Option<Judgement> {
    let transmits = drop.function.contains("xmit") || drop.reason.starts_with("QDISC");
    if !transmits {
        return None;
    }
    down(case, drop, role)
}

/// The device of the drop is down or has no carrier.
pub(super) fn down(case: &Case<'_>, drop: &DropSeen, role: DropRole) -> Option<Judgement> {
    let index = if drop.ifindex == 0 { drop.dst_ifindex } else { drop.ifindex };
    let known = (drop.netns == case.node.netns()).then(|| case.node.device(index)).flatten();
    let read = match case.readings.get(&questions::device(drop)) {
        Some(Answer::Device { name, usable, .. }) => Some((name.clone(), *usable)),
        _ => None,
    };
    let (name, usable) = match (known, read) {
        (_, Some((name, usable))) => (name, usable),
        (Some(device), None) => (device.name.clone(), device.link == LinkState::Up),
        (None, None) => return None,
    };
    if usable {
        return None;
    }
    let to_pod = known.is_some_and(|device| device.role == DeviceRole::Pod);
    let summary_of = |why: &str| {
        format!("{name} of {} has no carrier ({why}): it dropped {}.", whose(case, drop), what(case, role))
    };
    let (why, fix) = words(&name, to_pod);
    Some(
        judgement(case, drop, "link-down", Confidence::Certain, summary_of(why))
            .with("device", name.as_str())
            .advise(fix),
    )
}

/// The device by which it should have left is down or has no carrier, and it was not seen to leave.
pub(super) fn suspected(case: &Case<'_>, index: u32) -> Option<Judgement> {
    let device = case.node.device(index).filter(|device| device.link != LinkState::Up)?;
    let name = device.name.as_str();
    let (why, fix) = words(name, device.role == DeviceRole::Pod);
    let summary = format!(
        "The {} to {} has to leave by {name}, which has no carrier ({why}).",
        case.packet_word(),
        case.target()
    );
    Some(
        Judgement::new(Cause::RouteDrop, Confidence::Likely, Stage::Node, summary)
            .with("kind", "link-down")
            .with("device", name)
            .at(format!("device {name}"))
            .advise(fix),
    )
}

fn words(name: &str, to_pod: bool) -> (&'static str, String) {
    if to_pod {
        (
            "its other end, inside the pod, is down or gone",
            format!(
                "Look at the pod's own device (nsenter -t PID -n ip link): restart the pod, or bring it up; {name} is the node's end."
            ),
        )
    } else {
        (
            "it is down, or nothing is at its other end",
            format!(
                "Bring it up (ip link set {name} up), and look at what it is plugged into: ip -br link show {name} must say LOWER_UP."
            ),
        )
    }
}
