//! The only file that reads kernel memory.
//!
//! Fields of BTF pointers are loaded directly, at offsets that the verifier knows as constants; a fault reads
//! as 0. What hangs on an untyped word (`_skb_refdst`, `_nfct`, `head`) is read by helper.

use core::ffi::c_void;

use aya_ebpf::helpers::{
    bpf_jiffies64,
    generated::{bpf_get_current_task, bpf_probe_read_kernel, bpf_probe_read_kernel_str},
};
use egress_common::ABSENT;

use crate::{
    maps::config,
    packet::{IPV4, mapped},
};

/// `AF_INET` of `socket(2)`.
pub const AF_INET: u16 = 2;
/// `AF_INET6` of `socket(2)`.
pub const AF_INET6: u16 = 10;

/// The offset of a field: a constant to the verifier.
macro_rules! offset {
    ($field:ident) => {
        // SAFETY: a static; volatile, or the compiler would use the value it has at build time.
        unsafe { core::ptr::read_volatile(&raw const $crate::maps::OFFSETS.$field) }
    };
}
pub(crate) use offset;

/// Loads a field of a BTF pointer; 0 where the kernel has no such field.
macro_rules! load {
    ($base:expr, $field:ident, $type:ty) => {{
        let offset = offset!($field);
        if offset == ABSENT {
            0
        } else {
            // SAFETY: the verifier checks the access against the kernel's types; a bad pointer reads as 0.
            unsafe { core::ptr::read_volatile($base.byte_add(offset as usize).cast::<$type>()) }
        }
    }};
}

/// Loads a pointer field of a BTF pointer; NULL where the kernel has no such field.
macro_rules! load_pointer {
    ($base:expr, $field:ident) => {{
        let offset = offset!($field);
        if offset == ABSENT {
            core::ptr::null()
        } else {
            // SAFETY: as in `load!`.
            unsafe { core::ptr::read_volatile($base.byte_add(offset as usize).cast::<*const c_void>()) }
        }
    }};
}

/// Loads 16 bytes of a BTF pointer as two words.
macro_rules! load_pair {
    ($base:expr, $field:ident) => {{
        let offset = offset!($field);
        if offset == ABSENT {
            [0, 0]
        } else {
            // SAFETY: as in `load!`.
            unsafe {
                let at = $base.byte_add(offset as usize).cast::<u64>();
                [core::ptr::read_volatile(at), core::ptr::read_volatile(at.add(1))]
            }
        }
    }};
}

/// Reads `size` bytes of kernel memory. False if it faulted; the target is zeroed then.
#[inline(always)]
pub fn read_bytes(to: *mut u8, size: u32, from: u64) -> bool {
    // SAFETY: the helper checks the source; the verifier checks target and size.
    unsafe { bpf_probe_read_kernel(to.cast(), size, from as *const c_void) == 0 }
}

/// Reads a piece of kernel memory; `None` if it faulted.
#[inline(always)]
pub fn read<T: Copy>(from: u64) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    if read_bytes(value.as_mut_ptr().cast(), size_of::<T>() as u32, from) {
        // SAFETY: the helper filled it; callers ask for integers and arrays of them.
        Some(unsafe { value.assume_init() })
    } else {
        None
    }
}

/// Reads a string of kernel memory; all zero if it faulted, without a NUL if it is too long.
///
/// # Safety
/// There must be room for that many bytes, a multiple of eight.
#[inline(always)]
pub unsafe fn read_text<const SIZE: usize>(to: *mut u8, from: u64) {
    let words = to.cast::<u64>();
    let mut index = 0;
    while index < SIZE / 8 {
        // SAFETY: the caller vouches for the room. Volatile, see `emit::zero`.
        unsafe { words.add(index).write_volatile(0) };
        index += 1;
    }
    // SAFETY: the helper checks the source; the verifier checks target and size.
    unsafe { bpf_probe_read_kernel_str(to.cast(), SIZE as u32, from as *const c_void) };
}

