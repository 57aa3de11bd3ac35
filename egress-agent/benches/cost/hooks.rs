//! The hooks: ours against a program that does nothing, on real packets.

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use egress_agent::probe::{Probe, ProbeOptions};
use egress_common::{NETNS_NODE, NetnsEntry, Stat};
use egress_core::input::Input;

use crate::figures::{Spread, Table, Variant, Windows};
use crate::kernel::{Counters, Program, detach};
use crate::pipeline::Recorded;
use crate::send::{Train, settle, tcp, udp};
use crate::site::{DROPPED, POD_DEVICE, PODS, STRANGER, SWALLOWED, Site, pod_ip};
use crate::{READER, SENDER};

/// Packets that are timed at once; a window is several, of which the median counts.
const STRETCH: usize = 1000;
const STRETCHES: usize = 5;
/// Copies of a frame that the stack receives in a window.
const COPIES: u32 = 4096;
/// A drop of a known flow is an event again after a quarter of a second.
const GAP: Duration = Duration::from_millis(270);
/// Packets of a burst of events: two a pod, and fewer than fit into a ring.
const BURST: usize = 2000;
/// Records kept for the measurement of user space.
const KEPT: usize = 4096;

/// The probe and what of it is attached by hand.
pub(crate) struct Hooks {
    probe: Probe,
    counters: Counters,
    drop: Program,
    empty_drop: Program,
    tap: Program,
    empty_tap: Program,
    rounds: usize,
    /// Records as the kernel wrote them.
    kept: Vec<Vec<u8>>,
}

impl Hooks {
    /// Loads; call it in the node's namespace.
    pub(crate) fn load(rounds: usize) -> Result<Self> {
        let node = own_netns()?;
        let options = ProbeOptions { pod_slots: PODS + 1, ..ProbeOptions::default() };
        let mut probe = Probe::load(&options)?;
        probe.set_netns(node, NetnsEntry { kind: NETNS_NODE, pod_slot: u32::MAX })?;
        for number in 0..PODS {
            probe.set_pod_ip(pod_ip(number).into(), number)?;
        }
        let drop = Program::of_ours(|name| name.starts_with("kfree_skb"))?;
        let tap = Program::of_ours(|name| name == "egress_pod_out")?;
        detach(&drop)?;
        Ok(Self {
            counters: Counters::find()?,
            empty_drop: Program::empty_like(&drop)?,
            empty_tap: Program::empty_like(&tap)?,
            probe,
            drop,
            tap,
            rounds,
            kept: Vec::new(),
        })
    }

    /// TC: packets that nobody wants to hear of.
    pub(crate) fn tap(&mut self, site: &Site, table: &mut Table) -> Result<()> {
        let pod = pod_ip(0);
        let frames = [
            ("TC, established TCP, bare ACK", tcp(pod, 4000, SWALLOWED, 443, 0x10, 0)),
            ("TC, established TCP, 1448 B of data", tcp(pod, 4000, SWALLOWED, 443, 0x18, 1448)),
            ("TC, UDP of a known flow, 32 B", udp(pod, 4000, SWALLOWED, 9999, 32)),
        ];
        let index = index(POD_DEVICE)?;
        for (what, packet) in &frames {
            // Only the program's run: no packet's way around it.
            let frame = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0], packet.as_slice()].concat();
            let repeat = 100_000;
            let (mut empty, mut ours) = (Vec::new(), Vec::new());
            thread::scope(|scope| {
                scope
                    .spawn(|| -> Result<()> {
                        settle(SENDER, true)?;
                        for _ in 0..self.rounds {
                            empty.push(self.empty_tap.run(&frame, repeat)?);
                            ours.push(self.tap.run(&frame, repeat)?);
                        }
                        Ok(())
                    })
                    .join()
                    .map_err(|_| anyhow::anyhow!("a thread panicked"))?
            })?;
            let (empty, ours) = (Spread::of(empty), Spread::of(ours));
            let run = format!(
                "{:.1} ns [{:.1} – {:.1}], empty {:.1} ns: {:.1} ns of work",
                ours.median,
                ours.low,
                ours.high,
                empty.median,
                ours.median - empty.median
            );
            table.note(&format!("{what}: BPF_PROG_TEST_RUN"), run);

