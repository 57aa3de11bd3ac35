//! The kernel side on this kernel, for real: namespaces, a veth, an nftables rule, packets.
//!
//! Needs root, the BPF object (`cargo xtask build-ebpf`), `ip` and `nft`; says so and passes where one is missing.

#[path = "probe/chain.rs"]
mod chain;
#[path = "probe/full.rs"]
mod full;
#[path = "probe/site.rs"]
mod site;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::mem::ManuallyDrop;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aya::programs::{SchedClassifier, TcAttachType};
use egress_agent::probe::{Probe, ProbeOptions};
use egress_agent::status::HookState;
use egress_common::{
    AggregateRecord, ChainRecord, DropRecord, LossRecord, NETNS_NODE, NETNS_POD, NetnsEntry, PacketClass,
    PacketRecord, RecordHeader, RecordKind, ResetRecord, RetransmitRecord, SockStateRecord, TapPoint, flags,
    read_record,
};
use egress_core::node::DeviceRole;

use site::{Site, on_site};

/// Slot of the only pod.
const SLOT: u32 = 7;
/// How long something may take that happens at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// A probe that watches a site's pod. Call it on the site's own thread.
fn watch(site: &Site, options: &ProbeOptions) -> Probe {
    let mut probe = Probe::load(options).expect("loads");
    probe.set_netns(site.node_netns(), NetnsEntry { kind: NETNS_NODE, pod_slot: 0 }).expect("node");
    probe.set_netns(site.pod_netns(), NetnsEntry { kind: NETNS_POD, pod_slot: SLOT }).expect("pod");
    for ip in [site::POD_IPV4.into(), site::POD_IPV6.into()] {
        probe.set_pod_ip(ip, SLOT).expect("address");
    }
    let pod =
        probe.attach_device(site.index(site::POD_DEVICE), site::POD_DEVICE, DeviceRole::Pod).expect("pod");
    assert!(pod.watched_out && pod.watched_in && pod.problem.is_none(), "{pod:?}");
    let uplink =
        probe.attach_device(site.index(site::UPLINK), site::UPLINK, DeviceRole::Uplink).expect("uplink");
    assert!(uplink.watched_out && uplink.watched_in, "{uplink:?}");
    probe
}

/// The records of a probe, by kind.
#[derive(Default)]
struct Heard {
    drops: Vec<DropRecord>,
    chains: Vec<ChainRecord>,
    packets: Vec<PacketRecord>,
    retransmits: Vec<RetransmitRecord>,
    states: Vec<SockStateRecord>,
    resets: Vec<ResetRecord>,
}

impl Heard {
    fn note(&mut self, bytes: &[u8]) {
        let header: RecordHeader = read_record(&bytes[..size_of::<RecordHeader>()]).expect("a header");
        match RecordKind::from_raw(header.kind).expect("a kind") {
            RecordKind::Drop => self.drops.extend(read_record::<DropRecord>(bytes)),
            RecordKind::Chain => self.chains.extend(read_record::<ChainRecord>(bytes)),
            RecordKind::Packet => self.packets.extend(read_record::<PacketRecord>(bytes)),
            RecordKind::Retransmit => self.retransmits.extend(read_record::<RetransmitRecord>(bytes)),
            RecordKind::SockState => self.states.extend(read_record::<SockStateRecord>(bytes)),
            RecordKind::Reset => self.resets.extend(read_record::<ResetRecord>(bytes)),
            _ => {}
        }
    }

    /// Reads until the condition holds.
    fn until(&mut self, probe: &mut Probe, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            probe.heartbeat();
            probe.read(&mut |bytes| self.note(bytes));
            if holds(self) {
                return;
            }
            assert!(Instant::now() < deadline, "not seen: {what}");
            probe.wait(Duration::from_millis(50), None);
        }
    }

    fn packet(&self, tap: TapPoint, class: PacketClass) -> Option<&PacketRecord> {
        self.packets.iter().find(|packet| packet.tap == tap as u8 && packet.class == class as u8)
    }
}

#[test]
fn every_hook_attaches() {
    let Some(site) = Site::build("hooks") else { return };
    on_site(site, |site| {
        let probe = watch(site, &ProbeOptions::default());
        for hook in probe.hooks() {
            println!("{}: {}: {}", hook.hook, hook.state.as_str(), hook.note);
            assert_ne!(hook.state, HookState::Refused, "{hook:?}");
        }
    });
}

