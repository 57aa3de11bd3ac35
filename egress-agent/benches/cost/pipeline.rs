//! User space: what a record costs from the ring's bytes to the metric, and a policy evaluation.

use std::hint::black_box;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use egress_agent::export::metrics::Metrics;
use egress_agent::k8s::files::FileSource;
use egress_common::{
    AggregateKey, AggregateRecord, DropRecord, PacketClass, PacketRecord, RecordHeader, RecordKind,
    SHORT_SNAP, TapPoint, record_bytes,
};
use egress_core::cluster::ClusterChange;
use egress_core::identity::{ClusterIndex, Endpoint};
use egress_core::input::Input;
use egress_core::pipeline::Pipeline;
use egress_core::policy::{Decision, PolicyFlow, evaluate};
use egress_core::protocol::Protocol;
use egress_core::time::{ClockOffset, Mono};

use crate::figures::{Spread, Table};
use crate::send::{tcp, udp};
use crate::site::{DROPPED, pod_ip};
use crate::state::{NODE, POLICIES, State};

/// Between two records: as at 100,000 a second.
const STEP: Duration = Duration::from_micros(10);
/// Records between two ticks of 50 ms.
const PER_TICK: usize = 5000;
/// The budget, nanoseconds.
const LIMIT: f64 = 200.0;

/// What hooks have recorded.
pub(crate) struct Recorded {
    /// Drop records.
    pub(crate) drops: Vec<Vec<u8>>,
    /// The names they refer to.
    pub(crate) names: Option<Input>,
}

/// Measures.
pub(crate) fn measure(table: &mut Table, state: &State, recorded: &Recorded) -> Result<()> {
    let changes = load(&state.write(250, POLICIES)?)?;
    policies(table, "10,000 policies in 100 namespaces", &changes)?;
    let calico = load(&state.write_calico(250, POLICIES)?)?;
    policies(table, "10,000 of Calico's and 1,000 network sets", &calico)?;
    let drops: Vec<Vec<u8>> =
        recorded.drops.iter().filter(|bytes| bytes.len() == size_of::<DropRecord>()).cloned().collect();
    ensure!(drops.len() >= 1000, "only {} drops were recorded", drops.len());
    let one = vec![drops[drops.len() / 2].clone()];
    let cases = [
        ("a pod's drops counted in the kernel", aggregates(), 400_000),
        ("drops of one flow", one, 200_000),
        ("drops of 2000 flows", drops, 20_000),
        ("a TCP handshake at the pod's device", handshakes(), 200_000),
        ("DNS questions and answers", dns(), 100_000),
    ];
    for (what, records, count) in cases {
        let found = records_cost(&changes, recorded, &records, count);
        let text = format!("{:.0} ns [{:.0} – {:.0}]", found.median, found.low, found.high);
        table.limit(&format!("CPU an event, bytes to metric: {what}"), text, found.median, LIMIT, " ns");
    }
    Ok(())
}

/// Nanoseconds a record: copied from the ring, decoded, correlated, judged, counted.
fn records_cost(changes: &[ClusterChange], recorded: &Recorded, records: &[Vec<u8>], count: usize) -> Spread {
    let mut pipeline = Pipeline::new(NODE);
    let metrics = Metrics::new(true);
    let mut now = Mono(3_600_000_000_000);
    for change in changes {
        pipeline.step(Input::Cluster { at: now, change: change.clone() });
    }
    if let Some(names) = &recorded.names {
        pipeline.step(names.clone());
    }
    let tick = |pipeline: &mut Pipeline, now: Mono| {
        black_box(pipeline.step(Input::Tick { now, offset: ClockOffset(0) }));
        black_box(pipeline.take_questions());
        metrics.tally(&pipeline.take_tallies());
    };
    tick(&mut pipeline, now);
    let mut records = records.to_vec();
    let mut next = 0;
    let mut found = Vec::new();
    for block in 0..=count / PER_TICK {
        let start = cpu_time();
        for _ in 0..PER_TICK {
            now = now.after(STEP);
            next = (next + 1) % records.len();
            let record = &mut records[next];
            record[..8].copy_from_slice(&now.0.to_ne_bytes());
            black_box(pipeline.step(Input::Record { bytes: record.clone() }));
        }
        tick(&mut pipeline, now);
        // The first is to warm up.
        if block > 0 {
            found.push((cpu_time() - start).as_nanos() as f64 / PER_TICK as f64);
        }
    }
    Spread::of(found)
}

fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn load(folder: &Path) -> Result<Vec<ClusterChange>> {
    let source = FileSource::load(&[folder.to_owned()])
        .map_err(|problems| anyhow::anyhow!("the manifests: {:?}", problems.first()))?;
    Ok(source.changes())
}

