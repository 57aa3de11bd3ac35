//! TC on the pods' devices and the uplinks, both ways: the packets that open, refuse, end or explain a flow.
//!
//! ```c
//! int cls_bpf_classify(struct sk_buff *skb, …)   // clsact
//! int tcx_run(const struct bpf_mprog_entry *entry, struct sk_buff *skb, …)   // from 6.6
//! ```
//!
//! The packet is never changed and always goes on to whoever stands behind us.

use aya_ebpf::{check_bounds_signed, helpers::bpf_jiffies64, programs::TcContext};
use egress_common::{
    ABI_VERSION, HELLO_SNAP, LONG_SNAP, PacketClass, PacketHelloRecord, PacketLongRecord, PacketRecord,
    RecordKind, SHORT_SNAP, Stat, TapPoint,
};

use crate::{
    emit::{Slot, Wake, header},
    hooks::budget::{self, PacketBudget},
    maps::{HEARTBEAT, POD_IPS, SLOTS, UDP_FLOW_SLOTS, UDP_FLOWS, add, config, count},
    packet::{
        FIN, FRAGMENT_OFFSET, ICMP, ICMPV6, IPV4, IPV6, RST, SCTP, SYN, TCP, UDP, bytes, is_multicast, mapped,
    },
};

/// `TCX_NEXT` and `TC_ACT_UNSPEC`: on to the next program.
const NEXT: i32 = -1;
/// The port of DNS.
const DNS: u16 = 53;
/// IPv6 extension headers that are skipped at most.
const EXTENSIONS: usize = 4;
/// Bytes behind which nobody looks for a ClientHello: the largest with post-quantum keys is well below.
const HELLO_MAX: u32 = 4096;

/// The packet as TC hands it over.
struct Packet<'a> {
    ctx: &'a TcContext,
    link: usize,
}

/// A packet pointer, which the context gives as 32 bits and the verifier takes for 64. Hides the former from
/// the compiler, or it compares the halves that it knows to matter, and the verifier learns nothing.
#[inline(always)]
fn pointer(value: usize) -> usize {
    let whole: usize;
    // SAFETY: a move between registers.
    unsafe { core::arch::asm!("{0} = {1}", out(reg) whole, in(reg) value, options(pure, nomem, nostack)) };
    whole
}

/// Addresses and place of the transport header.
struct Network {
    source: [u64; 2],
    destination: [u64; 2],
    protocol: u8,
    /// Offset of the transport header from the network header.
    transport: usize,
    /// Bytes behind the transport header's begin.
    length: u32,
}

impl Packet<'_> {
    /// Reads at an offset from the network header: directly where the bytes are linear, else by helper.
    #[inline(always)]
    fn load<T: Copy>(&self, offset: usize) -> Option<T> {
        let at = pointer(self.ctx.data()) + self.link + offset;
        if at + size_of::<T>() <= pointer(self.ctx.data_end()) {
            // SAFETY: the bounds were just checked.
            Some(unsafe { (at as *const T).read_unaligned() })
        } else {
            self.ctx.load(self.link + offset).ok()
        }
    }

    #[inline(always)]
    fn network(&self, protocol: u16) -> Option<Network> {
        if protocol == IPV4 {
            let first: u8 = self.load(0)?;
            let transport = usize::from(first & 0xf) * 4;
            if first >> 4 != 4 || transport < 20 || self.load::<u16>(6)? & FRAGMENT_OFFSET != 0 {
                return None;
            }
            Some(Network {
                source: mapped(self.load(12)?),
                destination: mapped(self.load(16)?),
                protocol: self.load(9)?,
                transport,
                length: u32::from(u16::from_be(self.load(2)?)).saturating_sub(transport as u32),
            })
        } else if protocol == IPV6 {
            let (protocol, transport) = self.skip_extensions(self.load(6)?)?;
            Some(Network {
                source: self.load(8)?,
                destination: self.load(24)?,
                protocol,
                transport,
                length: (u32::from(u16::from_be(self.load(4)?)) + 40).saturating_sub(transport as u32),
            })
        } else {
            None
        }
    }

    /// The first header that is no extension, and where it is. `None` behind a later fragment.
    #[inline(always)]
    fn skip_extensions(&self, first: u8) -> Option<(u8, usize)> {
        let (mut next, mut at) = (first, 40_usize);
        for _ in 0..EXTENSIONS {
            match next {
                // Hop-by-hop, routing, destination options: length in units of 8 bytes behind the first 8.
                0 | 43 | 60 => {
                    let [following, length] = self.load::<[u8; 2]>(at)?;
                    next = following;
                    at += 8 + usize::from(length) * 8;
                }
                44 => {
                    if u16::from_be(self.load::<u16>(at + 2)?) & 0xfff8 != 0 {
                        return None;
                    }
                    next = self.load(at)?;
                    at += 8;
                }
                // Authentication: length in units of 4 bytes, less 2.
                51 => {
                    let [following, length] = self.load::<[u8; 2]>(at)?;
                    next = following;
                    at += 8 + usize::from(length) * 4;
                }
                _ => break,
            }
        }
        Some((next, at))
    }
}

