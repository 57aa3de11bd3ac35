//! The initramfs: a `newc` archive, written here.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::kernel::Kernel;
use crate::setup;

/// Where the test is inside.
const TEST: &str = "probe-test";
/// Programs the test calls.
const PROGRAMS: &[&str] = &["ip", "nft", "tc"];
/// The file with the verifier's ceilings.
const GOLDEN: &str = "tests/golden/verifier.txt";

/// Builds it.
pub(super) fn build(to: &Path, kernel: &Kernel, test: &Path, tests: &[String]) -> Result<()> {
    let mut archive = Archive::default();
    for folder in ["proc", "sys", "dev", "run", "tmp"] {
        archive.folder(Path::new(folder));
    }
    archive.copy(&setup::find("busybox").context("no busybox")?, Path::new("bin/busybox"))?;
    archive.program(test, Path::new(TEST))?;
    for name in PROGRAMS {
        let program = setup::find(name).with_context(|| format!("no {name}"))?;
        archive.program(&program, &Path::new("bin").join(name))?;
    }
    // The test looks where it was built.
    let golden = setup::workspace()?.join(GOLDEN);
    if golden.is_file() {
        archive.copy(&golden, golden.strip_prefix("/").unwrap_or(&golden))?;
        archive.folder(setup::workspace()?.join("egress-agent").strip_prefix("/")?);
    }
    let mut names = Vec::new();
    for (name, contents) in kernel.modules()? {
        archive.file(Path::new("modules").join(format!("{name}.ko")), contents, 0o644);
        names.push(name);
    }
    archive.file("init".into(), init(&names, tests).into_bytes(), 0o755);
    fs::write(to, archive.bytes()).with_context(|| format!("writing {}", to.display()))
}

/// The first process.
fn init(modules: &[String], tests: &[String]) -> String {
    let modules: String = modules.iter().map(|name| format!("insmod /modules/{name}.ko\n")).collect();
    let tests = tests.join(" ");
    format!(
        "#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp RUST_BACKTRACE=0 EGRESS_OWN_MACHINE=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
{modules}ip link set lo up
echo vm: started on $(uname -r)
/{TEST} --test-threads=1 --nocapture {tests}
echo vm: ended with $?
poweroff -f
"
    )
}

/// Files by path, in order.
#[derive(Default)]
struct Archive {
    entries: BTreeMap<PathBuf, (u32, Vec<u8>)>,
}

impl Archive {
    fn folder(&mut self, path: &Path) {
        for parent in path.ancestors().filter(|parent| !parent.as_os_str().is_empty()) {
            self.entries.entry(parent.to_path_buf()).or_insert((0o040_755, Vec::new()));
        }
    }

    fn file(&mut self, path: PathBuf, contents: Vec<u8>, mode: u32) {
        if let Some(parent) = path.parent() {
            self.folder(parent);
        }
        self.entries.insert(path, (0o100_000 | mode, contents));
    }

    fn copy(&mut self, from: &Path, to: &Path) -> Result<()> {
        let contents = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
        let mode = fs::metadata(from)?.permissions().mode() & 0o777;
        self.file(to.to_path_buf(), contents, mode);
        Ok(())
    }

    /// A program with its shared libraries, where it looks for them.
    fn program(&mut self, from: &Path, to: &Path) -> Result<()> {
        self.copy(from, to)?;
        let output = Command::new("ldd").arg(from).output().context("ldd")?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let library = line.split_whitespace().find(|word| word.starts_with('/'));
            if let Some(library) = library {
                self.copy(Path::new(library), Path::new(library.trim_start_matches('/')))?;
            }
        }
        Ok(())
    }

    /// The archive.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, (path, (mode, contents))) in (1..).zip(&self.entries) {
            append(&mut bytes, number, &path.to_string_lossy(), *mode, contents);
        }
        append(&mut bytes, 0, "TRAILER!!!", 0, &[]);
        bytes
    }
}

/// One entry: a header of hexadecimal words, the name, the contents, each padded to four bytes.
fn append(bytes: &mut Vec<u8>, number: u32, name: &str, mode: u32, contents: &[u8]) {
    let fields = [
        u64::from(number),
        u64::from(mode),
        0,
        0,
        1,
        0,
        contents.len() as u64,
        0,
        0,
        0,
        0,
        name.len() as u64 + 1,
        0,
    ];
    bytes.extend(b"070701");
    for field in fields {
        bytes.extend(format!("{field:08x}").bytes());
    }
    bytes.extend(name.bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(contents);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_padded_and_end_with_the_trailer() {
        let mut archive = Archive::default();
        archive.file("a/b".into(), b"12345".to_vec(), 0o644);
        let bytes = archive.bytes();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("070701").count(), 3);
        assert!(text.find("a\0").is_some_and(|folder| folder < text.find("a/b\0").unwrap_or(0)));
        assert!(text.trim_end_matches('\0').ends_with("TRAILER!!!"));
    }
}
