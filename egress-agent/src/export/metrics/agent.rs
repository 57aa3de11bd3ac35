//! The metrics of the agent and its node.

use std::collections::BTreeMap;
use std::fmt::Error;

use egress_core::time::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::Readings;
use crate::status::HookState;

/// Writes what a scrape read.
#[derive(Debug)]
pub(super) struct Agent(pub(super) Readings);

impl Collector for Agent {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let encoder = &mut encoder;
        let status = &self.0.status;
        let help = "Whether a kernel hook is attached, in whole or in part";
        let mut family =
            encoder.encode_descriptor("egress_agent_hook_attached", help, None, MetricType::Gauge)?;
        for hook in &status.hooks {
            let attached = i64::from(hook.state != HookState::Refused);
            family.encode_family(&[("hook", hook.hook.as_str())])?.encode_gauge(&attached)?;
        }
        let events =
            status.events.iter().map(|events| (events.kind.as_str(), events.delivered + events.aggregated));
        let help = "Events seen: delivered as records, or counted in the kernel";
        counters(encoder, "egress_agent_events", help, "kind", events)?;
        let mut lost: BTreeMap<&str, u64> = BTreeMap::new();
        for (stage, count) in status.events.iter().flat_map(|events| &events.lost) {
            *lost.entry(stage).or_default() += count;
        }
        let help = "Events lost, by the stage that lost them";
        counters(encoder, "egress_agent_events_lost", help, "stage", lost)?;
        if let Some(conntrack) = self.0.conntrack {
            gauge(
                encoder,
                "egress_conntrack_entries",
                "Entries in the node's conntrack table",
                conntrack.entries,
            )?;
            let help = "Entries that the node's conntrack table takes";
            gauge(encoder, "egress_conntrack_entries_limit", help, conntrack.limit)?;
        }
        if let Ok(as_of) = status.policies_as_of.parse::<Timestamp>() {
            let help = "Time since the policies were last in step with the cluster";
            let unit = Some(&Unit::Seconds);
            let age = self.0.wall.since(as_of).as_secs_f64();
            encoder
                .encode_descriptor("egress_policy_view_age", help, unit, MetricType::Gauge)?
                .encode_gauge(&age)?;
        }
        let help = "What this agent was built from";
        let mut info = encoder.encode_descriptor("egress_agent_build", help, None, MetricType::Info)?;
        info.encode_info(&[("version", status.version.as_str())])
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

fn counters<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    values: impl IntoIterator<Item = (&'a str, u64)>,
) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (value, count) in values {
        family.encode_family(&[(label, value)])?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    Ok(())
}
