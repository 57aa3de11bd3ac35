//! Writes every input of the pipeline to a capture file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use egress_common::{ABI_VERSION, ABSENT, Offsets};
use egress_core::capture::{self, Header};
use egress_core::input::Input;

/// The capture file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write capture {}: {source}", path.display())]
pub struct RecordError {
    path: PathBuf,
    source: std::io::Error,
}

/// An open capture.
#[derive(Debug)]
pub(super) struct Recorder {
    path: PathBuf,
    file: BufWriter<File>,
    failed: bool,
}

impl Recorder {
    /// Creates the file and writes the header.
    pub(super) fn create(path: &Path, node: &str, offsets: &Offsets) -> Result<Self, RecordError> {
        let fail = |source| RecordError { path: path.to_owned(), source };
        let known: BTreeMap<String, u32> = offsets
            .fields()
            .filter(|(_, offset)| *offset != ABSENT)
            .map(|(name, offset)| (name.to_owned(), offset))
            .collect();
        let header = Header {
            egress_capture: capture::VERSION,
            abi: ABI_VERSION,
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: crate::host::kernel_release(),
            arch: std::env::consts::ARCH.to_owned(),
            node: node.to_owned(),
            offsets: known,
        };
        let line = capture::line(&header).map_err(|error| fail(error.into()))?;
        let mut file = BufWriter::new(File::create(path).map_err(fail)?);
        file.write_all(line.as_bytes()).and_then(|()| file.flush()).map_err(fail)?;
        Ok(Self { path: path.to_owned(), file, failed: false })
    }

    /// Adds an input. The first failure is told, and ends the capture: a hole in it would mislead.
    pub(super) fn add(&mut self, input: &Input) {
        if self.failed {
            return;
        }
        let result = capture::line(input)
            .map_err(std::io::Error::from)
            .and_then(|line| self.file.write_all(line.as_bytes()));
        self.told(result);
    }

    /// Writes out what is buffered.
    pub(super) fn flush(&mut self) {
        if !self.failed {
            let result = self.file.flush();
            self.told(result);
        }
    }

    fn told(&mut self, result: std::io::Result<()>) {
        if let Err(error) = result {
            self.failed = true;
            tracing::error!("capture {} ends here: {error}", self.path.display());
        }
    }
}
