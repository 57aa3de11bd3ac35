//! Captures: everything the pipeline was fed, as lines of JSON, so that what happened on a node can be replayed
//! anywhere. The first line is the header, every other line one [`Input`].

use std::collections::BTreeMap;
use std::sync::Arc;

use egress_common::ABI_VERSION;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::input::Input;
use crate::pipeline::Pipeline;
use crate::verdict::Verdict;

/// Version of the format.
pub const VERSION: u32 = 1;

/// First line of a capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`] of the writer.
    pub egress_capture: u32,
    /// [`ABI_VERSION`] of the records.
    pub abi: u16,
    /// Version of the agent that wrote it.
    pub agent: String,
    /// Kernel release.
    pub kernel: String,
    /// Machine (`x86_64`, `aarch64`).
    pub arch: String,
    /// Name of the node, empty if not known.
    pub node: String,
    /// Field offsets that the programs used, by name; absent ones are left out.
    pub offsets: BTreeMap<String, u32>,
}

/// Why a capture cannot be read.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// There is no first line.
    #[error("the capture is empty")]
    Empty,
    /// The first line is not a header.
    #[error("line 1: not a capture header: {0}")]
    Header(serde_json::Error),
    /// Written by a newer version.
    #[error("capture version {0}, this agent reads version {VERSION}")]
    Version(u32),
    /// Records of another layout.
    #[error("records of ABI version {0}, this agent reads version {ABI_VERSION}")]
    Abi(u16),
    /// A line is not an input.
    #[error("line {line}: {source}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// A capture, read whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Capture {
    /// Its header.
    pub header: Header,
    /// What the pipeline was fed.
    pub inputs: Vec<Input>,
}

impl Capture {
    /// Reads a capture. A last line without its newline (the writer was killed) is left out.
    pub fn parse(text: &str) -> Result<Self, CaptureError> {
        let mut lines = text.split_inclusive('\n').enumerate();
        let (_, first) = lines.next().ok_or(CaptureError::Empty)?;
        let header: Header = serde_json::from_str(first).map_err(CaptureError::Header)?;
        if header.egress_capture != VERSION {
            return Err(CaptureError::Version(header.egress_capture));
        }
        if header.abi != ABI_VERSION {
            return Err(CaptureError::Abi(header.abi));
        }
        let inputs = lines
            .filter(|(_, line)| line.ends_with('\n') && !line.trim().is_empty())
            .map(|(at, line)| {
                serde_json::from_str(line).map_err(|source| CaptureError::Line { line: at + 1, source })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { header, inputs })
    }

    /// Runs it through a fresh pipeline. Gives every verdict as it was last, in the order of first appearance.
    #[must_use]
    pub fn replay(self) -> Vec<Arc<Verdict>> {
        let mut pipeline = Pipeline::new(&self.header.node);
        let mut verdicts: Vec<Arc<Verdict>> = Vec::new();
        for input in self.inputs {
            for fresh in pipeline.step(input) {
                match verdicts.iter_mut().find(|known| known.id == fresh.id) {
                    Some(known) => *known = fresh,
                    None => verdicts.push(fresh),
                }
            }
            // Nobody takes them here.
            drop(pipeline.take_tallies());
            drop(pipeline.take_questions());
        }
        verdicts
    }
}

/// A header or an input as a line, newline included.
pub fn line<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(value).map(|mut text| {
        text.push('\n');
        text
    })
}
