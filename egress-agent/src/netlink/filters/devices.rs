//! What can drop packets at one device: TC classifiers of its clsact or ingress qdisc, and XDP programs.
//!
//! Programs attached by TCX are not among them: netlink does not know those.

use crate::netlink::NetlinkError;
use crate::netlink::socket::NetlinkSocket;
use crate::netlink::wire::{Attributes, DUMP, Message, REQUEST, Request, u32_at};

/// Size of `struct tcmsg`, and where its fields are.
const TCMSG: usize = 20;
const TCM_IFINDEX: usize = 4;
const TCM_PARENT: usize = 12;
const TCM_INFO: usize = 16;
/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)` and the same for egress; an ingress qdisc answers to the former.
const PARENTS: [(&str, u32); 2] = [("ingress", 0xffff_fff2), ("egress", 0xffff_fff3)];

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_ID: u16 = 11;
/// `TCA_BPF_FLAG_ACT_DIRECT`
const DIRECT: u32 = 1;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_GACT_PARMS: u16 = 2;
/// Offset of `action` in `struct tc_gact`.
const GACT_ACTION: usize = 8;
/// `TC_ACT_SHOT`
const SHOT: u32 = 2;

/// Size of `struct ifinfomsg`.
const IFINFOMSG: usize = 16;
const IFLA_XDP: u16 = 43;
/// `IFLA_XDP_PROG_ID` and the same for the driver, generic and hardware modes.
const IFLA_XDP_IDS: std::ops::RangeInclusive<u16> = 4..=7;

/// Something that can drop packets at a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classifier {
    /// `ingress`, `egress` or `xdp`.
    pub hook: &'static str,
    /// Id of the BPF program, if it is one.
    pub program: Option<u32>,
    /// Its name, or what it is.
    pub name: String,
}

/// Reads what netlink knows of a device of this thread's namespace.
///
/// # Errors
/// The kernel refuses.
pub fn classifiers(index: u32) -> Result<Vec<Classifier>, NetlinkError> {
    let mut socket = NetlinkSocket::open(libc::NETLINK_ROUTE)?;
    let mut found = Vec::new();
    for (hook, parent) in PARENTS {
        let mut header = [0; TCMSG];
        header[TCM_IFINDEX..TCM_IFINDEX + 4].copy_from_slice(&index.to_ne_bytes());
        header[TCM_PARENT..TCM_PARENT + 4].copy_from_slice(&parent.to_ne_bytes());
        let request = Request::new(libc::RTM_GETTFILTER, REQUEST | DUMP, &header);
        found.extend(socket.dump("list TC filters", &request, |message| decode(hook, message))?);
    }
    let mut header = [0; IFINFOMSG];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let request = Request::new(libc::RTM_GETLINK, REQUEST, &header);
    let xdp = socket.get("read a network device", &request, |message| {
        Some(xdp_programs(Attributes::after(message.payload, IFINFOMSG)))
    });
    found.extend(xdp?.into_iter().flatten());
    Ok(found)
}

/// A filter that can drop.
fn decode(hook: &'static str, message: Message<'_>) -> Option<Classifier> {
    if message.kind != libc::RTM_NEWTFILTER {
        return None;
    }
    let attributes = Attributes::after(message.payload, TCMSG);
    let kind = attributes.text(TCA_KIND)?;
    // A head without options is the chain's, not a filter.
    let options = attributes.nested(TCA_OPTIONS)?;
    let preference = u32_at(message.payload, TCM_INFO)? >> 16;
    if kind == "bpf" && options.u32(TCA_BPF_FLAGS).is_some_and(|flags| flags & DIRECT != 0) {
        let name = options.text(TCA_BPF_NAME).unwrap_or_else(|| format!("bpf filter, pref {preference}"));
        return Some(Classifier { hook, program: options.u32(TCA_BPF_ID), name });
    }
    let drops = actions(&kind).is_none_or(|actions| options.nested(actions).is_some_and(can_drop));
    drops.then(|| Classifier { hook, program: None, name: format!("{kind} filter, pref {preference}") })
}

/// The attribute that holds the actions of a kind of filter (`TCA_U32_ACT` and so on); `None`: not known.
fn actions(kind: &str) -> Option<u16> {
    Some(match kind {
        "bpf" => 1,
        "matchall" => 2,
        "flower" | "basic" => 3,
        "fw" => 4,
        "u32" => 7,
        _ => return None,
    })
}

/// Whether one of the actions can drop.
fn can_drop(mut actions: Attributes<'_>) -> bool {
    actions.any(|(_, action)| {
        let action = Attributes(action);
        match action.text(TCA_ACT_KIND).as_deref() {
            Some("gact") => {
                let options = action.nested(TCA_ACT_OPTIONS);
                options
                    .and_then(|options| u32_at(options.get(TCA_GACT_PARMS)?, GACT_ACTION))
                    .is_none_or(|action| action == SHOT)
            }
            Some("mirred" | "skbedit" | "vlan" | "pedit" | "tunnel_key" | "csum" | "sample") | None => false,
            Some(_) => true,
        }
    })
}

fn xdp_programs(link: Attributes<'_>) -> Vec<Classifier> {
    let Some(xdp) = link.nested(IFLA_XDP) else { return Vec::new() };
    let ids = IFLA_XDP_IDS.filter_map(|attribute| xdp.u32(attribute)).filter(|id| *id != 0);
    let mut ids: Vec<u32> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter()
        .map(|id| Classifier { hook: "xdp", program: Some(id), name: format!("XDP program {id}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::testing::{have, netns, run};
    use crate::netlink::wire::Messages;

    #[test]
    fn programs_of_a_clsact_qdisc_are_found() {
        let Some(node) = netns() else { return };
        if !have("tc") {
            return;
        }
        run(
            &node,
            "ip link add d0 type veth peer name d1
             tc qdisc add dev d0 clsact
             tc filter add dev d0 egress pref 10 bpf da bytecode '1,6 0 0 4294967295'
             tc filter add dev d0 egress pref 11 bpf bytecode '1,6 0 0 4294967295'",
        );
        let index = run_index(&node);
        let found = node.run(|| classifiers(index)).unwrap().unwrap();
        let found: Vec<_> = found.iter().map(|c| format!("{} {}", c.hook, c.name)).collect();
        assert_eq!(found, ["egress bpf filter, pref 10"]);
        assert_eq!(node.run(|| classifiers(1)).unwrap().unwrap(), []);
    }

    #[test]
    fn other_filters_count_by_their_actions() {
        let found = |kind: &[u8], actions: u16, action: u32| {
            let mut header = [0; TCMSG];
            header[TCM_INFO..].copy_from_slice(&(7_u32 << 16).to_ne_bytes());
            let mut gact = [0; 20];
            gact[GACT_ACTION..GACT_ACTION + 4].copy_from_slice(&action.to_ne_bytes());
            let bytes = Request::new(libc::RTM_NEWTFILTER, 0, &header)
                .with(TCA_KIND, kind)
                .nest(TCA_OPTIONS, |options| {
                    options.nest(actions, |list| {
                        list.nest(1, |action| {
                            action
                                .with(TCA_ACT_KIND, b"gact\0")
                                .nest(TCA_ACT_OPTIONS, |options| options.with(TCA_GACT_PARMS, &gact))
                        })
                    })
                })
                .finish(1);
            decode("ingress", Messages(&bytes).next().unwrap()).map(|found| found.name)
        };
        assert_eq!(found(b"matchall\0", 2, SHOT).as_deref(), Some("matchall filter, pref 7"));
        assert_eq!(found(b"u32\0", 7, 0), None);
        // A kind that is not known may drop.
        assert_eq!(found(b"new\0", 1, 0).as_deref(), Some("new filter, pref 7"));
    }

    fn run_index(node: &crate::netlink::netns::Netns) -> u32 {
        // SAFETY: a NUL-terminated string.
        node.run(|| unsafe { libc::if_nametoindex(c"d0".as_ptr()) }).unwrap()
    }
}
