//! The kernel side: loads the programs, attaches them, reads what they say.
//!
//! One thread owns a [`Probe`]. It must be in the node's network namespace when it loads and when it attaches
//! devices. Nothing is pinned: programs and links are descriptors and go with the process.

mod aggregates;
mod attach;
mod btf;
mod bypass;
mod chains;
mod doctor;
mod error;
mod load;
mod object;
mod offsets;
mod pod_ips;
pub mod programs;
mod reasons;
mod ring;
mod rings;
mod stats;
mod symbols;
mod sys;

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aya::maps::{ArrayOfMaps, HashMap, MapData};
use aya::programs::Program;
use aya::{Ebpf, maps::MapError};
use egress_common::{ABI_VERSION, DropRecord, NetnsEntry, Offsets, RecordKind, read_record};
use egress_core::decode::KernelNames;
use egress_core::node::DeviceRole;

pub use self::attach::{DeviceAttachment, cleanup};
pub use self::doctor::{diagnose, require_privileges};
pub use self::error::ProbeError;
use self::load::{Plain, map_error, written};
use self::symbols::{Symbols, Visibility};
use crate::host;
use crate::status::{EventCount, HookState, HookStatus};

/// Entries of the map of namespaces.
const NETNS_LIMIT: u32 = 2048;

/// Whether the agent was built with the eBPF programs inside.
pub fn is_built() -> Result<(), ProbeError> {
    object::OBJECT.map(|_| ()).ok_or(ProbeError::NotBuilt)
}

/// How to load.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// Directory of the kernel's BTF: `/sys/kernel/btf`.
    pub btf_path: PathBuf,
    /// Use clsact although the kernel has TCX.
    pub force_clsact: bool,
    /// Slots of pods; a slot given to [`Probe::set_netns`] or [`Probe::set_pod_ip`] is below this.
    pub pod_slots: u32,
    /// Attach to the chains of nftables: costs every packet that goes through one.
    pub trace_netfilter: bool,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self {
            btf_path: "/sys/kernel/btf".into(),
            force_clsact: false,
            pod_slots: 1024,
            trace_netfilter: false,
        }
    }
}

/// The loaded programs, their maps and links.
pub struct Probe {
    // Fields are dropped in this order: links first, then the programs and maps.
    taps: attach::Taps,
    _chains: Option<chains::Chains>,
    hooks: Vec<HookStatus>,
    rings: rings::Rings,
    aggregates: aggregates::Aggregates,
    stats: stats::Stats,
    netns: HashMap<MapData, u32, Plain<NetnsEntry>>,
    pod_ips: pod_ips::PodIps,
    /// Keeps the rings findable: user space holds the only reference to the map besides the programs.
    _rings_map: ArrayOfMaps<MapData>,
    ebpf: Ebpf,
    names: KernelNames,
    symbols: Symbols,
    heartbeat: OwnedFd,
    last_beat: Instant,
    options: ProbeOptions,
    has_conntrack: bool,
    has_chains: bool,
    offsets: Offsets,
}

impl Probe {
    /// Loads the programs and attaches the tracepoints. A hook that the kernel refuses is no error here but a line
    /// of [`Probe::hooks`].
    pub fn load(options: &ProbeOptions) -> Result<Self, ProbeError> {
        let loaded = load::load(options)?;
        let (chains, has_chains) = (loaded.chains, loaded.has_chains);
        let load::Loaded { mut ebpf, offsets, config, cpus, mut hooks, mut names, has_conntrack, .. } =
            loaded;
        let heartbeat = check_abi(&mut ebpf)?;
        let rings = rings::Rings::create(cpus, config.ring_bytes)?;
        let mut rings_map: ArrayOfMaps<MapData> = ArrayOfMaps::try_from(stats::take(&mut ebpf, "RINGS")?)
            .map_err(|error| map_error("RINGS", &error))?;
        for (cpu, ring) in (0..cpus).zip(rings.iter()) {
            rings_map.set(cpu, ring.map(), 0).map_err(|error| map_error("RINGS", &error))?;
        }
        let programs = tracepoint_programs(&ebpf);
        let aggregates = aggregates::Aggregates::new(&mut ebpf, options.pod_slots + 1, programs)?;
        let stats = stats::Stats::new(&mut ebpf)?;
        let netns = HashMap::try_from(stats::take(&mut ebpf, "NETNS")?)
            .map_err(|error| map_error("NETNS", &error))?;
        let pod_ips = pod_ips::PodIps::new(&mut ebpf)?;
        let taps = attach::Taps::load(&mut ebpf, config.heartbeat_jiffies == 0);
        hooks.push(kallsyms_status(&mut names));
        let mut probe = Self {
            taps,
            _chains: chains,
            hooks,
            rings,
            aggregates,
            stats,
            netns,
            pod_ips,
            _rings_map: rings_map,
            ebpf,
            names,
            symbols: Symbols::default(),
            heartbeat,
            last_beat: Instant::now(),
            options: options.clone(),
            has_conntrack,
            has_chains,
            offsets,
        };
        // Loading may have taken long.
        probe.heartbeat();
        Ok(probe)
    }

