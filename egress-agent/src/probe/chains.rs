//! Which chain of nftables dropped a packet: fentry and fexit of `nft_do_chain`, on request.
//!
//! That function is most often a module's, and the loader library only attaches to functions of the kernel proper.
//! So the two programs are loaded here, on the maps of the others.

use std::collections::HashSet;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya::Ebpf;
use aya::maps::Map;
use aya_obj::Object;
use aya_obj::generated::bpf_attach_type;

use super::btf::Btf;
use super::error::chain;
use super::offsets::{Hook, Resolved};
use super::{doctor, sys};
use crate::status::{HookState, HookStatus};

/// The module, as its BTF is called.
pub(super) const MODULE: &str = "nf_tables";
/// The function.
const FUNCTION: &str = "nft_do_chain";
/// Programs at its entry and exit. The exit first: a note that nobody takes back is never written.
const PROGRAMS: &[(&str, bpf_attach_type)] = &[
    ("nft_chain_left", bpf_attach_type::BPF_TRACE_FEXIT),
    ("nft_chain_entered", bpf_attach_type::BPF_TRACE_FENTRY),
];
/// Maps they use.
const MAPS: &[&str] = &["CHAINS", ".rodata"];
/// Without them.
const BLIND: &str = "a drop by nftables names its chain only where no other can have been";

/// Programs and links; they go with this.
pub(super) struct Chains {
    _links: Vec<OwnedFd>,
}

/// Loads and attaches them. The hook's line says how it went.
pub(super) fn attach(
    object: &[u8],
    ebpf: &Ebpf,
    kernel: &Btf,
    module: Option<&Btf>,
    resolved: &Resolved,
) -> (Option<Chains>, HookStatus) {
    let (chains, state, note) = match try_attach(object, ebpf, kernel, module, resolved) {
        Ok(chains) => (Some(chains), HookState::Attached, "fentry, fexit".to_owned()),
        Err(reason) => (None, HookState::Degraded, format!("{reason}: {BLIND}")),
    };
    (chains, HookStatus { hook: format!("netfilter:{FUNCTION}"), state, note })
}

/// Whether the kernel describes the function: then loading anew would show no more.
pub(super) fn is_described(kernel: &Btf, module: Option<&Btf>) -> bool {
    kernel.function(FUNCTION).is_some() || module.is_some()
}

fn try_attach(
    object: &[u8],
    ebpf: &Ebpf,
    kernel: &Btf,
    module: Option<&Btf>,
    resolved: &Resolved,
) -> Result<Chains, String> {
    let (target, module) = match (kernel.function(FUNCTION), module) {
        (Some(id), _) => (id, None),
        (None, Some(module)) => {
            let id = module.function(FUNCTION).ok_or_else(|| format!("no function {FUNCTION} in its BTF"))?;
            let opened = sys::module_types(MODULE)
                .map_err(|error| doctor::refusal("the types of nf_tables", &error))?;
            (id, Some(opened))
        }
        (None, None) => return Err("the module nf_tables is not loaded, or has no BTF".to_owned()),
    };
    if let Some(reason) = resolved.refusal(Hook::Chain) {
        return Err(reason);
    }
    let mut parsed = Object::parse(object).map_err(|error| chain(&error))?;
    relocate(&mut parsed, ebpf)?;
    let mut links = Vec::new();
    for (name, kind) in PROGRAMS {
        let program = parsed.programs.get(*name).ok_or_else(|| format!("the object has no {name}"))?;
        let code =
            &parsed.functions.get(&program.function_key()).ok_or("a program without code")?.instructions;
        let types = module.as_ref().map(AsFd::as_fd);
        let license = &program.license;
        let program = sys::load_tracing(&sys::Tracing { name, kind: *kind, code, license, types, target })
            .map_err(|error| doctor::refusal("the kernel refused the program", &error))?;
        let link =
            sys::attach_tracing(program.as_fd()).map_err(|error| doctor::refusal("cannot attach", &error))?;
        links.extend([link, program]);
    }
    Ok(Chains { _links: links })
}

/// Leaves only our programs, and puts the descriptors of the loaded maps into them.
fn relocate(object: &mut Object, ebpf: &Ebpf) -> Result<(), String> {
    object.programs.retain(|name, _| PROGRAMS.iter().any(|(ours, _)| ours == name));
    let ours: HashSet<(usize, u64)> = object.programs.values().map(aya_obj::Program::function_key).collect();
    object.functions.retain(|key, _| ours.contains(key));
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    let mut maps = Vec::new();
    for name in MAPS {
        let map = object.maps.remove(*name).ok_or_else(|| format!("the object has no map {name}"))?;
        let fd = match ebpf.map(name) {
            Some(Map::Array(data) | Map::PerCpuArray(data)) => data.fd().as_fd().as_raw_fd(),
            _ => return Err(format!("the map {name} is not there")),
        };
        maps.push((*name, fd, map));
    }
    let maps = maps.iter().map(|(name, fd, map)| (*name, *fd, map));
    object.relocate_maps(maps, &sections).map_err(|error| chain(&error))?;
    object.relocate_calls(&sections).map_err(|error| chain(&error))
}
