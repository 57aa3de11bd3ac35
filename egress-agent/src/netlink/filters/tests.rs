//! Real rulesets in namespaces of their own.

use std::sync::mpsc::channel;

use egress_core::node::{FilterChain, Filters, NodeChange};

use super::{read, watch};
use crate::netlink::netns::Netns;
use crate::netlink::testing::{await_event, have, netns, run};

/// `backend family table chain hook priority[ drops]: rule; rule`
fn brief(chain: &FilterChain) -> String {
    let FilterChain { backend, family, table, chain: name, hook, priority, drops_by_default, .. } = chain;
    let drops = if *drops_by_default { " drops" } else { "" };
    let devices: String = chain.devices.iter().map(|device| format!(" of {device}")).collect();
    let rules = chain.dropping_rules.join("; ");
    format!("{backend} {family} {table} {name} {hook} {priority}{devices}{drops}: {rules}")
}

fn chains(filters: &Filters) -> Vec<String> {
    assert_eq!(filters.unread, Vec::<String>::new());
    filters.chains.iter().map(brief).collect()
}

fn nft(node: &Netns, ruleset: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), ruleset).unwrap();
    run(node, &format!("nft -f {}", file.path().display()));
}

#[test]
fn an_nftables_ruleset() {
    let Some(node) = netns() else { return };
    if !have("nft") {
        return;
    }
    assert_eq!(chains(&read(&node).unwrap()), Vec::<String>::new());
    nft(
        &node,
        r#"
        table inet firewall {
            chain web { tcp dport 80 reject with tcp reset; }
            chain deep { ip ttl 1 drop; }
            chain never { drop; }
            map ports { type inet_service : verdict; elements = { 22 : accept, 25 : drop, 80 : goto web } }
            chain forward {
                type filter hook forward priority filter - 5; policy drop;
                ct state established accept
                ip daddr 192.0.2.0/24 counter drop comment "no test net"
                tcp dport vmap @ports
                ip saddr vmap { 10.0.0.1 : jump deep, 10.0.0.2 : return }
            }
            chain input { type filter hook input priority 0; accept; }
        }
        table inet asleep { flags dormant; chain f { type filter hook forward priority 0; drop; }; }
        table ip nat { chain post { type nat hook postrouting priority 100; masquerade; }; }
        table netdev t { chain in { type filter hook ingress device "lo" priority 1; ip saddr 10.9.9.9 drop; }; }
        table ip6 six { chain out { type filter hook output priority 2; ip6 daddr ::1 reject; }; }
        "#,
    );
    let expected = [
        "nftables inet firewall forward forward -5 drops: handle 7 drop (no test net); handle 8 drop by map ports; \
         chain web handle 6 reject; chain deep handle 11 drop",
        "nftables netdev t in ingress 1 of lo: handle 2 drop",
        "nftables ip6 six out output 2: handle 2 reject",
    ];
    let without_handles = |text: &str| {
        let words = text.split(' ').map(|word| if word.parse::<u32>().is_ok() { "N" } else { word });
        words.collect::<Vec<_>>().join(" ")
    };
    let mut found: Vec<_> =
        chains(&read(&node).unwrap()).iter().map(|chain| without_handles(chain)).collect();
    let mut expected = expected.map(without_handles).to_vec();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_ruleset_of_iptables_nft() {
    let Some(node) = netns() else { return };
    if !have("iptables-nft") || !have("ip6tables-nft") {
        return;
    }
    run(
        &node,
        "iptables-nft -P FORWARD DROP
         iptables-nft -N CNI
         iptables-nft -A FORWARD -j CNI
         iptables-nft -A CNI -s 10.0.0.1 -m comment --comment 'default deny' -j DROP
         ip6tables-nft -A OUTPUT -d 2001:db8::1 -j REJECT
         iptables-nft -t nat -A POSTROUTING -j MASQUERADE",
    );
    let found = chains(&read(&node).unwrap());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("nftables ip filter FORWARD forward 0 drops: chain CNI handle "),
        "{found:?}"
    );
    assert!(found[0].ends_with(" drop (default deny)"), "{found:?}");
    assert!(found[1].starts_with("nftables ip6 filter OUTPUT output 0: handle "), "{found:?}");
    assert!(found[1].ends_with(" reject"), "{found:?}");
}

#[test]
fn a_ruleset_of_iptables_legacy() {
    let Some(node) = netns() else { return };
    if !have("iptables-legacy") || !have("ip6tables-legacy") {
        return;
    }
    run(
        &node,
        "iptables-legacy -P INPUT DROP
         iptables-legacy -N CNI
         iptables-legacy -N ACCEPTED
         iptables-legacy -A FORWARD -j ACCEPTED
         iptables-legacy -A FORWARD -i lo -g CNI
         iptables-legacy -A CNI -p tcp --dport 80 -m comment --comment 'default deny' -j DROP
         iptables-legacy -A CNI -p udp -j ACCEPT
         iptables-legacy -A CNI -p udp -j REJECT
         ip6tables-legacy -t mangle -A PREROUTING -s 2001:db8::1 -j DROP
         iptables-legacy -t nat -A POSTROUTING -j MASQUERADE",
    );
    let mut found = chains(&read(&node).unwrap());
    found.sort();
    let expected = [
        "iptables-legacy ip filter FORWARD forward 0: chain CNI rule 1 drop (default deny); chain CNI rule 3 reject",
        "iptables-legacy ip filter INPUT input 0 drops: ",
        "iptables-legacy ip6 mangle PREROUTING prerouting -150: rule 1 drop",
    ];
    assert_eq!(found, expected);
}

#[test]
fn changes_are_followed() {
    let Some(node) = netns() else { return };
    if !have("nft") || !have("iptables-legacy") {
        return;
    }
    let (tell, told) = channel();
    let watch = watch(&node, move |change| {
        if let NodeChange::Filters(filters) = change {
            tell.send(filters).unwrap();
        }
    })
    .unwrap();
    await_event(&told, |filters| filters.chains.is_empty());
    nft(&node, "table ip t { chain f { type filter hook forward priority 0; policy drop; }; }");
    await_event(&told, |filters| filters.chains.len() == 1);
    nft(&node, "add rule ip t f drop");
    let (_, took) = await_event(&told, |filters| filters.chains[0].dropping_rules.len() == 1);
    assert!(took.as_millis() < 1000, "{took:?}");
    nft(&node, "delete table ip t");
    await_event(&told, |filters| filters.chains.is_empty());
    // iptables-legacy tells nobody; one has to look.
    run(&node, "iptables-legacy -A FORWARD -j DROP");
    watch.refresh();
    await_event(&told, |filters| filters.chains.len() == 1);
}
