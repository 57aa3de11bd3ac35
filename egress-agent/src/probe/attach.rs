//! TC programs on devices: TCX where the kernel has it, clsact where not.
//!
//! A TCX link is a descriptor and goes with the process. A clsact filter stays: it looks at the heartbeat, and
//! [`cleanup`] removes ours by name, never the qdisc and never another's.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use aya::Ebpf;
use aya::programs::links::LinkOrder;
use aya::programs::tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle};
use aya::programs::{Program, SchedClassifier, TcAttachType};
use egress_core::node::DeviceRole;

use super::bypass;
use super::doctor::refusal;
use super::error::{ProbeError, chain};

/// Every program, by role, direction and link header.
const PROGRAMS: &[(&str, DeviceRole, Direction, bool)] = &[
    ("egress_pod_out", DeviceRole::Pod, Direction::Out, true),
    ("egress_pod_in", DeviceRole::Pod, Direction::In, true),
    ("egress_uplink_out", DeviceRole::Uplink, Direction::Out, true),
    ("egress_uplink_in", DeviceRole::Uplink, Direction::In, true),
    ("egress_pod_out_l3", DeviceRole::Pod, Direction::Out, false),
    ("egress_pod_in_l3", DeviceRole::Pod, Direction::In, false),
    ("egress_uplink_out_l3", DeviceRole::Uplink, Direction::Out, false),
    ("egress_uplink_in_l3", DeviceRole::Uplink, Direction::In, false),
];

/// Of our clsact filters: before the others, and a handle that nobody picks by accident.
const PRIORITY: u16 = 1;
const HANDLE: TcHandle = TcHandle::new(0, 0xe6e5);

/// From the pod, out of the uplink; or the other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Out,
    In,
}

impl Direction {
    /// Which hook of the device sees it.
    fn hook(self, role: DeviceRole) -> TcAttachType {
        // Of a pod's device we see the host side: what leaves the pod comes in there.
        match (role, self) {
            (DeviceRole::Pod, Self::Out) | (DeviceRole::Uplink | DeviceRole::Other, Self::In) => {
                TcAttachType::Ingress
            }
            (DeviceRole::Pod, Self::In) | (DeviceRole::Uplink | DeviceRole::Other, Self::Out) => {
                TcAttachType::Egress
            }
        }
    }
}

/// How a device is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceAttachment {
    /// From the pod, or out of the uplink.
    pub watched_out: bool,
    /// To the pod, or in from the uplink.
    pub watched_in: bool,
    /// Who stands before us or may bypass us.
    pub bypass: Option<String>,
    /// What did not work.
    pub problem: Option<String>,
}

struct Device {
    name: String,
    role: DeviceRole,
    state: DeviceAttachment,
    links: Vec<SchedClassifierLink>,
}

/// The watched devices.
pub(super) struct Taps {
    devices: BTreeMap<u32, Device>,
    tcx: bool,
    /// Why the programs could not be loaded.
    refused: Option<String>,
}

impl Taps {
    /// Loads all TC programs.
    pub(super) fn load(ebpf: &mut Ebpf, tcx: bool) -> Self {
        let mut refused = None;
        for (name, ..) in PROGRAMS {
            let loaded = classifier(ebpf, name).and_then(|program| {
                program.load().map_err(|error| refusal("the kernel refused the program", &error))
            });
            if let Err(error) = loaded {
                refused = Some(format!("{name}: {error}"));
                break;
            }
        }
        Self { devices: BTreeMap::new(), tcx, refused }
    }

