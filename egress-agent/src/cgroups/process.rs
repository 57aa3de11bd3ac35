//! What a process tells of its cgroup: the only way where sockets carry no cgroup of a pod (v1 hosts).

use std::fs;
use std::os::unix::fs::MetadataExt;

use egress_core::node::Owner;
use egress_core::time::Mono;

use super::path;
use crate::host;

/// Inode number of the initial process namespace (`PROC_PID_INIT_INO` of `include/linux/proc_ns.h`).
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Processes under `/proc`.
pub(super) struct Processes {
    /// Their numbers are those that the kernel's records carry.
    hosts: bool,
    /// Nanoseconds of a clock tick.
    tick: u64,
}

impl Processes {
    pub(super) fn new() -> Self {
        let namespace = fs::metadata("/proc/self/ns/pid").map(|metadata| metadata.ino());
        // SAFETY: takes no pointers.
        let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        let ticks = u64::try_from(ticks).unwrap_or(100).max(1);
        Self {
            hosts: namespace.is_ok_and(|inode| inode == INITIAL_PID_NAMESPACE),
            tick: 1_000_000_000 / ticks,
        }
    }

    /// Whether `/proc` shows the host's processes under their own numbers.
    pub(super) const fn are_the_hosts(&self) -> bool {
        self.hosts
    }

    /// The pod of the process that had this number at that time.
    pub(super) fn owner(&self, pid: u32, at: Mono) -> Option<Owner> {
        if pid == 0 || !self.hosts || !self.began_before(pid, at) {
            return None;
        }
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        // Read after the start time: had the number passed to another process meanwhile, that began later.
        let owner = owner(&text)?;
        self.began_before(pid, at).then_some(owner)
    }

    /// The process with this number began before that time.
    fn began_before(&self, pid: u32, at: Mono) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some(began) = start_ticks(&stat) else { return false };
        // Counted from boot, suspended time included.
        let asleep = host::since_boot().saturating_sub(host::monotonic().0);
        began.saturating_mul(self.tick) <= at.0.saturating_add(asleep)
    }
}

/// Field 22 of `/proc/PID/stat`: the command in parentheses may hold anything.
fn start_ticks(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// `/proc/PID/cgroup`: a line for each hierarchy, `ID:CONTROLLERS:PATH`. Any of them may name the pod.
fn owner(text: &str) -> Option<Owner> {
    let mut owners = text.lines().filter_map(|line| path::owner(line.splitn(3, ':').nth(2)?));
    let first = owners.next()?;
    owners.all(|other| other.pod_uid == first.pod_uid).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_of_a_controller_names_the_pod() {
        let uid = "1b2c3d4e-0001-4002-8003-a0b0c0d0e0f0";
        let id = "ab".repeat(32);
        let text = format!("9:name=systemd:/\n4:memory:/kubepods/burstable/pod{uid}/{id}\n0::/\n");
        let found = owner(&text).unwrap();
        assert_eq!((found.pod_uid.as_str(), found.container.as_deref()), (uid, Some(id.as_str())));
        let two = format!("{text}5:cpu:/kubepods/pod9b2c3d4e-0001-4002-8003-a0b0c0d0e0f0/{id}\n");
        assert_eq!(owner(&two), None, "two pods are none");
        assert_eq!(owner("0::/user.slice\n"), None);
    }

    #[test]
    fn a_process_that_began_later_is_another_one() {
        assert_eq!(start_ticks("12 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20"), Some(777));
        let processes = Processes::new();
        let me = std::process::id();
        assert!(processes.began_before(me, host::monotonic()));
        assert!(!processes.began_before(me, Mono(0)));
    }
}