/// The hook. `link` is the length of the device's link header, a constant.
#[inline(always)]
pub fn tap(ctx: &TcContext, point: TapPoint, link: usize) -> i32 {
    if is_orphaned() {
        return NEXT;
    }
    // SAFETY: the context is the kernel's.
    let protocol = unsafe { (*ctx.skb.skb).protocol } as u16;
    let packet = Packet { ctx, link };
    if let Some(network) = packet.network(protocol)
        && let Some(class) = classify(&packet, &network, point)
    {
        consider(&packet, &network, point, class, protocol);
    }
    NEXT
}

/// With clsact: whether the agent is gone and we are a leftover.
#[inline(always)]
fn is_orphaned() -> bool {
    let limit = config!(heartbeat_jiffies);
    if limit == 0 {
        return false;
    }
    let Some(beat) = HEARTBEAT.get(0) else {
        return true;
    };
    // SAFETY: no arguments.
    unsafe { bpf_jiffies64() }.wrapping_sub(*beat) > limit
}

/// Notes that the agent is alive. Returns the version of the records, for the loader to check.
#[inline(always)]
pub fn beat() -> i32 {
    // SAFETY: no arguments.
    let now = unsafe { bpf_jiffies64() };
    if let Some(beat) = HEARTBEAT.get_ptr_mut(0) {
        // SAFETY: a map value.
        unsafe { beat.write_volatile(now) };
    }
    i32::from(ABI_VERSION)
}

/// Why the packet is interesting, if it is.
#[inline(always)]
fn classify(packet: &Packet<'_>, network: &Network, point: TapPoint) -> Option<PacketClass> {
    let at = network.transport;
    match network.protocol {
        TCP => classify_tcp(packet, network),
        UDP => {
            let [source, destination] = packet.load::<[u16; 2]>(at)?.map(u16::from_be);
            if source == DNS || destination == DNS {
                return (network.length > 8).then_some(PacketClass::Dns);
            }
            if is_multicast(network.destination) {
                return None;
            }
            is_first(network, u32::from(source) << 16 | u32::from(destination), point)
                .then_some(PacketClass::UdpFirst)
        }
        ICMP => match packet.load::<u8>(at)? {
            // Unreachable, source quench, redirect, time exceeded, parameter problem.
            3 | 4 | 5 | 11 | 12 => Some(PacketClass::IcmpError),
            0 | 8 => Some(PacketClass::Echo),
            _ => None,
        },
        ICMPV6 => match packet.load::<u8>(at)? {
            // Unreachable, too big, time exceeded, parameter problem.
            1..=4 => Some(PacketClass::IcmpError),
            128 | 129 => Some(PacketClass::Echo),
            _ => None,
        },
        SCTP => match packet.load::<u8>(at + 12)? {
            // INIT, INIT ACK, ABORT.
            1 | 2 | 6 => Some(PacketClass::SctpControl),
            _ => None,
        },
        _ => None,
    }
}

