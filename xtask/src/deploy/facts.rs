//! What the README tells of the manifests, taken from the manifests.

use anyhow::{Context, Result};
use serde_json::Value;

use super::manifests::text;

const BEGIN: &str = "<!-- From deploy/base by `cargo xtask deploy`. -->\n";
const END: &str = "<!-- End of deploy/base. -->\n";

/// The facts as Markdown.
pub(super) fn of(objects: &[Value]) -> Result<String> {
    let daemon =
        objects.iter().find(|object| text(object, "/kind") == "DaemonSet").context("no DaemonSet")?;
    let pod = &daemon["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let security = &container["securityContext"];
    let mut rows = vec![
        ("capabilities", format!("{}; all others are dropped", code(&security["capabilities"]["add"]))),
        (
            "rights",
            format!(
                "uid {}, `privileged: {}`, `allowPrivilegeEscalation: {}`, `readOnlyRootFilesystem: {}`, seccomp `{}`",
                security["runAsUser"],
                security["privileged"],
                security["allowPrivilegeEscalation"],
                security["readOnlyRootFilesystem"],
                text(security, "/seccompProfile/type"),
            ),
        ),
    ];
    let mut shares = Vec::new();
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        if pod[key] == true {
            shares.push(format!("`{key}`"));
        }
    }
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        let Some(path) = volume.pointer("/hostPath/path").and_then(Value::as_str) else { continue };
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        let read_only =
            mounts.clone().any(|mount| mount["name"] == volume["name"] && mount["readOnly"] == true);
        shares.push(format!("`{path}` ({})", if read_only { "read" } else { "written" }));
    }
    rows.push(("of the node", shares.join(", ")));
    let resources = &container["resources"];
    rows.push((
        "resources",
        format!(
            "{} CPU and {} asked for, at most {}",
            text(resources, "/requests/cpu"),
            text(resources, "/requests/memory"),
            text(resources, "/limits/memory")
        ),
    ));
    let mut out = String::from("| the DaemonSet | |\n|---|---|\n");
    for (name, value) in rows {
        out.push_str(&format!("| {name} | {value} |\n"));
    }
    out.push_str("\n| role | may | on |\n|---|---|---|\n");
    for object in objects {
        let scope = match text(object, "/kind") {
            "ClusterRole" => "",
            "Role" => " (in the agents' namespace)",
            _ => continue,
        };
        for rule in object["rules"].as_array().into_iter().flatten() {
            let groups = words(&rule["apiGroups"]);
            let group = if groups.is_empty() { String::new() } else { format!(" of {groups}") };
            out.push_str(&format!(
                "| `{}`{scope} | {} | {}{group} |\n",
                text(object, "/metadata/name"),
                words(&rule["verbs"]),
                words(&rule["resources"])
            ));
        }
    }
    Ok(out)
}

/// The README with these facts between its marks.
pub(super) fn insert(readme: &str, facts: &str) -> Result<String> {
    let (before, rest) = readme.split_once(BEGIN).context("README.md lacks the mark of the facts")?;
    let (_, after) = rest.split_once(END).context("README.md lacks the mark of the end of the facts")?;
    Ok(format!("{before}{BEGIN}{facts}{END}{after}"))
}

fn words(list: &Value) -> String {
    let words: Vec<_> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    words.join(", ")
}

fn code(list: &Value) -> String {
    let words: Vec<_> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
