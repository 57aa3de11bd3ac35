use std::path::PathBuf;

use super::*;

/// What comes of a file beside a command line.
fn run(line: &str, content: &str) -> Result<RunArgs, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), content).unwrap();
    let mut arguments: Vec<OsString> = ["egress-agent", "run"].map(Into::into).into();
    arguments.extend(line.split_whitespace().map(Into::into));
    arguments.extend(["--config".into(), file.path().into()]);
    let matches = Cli::command().try_get_matches_from(&arguments).unwrap();
    let (_, given) = matches.subcommand().unwrap();
    let name = file.path().display().to_string();
    complete(&arguments, given).map_err(|failure| failure.to_string().replace(&name, "F"))
}

/// Everything that is wrong with a file, a line each.
fn wrong(content: &str) -> Vec<String> {
    let error = run("", content).unwrap_err();
    let mut lines = error.lines();
    assert!(lines.next().unwrap().starts_with("the settings cannot be used"), "{error}");
    lines.map(str::to_owned).collect()
}

#[test]
fn a_file_says_what_flags_say() {
    let file = "cluster-state: [a, b]\nnode-name: from-file\n\n# where\ngrpc-listen:\n  - unix:/x\nmetrics-listen: :1\n\
                metrics-pod-label: false\nuplink: eth0\ntrace-netfilter: true\n";
    let args = run("", file).unwrap();
    assert_eq!(args.sources.cluster_state, [PathBuf::from("a"), PathBuf::from("b")]);
    assert_eq!(args.sources.node_name.as_deref(), Some("from-file"));
    assert_eq!(args.grpc_addresses()[0].to_string(), "unix:/x");
    assert_eq!(args.metrics_address().to_string(), ":1");
    assert_eq!(args.sources.uplink, ["eth0"]);
    assert!(args.sources.trace_netfilter && !args.metrics_pod_label());
}

#[test]
fn flags_win_over_the_file() {
    let file = "node-name: from-file\nuplink: [eth0, eth1]\nmetrics-pod-label: false\n";
    let args = run("--node-name flag --uplink wg0 --metrics-pod-label=true", file).unwrap();
    assert_eq!(args.sources.node_name.as_deref(), Some("flag"));
    assert_eq!(args.sources.uplink, ["wg0"]);
    assert!(args.metrics_pod_label());
    assert!(!run("--trace-netfilter=false", "trace-netfilter: true").unwrap().sources.trace_netfilter);
    assert!(run("--trace-netfilter", "trace-netfilter: false").unwrap().sources.trace_netfilter);
    for nothing in ["", "\n# only a comment\n", "---\n", "~", "trace-netfilter: false", "uplink: []", "{}"] {
        let args = run("--node-name flag", nothing).unwrap();
        assert!(args.metrics_pod_label() && !args.sources.trace_netfilter, "{nothing}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_place() {
    let file = "uplnk: eth0\ngrpc-listen:\n  - unix:/x\n  - nonsense\n  - [a]\nmetrics-listen: [':1']\nnode-name:\n  a: b\n\
                netns:\ntrace-netfilter: yes\nmetrics-pod-label: maybe\nnode-name: twice\nconfig: other.yaml\ncluster_state: a\n\
                zzz: 1\nuplink: {}\n";
    assert_eq!(
        wrong(file),
        [
            "F:1:1: uplnk: there is no such setting; did you mean uplink?",
            "F:4:5: grpc-listen: \"nonsense\" is not an address: unix:PATH, host:port or [IPv6]:port",
            "F:5:5: grpc-listen: is ADDRESS, nothing that has keys or items of its own",
            "F:6:1: metrics-listen: is one ADDRESS, not a list",
            "F:8:3: node-name: is NAME, nothing that has keys or items of its own",
            "F:9:6: netns: has no value; PATH is wanted",
            "F:10:18: trace-netfilter: \"yes\" is none of true, false",
            "F:11:20: metrics-pod-label: \"maybe\" is none of true, false",
            "F:12:1: node-name: is given a second time, first in line 7",
            "F:13:1: config: is for the command line only",
            "F:14:1: cluster_state: there is no such setting; did you mean cluster-state?",
            "F:15:1: zzz: there is no such setting",
            "F:16:9: uplink: is DEVICE, nothing that has keys or items of its own",
        ]
    );
}

#[test]
fn what_is_no_settings_file_is_told_with_its_place() {
    for (content, problems) in [
        ("- a\n- b\n", &["F:1:1: is no mapping: settings are lines of KEY: VALUE"][..]),
        ("words\n", &["F:1:1: is no mapping: settings are lines of KEY: VALUE"]),
        ("node-name: a\n---\nnode-name: b\n", &["F:2:1: begins a second document: settings are one"]),
        ("? [a]\n: b\nnode-name: *x\n", &["F:1:3: a key is one word", "F:3:12: is not YAML: "]),
        ("node-name: &n a\nnetns: *n\n", &["F:2:8: netns: is a reference, which settings do not have"]),
        ("node-name: a\nuplink: [eth0\n", &["F:2:9: is not YAML: unclosed bracket"]),
        ("node-name: \"\u{1b}[2J\"\nx\u{7}y: 1\n", &[": is not YAML: "]),
        ("\"x\\e[2Jy\": 1\n", &["F:1:1: x\u{fffd}[2Jy: there is no such setting"]),
    ] {
        let found = wrong(content);
        assert_eq!(found.len(), problems.len(), "{found:?}");
        for (found, problem) in found.iter().zip(problems) {
            assert!(found.contains(problem), "{found}, not {problem}");
        }
    }
}

#[test]
fn settings_that_do_not_go_together_are_told_as_of_flags() {
    // What only the whole can tell comes from the command line's own rules, here of a flag that needs another.
    let matches = Cli::command().try_get_matches_from(["egress-agent", "run", "--check"]);
    assert!(matches.unwrap_err().to_string().contains("--config"));
}

#[test]
fn every_setting_is_in_the_reference_and_no_more() {
    let page = reference::page();
    let documented: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert!(documented.contains(&"uplink") && documented.contains(&"metrics-listen"), "{documented:?}");
    for not in ["config", "check", "color", "record"] {
        assert!(!documented.contains(&not), "{documented:?}");
    }
    let example = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    parse(example).unwrap();
}
