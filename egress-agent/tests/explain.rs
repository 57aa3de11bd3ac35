//! The runbooks' cluster and what goes wrong in it: the answer on a terminal of 80 and of 140 columns, and that its fix
//! makes the answer `allow`. `UPDATE_GOLDEN=1` writes the answers anew.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A question about a cluster with these policies.
struct Case {
    policies: &'static str,
    to: &'static str,
    /// What the pod resolved, as `NAME=IP`.
    dns: Option<&'static str>,
    port: &'static str,
    protocol: &'static str,
}

const OUTSIDE: Case = Case { policies: "", to: "203.0.113.4", dns: None, port: "443", protocol: "TCP" };

const CASES: &[Case] = &[
    Case { policies: "default-deny", ..OUTSIDE },
    Case { policies: "dns-forgotten", to: "kube-system/kube-dns", port: "53", protocol: "UDP", ..OUTSIDE },
    Case { policies: "calico-last", ..OUTSIDE },
    Case { policies: "calico-deny", ..OUTSIDE },
    Case {
        policies: "fqdn-other-name",
        to: "payments.example.net",
        dns: Some("payments.example.net=203.0.113.4"),
        ..OUTSIDE
    },
    Case {
        policies: "fqdn-no-dns-rule",
        to: "api.stripe.com",
        dns: Some("api.stripe.com=203.0.113.4"),
        ..OUTSIDE
    },
];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain").join(name)
}

fn ask(states: &[PathBuf], question: &[&str], columns: &str) -> String {
    let states = states.iter().flat_map(|state| ["--cluster-state".into(), state.clone().into_os_string()]);
    let output = Command::new(env!("CARGO_BIN_EXE_egress-agent"))
        .args(["explain", "--from", "default/api-client"])
        .args(question)
        .args(states)
        .env("COLUMNS", columns)
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn golden(name: &str, text: &str) {
    let path = file(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("writes the answer");
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "{name}");
}

#[test]
fn the_answer_is_an_experts_and_its_fix_mends_it() {
    for case in CASES {
        let mut question = vec!["--to", case.to, "--port", case.port, "--protocol", case.protocol];
        question.extend(case.dns.iter().flat_map(|dns| ["--dns", dns]));
        let states = [file("cluster.yaml"), file(&format!("{}.yaml", case.policies))];
        for columns in ["80", "140"] {
            golden(&format!("{}.{columns}.txt", case.policies), &ask(&states, &question, columns));
        }
        let json = |states: &[PathBuf]| -> serde_json::Value {
            let question = [&question[..], &["-o", "json"]].concat();
            serde_json::from_str(&ask(states, &question, "80")).unwrap()
        };
        let answer = json(&states);
        assert_eq!(answer["decision"], "deny", "{}", case.policies);
        let manifest = answer["fix"]["manifest"].as_str().unwrap_or_else(|| panic!("{answer:#}"));
        let folder = tempfile::tempdir().unwrap();
        let fix = folder.path().join("fix.yaml");
        std::fs::write(&fix, manifest).unwrap();
        let mended = json(&[&states[..], &[fix]].concat());
        assert_eq!(mended["decision"], "allow", "{}: {mended:#}", case.policies);
    }
}

#[test]
fn a_changed_policy_is_checked_before_it_is_applied() {
    let folder = tempfile::tempdir().unwrap();
    let changed = folder.path().join("changed.yaml");
    let text = std::fs::read_to_string(file("dns-forgotten.yaml")).unwrap();
    std::fs::write(&changed, text.replace("203.0.113.0/24", "198.51.100.0/24")).unwrap();
    let states = [file("cluster.yaml"), file("dns-forgotten.yaml"), changed];
    let question = ["--to", "203.0.113.0/24", "--port", "443", "-o", "json"];
    let decision = |states: &[PathBuf]| {
        let answer: serde_json::Value = serde_json::from_str(&ask(states, &question, "80")).unwrap();
        (answer["decision"].clone(), answer["parts"][0]["nets"][0].clone())
    };
    assert_eq!(decision(&states[..2]), ("allow".into(), "203.0.113.0/24".into()));
    assert_eq!(decision(&states), ("deny".into(), "203.0.113.0/24".into()));
}