/// Reads a word of kernel memory, 0 if it faulted.
#[inline(always)]
fn read_u64(from: u64) -> u64 {
    read(from).unwrap_or(0)
}

/// Reads half a word of kernel memory, 0 if it faulted.
#[inline(always)]
fn read_u32(from: u64) -> u32 {
    read(from).unwrap_or(0)
}

/// `struct net_device *`
#[derive(Clone, Copy)]
pub struct Device(*const c_void);

impl Device {
    /// `ifindex`
    #[inline(always)]
    pub fn index(self) -> u32 {
        load!(self.0, dev_ifindex, u32)
    }

    /// Inode number of its namespace.
    #[inline(always)]
    pub fn netns(self) -> u32 {
        let net = load_pointer!(self.0, dev_net);
        if net.is_null() { 0 } else { load!(net, net_inum, u32) }
    }
}

/// `struct sock *`, NULL included.
#[derive(Clone, Copy)]
pub struct Sock(*const c_void);

impl Sock {
    /// No socket.
    pub const NONE: Self = Self(core::ptr::null());

    /// Takes a context argument.
    #[inline(always)]
    pub fn new(pointer: *const c_void) -> Self {
        Self(pointer)
    }

    /// Whether there is no socket. Kernels of some ages tell the verifier that an argument is never NULL though
    /// it can be, and then this test is optimised away: look at [`Sock::family`] too, a NULL socket has none.
    #[inline(always)]
    pub fn is_none(self) -> bool {
        self.0.is_null()
    }

    /// Its address, as an identity.
    #[inline(always)]
    pub fn address(self) -> u64 {
        self.0 as u64
    }

    /// Inode number of its namespace; 0 without a socket.
    #[inline(always)]
    pub fn netns(self) -> u32 {
        if self.is_none() {
            return 0;
        }
        let net = load_pointer!(self.0, sk_net);
        if net.is_null() { 0 } else { load!(net, net_inum, u32) }
    }

    /// `AF_INET`, `AF_INET6`, …; 0 without a socket.
    #[inline(always)]
    pub fn family(self) -> u16 {
        if self.is_none() { 0 } else { load!(self.0, sk_family, u16) }
    }

    /// `TCP_*` state.
    #[inline(always)]
    pub fn state(self) -> u8 {
        load!(self.0, sk_state, u8)
    }

    /// `IPPROTO_*`. A `u16`, before 5.6 a bit field (which no loader resolves).
    #[inline(always)]
    pub fn protocol(self) -> u16 {
        load!(self.0, sk_protocol, u16)
    }

    /// `sk_err`, a positive errno.
    #[inline(always)]
    pub fn error(self) -> u32 {
        load!(self.0, sk_err, u32)
    }

    /// Local port, host byte order.
    #[inline(always)]
    pub fn local_port(self) -> u16 {
        load!(self.0, sk_num, u16)
    }

    /// Remote port, host byte order.
    #[inline(always)]
    pub fn remote_port(self) -> u16 {
        u16::from_be(load!(self.0, sk_dport, u16))
    }

    /// Local and remote address as two words each, IPv4 as `::ffff:a.b.c.d`.
    #[inline(always)]
    pub fn addresses(self) -> ([u64; 2], [u64; 2]) {
        if self.family() == AF_INET6 {
            let local = load_pair!(self.0, sk_v6_rcv_saddr);
            let remote = load_pair!(self.0, sk_v6_daddr);
            (local, remote)
        } else {
            let local = load!(self.0, sk_rcv_saddr, u32);
            let remote = load!(self.0, sk_daddr, u32);
            (crate::packet::mapped(local), crate::packet::mapped(remote))
        }
    }

