//! Objects of the Prometheus operator, held against its CustomResourceDefinitions.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::tools;

/// Reads each object into the model of its kind, and says what the model does not have: what an API server would prune
/// without a word, or refuse.
const SCRIPT: &str = r#"
import json, sys
from cloudcoil.models.prometheus_operator import v1

def lost(given, read, at):
    if isinstance(given, dict) and isinstance(read, dict):
        for key in given:
            yield from lost(given[key], read[key], f"{at}.{key}") if key in read else [f"{at}.{key}: no such field"]
    elif isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        for number, pair in enumerate(zip(given, read)):
            yield from lost(*pair, f"{at}[{number}]")
    elif given != read:
        yield f"{at}: {given!r} is read as {read!r}"

for given in json.load(sys.stdin):
    read = getattr(v1, given["kind"]).model_validate(given)
    wrong = list(lost(given, read.model_dump(mode="json", by_alias=True, exclude_unset=True), given["kind"]))
    if wrong:
        sys.exit("\n".join(wrong))
"#;

/// The API group of its kinds.
pub(super) const GROUP: &str = "monitoring.coreos.com/";

/// Every field is one that the kind has, with a value of its type. A validator that takes everything is found out: it has
/// to refuse a field that is made up.
pub(super) fn validate(objects: &[&Value]) -> Result<()> {
    ask(objects)?;
    for object in objects {
        let mut wrong = (*object).clone();
        wrong["spec"]["madeUp"] = true.into();
        let refusal = ask(&[&wrong]).err().map(|error| error.to_string());
        ensure!(
            refusal.as_deref().is_some_and(|why| why.ends_with(".spec.madeUp: no such field")),
            "a field that is made up is not refused: {refusal:?}"
        );
    }
    Ok(())
}

fn ask(objects: &[&Value]) -> Result<()> {
    let mut python = Command::new(tools::operator()?);
    python.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut python = python.spawn().context("starting python")?;
    let text = serde_json::to_vec(objects)?;
    // Closed at once, so that the script sees an end. If it takes nothing, it says why.
    let _ = python.stdin.take().map(|mut input| input.write_all(&text));
    let output = python.wait_with_output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