            let socket = site.raw_socket()?;
            let (before, reported) = (Instant::now(), self.counters.read(Stat::PacketReported)?);
            let windows = self.alone(|this| {
                let mut train = Train::new(&socket, vec![packet.clone(); 64])?;
                Windows::measure(this.rounds, |variant| {
                    let _link = match variant {
                        Variant::None => None,
                        Variant::Empty => Some(this.empty_tap.tcx_ingress(index)?),
                        Variant::Ours => Some(this.tap.tcx_ingress(index)?),
                    };
                    stretches(&mut train)
                })
            })?;
            // A flow may be told of again after a pause; that is rare.
            let told = self.counters.read(Stat::PacketReported)? - reported;
            ensure!(told <= 64, "{told} of these packets made records");
            table.ratio(&format!("{what}: real packets"), &windows.ratio(), 2.0);
            progress(before);
        }
        Ok(())
    }

    /// Drops: rejected, counted, told.
    pub(crate) fn drops(&mut self, site: &Site, table: &mut Table) -> Result<()> {
        let windows = self.expecting(Stat::DropHousekeeping, |this| {
            Windows::measure(this.rounds, |variant| {
                let _link = this.attached(variant)?;
                purge()
            })
        })?;
        table.ratio("kfree_skb, rejected by its reason (SOCKET_CLOSE)", &windows.ratio(), 1.5);

        let windows = self.stream(site, Stat::DropForeign, STRANGER, false)?;
        table.ratio("kfree_skb, the node's drop of no pod's packet", &windows.ratio(), 2.0);

        let windows = self.stream(site, Stat::DropAggregated, pod_ip(0), false)?;
        table.ratio("kfree_skb, a pod's drop, aggregated", &windows.ratio(), 3.2);
        let windows = self.stream(site, Stat::DropAggregated, pod_ip(0), true)?;
        table.ratio("kfree_skb, the same from random source ports", &windows.ratio(), 3.2);

        let windows = self.events(site, false)?;
        table.ratio("kfree_skb, a pod's drop as an event (known flow)", &windows.ratio(), 3.5);
        let windows = self.events(site, true)?;
        table.ratio("kfree_skb, a pod's drop as an event (new flow)", &windows.ratio(), 3.5);
        site.track()?;
        let windows = self.events(site, false)?;
        table.ratio("kfree_skb, as an event with conntrack's tuples", &windows.ratio(), 3.5);
        Ok(())
    }

    /// As many drops as one core makes: every one is accounted for.
    pub(crate) fn flood(&mut self, site: &Site, table: &mut Table, count: usize) -> Result<()> {
        let before = Account::read(self, site)?;
        let socket = site.raw_socket()?;
        let nanoseconds = self.alone(|this| {
            let _link = this.attached(Variant::Ours)?;
            // 250 pods, 16 flows each, from random ports.
            let packets = (0..4000_u16)
                .map(|n| udp(pod_ip(u32::from(n) % 250), 1024 + n, DROPPED, 5000 + n / 250, 32))
                .collect();
            Train::new(&socket, packets)?.send(count)
        })?;
        let after = Account::read(self, site)?;
        let [sent, reported, aggregated, lost, overflow] = after.since(&before);
        let delivered = after.delivered - before.delivered;
        let sum = delivered + aggregated + lost + overflow;
        let rate = 1e3 / nanoseconds;
        table.fact(
            &format!("{count} drops by one core, of 250 pods' 4000 flows"),
            format!(
                "{rate:.2} M/s: {sent} dropped = {delivered} delivered + {aggregated} aggregated + {lost} lost \
                 + {overflow} without room; {:.0} events/s",
                delivered as f64 / (nanoseconds * count as f64 / 1e9)
            ),
            "exact",
            sum == sent && reported == delivered,
        );
        Ok(())
    }

    /// Records that came, and what names them.
    pub(crate) fn recorded(&mut self) -> Recorded {
        let drops = std::mem::take(&mut self.kept);
        for bytes in &drops {
            self.probe.resolve(bytes);
        }
        let names = self.probe.names();
        let reasons = names.reasons().map(|(number, name)| (number, name.to_owned())).collect();
        let functions = names.functions().map(|(start, end, name)| (start, end, name.to_owned())).collect();
        Recorded { drops, names: Some(Input::Names { reasons, functions }) }
    }

    /// Windows of one packet's copies, handed to the stack without anybody sending them: nothing but their reception
    /// is around the drop.
    fn stream(&mut self, site: &Site, fate: Stat, source: Ipv4Addr, random: bool) -> Result<Windows> {
        // The loopback device's own address, or the frames were another host's.
        let mut frame = [&[0; 12], [8, 0].as_slice(), &udp(source, 4000, DROPPED, 9999, 32)].concat();
        checksum(&mut frame[14..34]);
        let injector = Program::injector(&frame, random)?;
        let before = site.dropped()?;
        let windows = self.expecting(fate, |this| {
            Windows::measure(this.rounds, |variant| {
                let _link = this.attached(variant)?;
                Ok(injector.inject(&frame, COPIES)?.min(injector.inject(&frame, COPIES)?))
            })
        })?;
        let (dropped, made) = (site.dropped()? - before, u64::from(COPIES) * 6 * self.rounds as u64);
        ensure!(dropped == made, "the rule dropped {dropped} packets of {made}");
        Ok(windows)
    }

    /// Bursts of drops that are all told: two of each pod, of flows last told a while ago, or not at all yet.
    fn events(&mut self, site: &Site, new: bool) -> Result<Windows> {
        let socket = site.raw_socket()?;
        let mut told = Instant::now();
        self.expecting(Stat::DropReported, |this| {
            let burst = |port: u16| -> Vec<Vec<u8>> {
                let pods = u16::try_from(PODS).unwrap_or(u16::MAX);
                let of = |n: u16| udp(pod_ip(u32::from(n % pods)), 4000, DROPPED, port + n / pods, 32);
                (0..u16::try_from(BURST).unwrap_or(u16::MAX)).map(of).collect()
            };
            // Flows that no measurement before has told of.
            let mut port = if new { 7000 } else { 6000 };
            let mut train = Train::new(&socket, burst(port))?;
            {
                // The first of each are new.
                let _link = this.attached(Variant::Ours)?;
                train.send(train.len())?;
            }
            Windows::measure(this.rounds, |variant| {
                if variant == Variant::Ours {
                    if new {
                        port += 2;
                        train = Train::new(&socket, burst(port))?;
                    }
                    thread::sleep(GAP.saturating_sub(told.elapsed()));
                }
                let _link = this.attached(variant)?;
                let half = train.len() / 2;
                // Caches as warm as in the other windows, and the flows of the other half as cold.
                let found = Spread::of(vec![train.send(half)?, train.send(half)?]).low;
                if variant == Variant::Ours {
                    told = Instant::now();
                }
                Ok(found)
            })
        })
    }

    /// Runs `body` and checks that what ours saw ended as it should.
    fn expecting<T: Send>(
        &mut self,
        fate: Stat,
        body: impl FnOnce(&Shared<'_>) -> Result<T> + Send,
    ) -> Result<T> {
        let start = Instant::now();
        let all = [
            Stat::DropReported,
            Stat::DropLost,
            Stat::DropAggregated,
            Stat::DropOverflow,
            Stat::DropHousekeeping,
            Stat::DropForeign,
            Stat::DropUnreadable,
        ];
        let read =
            |this: &Self| all.iter().map(|stat| this.counters.read(*stat)).collect::<Result<Vec<u64>>>();
        let before = read(self)?;
        let result = self.alone(body)?;
        let found: Vec<u64> = read(self)?.iter().zip(before).map(|(after, before)| after - before).collect();
        let sum: u64 = found.iter().sum();
        let right = all.iter().position(|stat| *stat == fate).map_or(0, |index| found[index]);
        let share = right as f64 / sum as f64;
        if share.is_nan() || share < 0.98 {
            bail!("only {right} of {sum} went the way to be measured: {found:?}");
        }
        progress(start);
        Ok(result)
    }

    /// Runs `body` on the sender's core, and reads what comes on the reader's meanwhile.
    fn alone<T: Send>(&mut self, body: impl FnOnce(&Shared<'_>) -> Result<T> + Send) -> Result<T> {
        let shared = Shared {
            drop: &self.drop,
            empty_drop: &self.empty_drop,
            tap: &self.tap,
            empty_tap: &self.empty_tap,
            rounds: self.rounds,
        };
        settle(READER, false)?;
        let (probe, kept) = (&mut self.probe, &mut self.kept);
        thread::scope(|scope| {
            let worker = scope.spawn(move || {
                settle(SENDER, true)?;
                body(&shared)
            });
            let mut read = Instant::now();
            while !worker.is_finished() {
                probe.wait(Duration::from_millis(20), None);
                probe.read(&mut |bytes| {
                    if kept.len() < KEPT {
                        kept.push(bytes.to_vec());
                    }
                });
                if read.elapsed() > Duration::from_millis(200) {
                    read = Instant::now();
                    probe.poll_aggregates(0, &mut |_| {});
                }
            }
            probe.read(&mut |_| {});
            probe.poll_aggregates(0, &mut |_| {});
            worker.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?
        })
    }
}

/// What the sender's thread may use while the probe is read on another.
struct Shared<'a> {
    drop: &'a Program,
    empty_drop: &'a Program,
    tap: &'a Program,
    empty_tap: &'a Program,
    rounds: usize,
}

