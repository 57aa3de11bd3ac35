//! Drop reasons of the running kernel, by name: their numbers change between kernels.

use egress_common::{REASON_CLASSES, REASON_DROP, REASON_HOUSEKEEPING};
use egress_core::decode::KernelNames;

use super::btf::Btf;

/// The prefix that the names of the core reasons share.
const PREFIX: &str = "SKB_DROP_REASON_";

/// Reasons that are no loss of a packet that anybody waits for. They are counted and discarded in the kernel.
const HOUSEKEEPING: &[&str] = &[
    // Not a drop: the packet was used up.
    "SKB_NOT_DROPPED_YET",
    "SKB_CONSUMED",
    // The queues of a socket that is closed are emptied.
    "SOCKET_CLOSE",
    "QUEUE_PURGE",
    // TCP: a segment that brought nothing new (retransmits that crossed with their acknowledgement).
    "TCP_OLD_DATA",
    "TCP_OFOMERGE",
    "TCP_OLD_ACK",
    "TCP_TOO_OLD_ACK",
    "TCP_OLD_SEQUENCE",
    "DUP_FRAG",
    // TCP: the normal end of a segment that carried only a FIN, an acknowledgement or a reset.
    "TCP_CLOSE",
    "TCP_RESET",
    "TCP_FASTOPEN",
    // Copies for packet sockets (tcpdump, DHCP clients), and packets of other hosts on a promiscuous device.
    "PACKET_SOCK_ERROR",
    "OTHERHOST",
    // Unix sockets.
    "UNIX_DISCONNECT",
    "UNIX_SKIP_OOB",
];

/// Enumerations of reasons that subsystems bring along, in the kernel or in their modules.
const SUBSYSTEMS: &[&str] = &["ovs_drop_reason", "mac80211_drop_reason"];

/// Modules whose BTF may hold them.
pub(super) const MODULES: &[&str] = &["openvswitch", "mac80211"];

/// Adds the reasons' names; returns the class of each core reason.
pub(super) fn resolve(kernel: &Btf, modules: &[Btf], names: &mut KernelNames) -> [u8; REASON_CLASSES] {
    let mut classes = [REASON_DROP; REASON_CLASSES];
    for (name, number) in kernel.enumeration("skb_drop_reason").unwrap_or_default() {
        let short = name.strip_prefix(PREFIX).unwrap_or(&name);
        if matches!(short, "MAX" | "SUBSYS_MASK") {
            continue;
        }
        names.insert_reason(number, short);
        if let Some(class) = classes.get_mut(number as usize)
            && HOUSEKEEPING.contains(&short)
        {
            *class = REASON_HOUSEKEEPING;
        }
    }
    for subsystem in SUBSYSTEMS {
        let values = kernel
            .enumeration(subsystem)
            .or_else(|| modules.iter().find_map(|module| module.enumeration(subsystem)))
            .unwrap_or_default();
        for (name, number) in values {
            // Only what carries its subsystem's number; the enumerations have markers besides.
            if number >> 16 != 0 {
                names.insert_reason(number, &name);
            }
        }
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_names_its_reasons() {
        let path = std::path::Path::new("/sys/kernel/btf/vmlinux");
        if !path.exists() {
            eprintln!("skipped: no {}", path.display());
            return;
        }
        let mut names = KernelNames::default();
        let classes = resolve(&Btf::read(path, None).unwrap(), &[], &mut names);
        let Some((number, _)) = names.reasons().find(|(_, name)| *name == "NETFILTER_DROP") else {
            eprintln!("skipped: this kernel has no drop reasons");
            return;
        };
        assert_eq!(classes[number as usize], REASON_DROP);
        let (close, _) = names.reasons().find(|(_, name)| *name == "SOCKET_CLOSE").unwrap();
        assert_eq!(classes[close as usize], REASON_HOUSEKEEPING);
    }
}
