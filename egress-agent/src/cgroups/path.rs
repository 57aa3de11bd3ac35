//! Paths of pods' cgroups, as kubelet and the runtimes write them.
//!
//! | driver | path |
//! |---|---|
//! | systemd | `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<UID with _>.slice/cri-containerd-<id>.scope` |
//! | systemd, CRI-O, docker | the same with `crio-<id>.scope`, `docker-<id>.scope` |
//! | cgroupfs | `kubepods/burstable/pod<UID>/<id>`, guaranteed pods without the class |
//! | cgroupfs in the runtime, systemd in kubelet | `kubepods-burstable-pod<UID with _>.slice:cri-containerd:<id>` |
//!
//! Nodes inside containers (`kind`) put `kubelet.slice/kubelet-` before it. A static pod has the hash of its manifest
//! for a UID, 32 digits.

use egress_core::node::Owner;

/// Digits of a container's id.
const ID: usize = 64;

/// Whose a cgroup with this path (below the root of the tree) is; `None` if it is no pod's.
#[must_use]
pub fn owner(path: &str) -> Option<Owner> {
    let mut parts = path.split(['/', ':']).filter(|part| !part.is_empty());
    let mut of_kubelet = false;
    let pod_uid = parts.find_map(|part| {
        of_kubelet |= part.contains("kubepods");
        if of_kubelet { pod_uid(part) } else { None }
    })?;
    Some(Owner { pod_uid, container: parts.find_map(container_id) })
}

/// The UID in the name of a pod's directory.
fn pod_uid(part: &str) -> Option<String> {
    let name = part.strip_suffix(".slice").unwrap_or(part);
    let (before, uid) = name.rsplit_once("pod")?;
    if !(before.is_empty() || before.ends_with('-')) {
        return None;
    }
    let uid = uid.replace('_', "-");
    let groups: Vec<usize> = uid.split('-').map(str::len).collect();
    let is_uid = groups == [8, 4, 4, 4, 12] || groups == [32];
    (is_uid && uid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())).then_some(uid)
}

/// The id in the name of a container's directory; conmon's own is none.
fn container_id(part: &str) -> Option<String> {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    let (runtime, id) = name.rsplit_once('-').unwrap_or(("", name));
    let is_id = id.len() == ID && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_id && !runtime.ends_with("conmon")).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "1b2c3d4e-0001-4002-8003-a0b0c0d0e0f0";
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn every_driver_and_runtime_names_pod_and_container() {
        let under = UID.replace('-', "_");
        for path in [
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice/cri-containerd-{ID}.scope"
            ),
            format!("/kubepods.slice/kubepods-pod{under}.slice/crio-{ID}.scope"),
            format!("/kubepods.slice/kubepods-pod{under}.slice/crio-{ID}.scope/container"),
            format!(
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{under}.slice/docker-{ID}.scope"
            ),
            format!("/kubepods/burstable/pod{UID}/{ID}"),
            format!("/kubepods/pod{UID}/{ID}"),
            format!("/kubepods/besteffort/pod{UID}/{ID}/init.scope"),
            format!(
                "/system.slice/containerd.service/kubepods-burstable-pod{under}.slice:cri-containerd:{ID}"
            ),
            format!(
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{under}.slice/cri-containerd-{ID}.scope"
            ),
            format!("/../../kubepods.slice/kubepods-pod{under}.slice/cri-containerd-{ID}.scope"),
        ] {
            let expected = Owner { pod_uid: UID.to_owned(), container: Some(ID.to_owned()) };
            assert_eq!(owner(&path), Some(expected), "{path}");
        }
    }

    #[test]
    fn a_pod_without_container_and_a_static_pod() {
        let hash = "0123456789abcdef0123456789abcdef";
        let of = |path: String| owner(&path).map(|owner| (owner.pod_uid, owner.container));
        assert_eq!(of(format!("/kubepods/pod{UID}")), Some((UID.to_owned(), None)));
        assert_eq!(of(format!("/kubepods.slice/kubepods-pod{hash}.slice")), Some((hash.to_owned(), None)));
        let conmon = format!("/kubepods/pod{UID}/crio-conmon-{ID}.scope");
        assert_eq!(of(conmon), Some((UID.to_owned(), None)));
    }

    #[test]
    fn what_is_no_pods_names_nobody() {
        for path in [
            "/",
            "/system.slice/kubelet.service",
            "/user.slice/user-1000.slice/session-3.scope",
            "/kubepods.slice",
            "/kubepods.slice/kubepods-burstable.slice",
            "/kubepods/burstable/podman",
            "/kubepods/pod1b2c3d4e-0001-4002-8003-a0b0c0d0e0fz",
            &format!("/machine.slice/pod{UID}/{ID}"),
            &format!("/kubepods/mypod{UID}"),
        ] {
            assert_eq!(owner(path), None, "{path}");
        }
    }
}