    /// cgroup v2 id, 0 where unknown.
    #[inline(always)]
    pub fn cgroup(self) -> u64 {
        let (at, kn, id) = (offset!(sk_cgroup), offset!(cgroup_kn), offset!(kn_id));
        if at == ABSENT || kn == ABSENT || id == ABSENT {
            return 0;
        }
        let cgroup = read_u64(self.address() + u64::from(at));
        // Before 5.15 the word is a pointer only if its lowest bit is clear.
        if cgroup == 0 || cgroup & 1 != 0 {
            return 0;
        }
        let node = read_u64(cgroup + u64::from(kn));
        if node == 0 { 0 } else { read_u64(node + u64::from(id)) }
    }

    /// `icsk_retransmits`
    #[inline(always)]
    pub fn retransmits(self) -> u8 {
        let at = offset!(icsk_retransmits);
        if at == ABSENT { 0 } else { read_u32(self.address() + u64::from(at)) as u8 }
    }

    /// `snd_una`
    #[inline(always)]
    pub fn unacknowledged(self) -> u32 {
        let at = offset!(tcp_snd_una);
        if at == ABSENT { 0 } else { read_u32(self.address() + u64::from(at)) }
    }

    /// `snd_una`, where the kernel's types tell where it is.
    #[inline(always)]
    pub fn known_unacknowledged(self) -> Option<u32> {
        let at = offset!(tcp_snd_una);
        if at == ABSENT { None } else { read(self.address() + u64::from(at)) }
    }

    /// `mss_cache`
    #[inline(always)]
    pub fn mss(self) -> u32 {
        let at = offset!(tcp_mss_cache);
        if at == ABSENT { 0 } else { read_u32(self.address() + u64::from(at)) }
    }

    /// `inet_sport`, host byte order: it stays when a socket gives its port back, which it does before it closes.
    #[inline(always)]
    pub fn source_port(self) -> u16 {
        let at = offset!(inet_sport);
        if at == ABSENT { 0 } else { u16::from_be(read(self.address() + u64::from(at)).unwrap_or(0)) }
    }

    /// Milliseconds since it received a segment (`rcv_tstamp`); 0 where the kernel does not tell.
    #[inline(always)]
    pub fn since_segment(self) -> u32 {
        let at = offset!(tcp_rcv_tstamp);
        if at == ABSENT { 0 } else { self.milliseconds_since(at) }
    }

    /// `snd_una`, `snd_nxt`, `write_seq`, `rcv_nxt`, and milliseconds since data was sent and received last.
    #[inline(always)]
    pub fn progress(self) -> Option<[u32; 6]> {
        let (una, next) = (offset!(tcp_snd_una), offset!(tcp_snd_nxt));
        let (written, received) = (offset!(tcp_write_seq), offset!(tcp_rcv_nxt));
        let (sent_at, received_at) = (offset!(tcp_lsndtime), offset!(icsk_lrcvtime));
        if una == ABSENT
            || next == ABSENT
            || written == ABSENT
            || received == ABSENT
            || sent_at == ABSENT
            || received_at == ABSENT
        {
            return None;
        }
        let word = |at: u32| read_u32(self.address() + u64::from(at));
        Some([
            word(una),
            word(next),
            word(written),
            word(received),
            self.milliseconds_since(sent_at),
            self.milliseconds_since(received_at),
        ])
    }

    /// Age of a time stamp in the low 32 bits of `jiffies`.
    #[inline(always)]
    fn milliseconds_since(self, at: u32) -> u32 {
        // SAFETY: no arguments.
        let now = unsafe { bpf_jiffies64() } as u32;
        let age = now.wrapping_sub(read_u32(self.address() + u64::from(at)));
        let second = u64::from(config!(jiffies_per_second)).max(1);
        (u64::from(age) * 1000 / second) as u32
    }

    /// `bytes_received` and `bytes_sent`, each at most `u32::MAX`. A TCP socket only, and no request socket.
    #[inline(always)]
    pub fn bytes(self) -> Option<(u32, u32)> {
        let (received, sent) = (offset!(tcp_bytes_received), offset!(tcp_bytes_sent));
        if received == ABSENT || sent == ABSENT {
            return None;
        }
        let most = |at: u32| {
            let bytes = read_u64(self.address() + u64::from(at));
            if bytes > u64::from(u32::MAX) { u32::MAX } else { bytes as u32 }
        };
        Some((most(received), most(sent)))
    }