#[inline(always)]
fn classify_tcp(packet: &Packet<'_>, network: &Network) -> Option<PacketClass> {
    let at = network.transport;
    let [offset, flags] = packet.load::<[u8; 2]>(at + 12)?;
    if flags & (SYN | FIN | RST) != 0 {
        return Some(PacketClass::TcpControl);
    }
    let head = usize::from(offset >> 4) * 4;
    let payload = network.length.saturating_sub(head as u32);
    if payload == 0 {
        return None;
    }
    let [source, destination] = packet.load::<[u16; 2]>(at)?.map(u16::from_be);
    if source == DNS || destination == DNS {
        return Some(PacketClass::Dns);
    }
    // A plaintext alert is 5 bytes of record header and 2 of alert, an encrypted one 24 in all (TLS 1.3; 30 behind a
    // ChangeCipherSpec, which has 6 itself) or 23 or 31 (TLS 1.2); a ClientHello and a second flight are not that small.
    if !matches!(payload, 6 | 7 | 23 | 24 | 30 | 31) && !(48..=HELLO_MAX).contains(&payload) {
        return None;
    }
    let [kind, major, _, high, low, message] = packet.load::<[u8; 6]>(at + head)?;
    match (kind, major) {
        (0x16, 3) if message == 1 => Some(PacketClass::TlsClientHello),
        (0x15, 3) if high == 0 => Some(PacketClass::TlsAlert),
        (0x14, 3) if high == 0 && low == 1 => Some(PacketClass::TlsFlight),
        (0x17, 3) if high == 0 && low == 19 && payload == 24 => Some(PacketClass::TlsTwoBytes),
        _ => None,
    }
}

/// Whether user space should hear of this packet of a UDP flow: the first, the first after a pause, or a question
/// that is asked again without an answer in between. The cache forgets by collision: then a flow is merely reported
/// again.
#[inline(always)]
fn is_first(network: &Network, ports: u32, point: TapPoint) -> bool {
    let hash = flow_hash(ports, point, &network.source, &network.destination);
    let fingerprint = hash >> 32;
    // SAFETY: no arguments.
    let now = unsafe { bpf_jiffies64() } & 0xffff_ffff;
    let Some(flow) = UDP_FLOWS.get_ptr_mut(hash as u32 & (UDP_FLOW_SLOTS - 1)) else {
        return true;
    };
    // SAFETY: a map value; racing writers only cause another report.
    let seen = unsafe { flow.read_volatile() };
    let age = now.wrapping_sub(seen & 0xffff_ffff) & 0xffff_ffff;
    let same = seen >> 32 == fingerprint;
    let pause = config!(udp_pause_jiffies);
    // Written some dozen times a second at most, so that CPUs do not fight for the line.
    if !same || age > pause / 512 {
        // SAFETY: as above.
        unsafe { flow.write_volatile(fingerprint << 32 | now) };
    }
    if !same || age > pause {
        return true;
    }
    match point {
        // Answers are told sooner than questions, or one that is a little early after its pause would be missed.
        TapPoint::PodIn | TapPoint::UplinkIn => age > pause / 8,
        TapPoint::PodOut | TapPoint::UplinkOut => {
            age > pause / 12 && !answered_since(network, ports, point, now, age)
        }
    }
}

/// Whether the other direction was seen since this one was, `age` jiffies ago.
#[inline(always)]
fn answered_since(network: &Network, ports: u32, point: TapPoint, now: u64, age: u64) -> bool {
    let back = if matches!(point, TapPoint::PodOut) { TapPoint::PodIn } else { TapPoint::UplinkIn };
    let hash = flow_hash(ports.rotate_left(16), back, &network.destination, &network.source);
    let Some(flow) = UDP_FLOWS.get_ptr_mut(hash as u32 & (UDP_FLOW_SLOTS - 1)) else {
        return false;
    };
    // SAFETY: a map value; a torn read is impossible for eight aligned bytes.
    let seen = unsafe { flow.read_volatile() };
    let since = now.wrapping_sub(seen & 0xffff_ffff) & 0xffff_ffff;
    seen >> 32 == hash >> 32 && since <= age
}

