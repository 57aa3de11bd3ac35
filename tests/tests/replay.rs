//! Every capture of the lab makes the same verdicts again: no root, no kernel, no clock.
//!
//! `tests/captures/NAME.capture` is compared with `NAME.json`. `UPDATE_GOLDEN=1` writes the latter anew.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use egress_core::capture::Capture;
use serde_json::Value;

#[test]
fn captures_make_their_verdicts_again() -> Result<()> {
    let mut wrong = Vec::new();
    for path in captures()? {
        let golden = path.with_extension("json");
        let replayed = replay(&path)?;
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &replayed)?;
            continue;
        }
        let expected = fs::read_to_string(&golden).with_context(|| golden.display().to_string())?;
        if replayed != expected {
            wrong.push(format!("{}\n{}", golden.display(), difference(&expected, &replayed)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn captures() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "capture") {
            paths.push(path);
        }
    }
    paths.sort();
    ensure!(!paths.is_empty(), "no captures in {}", folder.display());
    Ok(paths)
}

/// The verdicts of a capture as JSON. Times are in the capture, so they are the same each time.
fn replay(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path)?;
    let capture = Capture::parse(&text).with_context(|| path.display().to_string())?;
    let mut verdicts: Vec<Value> =
        capture.replay().iter().map(|verdict| serde_json::to_value(&**verdict)).collect::<Result<_, _>>()?;
    // Verdicts that fall due at the same moment come in no particular order.
    verdicts.sort_by_key(|v| {
        [&v["pod"]["namespace"], &v["pod"]["name"], &v["peer"], &v["cause"]].map(Value::to_string)
    });
    Ok(serde_json::to_string_pretty(&verdicts)? + "\n")
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
