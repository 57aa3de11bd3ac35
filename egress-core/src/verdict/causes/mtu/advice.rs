//! What to set, and to which number.

use super::{SAFE, Sizes, words};
use crate::flow::{IcmpFate, SizeKind};
use crate::protocol::Protocol;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;

/// Adds the numbers to set and the fix to a judgement.
pub(super) fn advise(case: &Case<'_>, sizes: &Sizes<'_>, judgement: Judgement) -> Judgement {
    let number = number(sizes);
    let header = if case.event.client.source.ip.is_ipv4() { 40 } else { 60 };
    let mss = number.saturating_sub(header);
    let judgement = judgement.with("set_mtu", number).with("set_mss", mss);
    let mut steps = Vec::new();
    if let IcmpFate { dropped: Some(drop), .. } = &sizes.found.icmp {
        let v6 = case.event.client.source.ip.is_ipv6();
        let rule =
            if v6 { "icmpv6 type packet-too-big accept" } else { "icmp type destination-unreachable accept" };
        steps.push(format!(
            "Let the ICMP message through that is dropped {}: `{rule}` before the rule that drops it.",
            words::filter(case, drop)
        ));
    }
    if let Some(overlay) = sizes.overlay.as_ref().filter(|overlay| overlay.is_too_wide()) {
        steps.push(format!(
            "The {} header of {} ({} bytes) is not accounted for: {} has MTU {}, but {} carries {}, which leaves {}: \
             `ip link set {} mtu {number}`.",
            overlay.kind,
            overlay.tunnel,
            overlay.overhead,
            overlay.tunnel,
            overlay.mtu,
            overlay.underlay,
            overlay.underlay_mtu,
            overlay.room(),
            overlay.tunnel,
        ));
    }
    let device = case.pod_device.as_deref().unwrap_or("eth0");
    let has = case.pod_mtu.map_or_else(String::new, |mtu| format!(" (now {mtu})"));
    let or = if steps.is_empty() { "Set" } else { "Or set" };
    steps.push(format!(
        "{or} the MTU of the pods' devices to {number}: {}; {device}{has} follows when the pod is made anew.",
        setting(sizes, number)
    ));
    if case.protocol() == Protocol::Tcp {
        steps.push(clamp(sizes, mss));
    } else {
        steps.push(format!(
            "Or let the application send packets of at most {number} bytes, headers included."
        ));
    }
    if matches!(sizes.found.kind, SizeKind::Icmp(_) | SizeKind::Here(_))
        && told_in_vain(sizes)
        && case.protocol() == Protocol::Tcp
    {
        steps.push(
            "The pod was told and goes on: look for a packet filter inside it that drops ICMP, and at \
             net.ipv4.ip_no_pmtu_disc there."
                .to_owned(),
        );
    }
    if matches!(sizes.found.kind, SizeKind::Sent(_) | SizeKind::Received(_)) && sizes.mtu == 0 {
        let payload = number.saturating_sub(if header == 40 { 28 } else { 48 });
        steps.push(format!(
            "{SAFE} passes everywhere; for the exact number raise N from {payload}: `ping -M do -s N {}`.",
            case.event.client.destination.ip
        ));
    }
    judgement.advise(steps.join(" "))
}

/// The MTU to set.
fn number(sizes: &Sizes<'_>) -> u32 {
    let said = if sizes.mtu == 0 { SAFE } else { sizes.mtu };
    match &sizes.overlay {
        Some(overlay) if overlay.is_too_wide() => said.min(overlay.room()),
        _ => said,
    }
}

fn told_in_vain(sizes: &Sizes<'_>) -> bool {
    sizes.found.icmp.delivered && sizes.found.icmp.dropped.is_none()
}

/// Where the pods' MTU is set, by the tunnel's name where that tells the network plugin.
fn setting(sizes: &Sizes<'_>, number: u32) -> String {
    let tunnel = sizes.overlay.as_ref().map_or("", |overlay| overlay.tunnel.as_str());
    if tunnel.starts_with("flannel") {
        format!("Flannel takes it from the uplink or from \"MTU\": {number} in net-conf.json's Backend")
    } else if tunnel.contains("calico") || tunnel.starts_with("tunl") {
        format!(
            "Calico, `mtu: {number}` in Installation spec.calicoNetwork (or veth_mtu in ConfigMap calico-config)"
        )
    } else if tunnel.starts_with("cilium") {
        format!("Cilium, `mtu: \"{number}\"` in ConfigMap cilium-config (Helm: MTU={number})")
    } else {
        format!("\"mtu\": {number} in the CNI configuration (/etc/cni/net.d)")
    }
}

/// The rule that makes both ends use smaller segments.
fn clamp(sizes: &Sizes<'_>, mss: u32) -> String {
    let rule = "nft add rule inet filter forward tcp flags syn tcp option maxseg size set";
    match (&sizes.found.kind, &sizes.device) {
        // The node's own route knows the number.
        (SizeKind::Here(drop), Some(device))
            if &*drop.function == "ip_forward" || &*drop.function == "ip6_forward" =>
        {
            format!(
                "Or clamp the segment size to {mss} where it leaves: `nft add rule inet filter forward oifname {device} tcp flags syn tcp option maxseg size set rt mtu`."
            )
        }
        _ => format!("Or clamp the segment size on the node: `{rule} {mss}`."),
    }
}
