//! What a cluster installs: files that follow from others are written here, and all of it is checked without a cluster.

mod facts;
mod manifests;
mod operator;
mod rules;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{build_ebpf, image, setup, unpacked};

pub(crate) use manifests::validate;
pub(crate) use tools::axe;

/// `cargo xtask deploy`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only prove that the files are fresh.
    #[arg(long)]
    pub(crate) check: bool,
}

/// Writes what follows from other files, or proves it fresh: the PrometheusRule, and the README's facts.
pub(crate) fn run(args: &Args) -> Result<()> {
    let root = setup::workspace()?;
    let alerts = read(&root.join("deploy/monitoring/alerts.yaml"))?;
    put(&root.join("deploy/monitoring/prometheusrule.yaml"), &rules::object(&alerts)?, args.check)?;
    let readme = root.join("README.md");
    let text = facts::insert(&read(&readme)?, &facts::of(&manifests::render("base")?)?)?;
    put(&readme, &text, args.check)
}

/// The folder with `prometheus` and `promtool`.
pub(crate) fn prometheus() -> Result<PathBuf> {
    unpacked::programs("prometheus", "promtool", "scrapes the lab, and tests the alert rules")
}

/// The alert rules: each fires for what it is about, and not for its healthy twin.
pub(crate) fn alerts() -> Result<()> {
    let mut promtool = Command::new(prometheus()?.join("promtool"));
    promtool.current_dir(setup::workspace()?.join("deploy/monitoring"));
    setup::run(promtool.args(["test", "rules", "alerts.test.yaml"]))
}

/// What the lab's sandbox takes: a folder with the rendered base as JSON and the image, and the folders of the container
/// runtime's programs.
pub(crate) fn sandbox() -> Result<(PathBuf, Vec<PathBuf>)> {
    let folder = build_ebpf::target()?.join("deploy");
    fs::create_dir_all(&folder)?;
    let objects = manifests::render("base")?;
    fs::write(folder.join("base.json"), serde_json::to_string_pretty(&objects)?)?;
    image::for_test(&folder.join("image.tar"))?;
    let why = "runs the image as the DaemonSet does";
    setup::ensure(&[setup::Tool { program: "runc", package: "runc", why }])?;
    Ok((folder, vec![unpacked::programs("containerd", "containerd", why)?]))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn put(path: &Path, text: &str, check: bool) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if check {
        bail!("{} is not fresh: cargo xtask deploy", path.display());
    }
    println!("wrote {}", path.display());
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
