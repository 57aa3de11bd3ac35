//! What a cluster installs, checked without one.

use std::process::Command;

use anyhow::Result;

use crate::{setup, unpacked};

/// The folder with `prometheus` and `promtool`.
pub(crate) fn prometheus() -> Result<std::path::PathBuf> {
    unpacked::programs("prometheus", "promtool", "scrapes the lab, and tests the alert rules")
}

/// The alert rules: each fires for what it is about, and not for its healthy twin.
pub(crate) fn alerts() -> Result<()> {
    let mut promtool = Command::new(prometheus()?.join("promtool"));
    promtool.current_dir(setup::workspace()?.join("deploy/monitoring"));
    setup::run(promtool.args(["test", "rules", "alerts.test.yaml"]))
}
