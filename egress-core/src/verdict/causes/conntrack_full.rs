//! `conntrack-full`: the table of connections takes no new entry, so no new connection passes.

use serde_json::json;

use super::place;
use crate::decode::{DropSite, FilterKind, Hook};
use crate::flow::DropRole;
use crate::node::{Attribution, Holder};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, questions};

/// Entries come and go: a table this full (percent) was full when it dropped.
const NEARLY: u64 = 95;

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    let (drop, role) = case.dropped()?;
    let here = case.node.is_node(drop.netns) && drop.site == DropSite::Filter(FilterKind::Netfilter);
    // Entries are made before anything else sees the packet, so this one has none yet.
    let early =
        matches!(drop.hook, Hook::Prerouting | Hook::Output | Hook::Unknown) && drop.conntrack.is_none();
    if !here || !early || role != DropRole::Opening {
        return None;
    }
    let table = case.readings.table(&questions::table(drop, case.node.netns()))?;
    // Of what conntrack dropped, the rest were entries that could not be made.
    let refused = table.dropped.saturating_sub(table.insert_failed);
    let full = u64::from(table.entries) * 100 >= u64::from(table.limit) * NEARLY;
    if refused == 0 || !full {
        return None;
    }
    let rules = place::attribution(case, drop) != Attribution::Unknown;
    let confidence = if rules { Confidence::Likely } else { Confidence::Certain };
    let holders = holders(case, &table.holders);
    let most = match holders.first() {
        Some(first) => format!(
            " Most entries: {}.",
            [first].into_iter().chain(holders.get(1)).cloned().collect::<Vec<_>>().join(", ")
        ),
        None => String::new(),
    };
    let summary = format!(
        "The conntrack table of the node is full ({} of {} entries), so it dropped the {} to {}: no new connection \
         can be opened through this node.{most}",
        table.entries,
        table.limit,
        case.packet_word(),
        case.target(),
    );
    let mut judgement = Judgement::new(Cause::ConntrackFull, confidence, place::stage(case, drop), summary)
        .with("count", table.entries)
        .with("max", table.limit)
        .with("refused", refused)
        .with("window_ms", table.window_ms)
        .with("early_drops", table.early_drops)
        .with("top_talkers", json!(holders));
    if rules {
        judgement = judgement
            .hint("rules of the packet filter drop in the same place; conntrack's own counter rose as well");
    }
    Some(place::facts(judgement, case, drop).advise(advice(table.limit, holders.first())))
}

fn advice(limit: u32, first: Option<&String>) -> String {
    let more = u64::from(limit) * 2;
    let who = first.map(|who| format!(" Look at who holds most: {who}.")).unwrap_or_default();
    format!(
        "Raise the limit: sysctl -w net.netfilter.nf_conntrack_max={more} (kube-proxy sets it: --conntrack-min, \
         --conntrack-max-per-core); idle entries go sooner with a smaller \
         net.netfilter.nf_conntrack_tcp_timeout_established (432000 s unless set).{who}"
    )
}

/// `default/api-client: 812`, the most first.
pub(in crate::verdict) fn holders(case: &Case<'_>, holders: &[Holder]) -> Vec<String> {
    let name = |holder: &Holder| {
        let who = case.cluster.resolve_client(holder.ip, case.event.first);
        match (who.pod_ref(), who.node) {
            (Some(pod), _) => pod.to_string(),
            (None, Some(node)) => format!("node {}", node.name),
            (None, None) if case.node.is_own(holder.ip) => format!("this node ({})", holder.ip),
            (None, None) => holder.ip.to_string(),
        }
    };
    // A pod has an address of each family.
    let mut named: Vec<(String, u32)> = Vec::new();
    for holder in holders {
        let name = name(holder);
        match named.iter_mut().find(|(known, _)| *known == name) {
            Some((_, entries)) => *entries += holder.entries,
            None => named.push((name, holder.entries)),
        }
    }
    named.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
    named.into_iter().map(|(name, entries)| format!("{name}: {entries}")).collect()
}