    /// State of every hook.
    #[must_use]
    pub fn hooks(&self) -> Vec<HookStatus> {
        let mut hooks = self.hooks.clone();
        hooks.extend([DeviceRole::Pod, DeviceRole::Uplink].map(|role| doctor::tap_status(&self.taps, role)));
        hooks
    }

    /// Where the running kernel keeps the fields that the programs read.
    #[must_use]
    pub const fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// Names of the running kernel, as far as they were needed.
    #[must_use]
    pub fn names(&self) -> &KernelNames {
        &self.names
    }

    /// Looks up the functions a record refers to. True if names were added.
    pub fn resolve(&mut self, bytes: &[u8]) -> bool {
        let addresses = match kind(bytes) {
            Some(RecordKind::Drop) => read_record::<DropRecord>(bytes)
                .map(|record| [record.location, record.dst_input, record.dst_output]),
            Some(RecordKind::Aggregate) => {
                read_record::<egress_common::AggregateRecord>(bytes).map(|record| [record.key.location, 0, 0])
            }
            _ => None,
        };
        for address in addresses.into_iter().flatten() {
            self.symbols.want(address, &self.names);
        }
        if !self.symbols.is_pending() {
            return false;
        }
        self.symbols.scan_pending(&mut self.names).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read /proc/kallsyms");
            false
        })
    }

    /// A network namespace that matters, by the inode number of its `net` file.
    pub fn set_netns(&mut self, inum: u32, entry: NetnsEntry) -> Result<(), ProbeError> {
        written("NETNS", NETNS_LIMIT, self.netns.insert(inum, Plain(entry), 0))
    }

    /// The namespace does not matter any more.
    pub fn remove_netns(&mut self, inum: u32) -> Result<(), ProbeError> {
        removed("NETNS", self.netns.remove(&inum))
    }

    /// An address of a local pod.
    pub fn set_pod_ip(&mut self, ip: IpAddr, slot: u32) -> Result<(), ProbeError> {
        self.pod_ips.insert(ip, slot)
    }

    /// The address is no local pod's any more.
    pub fn remove_pod_ip(&mut self, ip: IpAddr) -> Result<(), ProbeError> {
        self.pod_ips.remove(ip)
    }

    /// Watches a device, both ways. Attaching what is attached is no error.
    pub fn attach_device(
        &mut self,
        index: u32,
        name: &str,
        role: DeviceRole,
    ) -> Result<DeviceAttachment, ProbeError> {
        self.taps.attach(&mut self.ebpf, index, name, role)
    }

    /// Lets go of a device.
    pub fn detach_device(&mut self, index: u32) {
        self.taps.detach(index);
    }

    /// Waits until there is something to read, `extra_fd` is readable, or the time is up. Not everything wakes us:
    /// read at least every 50 ms.
    pub fn wait(&mut self, timeout: Duration, extra_fd: Option<RawFd>) {
        self.rings.wait(timeout, extra_fd);
    }

    /// Hands over the records of all CPUs, in the order of time, in place. Returns how many.
    pub fn read(&mut self, each: &mut dyn FnMut(&[u8])) -> u64 {
        let delivered = self.stats.delivered();
        self.rings.read(host::monotonic().0, &mut |record| {
            delivered.note(record);
            each(record);
        })
    }

    /// Hands over, as records, what was counted in the kernel and what was lost since the last time.
    pub fn poll_aggregates(&mut self, now_ns: u64, each: &mut dyn FnMut(&[u8])) {
        let counters = self.stats.read();
        self.aggregates.poll(now_ns, &counters, each);
    }

    /// Says that we are alive; needed every second where [`Probe::needs_heartbeat`].
    pub fn heartbeat(&mut self) {
        if !self.needs_heartbeat() {
            return;
        }
        if let Err(error) = sys::run_once(self.heartbeat.as_fd()) {
            tracing::warn!(%error, "cannot renew the heartbeat of the TC filters: they stand aside in 3 s");
            return;
        }
        let now = Instant::now();
        if now.duration_since(self.last_beat) >= load::HEARTBEAT {
            self.aggregates.note_pause();
        }
        self.last_beat = now;
    }

    /// Whether the TC programs would outlive us.
    #[must_use]
    pub fn needs_heartbeat(&self) -> bool {
        !self.taps.is_tcx()
    }

    /// Counts since the start.
    #[must_use]
    pub fn counts(&self) -> Vec<EventCount> {
        self.stats.counts(self.aggregates.misses())
    }

    /// Whether loading anew would show more: a module that describes its types has come since.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        !self.has_conntrack && load::has_conntrack_btf(&self.options.btf_path)
            || !self.has_chains && load::has_chains_btf(&self.options.btf_path)
    }

    /// Ids of our programs.
    #[must_use]
    pub fn program_ids(&self) -> Vec<u32> {
        let id = |program: &Program| Some(sys::program_info(program.fd().ok()?.as_fd()).ok()?.id);
        self.ebpf.programs().filter_map(|(_, program)| id(program)).collect()
    }

    /// Instructions that the verifier went through, by program.
    #[must_use]
    pub fn verified_instructions(&self) -> Vec<(String, u32)> {
        let mut counts: Vec<(String, u32)> = self
            .ebpf
            .programs()
            .filter_map(|(name, program)| {
                Some((name.to_owned(), sys::program_info(program.fd().ok()?.as_fd()).ok()?.verified_insns))
            })
            .collect();
        counts.sort_unstable();
        counts
    }
}