    /// `rx_opt.num_sacks`: ranges received beyond a hole; 0 also where what belongs to it cannot be read.
    #[inline(always)]
    pub fn received_ranges(self) -> u8 {
        let at = offset!(tcp_num_sacks);
        if at == ABSENT || offset!(tcp_rcv_tstamp) == ABSENT {
            return 0;
        }
        read(self.address() + u64::from(at)).unwrap_or(0)
    }

    /// `advmss`
    #[inline(always)]
    pub fn advertised_mss(self) -> u16 {
        let at = offset!(tcp_advmss);
        if at == ABSENT { 0 } else { read(self.address() + u64::from(at)).unwrap_or(0) }
    }

    /// `sacked_out`, 255 for more.
    #[inline(always)]
    pub fn sacked(self) -> u8 {
        let at = offset!(tcp_sacked_out);
        let count = if at == ABSENT { 0 } else { read_u32(self.address() + u64::from(at)) };
        if count > 255 { 255 } else { count as u8 }
    }
}

/// `struct sk_buff *`
#[derive(Clone, Copy)]
pub struct Skb(*const c_void);

impl Skb {
    /// Takes a context argument.
    #[inline(always)]
    pub fn new(pointer: *const c_void) -> Self {
        Self(pointer)
    }

    /// Whether there is no packet.
    #[inline(always)]
    pub fn is_none(self) -> bool {
        self.0.is_null()
    }

    /// Its address, as an identity.
    #[inline(always)]
    pub fn address(self) -> u64 {
        self.0 as u64
    }

    /// EtherType, network byte order.
    #[inline(always)]
    pub fn protocol(self) -> u16 {
        load!(self.0, skb_protocol, u16)
    }

    /// `len`
    #[inline(always)]
    pub fn len(self) -> u32 {
        load!(self.0, skb_len, u32)
    }

    /// `mark`
    #[inline(always)]
    pub fn mark(self) -> u32 {
        load!(self.0, skb_mark, u32)
    }

    /// `skb_iif`
    #[inline(always)]
    pub fn iif(self) -> u32 {
        load!(self.0, skb_iif, u32)
    }

    /// `dev`. Shares storage with queue linkage: believe it only if its namespace is a known one.
    #[inline(always)]
    pub fn device(self) -> Option<Device> {
        let device = load_pointer!(self.0, skb_dev);
        if device.is_null() { None } else { Some(Device(device)) }
    }

    /// `sk`
    #[inline(always)]
    pub fn socket(self) -> Sock {
        Sock(load_pointer!(self.0, skb_sk))
    }

    /// Where the network header is, and how many bytes from there on are linear.
    #[inline(always)]
    pub fn network(self) -> (u64, u32) {
        let head = load_pointer!(self.0, skb_head) as u64;
        let header = u32::from(load!(self.0, skb_network_header, u16));
        let tail = load!(self.0, skb_tail, u32);
        // An unset header offset is 0xffff.
        if head == 0 || header == 0xffff || tail <= header {
            (0, 0)
        } else {
            (head + u64::from(header), tail - header)
        }
    }

    /// The route, if any. Shares storage with a queue linkage too.
    #[inline(always)]
    pub fn route(self) -> Option<Route> {
        // The lowest bit says that no reference is held.
        let dst = load!(self.0, skb_refdst, u64) & !1;
        if dst == 0 { None } else { Some(Route(dst)) }
    }

    /// The conntrack entry, if any.
    #[inline(always)]
    pub fn conntrack(self) -> Option<Conntrack> {
        // The lowest three bits are `enum ip_conntrack_info`.
        let entry = load!(self.0, skb_nfct, u64) & !7;
        if entry == 0 || offset!(ct_tuplehash) == ABSENT { None } else { Some(Conntrack(entry)) }
    }

