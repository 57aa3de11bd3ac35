//! The rendered text against golden files. `UPDATE_GOLDEN=1 cargo test -p egress-agent golden` writes them anew; read
//! the difference before it is committed.

use std::path::Path;

use super::*;
use crate::testing;
use crate::words::flow;

fn view(width: usize) -> View {
    View {
        width,
        color: false,
        wide: false,
        now: "2025-11-20T02:00:33Z".parse().unwrap(),
        fix_command: Some("kubectl egress query".into()),
    }
}

fn golden(name: &str, text: &str, width: usize) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/render/golden").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs", path.display());
    for line in text.lines() {
        assert!(!line.ends_with(' '), "{name}: a line ends in a space: \"{line}\"");
        // A command stays in one piece.
        assert!(line.chars().count() <= width || line.contains(" query "), "{name}: too wide: \"{line}\"");
    }
}

#[test]
fn golden_verdicts_at_80_and_140_columns() {
    for (name, made) in [
        ("policy-drop", testing::policy_drop()),
        ("firewall-drop", testing::firewall_drop()),
        ("upstream-timeout", testing::upstream_timeout()),
        ("upstream-refused", testing::upstream_refused()),
        ("dns-failure", testing::dns_failure()),
        ("unknown", testing::unknown()),
        ("cleared", testing::cleared()),
        ("story", testing::story()),
    ] {
        for width in [80, 140] {
            golden(&format!("{name}-{width}"), &verdict(&made, &view(width)), width);
        }
    }
}

#[test]
fn golden_wide() {
    let view = View { wide: true, ..view(100) };
    golden("policy-drop-wide", &verdict(&testing::policy_drop(), &view), 100);
    golden("cleared-wide", &verdict(&testing::cleared(), &view), 100);
}

#[test]
fn golden_status_and_what_was_watched() {
    for width in [80, 140] {
        golden(&format!("status-{width}"), &status(&testing::status(), &view(width)), width);
        golden(&format!("doctor-{width}"), &doctor(&testing::status(), &view(width)), width);
        golden(&format!("watched-{width}"), &watched(&testing::status(), view(0).now, width), width);
    }
    let mut well = testing::status();
    well.hooks.truncate(1);
    well.events.remove(1);
    well.problems.clear();
    assert_eq!(
        watched(&well, view(0).now, 80),
        "# watching on worker-1 since 2025-11-20 01:00:00Z (1h): 1 hook, no event lost\n"
    );
}

#[test]
fn every_width_keeps_names_whole() {
    for made in testing::verdicts() {
        for width in 40..=140 {
            let text = verdict(&made, &view(width));
            let name = &made.pod.name;
            assert!(text.contains(&format!("{}/{name}", made.pod.namespace)), "{width}: {text}");
            assert!(text.matches('✗').count() > 0, "{width}: {text}");
        }
    }
}

#[test]
fn colour_is_ink_only() {
    let plain = verdict(&testing::policy_drop(), &view(80));
    let coloured = verdict(&testing::policy_drop(), &View { color: true, ..view(80) });
    assert!(coloured.contains("\u{1b}[1;31mpolicy-drop\u{1b}[0m"));
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        stripped.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    stripped.push_str(rest);
    assert_eq!(stripped, plain);
}

#[test]
fn a_name_from_the_wire_cannot_steer_the_terminal() {
    let mut made = testing::policy_drop();
    made.peer.name = Some("a\u{1b}[2J.example\n.com".into());
    made.summary = "x\u{1b}]0;y".into();
    made.hints = vec!["\u{7}".into()];
    made.path[1].r#where = Some("a\u{1b}b\nc".into());
    let text = verdict(&made, &View { wide: true, ..view(80) });
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text}");
}

#[test]
fn a_path_of_any_shape_is_drawn() {
    let mut made = testing::policy_drop();
    made.path.clear();
    let text = verdict(&made, &view(80));
    assert!(text.contains("╌╌▶ 203.0.113.4"), "{text}");
    let mut made = testing::upstream_timeout();
    made.path.retain(|hop| hop.hop == egress_core::verdict::Hop::Upstream);
    assert!(verdict(&made, &view(80)).contains("✗"));
}

#[test]
fn a_long_command_is_broken_where_a_shell_goes_on() {
    let command = "egress-agent query --server unix:/var/run/some/long/path/agent.sock".to_owned();
    let text = verdict(&testing::story(), &View { fix_command: Some(command), ..view(80) });
    let at = text.find("egress-agent query").unwrap();
    let lines: Vec<&str> = text[at..].lines().map(str::trim_start).collect();
    assert_eq!(
        lines,
        [
            "egress-agent query --server unix:/var/run/some/long/path/agent.sock \\",
            "-n default api-client --to 203.0.113.4:443 --fix \\",
            "| kubectl apply -f -",
        ]
    );
}

#[test]
fn a_dns_question_that_was_dropped_names_what_was_asked() {
    let mut made = testing::dns_failure();
    made.peer.name = None;
    let server = "DNS kube-system/kube-dns (10.96.0.10):53/UDP";
    assert_eq!(flow(&made), format!("default/api-client → {server}"));
    made.detail.insert("names".into(), serde_json::json!(["api.stripe.com."]));
    assert_eq!(flow(&made), format!("default/api-client → api.stripe.com asked of {server}"));
    made.detail.insert("names".into(), serde_json::json!(["a.example", "b.example", "c.example"]));
    assert_eq!(flow(&made), format!("default/api-client → a.example (and 2 more) asked of {server}"));
}
