//! The settings files that a cluster installs are ones that this agent takes.

use std::path::Path;
use std::process::Command;

#[test]
fn the_settings_of_every_overlay_can_be_used() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let overlays = std::fs::read_dir(deploy.join("overlays")).unwrap();
    let folders = overlays.map(|entry| entry.unwrap().path()).chain([deploy.join("base")]);
    let files: Vec<_> =
        folders.map(|folder| folder.join("config.yaml")).filter(|file| file.is_file()).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let mut agent = Command::new(env!("CARGO_BIN_EXE_egress-agent"));
        let output = agent.arg("run").arg("--config").arg(&file).arg("--check").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", file.display());
    }
}
