//! Whose rules and programs these are, by the names that well-known software gives them.

/// Software that filters packets on nodes.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::verdict) struct Owner {
    /// Its name.
    pub(in crate::verdict) name: &'static str,
    /// It enforces Kubernetes policies.
    pub(in crate::verdict) enforces_policies: bool,
}

/// How a table, chain or program of some software begins, in lower case.
const NAMES: &[(&str, Owner)] = &[
    ("cali", plugin("Calico")),
    ("cil_", plugin("Cilium")),
    ("bpf_lxc", plugin("Cilium")),
    ("bpf_host", plugin("Cilium")),
    ("bpf_overlay", plugin("Cilium")),
    ("cilium", plugin("Cilium")),
    ("kube-nwplcy", plugin("kube-router")),
    ("kube-pod-fw", plugin("kube-router")),
    ("kube-router", plugin("kube-router")),
    ("kube-network-policies", plugin("kube-network-policies")),
    ("weave", plugin("Weave Net")),
    ("antrea", plugin("Antrea")),
    ("azure-npm", plugin("Azure NPM")),
    ("romana", plugin("Romana")),
    ("ovn", plugin("OVN-Kubernetes")),
    ("kube-", other("kube-proxy")),
    ("docker", other("Docker")),
    ("ufw", other("ufw")),
    ("firewalld", other("firewalld")),
    ("f2b-", other("fail2ban")),
    ("fail2ban", other("fail2ban")),
    ("crowdsec", other("CrowdSec")),
    ("libvirt", other("libvirt")),
    ("lxd", other("LXD")),
    ("istio", other("Istio")),
    ("proxy_init", other("Linkerd")),
];

const fn plugin(name: &'static str) -> Owner {
    Owner { name, enforces_policies: true }
}

const fn other(name: &'static str) -> Owner {
    Owner { name, enforces_policies: false }
}

/// Whether the software of this name enforces Kubernetes policies.
pub(crate) fn enforces_policies(name: &str) -> bool {
    NAMES.iter().any(|(_, owner)| owner.name == name && owner.enforces_policies)
}

/// Whose it is, if a word of the text says so.
pub(in crate::verdict) fn of(text: &str) -> Option<&'static Owner> {
    let text = text.to_ascii_lowercase();
    let mut words = text.split([' ', '/', ':', '[', '(']);
    words.find_map(|word| NAMES.iter().find(|(begin, _)| word.starts_with(begin)).map(|(_, owner)| owner))
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn well_known_names_are_known() {
        let name = |text| of(text).map(|owner| owner.name);
        assert_eq!(name("chain cali-fw-cali0 rule 4 drop"), Some("Calico"));
        assert_eq!(name("cil_from_container"), Some("Cilium"));
        assert_eq!(name("bpf_lxc.o:[from-container]"), Some("Cilium"));
        assert_eq!(name("chain KUBE-NWPLCY-DEFAULT rule 2 drop"), Some("kube-router"));
        assert_eq!(name("chain KUBE-FIREWALL rule 2 drop"), Some("kube-proxy"));
        assert_eq!(name("inet firewalld filter_FORWARD"), Some("firewalld"));
        assert_eq!(name("inet cni forwarding"), None);
        assert_eq!(name("handle 4 drop"), None);
    }
}
