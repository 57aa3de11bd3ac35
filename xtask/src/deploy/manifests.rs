//! Manifests: rendered by kubectl, validated against the schemas of Kubernetes, unknown fields refused.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{operator, tools};
use crate::{build_ebpf, setup};

/// The oldest and the newest Kubernetes whose schemas are asked.
const RELEASES: &[&str] = &["1.28.0", "1.37.0"];

/// The objects of a folder below `deploy`.
pub(super) fn render(folder: &str) -> Result<Vec<Value>> {
    let path = setup::workspace()?.join("deploy").join(folder);
    let output = Command::new(tools::kubectl()?).arg("kustomize").arg(&path).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("kubectl kustomize {}: {}", path.display(), complaint.trim());
    }
    ensure!(complaint.trim().is_empty(), "kubectl kustomize {}: {}", path.display(), complaint.trim());
    let text = String::from_utf8(output.stdout)?;
    text.split("\n---\n")
        .map(|document| serde_saphyr::from_str(document).with_context(|| format!("{folder}: {document}")))
        .collect()
}

/// Renders everything that can be installed and validates it.
pub(crate) fn validate() -> Result<()> {
    let root = setup::workspace()?.join("deploy");
    let validator = tools::validator()?;
    let target = build_ebpf::target()?.join("deploy");
    fs::create_dir_all(&target)?;
    let mut folders = vec!["base".to_owned()];
    for entry in fs::read_dir(root.join("overlays"))? {
        folders.push(format!("overlays/{}", entry?.file_name().to_string_lossy()));
    }
    folders.sort();
    let mut components = Vec::new();
    for entry in fs::read_dir(root.join("components"))? {
        components.push(entry?.file_name().to_string_lossy().into_owned());
    }
    for component in components {
        // A component is of use with a base only.
        let folder = target.join("with").join(&component);
        fs::create_dir_all(&folder)?;
        let kustomization = format!(
            "resources: [{0}/base]\ncomponents: [{0}/components/{component}]\n",
            relative(&folder, &root)?
        );
        fs::write(folder.join("kustomization.yaml"), kustomization)?;
        folders.push(folder.display().to_string());
    }
    for folder in &folders {
        let objects = render(folder)?;
        let foreign = |object: &&Value| text(object, "/apiVersion").starts_with(operator::GROUP);
        let (theirs, ours): (Vec<_>, Vec<_>) = objects.iter().partition(foreign);
        operator::validate(&theirs).with_context(|| format!("{folder} against the Prometheus operator"))?;
        for object in &objects {
            consistent(object, &objects)?;
        }
        let file = target.join("rendered.json");
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": ours});
        fs::write(&file, serde_json::to_string(&list)?)?;
        for release in RELEASES {
            // A list is not looked into: one document each.
            let documents: Vec<_> = ours.iter().map(|object| object.to_string()).collect();
            fs::write(&file, documents.join("\n---\n"))?;
            let output = Command::new(&validator).args(["--strict", "-k", release]).arg(&file).output()?;
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            if !output.status.success() || said.matches("passed").count() != ours.len() {
                bail!("{folder} against Kubernetes {release}:\n{said}");
            }
        }
        println!(
            "{}: {} objects valid in Kubernetes {}{}",
            folder.rsplit('/').next().unwrap_or(folder),
            ours.len(),
            RELEASES.join(" and "),
            if theirs.is_empty() {
                String::new()
            } else {
                format!(", {} of the Prometheus operator valid there", theirs.len())
            }
        );
    }
    Ok(())
}

/// What a schema does not see: a name that refers to nothing, a privileged container.
fn consistent(object: &Value, all: &[Value]) -> Result<()> {
    if text(object, "/kind") != "DaemonSet" {
        return Ok(());
    }
    let name = text(object, "/metadata/name");
    let pod = &object["spec"]["template"];
    ensure!(
        object["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] == "egress-agent"
            && pod["metadata"]["labels"]["app.kubernetes.io/name"] == "egress-agent",
        "{name}: kubectl egress finds agents by the label app.kubernetes.io/name=egress-agent"
    );
    let exists = |kind: &str, wanted: &str| {
        all.iter().any(|o| text(o, "/kind") == kind && text(o, "/metadata/name") == wanted)
    };
    let account = text(pod, "/spec/serviceAccountName");
    ensure!(exists("ServiceAccount", account), "{name}: there is no ServiceAccount {account}");
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        if let Some(map) = volume.pointer("/configMap/name").and_then(Value::as_str) {
            ensure!(exists("ConfigMap", map), "{name}: there is no ConfigMap {map}");
        }
    }
    for container in pod["spec"]["containers"].as_array().into_iter().flatten() {
        let security = &container["securityContext"];
        ensure!(
            security["privileged"] == false
                && security["allowPrivilegeEscalation"] == false
                && security["readOnlyRootFilesystem"] == true
                && security["capabilities"]["drop"] == serde_json::json!(["ALL"]),
            "{name}: the container has more rights than it needs: {security}"
        );
    }
    Ok(())
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The way from one folder to another, as kustomize wants it.
fn relative(from: &std::path::Path, to: &std::path::Path) -> Result<String> {
    let (from, to) = (from.canonicalize()?, to.canonicalize()?);
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let mut way: Vec<_> = from.components().skip(shared).map(|_| "..".to_owned()).collect();
    way.extend(to.components().skip(shared).map(|part| part.as_os_str().to_string_lossy().into_owned()));
    Ok(way.join("/"))
}
