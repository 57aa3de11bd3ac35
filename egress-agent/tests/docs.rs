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

#[test]
fn the_commands_of_the_pages_are_taken() {
    let mut taken = 0;
    for name in ["docs/runbook.md", "docs/causes.md", "docs/configuration.md", "README.md"] {
        let page = page(name);
        // Between backticks, or a line of its own.
        let quoted = page.split('`').skip(1).step_by(2);
        let lines = page.lines().filter(|line| line.starts_with("egress-agent "));
        for command in quoted.chain(lines).filter(|text| text.starts_with("egress-agent ")) {
            let command = command.split(" | ").next().unwrap_or_default().trim_end_matches(" \\");
            let words: Vec<&str> = command
                .split_whitespace()
                .map(|word| match word {
                    "POD" => "api-client",
                    "NS" => "default",
                    other => other,
                })
                .collect();
            if words.iter().any(|word| word.contains('…') || word.contains('[')) || words.contains(&"IP") {
                continue;
            }
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{name}: {command}: {error}");
            }
            taken += 1;
        }
    }
    assert!(taken > 20, "only {taken} commands were found");
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
