//! What the programs know of packets: just enough to filter and to count. The rest is read in user space.

/// `ETH_P_IP` as it stands in `skb->protocol`.
pub const IPV4: u16 = 0x0800_u16.to_be();
/// `ETH_P_IPV6`, likewise.
pub const IPV6: u16 = 0x86dd_u16.to_be();

/// Bytes before the network header, at TC, of an Ethernet device.
pub const ETHERNET: usize = 14;
/// The same of a device without a link header.
pub const NO_LINK_HEADER: usize = 0;

/// `IPPROTO_ICMP`
pub const ICMP: u8 = 1;
/// `IPPROTO_TCP`
pub const TCP: u8 = 6;
/// `IPPROTO_UDP`
pub const UDP: u8 = 17;
/// `IPPROTO_ICMPV6`
pub const ICMPV6: u8 = 58;
/// `IPPROTO_SCTP`
pub const SCTP: u8 = 132;

/// FIN of the TCP flags.
pub const FIN: u8 = 0x01;
/// SYN, likewise.
pub const SYN: u8 = 0x02;
/// RST, likewise.
pub const RST: u8 = 0x04;
/// ACK, likewise.
pub const ACK: u8 = 0x10;

/// Bits of the IPv4 fragment field, in memory order, that say "not the first fragment".
pub const FRAGMENT_OFFSET: u16 = 0x1fff_u16.to_be();

/// `::ffff:0:0/96` in front of an IPv4 address, as two words in memory order.
#[inline(always)]
pub fn mapped(address: u32) -> [u64; 2] {
    [0, u64::from(0xffff_0000_u32.to_le()) | (u64::from(address) << 32)]
}

/// An address as the maps and the records have it.
#[inline(always)]
pub fn bytes(address: [u64; 2]) -> [u8; 16] {
    // SAFETY: same size, all bit patterns valid.
    unsafe { core::mem::transmute(address) }
}

/// Whether an address is multicast, or IPv4's limited broadcast.
#[inline(always)]
pub fn is_multicast(address: [u64; 2]) -> bool {
    let bytes = bytes(address);
    if address[0] == 0 && bytes[10] == 0xff && bytes[11] == 0xff {
        bytes[12] >= 0xe0
    } else {
        bytes[0] == 0xff
    }
}

/// The beginning of a dropped packet, and what the filter and the counters need of it.
pub struct Flow {
    /// Source address.
    pub source: [u64; 2],
    /// Destination address.
    pub destination: [u64; 2],
    /// Destination port, host byte order; 0 where there is none or it was not looked for.
    pub destination_port: u16,
    /// IP protocol number of the first header behind IPv6's, or of IPv4.
    pub protocol: u8,
    /// TCP with SYN and without ACK.
    pub opens: bool,
}

/// Bytes of a dropped packet that are looked at: a fixed IPv6 header and the part of TCP's with the flags.
pub const PEEK: usize = 56;

impl Flow {
    /// Takes a packet's first bytes apart; `linear` of them are the packet's, the rest may be anything.
    /// `None` if it is not IP or too short for its header.
    #[inline(always)]
    pub fn parse(peek: &[u64; PEEK / 8], linear: u32, protocol: u16) -> Option<Self> {
        let byte = |at: usize| (peek[at / 8] >> (at % 8 * 8)) as u8;
        let word = |at: usize| (peek[at / 8] >> (at % 8 * 8)) as u32;
        let be16 = |at: usize| u16::from_be((peek[at / 8] >> (at % 8 * 8)) as u16);
        if protocol == IPV4 && byte(0) >> 4 == 4 && linear >= 20 {
            let mut flow = Self {
                source: mapped(word(12)),
                destination: mapped(word(16)),
                destination_port: 0,
                protocol: byte(9),
                opens: false,
            };
            // With options the ports are elsewhere; they are rare and the record has them.
            if byte(0) == 0x45 && be16(6) & 0x1fff == 0 {
                flow.ports(be16(22), byte(33), linear, 20);
            }
            Some(flow)
        } else if protocol == IPV6 && byte(0) >> 4 == 6 && linear >= 40 {
            let mut flow = Self {
                source: [peek[1], peek[2]],
                destination: [peek[3], peek[4]],
                destination_port: 0,
                protocol: byte(6),
                opens: false,
            };
            flow.ports(be16(42), byte(53), linear, 40);
            Some(flow)
        } else {
            None
        }
    }

    #[inline(always)]
    fn ports(&mut self, destination: u16, flags: u8, linear: u32, header: u32) {
        if (self.protocol == TCP || self.protocol == UDP || self.protocol == SCTP) && linear >= header + 4 {
            self.destination_port = destination;
        }
        if self.protocol == TCP && linear >= header + 14 {
            self.opens = flags & (SYN | ACK) == SYN;
        }
    }
}