    /// Attaches both directions. Attaching again is no error.
    pub(super) fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        index: u32,
        name: &str,
        role: DeviceRole,
    ) -> Result<DeviceAttachment, ProbeError> {
        let failed = |what: String| ProbeError::Device { device: name.to_owned(), what };
        if role == DeviceRole::Other {
            return Err(failed("neither a pod's device nor an uplink".to_owned()));
        }
        if let Some(reason) = &self.refused {
            return Err(failed(reason.clone()));
        }
        if let Some(device) = self.devices.get_mut(&index)
            && device.role == role
            && device.name == name
        {
            // Others may have come since.
            device.state.bypass = bypass::find(index, name, self.tcx);
            return Ok(device.state.clone());
        }
        self.devices.remove(&index);
        let (actual, ethernet) = identify(name).map_err(|error| failed(error.to_string()))?;
        if actual != index {
            return Err(failed(format!("has index {actual} now, not {index}")));
        }
        if !self.tcx {
            prepare_clsact(name).map_err(failed)?;
        }
        let mut device =
            Device { name: name.to_owned(), role, state: DeviceAttachment::default(), links: Vec::new() };
        for (program, _, direction, _) in
            PROGRAMS.iter().filter(|(_, for_role, _, for_link)| *for_role == role && *for_link == ethernet)
        {
            match self.attach_one(ebpf, program, name, direction.hook(role)) {
                Ok(link) => {
                    device.links.push(link);
                    match direction {
                        Direction::Out => device.state.watched_out = true,
                        Direction::In => device.state.watched_in = true,
                    }
                }
                Err(error) => device.state.problem = Some(error),
            }
        }
        device.state.bypass = bypass::find(index, name, self.tcx);
        if let (Some(problem), true) = (&device.state.problem, device.links.is_empty()) {
            return Err(failed(problem.clone()));
        }
        let state = device.state.clone();
        self.devices.insert(index, device);
        Ok(state)
    }

    fn attach_one(
        &self,
        ebpf: &mut Ebpf,
        program: &str,
        device: &str,
        hook: TcAttachType,
    ) -> Result<SchedClassifierLink, String> {
        let options = if self.tcx {
            TcAttachOptions::TcxOrder(LinkOrder::first())
        } else {
            TcAttachOptions::Netlink(NlOptions { priority: PRIORITY, handle: HANDLE, classid: None })
        };
        let program = classifier(ebpf, program)?;
        let id = program.attach_with_options(device, hook, options).map_err(|error| chain(&error))?;
        program.take_link(id).map_err(|error| chain(&error))
    }

    /// Lets go of a device. One that is gone took its programs with it.
    pub(super) fn detach(&mut self, index: u32) {
        self.devices.remove(&index);
    }

    /// Whether links die with us.
    pub(super) fn is_tcx(&self) -> bool {
        self.tcx
    }

    /// Why nothing can be attached, if so.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Names of the devices of a role and what is wrong with them.
    pub(super) fn devices(&self, role: DeviceRole) -> impl Iterator<Item = (&str, &DeviceAttachment)> {
        self.devices
            .values()
            .filter(move |device| device.role == role)
            .map(|device| (&*device.name, &device.state))
    }
}

fn classifier<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier, String> {
    match ebpf.program_mut(name) {
        Some(Program::SchedClassifier(program)) => Ok(program),
        _ => Err("not in the eBPF object".to_owned()),
    }
}

/// Adds the qdisc if it is not there, and takes away what a killed agent left.
fn prepare_clsact(device: &str) -> Result<(), String> {
    match tc::qdisc_add_clsact(device) {
        Ok(()) | Err(TcError::AlreadyAttached) => {}
        Err(error) if exists(&error) => {}
        Err(error) => return Err(format!("clsact: {}", chain(&error))),
    }
    remove_ours(device);
    Ok(())
}

fn exists(error: &TcError) -> bool {
    chain(error).contains("os error 17")
}

/// Removes our clsact filters from a device: what a killed agent left.
fn remove_ours(device: &str) -> usize {
    let mut removed = 0;
    for hook in [TcAttachType::Ingress, TcAttachType::Egress] {
        removed +=
            PROGRAMS.iter().filter(|(name, ..)| tc::qdisc_detach_program(device, hook, name).is_ok()).count();
    }
    removed
}

/// Removes our clsact filters from every device of this thread's network namespace. How many there were.
pub fn cleanup() -> io::Result<usize> {
    // SAFETY: the list is ours until freed.
    let list = unsafe { libc::if_nameindex() };
    if list.is_null() {
        return Err(io::Error::last_os_error());
    }
    let mut removed = 0;
    let mut next = list;
    // SAFETY: the list ends with a zero index; names are NUL-terminated.
    unsafe {
        while (*next).if_index != 0 {
            if let Ok(name) = std::ffi::CStr::from_ptr((*next).if_name).to_str() {
                removed += remove_ours(name);
            }
            next = next.add(1);
        }
        libc::if_freenameindex(list);
    }
    Ok(removed)
}

/// A device's index, and whether its packets begin with an Ethernet header.
fn identify(name: &str) -> io::Result<(u32, bool)> {
    let text = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: a NUL-terminated string.
    let index = unsafe { libc::if_nametoindex(text.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new socket, in this thread's namespace.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: a structure of plain data.
    let mut request: libc::ifreq = unsafe { zeroed() };
    let bytes = text.as_bytes();
    if bytes.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = from.cast_signed();
    }
    // SAFETY: the request is ours.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: this request fills this arm.
    let hardware = unsafe { request.ifr_ifru.ifru_hwaddr.sa_family };
    Ok((index, matches!(hardware, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK)))
}
