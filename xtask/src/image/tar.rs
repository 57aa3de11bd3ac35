//! Tar archives (POSIX ustar) whose bytes depend on their contents only.

use anyhow::{Result, ensure};

/// Size of a block: headers and contents are padded to it.
const BLOCK: usize = 512;
/// Longest name of a header without extensions.
const NAME: usize = 100;

/// What an entry is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A folder, 0755.
    Folder,
    /// A file, 0644.
    File,
    /// A program, 0755.
    Program,
}

/// An archive that is being written. Everything belongs to root.
pub(super) struct Archive {
    bytes: Vec<u8>,
    /// Seconds since 1970 of every entry.
    time: u64,
}

impl Archive {
    pub(super) const fn new(time: u64) -> Self {
        Self { bytes: Vec::new(), time }
    }

    /// Adds an entry; `contents` is empty for a folder.
    pub(super) fn add(&mut self, name: &str, kind: Kind, contents: &[u8]) -> Result<()> {
        ensure!(name.len() <= NAME, "{name} is too long for a tar header");
        let (mode, flag) = match kind {
            Kind::Folder => (0o755, b'5'),
            Kind::File => (0o644, b'0'),
            Kind::Program => (0o755, b'0'),
        };
        let mut header = [0u8; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        octal(&mut header[100..108], mode);
        octal(&mut header[108..116], 0);
        octal(&mut header[116..124], 0);
        octal(&mut header[124..136], contents.len() as u64);
        octal(&mut header[136..148], self.time);
        header[156] = flag;
        header[257..265].copy_from_slice(b"ustar\x0000");
        // The checksum counts itself as spaces.
        header[148..156].fill(b' ');
        let sum = header.iter().map(|&byte| u64::from(byte)).sum();
        octal(&mut header[148..155], sum);
        self.bytes.extend(header);
        self.bytes.extend(contents);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        Ok(())
    }

    /// The archive with its end: two empty blocks.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }
}

/// Octal digits that fill a field up to its final NUL.
fn octal(field: &mut [u8], number: u64) {
    let digits = field.len() - 1;
    field[..digits].copy_from_slice(format!("{number:0digits$o}").as_bytes());
    field[digits] = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_header_and_padded_contents() -> Result<()> {
        let mut archive = Archive::new(0o7777);
        archive.add("run/", Kind::Folder, &[])?;
        archive.add("a", Kind::Program, b"hello")?;
        let bytes = archive.finish();
        assert_eq!(bytes.len(), 5 * BLOCK);
        let header = &bytes[BLOCK..2 * BLOCK];
        assert_eq!(&header[..2], b"a\0");
        assert_eq!(&header[100..108], b"0000755\0");
        assert_eq!(&header[124..148], b"00000000005\x0000000007777\0");
        // As tar(1) writes it: six digits, NUL, space.
        assert_eq!(&header[154..156], b"\0 ");
        assert_eq!(&bytes[2 * BLOCK..2 * BLOCK + 6], b"hello\0");
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Archive::new(0).add(&"x".repeat(101), Kind::File, &[]).is_err());
    }
}