#[inline(always)]
fn flow_hash(ports: u32, point: TapPoint, source: &[u64; 2], destination: &[u64; 2]) -> u64 {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = (u64::from(ports) << 8 | point as u64).wrapping_mul(PRIME);
    for word in [source[0], source[1], destination[0], destination[1]] {
        hash = (hash ^ word).rotate_left(29).wrapping_mul(PRIME);
    }
    hash
}

/// Whose packet it is, and whether it may still be reported.
#[inline(always)]
fn consider(packet: &Packet<'_>, network: &Network, point: TapPoint, class: PacketClass, protocol: u16) {
    let pod = match point {
        TapPoint::PodOut => network.source,
        TapPoint::PodIn => network.destination,
        TapPoint::UplinkOut | TapPoint::UplinkIn => [0, 0],
    };
    let (slot, charged) = if matches!(point, TapPoint::PodOut | TapPoint::PodIn) {
        // SAFETY: the value is copied at once.
        match unsafe { POD_IPS.get(bytes(pod)) } {
            Some(slot) => (*slot, *slot),
            None => return,
        }
    } else {
        (u32::MAX, config!(uplink_slot))
    };
    let budget = match class {
        PacketClass::TcpControl | PacketClass::SctpControl => PacketBudget::Control,
        PacketClass::Dns => PacketBudget::Dns,
        _ => PacketBudget::Other,
    };
    if let Some(state) = SLOTS.get_ptr_mut(charged) {
        // SAFETY: no arguments.
        if !budget::take_packet(state, budget, unsafe { bpf_jiffies64() }) {
            // SAFETY: a value of a per-CPU map.
            add(unsafe { &raw mut (*state).withheld }, 1);
            count(Stat::PacketWithheld);
            return;
        }
    }
    let total = packet.ctx.len().saturating_sub(packet.link as u32);
    let long = match class {
        PacketClass::Dns => total > SHORT_SNAP as u32,
        PacketClass::TlsClientHello => true,
        _ => false,
    };
    if long && class as u8 == PacketClass::TlsClientHello as u8 && total > LONG_SNAP as u32 {
        report_hello(packet, point, class, protocol, slot, total);
    } else if long {
        report_long(packet, point, class, protocol, slot, total);
    } else {
        report(packet, point, class, protocol, slot, total);
    }
}

macro_rules! reporter {
    ($(#[$doc:meta])* $name:ident, $record:ident, $kind:ident, $snap:ident) => {
        $(#[$doc])*
        #[inline(always)]
        fn $name(packet: &Packet<'_>, point: TapPoint, class: PacketClass, protocol: u16, slot: u32, total: u32) {
            let Some(mut place) =
                Slot::<$record>::reserve(Wake::WhenFilling, Stat::PacketReported, Stat::PacketLost)
            else {
                return;
            };
            let record = place.record();
            let netns = config!(node_netns);
            // SAFETY: the context is the kernel's; the place is as large as the record; every field is written,
            // of the data as much as `data_len` says.
            unsafe {
                let skb = packet.ctx.skb.skb;
                (*record).header = header(RecordKind::$kind, 0, netns, (*skb).ifindex, slot);
                (*record).header.len = total;
                (*record).header.mark = (*skb).mark;
                (*record).tap = point as u8;
                (*record).class = class as u8;
                (*record).protocol = protocol;
                (*record).data_len = 0;
                (*record).pad = 0;
                let wanted = if total > $snap as u32 { $snap as u32 } else { total };
                if check_bounds_signed(i64::from(wanted), 1, $snap as i64)
                    && aya_ebpf::helpers::generated::bpf_skb_load_bytes(
                        skb.cast(),
                        packet.link as u32,
                        (&raw mut (*record).data).cast(),
                        wanted,
                    ) == 0
                {
                    (*record).data_len = wanted as u16;
                }
            }
            place.submit();
        }
    };
}

reporter!(
    /// The usual record: headers.
    report, PacketRecord, Packet, SHORT_SNAP
);
reporter!(
    /// The long record: headers and the payload that explains.
    report_long, PacketLongRecord, PacketLong, LONG_SNAP
);
reporter!(
    /// The record of a ClientHello that is longer still.
    report_hello, PacketHelloRecord, PacketHello, HELLO_SNAP
);