#[test]
fn a_dropped_syn_tells_its_story() {
    let Some(site) = Site::build("syn") else { return };
    on_site(site, |site| {
        site.nft("add rule inet t forward ip daddr 192.0.2.9 counter drop");
        site.nft("add rule inet t forward ip6 daddr 2001:db8:2::9 counter drop");
        let mut probe = watch(site, &ProbeOptions::default());
        for (to, source) in
            [("192.0.2.9:443", IpAddr::from(site::POD_IPV4)), ("[2001:db8:2::9]:443", site::POD_IPV6.into())]
        {
            let mut heard = Heard::default();
            site.connect(to, Duration::from_millis(1500));
            // Not some neighbour discovery, which is dropped too.
            let is_syn = |drop: &&DropRecord| match source {
                IpAddr::V4(_) => drop.data[9] == 6 && drop.data[33] & 2 != 0,
                IpAddr::V6(_) => drop.data[6] == 6 && drop.data[53] & 2 != 0,
            };
            heard.until(&mut probe, "the drop", |heard| heard.drops.iter().any(|drop| is_syn(&drop)));
            let drop = *heard.drops.iter().find(is_syn).expect("just seen");
            assert_eq!(drop.header.netns, site.node_netns());
            assert_eq!(drop.header.pod_slot, SLOT);
            assert_ne!(drop.header.flags & flags::HAS_DST, 0, "a forwarded packet has a route");
            assert_eq!(drop.header.flags & flags::HAS_SOCKET, 0, "and no socket here");
            assert_eq!(drop.dst_ifindex, site.index(site::UPLINK));
            assert_eq!(drop.iif, site.index(site::POD_DEVICE));
            let data = &drop.data[..usize::from(drop.data_len)];
            let found = if source.is_ipv4() { &data[12..16] } else { &data[8..24] };
            let octets = match source {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            assert_eq!(found, octets);
            probe.resolve(egress_common::record_bytes(&drop));
            let names = probe.names();
            assert_eq!(names.reason(drop.reason).map(|name| &**name), Some("NETFILTER_DROP"));
            let function = names.function(drop.location).expect("the location is a function");
            assert!(["nft_do_chain", "nf_hook_slow"].contains(&&**function), "{function}");
            assert!(names.function(drop.dst_output).is_some() && names.function(drop.dst_input).is_some());

            heard.until(&mut probe, "the SYN at the pod's device", |heard| {
                heard.packet(TapPoint::PodOut, PacketClass::TcpControl).is_some()
            });
            assert!(heard.packet(TapPoint::UplinkOut, PacketClass::TcpControl).is_none(), "it did not leave");
            // The first retransmit follows after a second.
            heard.until(&mut probe, "the retransmit", |heard| !heard.retransmits.is_empty());
            let again = heard.retransmits[0];
            assert_eq!((again.header.netns, again.header.pod_slot), (site.pod_netns(), SLOT));
            assert_eq!((again.remote_port, again.state), (443, 2));
            heard.until(&mut probe, "the beginning and the end of the attempt", |heard| {
                heard.states.len() >= 2
            });
            let began = heard.states[0];
            assert_eq!((began.old_state, began.new_state), (7, 2));
            assert_eq!(began.pid, std::process::id());
            assert_ne!(began.comm[0], 0);
            assert_eq!(began.socket, again.socket);
        }
    });
}

#[test]
fn a_refused_connection_tells_who_refused() {
    let Some(site) = Site::build("rst") else { return };
    on_site(site, |site| {
        let mut probe = watch(site, &ProbeOptions::default());
        let mut heard = Heard::default();
        // A closed port of the node itself: its stack answers with a reset.
        site.connect("10.99.0.1:9", Duration::from_millis(500));
        let received =
            |heard: &Heard| heard.resets.iter().any(|reset| reset.header.flags & flags::RESET_SENT == 0);
        heard.until(&mut probe, "the reset received", received);
        // Before 6.10 the kernel keeps silent where it had no socket, and the probe says so.
        let hooks = probe.hooks();
        let hook = hooks.iter().find(|hook| hook.hook == "tcp:tcp_send_reset").expect("a line");
        if hook.state == HookState::Attached {
            let sent = |reset: &&ResetRecord| reset.header.flags & flags::RESET_SENT != 0;
            heard.until(&mut probe, "the reset sent", |heard| heard.resets.iter().any(|reset| sent(&reset)));
            let sent = heard.resets.iter().find(sent).expect("just seen");
            assert_eq!(sent.header.netns, site.node_netns());
        } else {
            println!("not looked for on this kernel: {}", hook.note);
        }
        let received =
            heard.resets.iter().find(|reset| reset.header.flags & flags::RESET_SENT == 0).expect("received");
        assert_eq!((received.header.netns, received.remote_port), (site.pod_netns(), 9));
        heard.until(&mut probe, "the reset at the pod's device", |heard| {
            heard.packets.iter().any(|packet| packet.tap == TapPoint::PodIn as u8 && packet.data[33] & 4 != 0)
        });
        // ECONNREFUSED is on the socket when it closes.
        heard.until(&mut probe, "the closed socket", |heard| {
            heard.states.iter().any(|state| state.sk_err == 111)
        });
    });
}

#[test]
fn in_a_flood_every_drop_is_accounted_for() {
    let Some(site) = Site::build("flood") else { return };
    on_site(site, |site| {
        site.nft("add rule inet t forward ip daddr 192.0.2.9 counter drop");
        let mut probe = watch(site, &ProbeOptions::default());
        let sent: u64 = 200_000;
        let began = Instant::now();
        let flood = site.flood("192.0.2.9".parse().expect("an address"), sent);
        let mut account = Account::default();
        while !flood.is_finished() {
            account.read(&mut probe);
            probe.wait(Duration::from_millis(10), None);
            probe.heartbeat();
        }
        flood.join().expect("the flood");
        let windows = u64::try_from(began.elapsed().as_millis() / 100).expect("a short flood") + 2;
        let dropped = site.nft_counter("192.0.2.9");
        assert!(dropped >= sent, "the rule saw {dropped} of {sent}");
        account.settle(&mut probe, dropped);
        println!("{dropped} dropped: {account:?}");
        assert_eq!(account.sum(), dropped, "{account:?}");
        assert_eq!(account.taps(), sent, "the pod's device saw every SYN, reported or not: {account:?}");
        // 512 records a CPU and window of 100 ms, however long this machine takes for the flood.
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
        assert!(
            account.packets <= windows * 512 * cpus,
            "a flood of SYNs is no flood of records: {account:?}"
        );
        assert!(account.reported < dropped / 10, "a flood of drops is no flood of records: {account:?}");
        assert_eq!(account.strangers, 0);
    });
}

/// Where the drops went.
#[derive(Debug, Default)]
struct Account {
    reported: u64,
    aggregated: u64,
    lost: u64,
    overflow: u64,
    /// Records of other pods.
    strangers: u64,
    /// TC records from the pod's device: SYNs and DNS.
    packets: u64,
    /// TC records withheld by the pod's budget.
    withheld: u64,
    /// TC records that found no room.
    packets_lost: u64,
}

impl Account {
    fn sum(&self) -> u64 {
        self.reported + self.aggregated + self.lost + self.overflow
    }

    /// Reads until the drops are there. Once more at least: what was read last may be older than the drops.
    fn settle(&mut self, probe: &mut Probe, dropped: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.read(probe);
            if self.sum() >= dropped || Instant::now() > deadline {
                return;
            }
        }
    }

    /// What TC saw at the pod's device.
    fn taps(&self) -> u64 {
        self.packets + self.withheld + self.packets_lost
    }

    fn read(&mut self, probe: &mut Probe) {
        probe.read(&mut |bytes| self.note(bytes));
        probe.poll_aggregates(0, &mut |bytes| self.note(bytes));
    }

    fn note(&mut self, bytes: &[u8]) {
        if let Some(record) = read_record::<DropRecord>(bytes) {
            if record.data[9] == 6 && record.data[16..20] == [192, 0, 2, 9] {
                self.reported += 1;
            }
            self.strangers += u64::from(record.header.pod_slot != SLOT);
        } else if let Some(record) = read_record::<PacketRecord>(bytes) {
            let wanted = [PacketClass::TcpControl, PacketClass::Dns].map(|class| class as u8);
            self.packets += u64::from(record.tap == TapPoint::PodOut as u8 && wanted.contains(&record.class));
        } else if let Some(record) = read_record::<AggregateRecord>(bytes) {
            if record.key.destination[12..] == [192, 0, 2, 9] {
                self.aggregated += record.count;
            }
        } else if let Some(record) = read_record::<LossRecord>(bytes)
            && record.of_kind == RecordKind::Drop as u16
        {
            match record.stage {
                1 => self.lost += record.count,
                3 => self.overflow += record.count,
                _ => {}
            }
        } else if let Some(record) = read_record::<LossRecord>(bytes)
            && record.of_kind == RecordKind::Packet as u16
        {
            match record.stage {
                1 => self.packets_lost += record.count,
                4 if record.header.pod_slot == SLOT => self.withheld += record.count,
                _ => {}
            }
        }
    }
}

