//! A kernel of Debian: found, downloaded and unpacked, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup;

/// An unpacked kernel.
pub(super) struct Kernel {
    /// The package.
    pub(super) name: String,
    /// The bootable image.
    pub(super) image: PathBuf,
    /// Folder of its modules.
    modules: PathBuf,
}

/// Modules that the tests need, with what they in turn need: a veth pair, nftables, conntrack over netlink, clsact with other filters.
const MODULES: &[&str] = &[
    "veth",
    "nf_tables",
    "nf_conntrack",
    "nf_conntrack_netlink",
    "nft_ct",
    "sch_ingress",
    "cls_bpf",
    "cls_u32",
];

impl Kernel {
    /// The newest cloud kernel of a release line that apt offers.
    pub(super) fn fetch(release: &str, folder: &Path) -> Result<Self> {
        let name = newest(release)?;
        let unpacked = folder.join(&name);
        if !unpacked.join("boot").is_dir() {
            println!("downloading {name}");
            download(&name, folder)?;
            let archive =
                find(folder, |file| file.starts_with(&format!("{name}_")) && file.ends_with(".deb"))
                    .with_context(|| format!("apt-get left no archive of {name}"))?;
            // Complete or not at all: unpacked aside, then moved.
            let partial = folder.join(format!("{name}.partial"));
            let _ = fs::remove_dir_all(&partial);
            setup::run(Command::new("dpkg").arg("-x").arg(&archive).arg(&partial))?;
            fs::rename(&partial, &unpacked)?;
            fs::remove_file(&archive)?;
        }
        let image =
            find(&unpacked.join("boot"), |file| file.starts_with("vmlinuz-")).context("no image inside")?;
        let library = ["lib/modules", "usr/lib/modules"]
            .iter()
            .map(|path| unpacked.join(path))
            .find(|path| path.is_dir())
            .context("no modules inside")?;
        let modules = find(&library, |_| true).context("no modules inside")?;
        Ok(Self { name, image, modules })
    }

    /// The modules to load, in order, as name and contents.
    pub(super) fn modules(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut files = Vec::new();
        walk(&self.modules, &mut files)?;
        let mut loaded = Vec::new();
        for name in MODULES {
            self.load(name, &files, &mut loaded)?;
        }
        Ok(loaded)
    }

    fn load(&self, name: &str, files: &[PathBuf], loaded: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
        if loaded.iter().any(|(other, _)| other == name) {
            return Ok(());
        }
        let file = files.iter().find(|path| module_name(path).as_deref() == Some(name));
        let Some(file) = file else {
            // Built in.
            return Ok(());
        };
        let contents = if file.extension().is_some_and(|extension| extension == "xz") {
            let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(file).output()?;
            if !output.status.success() {
                bail!("xz: {}: {}", file.display(), output.status);
            }
            output.stdout
        } else {
            fs::read(file)?
        };
        for needed in dependencies(&contents) {
            self.load(&needed, files, loaded)?;
        }
        loaded.push((name.to_owned(), contents));
        Ok(())
    }
}

/// Name of the newest package of a release line.
fn newest(release: &str) -> Result<String> {
    let output =
        Command::new("apt-cache").args(["pkgnames", "linux-image-"]).output().context("apt-cache")?;
    let prefix = format!("linux-image-{release}.");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|name| name.starts_with(&prefix) && name.ends_with("-cloud-amd64-unsigned"))
        .max_by_key(|name| numbers(name))
        .map(str::to_owned)
        .with_context(|| format!("apt offers no cloud kernel {release} (is the list fresh? apt-get update)"))
}

/// The numbers in a name, to compare versions by.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

fn download(name: &str, folder: &Path) -> Result<()> {
    let output = Command::new("apt-get").args(["download", name]).current_dir(folder).output()?;
    if !output.status.success() {
        bail!("apt-get download {name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn find(folder: &Path, fits: impl Fn(&str) -> bool) -> Option<PathBuf> {
    fs::read_dir(folder)
        .ok()?
        .flatten()
        .find(|entry| fits(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// A module's name: files may have `-` where the name has `_`.
fn module_name(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?;
    let stem = name.strip_suffix(".ko.xz").or_else(|| name.strip_suffix(".ko"))?;
    Some(stem.replace('-', "_"))
}

/// What a module says it needs.
fn dependencies(contents: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = contents.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = contents[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let names = [
            "linux-image-6.12.9+deb12-cloud-amd64-unsigned",
            "linux-image-6.12.107+deb12-cloud-amd64-unsigned",
        ];
        assert_eq!(names.iter().max_by_key(|name| numbers(name)), Some(&names[1]));
    }

    #[test]
    fn dependencies_are_in_the_modinfo() {
        let contents = b"junk\0license=GPL\0depends=nf_defrag_ipv4,nf-defrag-ipv6\0name=x\0";
        assert_eq!(dependencies(contents), ["nf_defrag_ipv4", "nf_defrag_ipv6"]);
        assert!(dependencies(b"\0depends=\0").is_empty());
    }
}
