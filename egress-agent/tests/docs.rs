//! The pages for people say what the program says: a section for every cause, commands that it takes, links that lead
//! somewhere, and the pages that are made from the code. `cargo xtask docs` writes the latter anew.

use std::fs;
use std::path::Path;

use clap::Parser as _;
use egress_agent::cli::args::Cli;
use egress_core::verdict::Cause;

#[expect(clippy::panic, reason = "a test that cannot read its page has failed")]
fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_cause_has_its_section_and_no_other() {
    let page = page("docs/causes.md");
    let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let mut causes: Vec<&str> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
    for cause in &causes {
        let body = page.split(&format!("\n## {cause}\n")).nth(1).unwrap_or_default();
        let body = body.split("\n## ").next().unwrap_or_default();
        for part in ["- **Evidence**", "- **detail**", "- **Do**"] {
            assert!(body.contains(part), "{cause} lacks {part}");
        }
    }
    let mut sections = sections;
    sections.sort_unstable();
    causes.sort_unstable();
    assert_eq!(sections, causes);
}

/// Holds a page against what the code says it is; with `UPDATE_DOCS` set, writes it.
fn fresh(name: &str, made: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        fs::write(path, made).expect("writes the page");
    }
    assert!(page(name) == made, "{name} is not what the code says: cargo xtask docs");
}

#[test]
fn the_configuration_page_is_what_the_flags_say() {
    fresh("docs/configuration.md", &egress_agent::cli::config::reference::page());
}

/// Every page for people, by its name from the root.
fn pages() -> Vec<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let entries = fs::read_dir(docs).expect("docs").filter_map(Result::ok);
    let docs = entries.map(|entry| format!("docs/{}", entry.file_name().to_string_lossy()));
    let top = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "tests/README.md"];
    docs.filter(|name| name.ends_with(".md")).chain(top.map(str::to_owned)).collect()
}

/// The commands that a page shows: between backticks, or on a line of their own.
fn commands(page: &str) -> Vec<String> {
    let quoted = page.split('`').skip(1).step_by(2);
    let lines = page.lines().map(|line| line.trim_start_matches("$ "));
    let ours = |text: &&str| text.starts_with("egress-agent ") || text.starts_with("kubectl egress ");
    // A line that goes on is whole only in its block.
    let whole = |text: &&str| !text.ends_with('\\');
    quoted.chain(lines).filter(ours).filter(whole).map(str::to_owned).collect()
}

#[test]
fn the_commands_of_the_pages_are_taken() {
    let mut taken = 0;
    for name in pages() {
        for command in commands(&page(&name)) {
            let shown = command.split(['|', '#', '\n']).next().unwrap_or_default();
            let shown = shown.replace("kubectl egress ", "egress-agent ");
            let example = |word| match word {
                "POD" => "api-client",
                "NS/POD" => "default/api-client",
                "NS" => "default",
                other => other,
            };
            let words: Vec<&str> = shown.split_whitespace().map(example).collect();
            let placeholder = |word: &&str| word.contains(['…', '[']) || ["IP", "…"].contains(word);
            // `egress-agent VERB` alone names the verb.
            if words.iter().any(placeholder) || words.len() < 2 {
                continue;
            }
            if let Err(error) = Cli::try_parse_from(&words) {
                // Asking for help is an answer.
                assert!(!error.use_stderr(), "{name}: {command}: {error}");
            }
            taken += 1;
        }
    }
    assert!(taken > 40, "only {taken} commands were found");
}

/// How GitHub makes an anchor of a heading.
fn anchor(heading: &str) -> String {
    let letters = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = letters.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn the_links_of_the_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut followed = 0;
    for name in pages() {
        let page_text = page(&name);
        let folder = Path::new(&name).parent().unwrap_or(Path::new(""));
        for link in page_text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { Path::new(&name).to_owned() } else { folder.join(file) };
            assert!(root.join(&target).exists(), "{name}: {link} leads nowhere");
            if !heading.is_empty() {
                let there = page(&target.to_string_lossy());
                let found =
                    there.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading);
                assert!(found, "{name}: {link}: there is no such heading");
            }
            followed += 1;
        }
    }
    assert!(followed > 20, "only {followed} links were found");
}

#[test]
fn every_metric_has_its_row_and_no_other() {
    let golden = page("egress-agent/src/export/metrics/golden.txt");
    let told = page("docs/metrics.md");
    let wanted: Vec<String> = golden
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let (name, kind) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let labels = words.next().unwrap_or_default();
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            let labels =
                if labels.is_empty() { String::new() } else { format!("`{}`", labels.replace(',', "`, `")) };
            format!("| `{name}{suffix}` | {kind} | {labels} |").replace("|  |", "| |")
        })
        .collect();
    let rows: Vec<&str> = told.lines().filter(|line| line.starts_with("| `")).collect();
    for row in &wanted {
        assert!(rows.iter().any(|told| told.starts_with(row.as_str())), "docs/metrics.md lacks {row}");
    }
    assert_eq!(rows.len(), wanted.len(), "docs/metrics.md has a metric that there is not");
}

#[test]
fn every_alert_has_its_section_and_links_to_it() {
    let (rules, page) = (page("deploy/monitoring/alerts.yaml"), page("docs/alerts.md"));
    let after = |key: &str| -> Vec<String> {
        rules
            .lines()
            .filter_map(|line| line.trim().strip_prefix(key))
            .map(|rest| rest.trim().to_owned())
            .collect()
    };
    let alerts = after("- alert:");
    let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(alerts, sections);
    let links: Vec<_> = alerts.iter().map(|name| format!("docs/alerts.md#{}", name.to_lowercase())).collect();
    assert_eq!(after("runbook_url:"), links);
}
