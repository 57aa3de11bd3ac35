//! Every capture of the lab makes the same verdicts again: no root, no kernel, no clock.
//!
//! `tests/captures/NAME.capture` is compared with `NAME.json`. `UPDATE_GOLDEN=1` writes the latter anew.

use std::fs;
use std::path::{Path, PathBuf};

use egress_core::capture::Capture;
use serde_json::Value;

#[test]
fn captures_make_their_verdicts_again() {
    let mut wrong = Vec::new();
    for path in captures() {
        let golden = path.with_extension("json");
        let replayed = replay(&path);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &replayed).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if replayed != expected {
            wrong.push(format!("{}\n{}", golden.display(), difference(&expected, &replayed)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_capture_has_its_verdicts() {
    for path in captures() {
        assert!(path.with_extension("json").exists(), "{} has no .json beside it", path.display());
    }
}

fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "capture"))
        .collect();
    paths.sort();
    paths
}

/// The verdicts of a capture as JSON. Times are in the capture, so they are the same each time.
fn replay(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let capture = Capture::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let verdicts: Vec<Value> =
        capture.replay().iter().map(|verdict| serde_json::to_value(&**verdict).unwrap()).collect();
    serde_json::to_string_pretty(&verdicts).unwrap() + "\n"
}

/// The lines that differ.
fn difference(expected: &str, replayed: &str) -> String {
    let (expected, replayed): (Vec<_>, Vec<_>) = (expected.lines().collect(), replayed.lines().collect());
    let mut lines = Vec::new();
    for at in 0..expected.len().max(replayed.len()) {
        let (old, new) = (expected.get(at), replayed.get(at));
        if old != new {
            lines.push(format!(
                "  line {}:\n    - {}\n    + {}",
                at + 1,
                old.unwrap_or(&""),
                new.unwrap_or(&"")
            ));
        }
    }
    lines.join("\n")
}
