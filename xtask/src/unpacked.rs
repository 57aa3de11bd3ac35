//! Programs of Debian packages that are only unpacked, not installed: installing them would start a service.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{build_ebpf, setup};

/// The folder with a package's programs: where they are installed, or `target/tools/PACKAGE/usr/bin` after downloading
/// and unpacking the package there.
pub(crate) fn programs(package: &str, program: &str, why: &str) -> Result<PathBuf> {
    if let Some(installed) = setup::find(program) {
        return installed.parent().map(Path::to_path_buf).context("a program without a folder");
    }
    let tools = build_ebpf::target()?.join("tools");
    let unpacked = tools.join(package);
    let bin = unpacked.join("usr/bin");
    if bin.join(program).is_file() {
        return Ok(bin);
    }
    println!("missing: {program} (package {package}, unpacked into {}): {why}", unpacked.display());
    fs::create_dir_all(&tools)?;
    let archive = download(package, &tools)?;
    // Complete or not at all: unpacked aside, then moved.
    let partial = tools.join(format!("{package}.partial"));
    let _ = fs::remove_dir_all(&partial);
    setup::run(Command::new("dpkg").arg("-x").arg(&archive).arg(&partial))?;
    fs::rename(&partial, &unpacked)?;
    fs::remove_file(&archive)?;
    if !bin.join(program).is_file() {
        bail!("package {package} has no usr/bin/{program}");
    }
    Ok(bin)
}

/// Downloads a package's archive, with fresh lists if it must be.
fn download(package: &str, folder: &Path) -> Result<PathBuf> {
    let fetch = || Command::new("apt-get").args(["download", package]).current_dir(folder).output();
    let mut output = fetch().context("starting apt-get")?;
    if !output.status.success() {
        setup::run(setup::as_root("apt-get").arg("update"))?;
        output = fetch()?;
    }
    if !output.status.success() {
        bail!("apt-get download {package}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let prefix = format!("{package}_");
    fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with(&prefix) && name.ends_with(".deb")
        })
        .with_context(|| format!("apt-get left no archive of {package}"))
}

/// `PATH` with more folders at its end.
pub(crate) fn path_with(folders: &[PathBuf]) -> String {
    let mut path = std::env::var("PATH").unwrap_or_default();
    for folder in folders {
        path.push_str(&format!(":{}", folder.display()));
    }
    path
}
