//! Which chain of nftables dropped a packet, told by the kernel itself (`--trace-netfilter`).

use std::time::Duration;

use egress_agent::probe::ProbeOptions;
use egress_agent::status::HookState;
use egress_common::{ChainRecord, DropRecord};

use crate::site::Site;
use crate::{Heard, on_site, watch};

/// The line of the hook.
const HOOK: &str = "netfilter:nft_do_chain";

/// The text of a name.
fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|byte| *byte == 0).expect("a NUL");
    std::str::from_utf8(&bytes[..end]).expect("text")
}

/// The chain that was told directly before a drop of a SYN to this port.
fn told(heard: &Heard, port: u16) -> Option<(ChainRecord, DropRecord)> {
    let drop =
        heard.drops.iter().find(|drop| drop.data[9] == 6 && drop.data[22..24] == port.to_be_bytes())?;
    let told = heard.chains.iter().find(|chain| chain.header.time_ns == drop.header.time_ns)?;
    Some((*told, *drop))
}

#[test]
fn a_drop_names_its_chain() {
    let Some(site) = Site::build("chain") else { return };
    on_site(site, |site| {
        // Several that could have; one in a chain behind its base chain.
        site.nft("add chain inet t late { type filter hook forward priority 20; }");
        site.nft("add rule inet t late tcp dport 444 drop");
        site.nft("add table ip other");
        site.nft("add chain ip other front { type filter hook forward priority 10; }");
        site.nft("add chain ip other deny");
        site.nft("add rule ip other deny drop");
        site.nft("add rule ip other front tcp dport 443 jump deny");
        let mut probe = watch(site, &ProbeOptions { trace_netfilter: true, ..ProbeOptions::default() });
        let hooks = probe.hooks();
        let drops = hooks.iter().find(|hook| hook.hook == "skb:kfree_skb").expect("a line");
        assert_ne!(drops.state, HookState::Refused, "{drops:?}");
        let line = hooks.iter().find(|hook| hook.hook == HOOK).expect("a line");
        println!("{}: {}: {}", line.hook, line.state.as_str(), line.note);
        for (to, port, family, table, chain) in
            [("192.0.2.9:443", 443, 2, "other", "front"), ("192.0.2.9:444", 444, 1, "t", "late")]
        {
            let mut heard = Heard::default();
            site.connect(to, Duration::from_millis(500));
            if line.state != HookState::Attached {
                // The drop is seen all the same.
                heard.until(&mut probe, "the drop", |heard| !heard.drops.is_empty());
                assert!(heard.chains.is_empty() && !line.note.is_empty());
                continue;
            }
            heard.until(&mut probe, "the chain", |heard| told(heard, port).is_some());
            let (told, drop) = told(&heard, port).expect("just seen");
            println!("told: family {} {} {}", told.family, text(&told.table), text(&told.chain));
            assert_eq!((text(&told.table), text(&told.chain)), (table, chain));
            // FORWARD of IPv4.
            assert_eq!((told.family, told.protocol, told.hook), (family, 2, 2));
            let (chain, drop) = (told.header, drop.header);
            assert_eq!((chain.netns, chain.ifindex, chain.cpu), (drop.netns, drop.ifindex, drop.cpu));
        }
    });
}

#[test]
fn chains_are_not_asked_unless_wanted() {
    let Some(site) = Site::build("unasked") else { return };
    on_site(site, |site| {
        site.nft("add rule inet t forward ip daddr 192.0.2.9 drop");
        let mut probe = watch(site, &ProbeOptions::default());
        assert!(probe.hooks().iter().all(|hook| hook.hook != HOOK));
        let mut heard = Heard::default();
        site.connect("192.0.2.9:443", Duration::from_millis(500));
        heard.until(&mut probe, "the drop", |heard| heard.drops.iter().any(|drop| drop.data[9] == 6));
        assert!(heard.chains.is_empty(), "{:?}", heard.chains);
    });
}
