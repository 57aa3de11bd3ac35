//! Loading: which entry program fits this kernel's tracepoint, with which configuration.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aya::maps::MapError;
use aya::programs::Program;
use aya::{Ebpf, EbpfLoader, Pod};
use egress_common::{Config, NetnsEntry, Offsets, REASON_CLASSES};
use egress_core::decode::KernelNames;

use super::btf::Btf;
use super::chains::{self, Chains};
use super::doctor::{missing_capabilities, refusal};
use super::error::{ProbeError, chain, is_not_permitted};
use super::object::OBJECT;
use super::offsets::{Hook, Resolved};
use super::{ProbeOptions, reasons, rings, sys};
use crate::status::{HookState, HookStatus};

/// Vouches that a type of `egress-common` may be copied to the kernel byte by byte.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Plain<T: Copy>(pub(super) T);

// SAFETY: `repr(C)`, integers and byte arrays, no implicit padding: their sizes are asserted where they are defined.
unsafe impl Pod for Plain<Offsets> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Config> {}
// SAFETY: as above.
unsafe impl Pod for Plain<NetnsEntry> {}
// SAFETY: as above.
unsafe impl Pod for Plain<egress_common::AggregateKey> {}
// SAFETY: as above.
unsafe impl Pod for Plain<egress_common::AggregateValue> {}
// SAFETY: as above.
unsafe impl Pod for Plain<egress_common::PodSlotState> {}

/// A tracepoint and the entry programs that read its arguments.
struct Tracepoint {
    hook: Hook,
    /// As people know it.
    shown: &'static str,
    event: &'static str,
    /// Event classes whose `__bpf_trace_…` function may carry the parameters' names.
    classes: &'static [&'static str],
    /// The longest first.
    layouts: &'static [Layout],
}

/// Parameters of a tracepoint, and the program for them.
struct Layout {
    parameters: &'static [&'static str],
    program: &'static str,
    /// What a kernel with these parameters does not say.
    loss: Option<&'static str>,
}

const fn layout(parameters: &'static [&'static str], program: &'static str) -> Layout {
    Layout { parameters, program, loss: None }
}

const TRACEPOINTS: &[Tracepoint] = &[
    Tracepoint {
        hook: Hook::Drop,
        shown: "skb:kfree_skb",
        event: "kfree_skb",
        classes: &["kfree_skb"],
        layouts: &[
            layout(&["skb", "location", "reason", "rx_sk"], "kfree_skb_rx_sk"),
            layout(&["skb", "location", "reason"], "kfree_skb_reason"),
            Layout {
                parameters: &["skb", "location"],
                program: "kfree_skb_plain",
                loss: Some("drop reasons (the kernel gives none before 5.17)"),
            },
        ],
    },
    Tracepoint {
        hook: Hook::Retransmit,
        shown: "tcp:tcp_retransmit_skb",
        event: "tcp_retransmit_skb",
        classes: &["tcp_retransmit_skb", "tcp_event_sk_skb"],
        layouts: &[layout(&["sk", "skb"], "tcp_retransmit_skb")],
    },
    Tracepoint {
        hook: Hook::SockState,
        shown: "sock:inet_sock_set_state",
        event: "inet_sock_set_state",
        classes: &["inet_sock_set_state"],
        layouts: &[layout(&["sk", "oldstate", "newstate"], "inet_sock_set_state")],
    },
    Tracepoint {
        hook: Hook::SendReset,
        shown: "tcp:tcp_send_reset",
        event: "tcp_send_reset",
        classes: &["tcp_send_reset", "tcp_event_sk_skb"],
        layouts: &[
            layout(&["sk", "skb", "reason"], "tcp_send_reset"),
            Layout {
                parameters: &["sk", "skb"],
                program: "tcp_send_reset",
                loss: Some(
                    "resets that no socket sends, such as of closed ports (the kernel is silent before 6.10)",
                ),
            },
        ],
    },
    Tracepoint {
        hook: Hook::ReceiveReset,
        shown: "tcp:tcp_receive_reset",
        event: "tcp_receive_reset",
        classes: &["tcp_receive_reset", "tcp_event_sk"],
        layouts: &[layout(&["sk"], "tcp_receive_reset")],
    },
    Tracepoint {
        hook: Hook::Fib,
        shown: "fib:fib_table_lookup",
        event: "fib_table_lookup",
        classes: &["fib_table_lookup"],
        layouts: &[layout(&["tb_id", "flp", "nhc", "err"], "fib_table_lookup")],
    },
    Tracepoint {
        hook: Hook::Fib6,
        shown: "fib6:fib6_table_lookup",
        event: "fib6_table_lookup",
        classes: &["fib6_table_lookup"],
        layouts: &[layout(&["net", "res", "table", "flp"], "fib6_table_lookup")],
    },
];

