//! Who else can drop packets at a device: programs of TCX and netkit, TC filters, XDP.

use std::os::fd::AsFd;

use egress_core::node::DeviceProgram;

use super::sys;
use crate::netlink::filters::classifiers;

/// Attach types of `enum bpf_attach_type`, and at which hook of the device they stand. A netkit device's peer program
/// sees what the pod sends.
const QUERIES: [(u32, &str); 4] = [(46, "ingress"), (47, "egress"), (54, "egress"), (55, "ingress")];

/// The programs and filters at a device of this thread's namespace; `ours` are the ids of the agent's own.
#[must_use]
pub fn at_device(index: u32, ours: &[u32]) -> Vec<DeviceProgram> {
    let mut found = Vec::new();
    for (attach_type, hook) in QUERIES {
        // A kernel without them refuses the question.
        let ids = sys::programs_at(index, attach_type).unwrap_or_default();
        for id in ids.into_iter().filter(|id| !ours.contains(id)) {
            let name = name(id).unwrap_or_else(|| format!("program {id}"));
            if is_an_agents(&name) {
                continue;
            }
            found.push(DeviceProgram { hook: hook.to_owned(), name });
        }
    }
    match classifiers(index) {
        Ok(classifiers) => {
            for other in classifiers {
                if other.program.is_some_and(|id| ours.contains(&id)) {
                    continue;
                }
                let name = other.program.and_then(name).unwrap_or(other.name);
                if is_an_agents(&name) {
                    continue;
                }
                found.push(DeviceProgram { hook: other.hook.to_owned(), name });
            }
        }
        Err(error) => tracing::debug!(%error, index, "the TC filters of a device cannot be read"),
    }
    found
}

/// A program of another agent like this one (`record` beside `run`), which drops nothing.
fn is_an_agents(name: &str) -> bool {
    name.starts_with("egress_pod_") || name.starts_with("egress_uplink_")
}

/// Name of a program. Asking needs `CAP_SYS_ADMIN`.
fn name(id: u32) -> Option<String> {
    let program = sys::program_by_id(id).ok()?;
    let info = sys::program_info(program.as_fd()).ok()?;
    let bytes = info.name.iter().map(|byte| byte.cast_unsigned()).take_while(|byte| *byte != 0).collect();
    String::from_utf8(bytes).ok().filter(|name: &String| !name.is_empty())
}
