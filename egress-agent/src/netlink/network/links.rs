//! Devices (`RTM_GETLINK`, `include/uapi/linux/if_link.h`).

use crate::netlink::NetlinkError;
use crate::netlink::socket::NetlinkSocket;
use crate::netlink::wire::{Attributes, DUMP, Message, REQUEST, Request, u32_at};

/// Size of `struct ifinfomsg`.
const HEADER: usize = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
const IFLA_LINKINFO: u16 = 18;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
/// `RTEXT_FILTER_SKIP_STATS`: counters are most of a link's message and none of our business.
const SKIP_STATS: u32 = 1 << 3;

/// `IFF_LOWER_UP` of `if.h`.
const LOWER_UP: libc::c_int = 1 << 16;

/// A device as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::netlink) struct Link {
    /// `ifi_index`
    pub(in crate::netlink) index: u32,
    /// `IFLA_IFNAME`
    pub(in crate::netlink) name: String,
    /// `IFLA_INFO_KIND`, empty for hardware.
    pub(super) kind: String,
    /// `IFLA_MTU`
    pub(super) mtu: u32,
    /// `IFLA_TXQLEN`, packets.
    pub(in crate::netlink) queue: u32,
    /// `IFLA_MASTER`, 0 if none.
    pub(super) master: u32,
    /// `IFF_UP`
    pub(in crate::netlink) up: bool,
    /// `IFF_LOWER_UP`: there is a carrier.
    pub(in crate::netlink) carrier: bool,
    /// `IFF_LOOPBACK`
    pub(in crate::netlink) loopback: bool,
    /// Its lower device or its peer is in another namespace.
    pub(in crate::netlink) crosses_netns: bool,
}

/// Reads all devices of the socket's namespace.
pub(super) fn read(socket: &mut NetlinkSocket) -> Result<Vec<Link>, NetlinkError> {
    let request = Request::new(libc::RTM_GETLINK, REQUEST | DUMP, &[0; HEADER])
        .with(IFLA_EXT_MASK, &SKIP_STATS.to_ne_bytes());
    socket.dump("list network devices", &request, decode)
}

pub(super) fn decode(message: Message<'_>) -> Option<Link> {
    if message.kind != libc::RTM_NEWLINK {
        return None;
    }
    let attributes = Attributes::after(message.payload, HEADER);
    let flags = u32_at(message.payload, 8)?;
    let set = |flag: libc::c_int| flags & flag.cast_unsigned() != 0;
    Some(Link {
        index: u32_at(message.payload, 4)?,
        name: attributes.text(IFLA_IFNAME)?,
        kind: attributes.nested(IFLA_LINKINFO).and_then(|info| info.text(IFLA_INFO_KIND)).unwrap_or_default(),
        mtu: attributes.u32(IFLA_MTU).unwrap_or(0),
        queue: attributes.u32(IFLA_TXQLEN).unwrap_or(0),
        master: attributes.u32(IFLA_MASTER).unwrap_or(0),
        up: set(libc::IFF_UP),
        carrier: set(LOWER_UP),
        loopback: set(libc::IFF_LOOPBACK),
        crosses_netns: attributes.get(IFLA_LINK_NETNSID).is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::wire::Messages;

    #[test]
    fn a_veth_in_a_bridge_is_decoded() {
        let mut header = [0u8; HEADER];
        header[4..8].copy_from_slice(&7u32.to_ne_bytes());
        header[8..12].copy_from_slice(&0x1_0001u32.to_ne_bytes());
        let bytes = Request::new(libc::RTM_NEWLINK, 0, &header)
            .with(IFLA_IFNAME, b"veth7\0")
            .with(IFLA_MTU, &1450u32.to_ne_bytes())
            .with(IFLA_MASTER, &3u32.to_ne_bytes())
            .with(200, b"an attribute of a newer kernel")
            .nest(IFLA_LINKINFO, |info| info.with(IFLA_INFO_KIND, b"veth\0"))
            .with(IFLA_LINK_NETNSID, &0u32.to_ne_bytes())
            .finish(1);
        let link = decode(Messages(&bytes).next().unwrap()).unwrap();
        let expected = Link {
            index: 7,
            name: "veth7".to_owned(),
            kind: "veth".to_owned(),
            mtu: 1450,
            queue: 0,
            master: 3,
            up: true,
            carrier: true,
            loopback: false,
            crosses_netns: true,
        };
        assert_eq!(link, expected);
    }
}