/// Hooks that more can be told with than without; what is not seen where they are missing.
const OPTIONAL: &[(Hook, &str)] = &[
    (Hook::Fib, "blind for IPv4 routes that are missing inside a pod"),
    (Hook::Fib6, "blind for IPv6 routes that are missing inside a pod"),
];

/// After how long without a heartbeat the TC programs stand aside, where they outlive us.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(3);
/// Modules whose BTF describes conntrack.
const CONNTRACK_MODULES: &[&str] = &["nf_conntrack"];

/// What loading made.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    pub(super) offsets: Offsets,
    pub(super) config: Config,
    pub(super) cpus: u32,
    pub(super) hooks: Vec<HookStatus>,
    pub(super) names: KernelNames,
    pub(super) has_conntrack: bool,
    /// Programs at the chains of nftables, if asked for.
    pub(super) chains: Option<Chains>,
    /// Whether the types of nftables were there, if asked for.
    pub(super) has_chains: bool,
}

/// Loads the object and attaches the tracepoints.
pub(super) fn load(options: &ProbeOptions) -> Result<Loaded, ProbeError> {
    let object = OBJECT.ok_or(ProbeError::NotBuilt)?;
    let vmlinux = options.btf_path.join("vmlinux");
    let kernel = Arc::new(Btf::read(&vmlinux, None)?);
    let module = |name: &&str| Btf::read(&options.btf_path.join(name), Some(Arc::clone(&kernel))).ok();
    let mut modules: Vec<Btf> = CONNTRACK_MODULES.iter().chain(reasons::MODULES).filter_map(module).collect();
    // The first, if it is there.
    let rules = if options.trace_netfilter { module(&chains::MODULE) } else { None };
    let has_rules = rules.is_some();
    modules.splice(0..0, rules);

    let mut names = KernelNames::default();
    let classes = reasons::resolve(&kernel, &modules, &mut names);
    let mut resolved = Resolved::new(&kernel, &modules);
    if !options.trace_netfilter {
        resolved.without_chains();
    }
    let cpus = aya::util::nr_cpus()
        .ok()
        .and_then(|count| u32::try_from(count).ok())
        .ok_or(ProbeError::last_os("counting the CPUs"))?;
    let tcx = !options.force_clsact && sys::has_tcx();
    let config = configuration(options, cpus, tcx)?;
    let mut ebpf = load_object(object, &resolved.offsets, &config, &classes, cpus)?;

    let types = aya::Btf::parse_file(&vmlinux, aya::Endianness::default())
        .map_err(|error| ProbeError::Object(chain(&error)))?;
    let mut hooks: Vec<HookStatus> = TRACEPOINTS
        .iter()
        .map(|tracepoint| {
            let (state, note) = match attach(&mut ebpf, tracepoint, &kernel, &types, &resolved) {
                Ok(losses) if losses.is_empty() => (HookState::Attached, "tp_btf".to_owned()),
                Ok(losses) => (HookState::Degraded, format!("tp_btf, without {}", losses.join("; "))),
                Err(reason) => match OPTIONAL.iter().find(|(hook, _)| *hook == tracepoint.hook) {
                    Some((_, blind)) => (HookState::Degraded, format!("{reason}: {blind}")),
                    None => (HookState::Refused, reason),
                },
            };
            HookStatus { hook: tracepoint.shown.to_owned(), state, note }
        })
        .collect();
    let rules = modules.first().filter(|_| has_rules);
    let has_chains = !options.trace_netfilter || chains::is_described(&kernel, rules);
    let mut attached = None;
    if options.trace_netfilter {
        let (chains, status) = chains::attach(object, &ebpf, &kernel, rules, &resolved);
        attached = chains;
        hooks.push(status);
    }
    drop((types, modules, kernel));
    crate::host::give_back_memory();
    Ok(Loaded {
        offsets: resolved.offsets,
        ebpf,
        config,
        cpus,
        hooks,
        names,
        has_conntrack: resolved.has_conntrack(),
        chains: attached,
        has_chains,
    })
}