#[test]
fn ten_thousand_dns_messages_a_second_are_all_seen() {
    let Some(site) = Site::build("dns") else { return };
    on_site(site, |site| {
        let mut probe = watch(site, &ProbeOptions::default());
        let sent: u64 = 20_000;
        let questions = site.dns("192.0.2.9".parse().expect("an address"), sent, Duration::from_secs(2));
        let mut account = Account::default();
        let deadline = Instant::now() + PATIENCE;
        while account.taps() < sent && Instant::now() < deadline {
            account.read(&mut probe);
            probe.wait(Duration::from_millis(50), None);
            probe.heartbeat();
        }
        questions.join().expect("the questions");
        account.read(&mut probe);
        assert_eq!((account.packets, account.withheld, account.packets_lost), (sent, 0, 0), "{account:?}");
    });
}

#[test]
fn a_full_map_is_accounted_for_too() {
    // Counted per pod only, drops of neighbour discovery could not be told from ours.
    let Some(site) = Site::build_ipv4("keys") else { return };
    on_site(site, |site| {
        site.nft("add rule inet t forward ip daddr 192.0.2.9 counter drop");
        let mut probe = watch(site, &ProbeOptions::default());
        // 60,000 destination ports are as many keys, and nobody reads meanwhile: the map holds 8,192.
        site.flood_ports("192.0.2.9".parse().expect("an address"), 60_000).join().expect("the flood");
        let dropped = site.nft_counter("192.0.2.9");
        let mut account = Account::default();
        account.settle(&mut probe, dropped);
        println!("{dropped} dropped: {account:?}");
        assert_eq!(account.sum(), dropped, "{account:?}");
        assert!(account.overflow > 0, "{account:?}");
        // The full generation was replaced: what comes now is counted under its key again.
        let before = account.overflow;
        site.flood_ports("192.0.2.9".parse().expect("an address"), 4_000).join().expect("the flood");
        let dropped = site.nft_counter("192.0.2.9");
        account.settle(&mut probe, dropped);
        assert_eq!((account.sum(), account.overflow), (dropped, before), "{account:?}");
    });
}