impl Shared<'_> {
    fn attached(&self, variant: Variant) -> Result<Option<OwnedFd>> {
        Ok(match variant {
            Variant::None => None,
            Variant::Empty => Some(self.empty_drop.trace()?),
            Variant::Ours => Some(self.drop.trace()?),
        })
    }
}

/// Where drops went, by the kernel's rule and by our counters.
struct Account {
    counted: [u64; 5],
    delivered: u64,
}

impl Account {
    fn read(hooks: &Hooks, site: &Site) -> Result<Self> {
        let of = |stat| hooks.counters.read(stat);
        let counted = [
            site.dropped()?,
            of(Stat::DropReported)?,
            of(Stat::DropAggregated)?,
            of(Stat::DropLost)?,
            of(Stat::DropOverflow)?,
        ];
        let drops = hooks.probe.counts().into_iter().find(|count| count.kind == "drop");
        Ok(Self { counted, delivered: drops.context("no count of drops")?.delivered })
    }

    fn since(&self, before: &Self) -> [u64; 5] {
        std::array::from_fn(|index| self.counted[index] - before.counted[index])
    }
}

/// A window's packets; nanoseconds each.
fn stretches(train: &mut Train<'_>) -> Result<f64> {
    train.send(STRETCH / 2)?;
    let found: Result<Vec<f64>> = (0..STRETCHES).map(|_| train.send(STRETCH)).collect();
    Ok(Spread::of(found?).median)
}

