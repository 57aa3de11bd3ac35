//! Raw material of corpora, from the captures of the lab: `egress-fuzz-seeds FOLDER`. The fuzzer keeps what adds
//! coverage (`cargo xtask test fuzz --keep`).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use egress_agent::fuzzing;
use egress_common::{DropRecord, PacketLongRecord, PacketRecord, Record, RecordKind, read_record};
use egress_core::capture::{self, Capture};
use egress_core::input::Input;
use egress_core::verdict::Verdict;
use egress_fuzz::records::KINDS;
use egress_fuzz::world::{WORLD, World};
use egress_fuzz::{TARGETS, target};

/// Records of a capture that become one input of the pipeline.
const WINDOW: usize = 12;
/// Records of a capture that become one shorter capture.
const SHORT: usize = 8;

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).context("which folder?")?;
    let seeds = Seeds { folder: Path::new(&folder) };
    for target in TARGETS {
        fs::create_dir_all(seeds.folder.join(target.name))?;
    }
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../captures");
    for entry in fs::read_dir(captures)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path)?;
        if path.extension().is_some_and(|extension| extension == "capture") {
            seeds.capture(&name, &text).with_context(|| name.clone())?;
        } else {
            seeds.verdicts(&name, &text).with_context(|| name.clone())?;
        }
    }
    Ok(())
}

struct Seeds<'a> {
    folder: &'a Path,
}

impl Seeds<'_> {
    fn write(&self, name: &str, file: &str, bytes: &[u8]) -> Result<()> {
        let longest = target(name).context("no such target")?.longest;
        if bytes.len() <= longest {
            fs::write(self.folder.join(name).join(file), bytes)?;
        }
        Ok(())
    }

    fn capture(&self, name: &str, text: &str) -> Result<()> {
        let (world, capture) = (World::of(text), Capture::parse(text)?);
        let records: Vec<&Vec<u8>> = capture.inputs.iter().filter_map(record).collect();
        for (number, bytes) in records.iter().enumerate() {
            let file = format!("{name}-{number}");
            let Some(kind) = kind_of(bytes) else { continue };
            self.write("record", &file, &[&[kind], bytes.as_slice()].concat())?;
            if let Some(packet) = packet_of(bytes) {
                self.write(
                    "packet",
                    &file,
                    &[&[number_of(number), number_of(number / 4), 40], packet.as_slice()].concat(),
                )?;
                // Behind IPv4 and UDP.
                if let Some(message) = packet.get(28..).filter(|_| packet[0] == 0x45 && packet[9] == 17) {
                    self.write("dns", &file, &[&[0], message].concat())?;
                }
            }
        }
        for (number, window) in records.chunks(WINDOW).enumerate() {
            let mut steps = Vec::new();
            for bytes in window {
                let Some(kind) = kind_of(bytes) else { continue };
                steps.extend([0, kind]);
                steps.extend(moved(bytes, &world));
                // Fifty milliseconds go by.
                steps.extend([6, 2]);
            }
            self.write("pipeline", &format!("{name}-{number}"), &steps)?;
        }
        let mut short = capture::line(&capture.header)?;
        let others =
            capture.inputs.iter().filter(|i| !matches!(i, Input::Names { .. } | Input::Record { .. }));
        let some = capture.inputs.iter().filter(|input| matches!(input, Input::Record { .. })).take(SHORT);
        for input in others.take(2 * SHORT).chain(some) {
            short.push_str(&capture::line(input)?);
        }
        self.write("capture", name, short.as_bytes())
    }

    fn verdicts(&self, name: &str, text: &str) -> Result<()> {
        let verdicts: Vec<Verdict> = serde_json::from_str(text)?;
        for (number, verdict) in verdicts.iter().enumerate() {
            let message = fuzzing::verdict_message(verdict);
            self.write("grpc", &format!("{name}-{number}"), &[&[3, 3], message.as_slice()].concat())?;
        }
        Ok(())
    }
}

fn number_of(number: usize) -> u8 {
    u8::try_from(number % 256).unwrap_or(0)
}

fn record(input: &Input) -> Option<&Vec<u8>> {
    if let Input::Record { bytes } = input { Some(bytes) } else { None }
}

/// The number of a record's kind in the list of kinds.
fn kind_of(bytes: &[u8]) -> Option<u8> {
    let raw = u16::from_ne_bytes([*bytes.get(8)?, *bytes.get(9)?]);
    let at = KINDS.iter().position(|(kind, _)| *kind as u16 == raw)?;
    u8::try_from(at).ok()
}

/// The packet in a record.
fn packet_of(bytes: &[u8]) -> Option<Vec<u8>> {
    fn cut<T: Record>(bytes: &[u8], data: impl Fn(&T) -> (&[u8], u16)) -> Option<Vec<u8>> {
        let record = read_record(bytes)?;
        let (data, length) = data(&record);
        data.get(..usize::from(length)).map(<[u8]>::to_vec)
    }
    let raw = u16::from_ne_bytes([*bytes.get(8)?, *bytes.get(9)?]);
    match RecordKind::from_raw(raw)? {
        RecordKind::Packet => cut(bytes, |r: &PacketRecord| (&r.data, r.data_len)),
        RecordKind::PacketLong => cut(bytes, |r: &PacketLongRecord| (&r.data, r.data_len)),
        RecordKind::Drop => cut(bytes, |r: &DropRecord| (&r.data, r.data_len)),
        _ => None,
    }
}

/// The record as if it had been made in the world of the pipeline's inputs.
fn moved(bytes: &[u8], from: &World) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let netns = bytes.get(16..20).map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
    let at = from.netns.iter().position(|known| *known == netns);
    if let Some(there) = at.and_then(|at| WORLD.netns.get(at)) {
        bytes[16..20].copy_from_slice(&there.to_ne_bytes());
    }
    bytes
}
