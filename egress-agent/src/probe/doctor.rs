//! Can this node run it, hook by hook, and what is lost where not.

use egress_core::node::DeviceRole;

use super::attach::Taps;
use super::error::{ProbeError, chain, is_not_permitted};
use super::{Probe, ProbeOptions, load, sys};
use crate::status::{HookState, HookStatus};

/// Capabilities we need, by number, and what for.
const NEEDED: &[(u32, &str)] = &[(39, "CAP_BPF"), (38, "CAP_PERFMON"), (12, "CAP_NET_ADMIN")];
/// `CAP_SYS_ADMIN`, which stands for the first two.
const SYS_ADMIN: u32 = 21;

/// Whether this process may load and attach at all.
///
/// # Errors
/// [`ProbeError::Privileges`], with the capabilities that are missing.
pub fn require_privileges() -> Result<(), ProbeError> {
    if lacking().is_empty() {
        return Ok(());
    }
    Err(ProbeError::Privileges { what: "watching this node".to_owned(), missing: missing_capabilities() })
}

/// The capabilities that this thread lacks.
fn lacking() -> Vec<&'static str> {
    let have = sys::capabilities();
    let has = |number: u32| have >> number & 1 != 0;
    NEEDED
        .iter()
        .filter(|(number, _)| !(has(*number) || matches!(number, 38 | 39) && has(SYS_ADMIN)))
        .map(|(_, name)| *name)
        .collect()
}

/// The same as words; where none is lacking, somebody else forbids it.
pub(super) fn missing_capabilities() -> String {
    let missing = lacking();
    if missing.is_empty() {
        "no capability; a security module, seccomp or kernel lockdown forbids it".to_owned()
    } else {
        missing.join(", ")
    }
}

/// Why the kernel refused something, in words. The verifier refuses what it allows with more capabilities: then
/// those are the reason.
pub(super) fn refusal(what: &str, error: &(dyn std::error::Error + 'static)) -> String {
    if is_not_permitted(error) || !lacking().is_empty() {
        format!("{what}: not permitted (missing: {})", missing_capabilities())
    } else {
        format!("{what}: {}", chain(error))
    }
}

/// Tries everything and lets go of it again. Works without privileges: then each line says what is missing.
pub fn diagnose(options: &ProbeOptions) -> Vec<HookStatus> {
    match Probe::load(options) {
        Ok(probe) => probe.hooks(),
        Err(error) => refused(&error),
    }
}

/// Devices that a note names.
const MAX_NAMED: usize = 6;

fn refused(error: &ProbeError) -> Vec<HookStatus> {
    let note = error.to_string();
    load::hook_names()
        .chain(["tc:pod", "tc:uplink", "kallsyms"])
        .map(|hook| HookStatus { hook: hook.to_owned(), state: HookState::Refused, note: note.clone() })
        .collect()
}

/// The line of the TC programs of a role.
pub(super) fn tap_status(taps: &Taps, role: DeviceRole) -> HookStatus {
    let hook = if role == DeviceRole::Pod { "tc:pod" } else { "tc:uplink" }.to_owned();
    if let Some(reason) = taps.refused() {
        return HookStatus { hook, state: HookState::Refused, note: reason.to_owned() };
    }
    let mechanism = if taps.is_tcx() { "TCX" } else { "clsact" };
    let mut names = Vec::new();
    let mut problems = Vec::new();
    for (name, state) in taps.devices(role) {
        names.push(name);
        problems.extend(state.problem.iter().chain(&state.bypass).map(|text| format!("{name}: {text}")));
    }
    let devices = match names.len() {
        0 => "no device yet".to_owned(),
        // A node may have hundreds: the status lists them.
        many if many > MAX_NAMED => {
            format!("{} and {} more", names[..MAX_NAMED].join(", "), many - MAX_NAMED)
        }
        _ => names.join(", "),
    };
    let mut note = format!("{mechanism} on {devices}");
    let mut state = HookState::Attached;
    if !taps.is_tcx() {
        // Works, but is not as good: a later filter of a lower priority, or a kill, shows.
        note.push_str(" (filters outlive a killed agent; they stand aside after 3 s)");
    }
    if !problems.is_empty() {
        state = HookState::Degraded;
        note = format!("{note}; {}", problems.join("; "));
    }
    HookStatus { hook, state, note }
}
