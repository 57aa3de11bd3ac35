//! What a cluster installs: settings that this agent takes, alerts that lead to a page.

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

#[test]
fn every_alert_leads_to_its_paragraph_and_every_paragraph_has_its_alert() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap();
    let rules: serde_json::Value = serde_saphyr::from_str(&read("deploy/monitoring/alerts.yaml")).unwrap();
    let rules =
        rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let mut alerts = Vec::new();
    for rule in rules.filter(|rule| rule.get("alert").is_some()) {
        let name = rule["alert"].as_str().unwrap();
        // The anchor of a heading that is one word is that word in lower case.
        let anchor = format!("docs/alerts.md#{}", name.to_lowercase());
        assert_eq!(rule["annotations"]["runbook_url"], anchor, "{name}");
        for text in ["summary", "description"] {
            assert!(
                rule["annotations"][text].as_str().is_some_and(|text| !text.is_empty()),
                "{name} has no {text}"
            );
        }
        assert!(rule["labels"]["severity"].is_string(), "{name} has no severity");
        alerts.push(name.to_owned());
    }
    let page = read("docs/alerts.md");
    let paragraphs: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## Egress")).collect();
    let paragraphs: Vec<_> = paragraphs.iter().map(|rest| format!("Egress{rest}")).collect();
    assert!(!alerts.is_empty());
    assert_eq!(alerts, paragraphs, "alerts and paragraphs, in one order");
}
