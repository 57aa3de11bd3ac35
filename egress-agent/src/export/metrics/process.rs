//! The standard `process_*` metrics, from `/proc/self`.

use std::fmt::Error;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// `USER_HZ`: clock ticks a second in `/proc`, 100 on every architecture the agent runs on
/// (`include/asm-generic/param.h`).
const TICKS: f64 = 100.0;

/// Reads when it is scraped. What cannot be read is left out.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let encoder = &mut encoder;
        let stat = Stat::read();
        if let Some(stat) = &stat {
            let help = "User and system CPU time spent";
            let unit = Some(&Unit::Seconds);
            encoder
                .encode_descriptor("process_cpu", help, unit, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&stat.cpu_seconds, None)?;
        }
        let fds = fs::read_dir("/proc/self/fd").ok().map(|entries| to_f64(entries.count() as u64));
        gauge(encoder, ("process_open_fds", "Open file descriptors"), None, fds)?;
        gauge(encoder, ("process_max_fds", "Most file descriptors that may be open"), None, max_fds())?;
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bytes = Some(&Unit::Bytes);
        let memory = |key| kibibytes(&status, key).map(|kib| kib * 1024.0);
        gauge(encoder, ("process_virtual_memory", "Virtual memory"), bytes, memory("VmSize:"))?;
        gauge(encoder, ("process_resident_memory", "Resident memory"), bytes, memory("VmRSS:"))?;
        let start = stat.and_then(|stat| Some(stat.start_after_boot + boot_time()?));
        let help = "Start of the process since the Unix epoch";
        gauge(encoder, ("process_start_time", help), Some(&Unit::Seconds), start)
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    unit: Option<&Unit>,
    value: Option<f64>,
) -> Result<(), Error> {
    match value {
        Some(value) => encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(&value),
        None => Ok(()),
    }
}

/// Of `/proc/self/stat`.
struct Stat {
    cpu_seconds: f64,
    start_after_boot: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name, in parentheses, may hold anything; field 3 comes after it.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self { cpu_seconds: (field(14)? + field(15)?) / TICKS, start_after_boot: field(22)? / TICKS })
    }
}

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn kibibytes(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Counts are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "file descriptors are far fewer than 2^53")]
fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let text = "7 (a) b) S 1 7 7 0 -1 0 1 2 3 4 250 50 0 0 20 0 9 0 12300 1000 200";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.cpu_seconds, stat.start_after_boot), (3.0, 123.0));
        assert!(Stat::parse("").is_none());
    }
}