/// Names of the tracepoint hooks.
pub(super) fn hook_names() -> impl Iterator<Item = &'static str> {
    TRACEPOINTS.iter().map(|tracepoint| tracepoint.shown)
}

fn configuration(options: &ProbeOptions, cpus: u32, tcx: bool) -> Result<Config, ProbeError> {
    let second = sys::ticks_per_second();
    let node_netns =
        sys::own_netns().map_err(|source| ProbeError::System { what: "/proc/thread-self/ns/net", source })?;
    Ok(Config {
        report_gap_jiffies: (second / 4).max(1),
        heartbeat_jiffies: if tcx { 0 } else { HEARTBEAT.as_secs() * second },
        udp_pause_jiffies: 5 * second,
        budget_window_jiffies: (second / 10).max(1),
        drop_budget: 32,
        control_budget: 512,
        dns_budget: 2048,
        other_budget: 256,
        ring_bytes: rings::size(cpus),
        node_netns,
        uplink_slot: options.pod_slots,
        jiffies_per_second: u32::try_from(second).unwrap_or(u32::MAX),
    })
}

fn load_object(
    object: &[u8],
    offsets: &Offsets,
    config: &Config,
    classes: &[u8; REASON_CLASSES],
    cpus: u32,
) -> Result<Ebpf, ProbeError> {
    let (offsets, config) = (Plain(*offsets), Plain(*config));
    EbpfLoader::new()
        .btf(None)
        .override_global("OFFSETS", &offsets, true)
        .override_global("CONFIG", &config, true)
        .override_global("REASONS", classes.as_slice(), true)
        .map_max_entries("RINGS", cpus)
        .map_max_entries("SLOTS", config.0.uplink_slot + 1)
        .load(object)
        .map_err(|error| {
            if is_not_permitted(&error) {
                let what = "loading eBPF programs".to_owned();
                ProbeError::Privileges { what, missing: missing_capabilities() }
            } else {
                ProbeError::Object(chain(&error))
            }
        })
}

/// Loads and attaches the program that fits; what is lost nevertheless, or why not.
fn attach(
    ebpf: &mut Ebpf,
    tracepoint: &Tracepoint,
    kernel: &Btf,
    types: &aya::Btf,
    resolved: &Resolved,
) -> Result<Vec<&'static str>, String> {
    let arity = kernel
        .tracepoint_arity(tracepoint.event)
        .ok_or_else(|| format!("this kernel has no tracepoint {}", tracepoint.event))?;
    if let Some(reason) = resolved.refusal(tracepoint.hook) {
        return Err(reason);
    }
    let parameters = tracepoint
        .classes
        .iter()
        .find_map(|class| kernel.parameters(&format!("__bpf_trace_{class}")))
        .filter(|parameters| parameters.len() == arity + 1);
    let layout = choose(tracepoint.layouts, parameters.as_deref(), arity)?;
    let name = layout.program;
    let Some(Program::BtfTracePoint(program)) = ebpf.program_mut(name) else {
        return Err(format!("the eBPF object has no program {name}"));
    };
    program
        .load(tracepoint.event, types)
        .map_err(|error| refusal("the kernel refused the program", &error))?;
    program.attach().map_err(|error| refusal("cannot attach", &error))?;
    let mut losses = resolved.losses(tracepoint.hook);
    losses.extend(layout.loss);
    Ok(losses)
}