    /// `TCP_SKB_CB(skb)->seq` and `->tcp_flags`, of a packet that TCP owns.
    #[inline(always)]
    pub fn tcp_control(self) -> (u32, u8) {
        let (cb, seq, flags) = (offset!(skb_cb), offset!(tcp_cb_seq), offset!(tcp_cb_flags));
        if cb == ABSENT {
            return (0, 0);
        }
        let base = self.0 as u64 + u64::from(cb);
        let seq = if seq == ABSENT { 0 } else { read_u32(base + u64::from(seq)) };
        let flags = if flags == ABSENT { 0 } else { read(base + u64::from(flags)).unwrap_or(0) };
        (seq, flags)
    }
}

/// `struct dst_entry *`, an untyped word to the verifier.
#[derive(Clone, Copy)]
pub struct Route(u64);

impl Route {
    /// `dst->dev`, its index and namespace; zeros where unknown.
    #[inline(always)]
    pub fn device(self) -> (u32, u32) {
        let at = offset!(dst_dev);
        if at == ABSENT {
            return (0, 0);
        }
        let device = read_u64(self.0 + u64::from(at));
        let (index, net, inum) = (offset!(dev_ifindex), offset!(dev_net), offset!(net_inum));
        if device == 0 || index == ABSENT || net == ABSENT || inum == ABSENT {
            return (0, 0);
        }
        let namespace = read_u64(device + u64::from(net));
        let netns = if namespace == 0 { 0 } else { read_u32(namespace + u64::from(inum)) };
        (read_u32(device + u64::from(index)), netns)
    }

    /// `dst->dev->ifindex`
    #[inline(always)]
    pub fn device_index(self) -> u32 {
        let (at, index) = (offset!(dst_dev), offset!(dev_ifindex));
        if at == ABSENT || index == ABSENT {
            return 0;
        }
        let device = read_u64(self.0 + u64::from(at));
        if device == 0 { 0 } else { read_u32(device + u64::from(index)) }
    }

    /// Addresses of `dst->input` and `dst->output`.
    #[inline(always)]
    pub fn functions(self) -> (u64, u64) {
        let (input, output) = (offset!(dst_input), offset!(dst_output));
        if input == ABSENT || output == ABSENT {
            return (0, 0);
        }
        if output == input.wrapping_add(8) {
            let [input, output] = read(self.0 + u64::from(input)).unwrap_or([0_u64; 2]);
            return (input, output);
        }
        (read_u64(self.0 + u64::from(input)), read_u64(self.0 + u64::from(output)))
    }
}

/// `struct nf_conn *`, an untyped word to the verifier.
#[derive(Clone, Copy)]
pub struct Conntrack(u64);

/// `sizeof(struct nf_conntrack_tuple)`, checked by the loader.
pub const TUPLE: u32 = 40;
/// `IPS_CONFIRMED` of `nf_conntrack_common.h`.
const CONFIRMED: u32 = 1 << 3;

impl Conntrack {
    /// Copies the original and the reply tuple.
    #[inline(always)]
    pub fn tuples(self, original: *mut u8, reply: *mut u8) -> bool {
        let (hash, tuple, size) = (offset!(ct_tuplehash), offset!(ct_hash_tuple), offset!(ct_hash_size));
        if hash == ABSENT || tuple == ABSENT || size == ABSENT {
            return false;
        }
        let first = self.0 + u64::from(hash) + u64::from(tuple);
        read_bytes(original, TUPLE, first) && read_bytes(reply, TUPLE, first + u64::from(size))
    }

    /// Source and destination as the client sent them, as the maps have addresses.
    #[inline(always)]
    pub fn original_addresses(self, protocol: u16) -> Option<([u64; 2], [u64; 2])> {
        let (hash, tuple) = (offset!(ct_tuplehash), offset!(ct_hash_tuple));
        if hash == ABSENT || tuple == ABSENT {
            return None;
        }
        // Source address (4 words), its port and family (1), destination address (4), its port, protocol, direction (1).
        let words: [u32; 10] = read(self.0 + u64::from(hash) + u64::from(tuple))?;
        let wide = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        Some(if protocol == IPV4 {
            (mapped(words[0]), mapped(words[5]))
        } else {
            (
                [wide(words[0], words[1]), wide(words[2], words[3])],
                [wide(words[5], words[6]), wide(words[7], words[8])],
            )
        })
    }

