//! The metrics of pods as families of the exposition.

use std::collections::BTreeMap;
use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::series::{LATENCY_BOUNDS, Series};

/// Namespace, pod (without the label: none), workload.
pub(super) type Owner = (String, Option<String>, String);

/// Labels of one series.
pub(super) type Labels<'a> = Vec<(&'static str, &'a str)>;

/// The pods' counters at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    rows: BTreeMap<Owner, Series>,
}

impl Snapshot {
    pub(super) fn new(rows: BTreeMap<Owner, Series>) -> Self {
        Self { rows }
    }

    /// A family of counters: for each owner, the own labels of each series and its value.
    fn counters<'a, I>(
        &'a self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        of: impl Fn(&'a Series) -> I,
    ) -> Result<(), Error>
    where
        I: IntoIterator<Item = (Labels<'a>, u64)>,
    {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (owner, series) in &self.rows {
            for (mut labels, value) in of(series) {
                labels.extend(labels_of(owner));
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
            }
        }
        Ok(())
    }
}

fn labels_of((namespace, pod, workload): &Owner) -> impl Iterator<Item = (&'static str, &str)> {
    let pod = pod.as_deref().map(|pod| ("pod", pod));
    [("namespace", namespace.as_str())].into_iter().chain(pod).chain([("workload", workload.as_str())])
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let encoder = &mut encoder;
        let help = "Verdicts made, and changed to another cause";
        self.counters(encoder, ("egress_verdicts", help), |series| {
            series.verdicts.iter().map(|((cause, direction), count)| {
                (vec![("cause", cause.as_str()), ("direction", direction.as_str())], *count)
            })
        })?;
        let help = "Packets dropped by the kernel, by its reason";
        self.counters(encoder, ("egress_dropped_packets", help), |series| {
            series.dropped.iter().map(|((reason, direction), count)| {
                (vec![("reason", &**reason), ("direction", direction.as_str())], *count)
            })
        })?;
        let help = "TCP segments sent again";
        self.counters(encoder, ("egress_tcp_retransmits", help), |series| {
            let kinds = ["data", "syn"].into_iter().zip(series.retransmits);
            kinds.filter(|(_, count)| *count > 0).map(|(kind, count)| (vec![("kind", kind)], count))
        })?;
        let help = "TCP connections that could not be opened";
        self.counters(encoder, ("egress_tcp_connect_failures", help), |series| {
            series.connect_failures.iter().map(|(outcome, count)| (vec![("outcome", *outcome)], *count))
        })?;
        let help = "DNS questions by how they ended";
        self.counters(encoder, ("egress_dns_responses", help), |series| {
            series.dns_responses.iter().map(|(outcome, count)| (vec![("outcome", *outcome)], *count))
        })?;
        self.latency(encoder)?;
        let help = "Traffic that was treated otherwise than the policies say";
        self.counters(encoder, ("egress_policy_drift", help), |series| {
            series.drift.iter().map(|(kind, count)| (vec![("kind", *kind)], *count))
        })
    }
}

impl Snapshot {
    fn latency(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "Time from a DNS question to its answer";
        let unit = Some(&Unit::Seconds);
        let mut family =
            encoder.encode_descriptor("egress_dns_latency", help, unit, MetricType::Histogram)?;
        for (owner, series) in &self.rows {
            for (outcome, latency) in &series.dns_latency {
                let mut labels: Labels<'_> = vec![("outcome", outcome)];
                labels.extend(labels_of(owner));
                let bounds = LATENCY_BOUNDS.into_iter().chain([f64::INFINITY]);
                let buckets: Vec<(f64, u64)> = bounds.zip(latency.buckets).collect();
                family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                    latency.sum,
                    latency.count,
                    &buckets,
                    None,
                )?;
            }
        }
        Ok(())
    }
}