/// The layout whose parameters are the first ones of the tracepoint; by number where the names are unknown.
fn choose<'a>(
    layouts: &'a [Layout],
    parameters: Option<&[String]>,
    arity: usize,
) -> Result<&'a Layout, String> {
    let Some(parameters) = parameters else {
        let fitting = layouts.iter().find(|layout| layout.parameters.len() <= arity);
        return fitting.ok_or_else(|| format!("it has {arity} arguments only"));
    };
    // The first is the probe's own data; the verifier's marks are part of a name.
    let names: Vec<&str> =
        parameters.iter().skip(1).map(|name| name.strip_suffix("__nullable").unwrap_or(name)).collect();
    layouts
        .iter()
        .find(|layout| names.starts_with(layout.parameters))
        .ok_or_else(|| format!("its arguments are ({}), which no program here reads", names.join(", ")))
}

/// A map error as ours, with the kernel's answer if there was one.
pub(super) fn map_error(map: &'static str, error: &(dyn std::error::Error + 'static)) -> ProbeError {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = next {
        if let Some(code) = current.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return ProbeError::Map { map, source: io::Error::from_raw_os_error(code) };
        }
        next = current.source();
    }
    ProbeError::Map { map, source: io::Error::other(chain(error)) }
}

/// A write to a map that may be full.
pub(super) fn written(map: &'static str, limit: u32, result: Result<(), MapError>) -> Result<(), ProbeError> {
    result.map_err(|error| match map_error(map, &error) {
        ProbeError::Map { source, .. } if source.raw_os_error() == Some(libc::E2BIG) => {
            ProbeError::Full { map, limit }
        }
        other => other,
    })
}

/// Whether the BTF of nftables has turned up.
pub(super) fn has_chains_btf(directory: &Path) -> bool {
    fs::exists(directory.join(chains::MODULE)).unwrap_or(false)
}

/// Whether a module's BTF has turned up that would have helped.
pub(super) fn has_conntrack_btf(directory: &Path) -> bool {
    CONNTRACK_MODULES.iter().any(|module| fs::exists(directory.join(module)).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_program_is_chosen_by_the_names_of_the_parameters() {
        let layouts = TRACEPOINTS[0].layouts;
        for (parameters, program) in [
            (&["__data", "skb", "location"][..], "kfree_skb_plain"),
            (&["__data", "skb", "location", "reason"], "kfree_skb_reason"),
            (&["__data", "skb", "location", "reason", "rx_sk"], "kfree_skb_rx_sk"),
            (&["__data", "skb", "location", "reason", "rx_sk__nullable", "more"], "kfree_skb_rx_sk"),
        ] {
            let parameters = names(parameters);
            let layout = choose(layouts, Some(&parameters), parameters.len() - 1);
            assert_eq!(layout.map(|layout| layout.program), Ok(program));
        }
    }

    #[test]
    fn unknown_parameters_are_refused_by_name() {
        let parameters = names(&["__data", "skb", "reason", "location"]);
        let error = choose(TRACEPOINTS[0].layouts, Some(&parameters), 3).err().unwrap();
        assert_eq!(error, "its arguments are (skb, reason, location), which no program here reads");
    }

    #[test]
    fn without_names_the_number_decides() {
        let layout = choose(TRACEPOINTS[0].layouts, None, 3);
        assert_eq!(layout.map(|layout| layout.program), Ok("kfree_skb_reason"));
        assert!(choose(TRACEPOINTS[0].layouts, None, 1).is_err());
    }
}
