//! Records with numbers that cannot be: what fuzzing found.

use egress_common::{LossRecord, RecordHeader, RecordKind, record_bytes};

use super::World;
use super::wire::{Flag, dropped, tcp};

fn lost(count: u64) -> Vec<u8> {
    let header = RecordHeader {
        time_ns: 1_000_000_000,
        kind: RecordKind::Loss as u16,
        flags: 0,
        cpu: 0,
        netns: 0,
        ifindex: 0,
        pod_slot: 0,
        len: 0,
        mark: 0,
        pad: 0,
    };
    record_bytes(&LossRecord { header, count, of_kind: 0, stage: 1, pad: 0 }).to_vec()
}

#[test]
fn losses_beyond_all_counting_stay_at_the_most() {
    let mut world = World::denied();
    world.record(lost(u64::MAX));
    world.record(lost(u64::MAX));
    world.record(dropped(1000, &tcp(("10.244.1.5", 40000), ("203.0.113.4", 443), Flag::Syn, 7)));
    world.until(3000);
    assert_eq!(world.only().lost_events, u64::MAX);
}