#[test]
fn clsact_filters_are_removed_by_name_and_leave_the_others() {
    let Some(site) = Site::build("clsact") else { return };
    on_site(site, |site| {
        site.run("tc qdisc add dev pod0 clsact");
        site.run("tc filter add dev pod0 ingress prio 9 protocol all u32 match u32 0 0 classid 1:1");
        let options = ProbeOptions { force_clsact: true, ..ProbeOptions::default() };
        let mut probe = watch(site, &options);
        assert!(probe.needs_heartbeat());
        probe.heartbeat();
        let mut heard = Heard::default();
        site.connect("10.99.0.1:9", Duration::from_millis(500));
        heard.until(&mut probe, "the SYN at the pod's device", |heard| {
            heard.packet(TapPoint::PodOut, PacketClass::TcpControl).is_some()
        });
        // What a killed agent would leave.
        std::mem::forget(probe);
        let filters = || site.output("tc filter show dev pod0 ingress");
        assert!(filters().contains("egress_pod_out"));
        assert!(egress_agent::probe::cleanup().expect("cleans up") >= 4);
        assert!(!filters().contains("egress_"), "{}", filters());
        assert!(filters().contains("u32"), "{}", filters());
        assert!(site.output("tc qdisc show dev pod0").contains("clsact"));
    });
}