    /// Whether the entry is in the table.
    #[inline(always)]
    pub fn is_confirmed(self) -> bool {
        let at = offset!(ct_status);
        at != ABSENT && read_u32(self.0 + u64::from(at)) & CONFIRMED != 0
    }
}

/// Inode number of the network namespace of the process at hand; 0 where unknown. In an interrupt that is any process.
#[inline(always)]
pub fn current_netns() -> u32 {
    let (proxy, net, inum) = (offset!(task_nsproxy), offset!(nsproxy_net), offset!(net_inum));
    if proxy == ABSENT || net == ABSENT || inum == ABSENT {
        return 0;
    }
    // SAFETY: no arguments.
    let task = unsafe { bpf_get_current_task() };
    // A process that is ending has none.
    let proxy = read_u64(task + u64::from(proxy));
    if proxy == 0 {
        return 0;
    }
    let net = read_u64(proxy + u64::from(net));
    if net == 0 { 0 } else { read_u32(net + u64::from(inum)) }
}

/// `struct net *`
#[derive(Clone, Copy)]
pub struct Net(*const c_void);

impl Net {
    /// Takes a context argument.
    #[inline(always)]
    pub fn new(pointer: *const c_void) -> Self {
        Self(pointer)
    }

    /// Inode number.
    #[inline(always)]
    pub fn inode(self) -> u32 {
        load!(self.0, net_inum, u32)
    }
}

/// `struct flowi4 *` or `struct flowi6 *`: what a route is looked up for.
#[derive(Clone, Copy)]
pub struct Wanted(*const c_void);

impl Wanted {
    /// Takes a context argument.
    #[inline(always)]
    pub fn new(pointer: *const c_void) -> Self {
        Self(pointer)
    }

    /// Device it came in by; 1, the loopback, for what this machine sends.
    #[inline(always)]
    pub fn iif(self) -> u32 {
        load!(self.0, flow_iif, u32)
    }

    /// IP protocol number.
    #[inline(always)]
    pub fn protocol(self) -> u8 {
        load!(self.0, flow_proto, u8)
    }

    /// IPv4 destination as `::ffff:a.b.c.d`, and port in host byte order.
    #[inline(always)]
    pub fn to_v4(self) -> ([u64; 2], u16) {
        (mapped(load!(self.0, flow4_daddr, u32)), u16::from_be(load!(self.0, flow4_dport, u16)))
    }

    /// IPv6 destination, and port in host byte order.
    #[inline(always)]
    pub fn to_v6(self) -> ([u64; 2], u16) {
        (load_pair!(self.0, flow6_daddr), u16::from_be(load!(self.0, flow6_dport, u16)))
    }
}

/// `struct nft_pktinfo *`
#[derive(Clone, Copy)]
pub struct Pkt(*const c_void);

impl Pkt {
    /// Takes a context argument.
    #[inline(always)]
    pub fn new(pointer: *const c_void) -> Self {
        Self(pointer)
    }

    /// Address of the packet.
    #[inline(always)]
    pub fn skb(self) -> u64 {
        load!(self.0, pkt_skb, u64)
    }

    /// Address of the hook's state.
    #[inline(always)]
    pub fn state(self) -> u64 {
        load!(self.0, pkt_state, u64)
    }
}

/// `RTN_*` type of a `struct fib6_result *`.
#[inline(always)]
pub fn fib6_type(result: *const c_void) -> u8 {
    load!(result, fib6_type, u8)
}

/// Number of a `struct fib6_table *`.
#[inline(always)]
pub fn fib6_table(table: *const c_void) -> u32 {
    load!(table, fib6_table_id, u32)
}
