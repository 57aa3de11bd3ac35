//! `cargo xtask build-ebpf`: the BPF programs, into `bpf/egress-ebpf` of the target directory, where the agent's
//! build picks them up.

mod slim;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::setup;
use crate::toolchain::Toolchain;

/// Name of the crate and of its object.
const NAME: &str = "egress-ebpf";

/// Builds them; cargo knows whether there is anything to do.
pub(crate) fn run() -> Result<PathBuf> {
    let toolchain = Toolchain::ensure()?;
    let folder = target()?.join("bpf");
    let build = folder.join("build");
    println!("building the eBPF programs");
    let mut cargo = toolchain.cargo()?;
    cargo
        .args(["build", "--release", "--locked", "--target-dir"])
        .arg(&build)
        // Its own folder: there is the configuration with the target, the linker and the flags.
        .current_dir(setup::workspace()?.join(NAME));
    setup::run(&mut cargo)?;
    let built = build.join("bpfel-unknown-none/release").join(NAME);
    let object = folder.join(NAME);
    let new = fs::read(&built).with_context(|| format!("reading {}", built.display()))?;
    let new = slim::slim(&new).with_context(|| format!("slimming {}", built.display()))?;
    // Touched only when it changed, or the agent would be built anew.
    if fs::read(&object).ok().as_deref() != Some(&new) {
        fs::write(&object, new).with_context(|| format!("writing {}", object.display()))?;
    }
    println!("built {}", object.display());
    Ok(object)
}

/// The target directory of the workspace.
pub(crate) fn target() -> Result<PathBuf> {
    Ok(match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => setup::workspace()?.join(folder),
        None => setup::workspace()?.join("target"),
    })
}