#[test]
fn nothing_stays_after_a_kill() {
    let Some(site) = Site::build("kill") else { return };
    on_site(site, |site| {
        if Probe::load(&ProbeOptions::default()).expect("loads").needs_heartbeat() {
            eprintln!("skipped: without TCX the filters stay, and stand aside");
            return;
        }
        let programs = |hook| {
            let (_, programs) = SchedClassifier::query_tcx(site::POD_DEVICE, hook).expect("asks");
            programs.len()
        };
        let hooks = [TcAttachType::Ingress, TcAttachType::Egress];
        let mut agent = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "holds_until_killed", "--nocapture"])
            .env(HOLD, site.names())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let output = BufReader::new(agent.stdout.take().expect("its output"));
        assert!(output.lines().map_while(Result::ok).any(|line| line.contains(HOLD)), "it did not attach");
        assert_eq!(hooks.map(programs), [1, 1]);
        agent.kill().expect("kills");
        agent.wait().expect("is gone");
        let deadline = Instant::now() + PATIENCE;
        while hooks.map(programs) != [0, 0] {
            assert!(Instant::now() < deadline, "programs stayed on {}", site::POD_DEVICE);
            std::thread::yield_now();
        }
    });
}

/// Names the namespaces to the other half of [`nothing_stays_after_a_kill`], and is what it says when it is ready.
const HOLD: &str = "EGRESS_PROBE_HOLD";

#[test]
fn holds_until_killed() {
    let Ok(names) = std::env::var(HOLD) else { return };
    // Not built here, so not taken down here.
    let site = ManuallyDrop::new(Site::named(&names));
    site.enter_node();
    let _probe = watch(&site, &ProbeOptions::default());
    println!("{HOLD}");
    loop {
        std::thread::park();
    }
}

#[test]
fn clsact_filters_stand_aside_without_a_heartbeat() {
    let Some(site) = Site::build("beat") else { return };
    on_site(site, |site| {
        let options = ProbeOptions { force_clsact: true, ..ProbeOptions::default() };
        let mut probe = watch(site, &options);
        // Nobody says for 3 s that the agent is alive.
        let stale = Instant::now() + Duration::from_millis(3500);
        while Instant::now() < stale {
            probe.wait(stale.saturating_duration_since(Instant::now()), None);
            probe.read(&mut |_| {});
        }
        site.connect("10.99.0.1:9", Duration::from_millis(500));
        let mut heard = Heard::default();
        let deadline = Instant::now() + PATIENCE;
        while !heard.states.iter().any(|state| state.sk_err == 111) {
            assert!(Instant::now() < deadline, "the other hooks go on");
            probe.wait(Duration::from_millis(50), None);
            probe.read(&mut |bytes| heard.note(bytes));
        }
        assert!(heard.packets.is_empty(), "{:?}", heard.packets);
        probe.heartbeat();
        let mut pauses = 0;
        probe.poll_aggregates(0, &mut |bytes| {
            pauses += read_record::<LossRecord>(bytes).map_or(0, |loss| u64::from(loss.stage == 5));
        });
        assert_eq!(pauses, 1, "the pause is a loss that is told");
        site.connect("10.99.0.1:9", Duration::from_millis(500));
        heard.until(&mut probe, "the SYN at the pod's device", |heard| {
            heard.packet(TapPoint::PodOut, PacketClass::TcpControl).is_some()
        });
    });
}

/// What the verifier goes through must not creep up: older kernels have lower limits, and loading takes time.
#[test]
fn programs_stay_below_their_ceilings() {
    let Some(site) = Site::build("verifier") else { return };
    on_site(site, |_| {
        let probe = Probe::load(&ProbeOptions::default()).expect("loads");
        let counts: BTreeMap<String, u32> = probe.verified_instructions().into_iter().collect();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/verifier.txt");
        for (program, count) in &counts {
            println!("verified: {program} {count}");
        }
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("skipped: no ceilings at {}", path.display());
            return;
        };
        let ceilings: BTreeMap<&str, u32> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (name, ceiling) = line.split_once(' ')?;
                Some((name, ceiling.trim().parse().ok()?))
            })
            .collect();
        for (program, count) in &counts {
            let ceiling =
                ceilings.get(&**program).unwrap_or_else(|| panic!("{program} has no ceiling: {REFRESH}"));
            assert!(
                count <= ceiling,
                "{program}: {count} instructions verified, the ceiling is {ceiling}: {REFRESH}"
            );
        }
    });
}

const REFRESH: &str = "make it smaller, or run `cargo xtask verifier --refresh` and say why in the commit";
