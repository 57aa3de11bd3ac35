//! `cargo xtask demo`: installs and builds what the tour needs, then runs it.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};

use crate::setup;

/// Prepares the machine and runs the tour.
pub(crate) fn run() -> Result<()> {
    setup::ensure(setup::LAB)?;
    setup::build()?;
    let lab = setup::binaries()?.join("egress-lab");
    if !setup::is_root() {
        println!("the tour builds network namespaces and loads BPF programs: asking sudo");
    }
    // In place of this process, so that Ctrl-C reaches the tour alone and it can take down what it built.
    let mut tour = setup::as_root(&lab.to_string_lossy());
    let error = tour.arg("demo").exec();
    Err(error).with_context(|| format!("starting {}", lab.display()))
}