/// A verdict's policy evaluation in a large cluster.
fn policies(table: &mut Table, what: &str, changes: &[ClusterChange]) -> Result<()> {
    let at = Mono(1);
    let mut index = ClusterIndex::new(NODE);
    for change in changes {
        index.apply(change.clone(), at);
    }
    let flow = PolicyFlow {
        from: index.resolve_client(pod_ip(0).into(), at),
        to: Endpoint::external(IpAddr::from([203, 0, 113, 4])),
        port: 443,
        protocol: Protocol::Tcp,
        names: Vec::new(),
    };
    ensure!(flow.from.pod.is_some(), "the pod is not known");
    let mut found = Vec::new();
    for _ in 0..40 {
        let start = Instant::now();
        for _ in 0..50 {
            ensure!(black_box(evaluate(&index, &flow)).decision == Decision::Deny, "not denied");
        }
        found.push(start.elapsed().as_nanos() as f64 / 50e3);
    }
    let found = Spread::of(found);
    let text = format!("{:.1} µs [{:.1} – {:.1}]", found.median, found.low, found.high);
    table.limit(&format!("policy evaluation, {what}"), text, found.median, 100.0, " µs");
    Ok(())
}

fn header(kind: RecordKind, slot: u32) -> RecordHeader {
    RecordHeader {
        time_ns: 0,
        kind: kind as u16,
        flags: 0,
        cpu: 0,
        netns: 1,
        ifindex: 10,
        pod_slot: slot,
        len: 60,
        mark: 0,
        pad: 0,
    }
}

fn aggregates() -> Vec<Vec<u8>> {
    (0..2000_u16)
        .map(|n| {
            let pod = u32::from(n) % 250;
            let key = AggregateKey {
                location: 1100,
                source: pod_ip(pod).to_ipv6_mapped().octets(),
                destination: DROPPED.to_ipv6_mapped().octets(),
                netns: 1,
                reason: 2,
                pod_slot: pod,
                destination_port: 5000 + n / 250,
                protocol: 17,
                detail: 0,
            };
            record_bytes(&AggregateRecord { header: header(RecordKind::Aggregate, pod), key, count: 3 })
                .to_vec()
        })
        .collect()
}

fn packet(tap: TapPoint, class: PacketClass, packet: &[u8]) -> Vec<u8> {
    let mut data = [0; SHORT_SNAP];
    data[..packet.len()].copy_from_slice(packet);
    let record = PacketRecord {
        header: header(RecordKind::Packet, 0),
        tap: tap as u8,
        class: class as u8,
        protocol: 8,
        data_len: u16::try_from(packet.len()).unwrap_or(0),
        pad: 0,
        data,
    };
    record_bytes(&record).to_vec()
}

/// SYN, SYN-ACK and FIN of 1000 connections.
fn handshakes() -> Vec<Vec<u8>> {
    (0..1000_u16)
        .flat_map(|n| {
            let (pod, port) = (pod_ip(u32::from(n) % 250), 10_000 + n);
            let class = PacketClass::TcpControl;
            let mut answer = tcp(DROPPED, 443, pod, port, 0x12, 0);
            let syn = tcp(pod, port, DROPPED, 443, 0x02, 0);
            let isn = u32::from_be_bytes([syn[24], syn[25], syn[26], syn[27]]);
            answer[28..32].copy_from_slice(&isn.wrapping_add(1).to_be_bytes());
            [
                packet(TapPoint::PodOut, class, &syn),
                packet(TapPoint::PodIn, class, &answer),
                packet(TapPoint::PodOut, class, &tcp(pod, port, DROPPED, 443, 0x11, 0)),
            ]
        })
        .collect()
}

/// Questions for an address, and their answers.
fn dns() -> Vec<Vec<u8>> {
    let name = b"\x03api\x06stripe\x03com\0";
    (0..1000_u16)
        .flat_map(|n| {
            let (pod, port) = (pod_ip(u32::from(n) % 250), 20_000 + n);
            let mut question = [n.to_be_bytes().as_slice(), &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
            question.extend_from_slice(name);
            question.extend_from_slice(&[0, 1, 0, 1]);
            let mut answer = question.clone();
            answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 4]);
            let fill = |mut packet: Vec<u8>, payload: &[u8]| {
                packet[28..].copy_from_slice(payload);
                packet
            };
            [
                packet(
                    TapPoint::PodOut,
                    PacketClass::Dns,
                    &fill(udp(pod, port, DROPPED, 53, question.len()), &question),
                ),
                packet(
                    TapPoint::PodIn,
                    PacketClass::Dns,
                    &fill(udp(DROPPED, 53, pod, port, answer.len()), &answer),
                ),
            ]
        })
        .collect()
}