/// Loads the heartbeat program and asks it for its version.
fn check_abi(ebpf: &mut Ebpf) -> Result<OwnedFd, ProbeError> {
    let Some(Program::SchedClassifier(program)) = ebpf.program_mut("heartbeat") else {
        return Err(ProbeError::Object("it has no program heartbeat".to_owned()));
    };
    let refused = |error: aya::programs::ProgramError| {
        if error::is_not_permitted(&error) {
            let what = "loading TC programs".to_owned();
            ProbeError::Privileges { what, missing: doctor::missing_capabilities() }
        } else {
            ProbeError::Object(error::chain(&error))
        }
    };
    program.load().map_err(refused)?;
    let fd = program.fd().map_err(refused)?.as_fd();
    let system = |source| ProbeError::System { what: "running a program once", source };
    let found = sys::run_once(fd).map_err(system)?;
    if found != u32::from(ABI_VERSION) {
        return Err(ProbeError::Abi { found, expected: ABI_VERSION.into() });
    }
    fd.try_clone_to_owned().map_err(system)
}

/// Descriptors of the tracepoint programs in use.
fn tracepoint_programs(ebpf: &Ebpf) -> Vec<OwnedFd> {
    ebpf.programs()
        .filter(|(_, program)| matches!(program, Program::BtfTracePoint(_)))
        .filter_map(|(_, program)| program.fd().ok()?.as_fd().try_clone_to_owned().ok())
        .collect()
}

fn kallsyms_status(names: &mut KernelNames) -> HookStatus {
    let (state, note) = match Symbols::scan_known(names) {
        Ok(Visibility::Real) => (HookState::Attached, "functions are named".to_owned()),
        Ok(Visibility::Hidden) => (
            HookState::Degraded,
            "addresses are hidden (missing: CAP_SYSLOG, or kptr_restrict is 2): drops without the function"
                .to_owned(),
        ),
        Err(error) => (HookState::Degraded, format!("/proc/kallsyms: {error}: drops without the function")),
    };
    HookStatus { hook: "kallsyms".to_owned(), state, note }
}

fn kind(bytes: &[u8]) -> Option<RecordKind> {
    let raw = bytes.get(8..10)?.try_into().ok()?;
    RecordKind::from_raw(u16::from_ne_bytes(raw))
}

/// A removal; what was not there is removed.
fn removed(map: &'static str, result: Result<(), MapError>) -> Result<(), ProbeError> {
    match result {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(error) => match map_error(map, &error) {
            ProbeError::Map { source, .. } if source.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => Err(other),
        },
    }
}
