//! Which setting of which plugin decides what is translated, by the names that its rules have.

use crate::node::TranslationRule;
use crate::verdict::case::Case;

/// What the rules of a plugin contain, in lower case, and where it is set what they translate.
const SETTINGS: &[(&str, &str)] = &[
    (
        "ip-masq",
        "ip-masq-agent: nonMasqueradeCIDRs in ConfigMap kube-system/ip-masq-agent must not hold the destination",
    ),
    (
        "cali",
        "Calico: natOutgoing of the IPPool that the pod's address is from must be true (kubectl get ippools -o yaml)",
    ),
    ("flannel", "Flannel: flanneld must run with --ip-masq, and its Network must hold the pod's address"),
    (
        "aws-snat",
        "AWS VPC CNI: AWS_VPC_K8S_CNI_EXTERNALSNAT must be false, AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS must not hold the destination",
    ),
    (
        "cilium",
        "Cilium: enable-ipv4-masquerade (enable-ipv6-masquerade) must be true, ipv4-native-routing-cidr must not hold the destination",
    ),
    ("antrea", "Antrea: noSNAT must be false"),
    ("weave", "Weave Net: IPALLOC_RANGE must hold the pod's address"),
    ("kindnet", "kindnet: its non-masquerade networks must not hold the destination"),
    ("cni-", "the CNI's bridge or ptp plugin: ipMasq must be true in its configuration (/etc/cni/net.d)"),
    ("cni:", "the CNI's bridge or ptp plugin: ipMasq must be true in its configuration (/etc/cni/net.d)"),
];

/// What to do.
pub(super) fn advice(case: &Case<'_>, rules: &[&TranslationRule], private: bool) -> String {
    let texts: Vec<String> = rules.iter().map(|rule| rule.to_string().to_ascii_lowercase()).collect();
    let mut settings: Vec<&str> = SETTINGS
        .iter()
        .filter(|(name, _)| texts.iter().any(|text| text.contains(name)))
        .map(|(_, setting)| *setting)
        .collect();
    settings.dedup();
    let source = case.event.client.source.ip;
    let what = if settings.is_empty() {
        "Check the setting of the CNI that masquerades (ipMasq of the bridge plugin and of Flannel, natOutgoing of \
         Calico's IPPool, nonMasqueradeCIDRs of ip-masq-agent)"
            .to_owned()
    } else {
        format!("Check the setting that decides: {}", settings.join("; "))
    };
    let rules =
        if case.event.client.source.ip.is_ipv6() { "ip6tables-save -t nat" } else { "iptables-save -t nat" };
    let network = if private { ", or route the pods' addresses in the network" } else { "" };
    format!(
        "{what}; the rules of this node (nft list ruleset, {rules}) must translate what leaves from {source}{network}."
    )
}