/// Closes sockets whose queues are full: frees of housekeeping, nanoseconds each.
fn purge() -> Result<f64> {
    let mut found = Vec::new();
    for _ in 0..STRETCHES {
        let (mut from, to) = UnixStream::pair()?;
        from.set_nonblocking(true)?;
        let size: libc::c_int = 8 << 20;
        let length = libc::socklen_t::try_from(size_of::<libc::c_int>())?;
        // SAFETY: an integer of that length.
        unsafe {
            libc::setsockopt(
                from.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_SNDBUFFORCE,
                (&raw const size).cast(),
                length,
            )
        };
        let mut queued = 0_u32;
        while queued < 2000 && from.write(b"x").is_ok() {
            queued += 1;
        }
        ensure!(queued >= 500, "a socket's queue takes {queued} messages only");
        let start = Instant::now();
        drop(to);
        found.push(start.elapsed().as_nanos() as f64 / f64::from(queued));
    }
    Ok(Spread::of(found).median)
}

/// Fills in the checksum of an IPv4 header.
fn checksum(header: &mut [u8]) {
    let mut sum: u32 =
        header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [.., high, low] = (!sum).to_be_bytes();
    header[10..12].copy_from_slice(&[high, low]);
}

/// Inode number of this thread's network namespace.
fn own_netns() -> Result<u32> {
    use std::os::unix::fs::MetadataExt;
    Ok(u32::try_from(fs::metadata("/proc/thread-self/ns/net")?.ino())?)
}

/// A device of this thread's namespace.
fn index(device: &str) -> Result<u32> {
    let name = std::ffi::CString::new(device)?;
    // SAFETY: a NUL-terminated string.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    ensure!(index != 0, "no device {device}");
    Ok(index)
}

fn progress(start: Instant) {
    eprintln!("    ({:.1} s)", start.elapsed().as_secs_f64());
}
