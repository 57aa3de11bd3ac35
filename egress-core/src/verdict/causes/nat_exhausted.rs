//! `nat-exhausted`: source translation has no port left towards a destination.

use serde_json::json;

use super::{conntrack_full, place};
use crate::decode::{DropSeen, DropSite, FilterKind, Hook};
use crate::flow::DropRole;
use crate::node::{Holder, PortsInUse, TranslationRule};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, questions};

/// Ports that the kernel chooses from without a range in the rule (`nf_nat_l4proto_unique_tuple`): 1024 and up.
const ANY: (u16, u16) = (1024, u16::MAX);
/// The kernel tries some ports at random and gives up before the very last one is taken: percent of the range.
const USED_UP: u32 = 95;

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    let (drop, role) = case.dropped()?;
    let here = case.node.is_node(drop.netns) && drop.site == DropSite::Filter(FilterKind::Netfilter);
    // Where translated flows are confirmed, after everything else.
    let late = matches!(drop.hook, Hook::Postrouting | Hook::Input | Hook::Unknown);
    if !here || !late || role != DropRole::Opening {
        return None;
    }
    let towards = questions::towards(drop)?;
    let table = case.readings.table(&questions::table(drop, case.node.netns()))?;
    let ports = table.ports.as_ref()?;
    if table.insert_failed == 0 {
        return None;
    }
    let (range, used, holders, rule) = range(case, drop, ports);
    let size = u32::from(range.1) - u32::from(range.0) + 1;
    // Two flows that happen to want the same port are no exhaustion.
    if used * 100 < size * USED_UP {
        return None;
    }
    let destination = std::net::SocketAddr::new(towards.destination.ip, towards.destination.port);
    let holders = conntrack_full::holders(case, holders);
    let summary = format!(
        "The node has no source port left to translate the {} to {}: {} of the {size} ports {}-{} of {} are in use \
         towards {destination}/{}{}.",
        case.packet_word(),
        case.target(),
        used,
        range.0,
        range.1,
        towards.source,
        towards.protocol,
        holders.first().map(|most| format!(", most of them by {most}")).unwrap_or_default(),
    );
    let mut judgement =
        Judgement::new(Cause::NatExhausted, Confidence::Certain, place::stage(case, drop), summary)
            .with("ports_in_use", used)
            .with("range", format!("{}-{}", range.0, range.1))
            .with("destination", destination.to_string())
            .with("source", towards.source.to_string())
            .with("insert_failed", table.insert_failed)
            .with("window_ms", table.window_ms)
            .with("holders", json!(holders));
    if let Some(rule) = rule {
        judgement = judgement.with("translation_rule", rule.to_string());
    }
    Some(place::facts(judgement, case, drop).advise(advice(rule, &holders)))
}

/// The ports that the translation may use and how many it does: the narrowest range of a rule that holds the port it
/// tried in vain.
fn range<'a>(
    case: &'a Case<'_>,
    drop: &DropSeen,
    ports: &'a PortsInUse,
) -> ((u16, u16), u32, &'a [Holder], Option<&'a TranslationRule>) {
    let v6 = drop.packet.tuple.source.ip.is_ipv6();
    let tried = drop.conntrack.as_ref().map(|ct| ct.reply.destination.port).unwrap_or_default();
    let read = case.readings.translations(case.node.netns());
    let rule_of = |range| read?.rules.iter().find(|rule| rule.fits(v6) && rule.ports == Some(range));
    ports
        .ranges
        .iter()
        .filter(|range| (range.lowest..=range.highest).contains(&tried))
        .filter_map(|range| {
            let ends = (range.lowest, range.highest);
            Some((ends, range.count, range.holders.as_slice(), Some(rule_of(ends)?)))
        })
        .min_by_key(|((low, high), ..)| high - low)
        .unwrap_or((ANY, ports.count, &ports.holders, None))
}

fn advice(rule: Option<&TranslationRule>, holders: &[String]) -> String {
    let wider = match rule {
        Some(rule) => format!("Give the rule more ports or more source addresses ({rule})."),
        None => "Give the node more source addresses (SNAT to several, or an egress gateway).".to_owned(),
    };
    let who = holders.first().map(|who| format!(" ({who})")).unwrap_or_default();
    format!(
        "{wider} Have the clients{who} keep and reuse connections: each one holds its port until it is closed and \
         for net.netfilter.nf_conntrack_tcp_timeout_time_wait (120 s unless set) after that."
    )
}
