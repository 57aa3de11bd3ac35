//! Files as people write them, and break them.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use egress_core::cluster::{ClusterChange, Object};
use tempfile::TempDir;

use super::{FileSource, FileWatch};
use crate::k8s::SourceEvent;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(&folder, name, text);
    }
    folder
}

fn write(folder: &TempDir, name: &str, text: &str) {
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn load(folder: &TempDir) -> Result<FileSource, Vec<String>> {
    FileSource::load(&[folder.path().to_owned()]).map_err(|problems| {
        let prefix = format!("{}/", folder.path().display());
        problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
    })
}

fn errors(text: &str) -> Vec<String> {
    load(&folder(&[("a.yaml", text)])).unwrap_err()
}

/// `+Pod default/a`, `-Pod default/a`, `synced`.
fn brief(changes: &[ClusterChange]) -> Vec<String> {
    let describe = |change: &ClusterChange| match change {
        ClusterChange::Apply { object } => {
            let name = object.reference();
            format!("+{:?} {}/{}", name.kind, name.namespace, name.name)
        }
        ClusterChange::Delete { object } => {
            format!("-{:?} {}/{}", object.kind, object.namespace, object.name)
        }
        ClusterChange::PeersOnDemand | ClusterChange::Peer { .. } => panic!("files tell everything"),
        ClusterChange::Synced { .. } => "synced".to_owned(),
        ClusterChange::Reset { kind, .. } => format!("reset {kind:?}"),
    };
    changes.iter().map(describe).collect()
}

fn pod(name: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop}}\n")
}

fn policy(spec: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: shop}}\nspec:\n  podSelector: {{}}\n{spec}\n"
    )
}

#[test]
fn folders_lists_and_json_are_read_and_the_rest_is_counted() {
    let list = r#"{"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "c", "namespace": "x"}}]}"#;
    let mixed = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: s, namespace: shop}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: m}}
- {apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}
- {apiVersion: crd.antrea.io/v1beta1, kind: NetworkPolicy, metadata: {name: deny, namespace: shop}}
- {apiVersion: example.org/v1, kind: NetworkPolicy, metadata: {name: deny, namespace: shop}}
- {apiVersion: networking.k8s.aws/v1alpha1, kind: ClusterNetworkPolicy, metadata: {name: deny}}
- {apiVersion: projectcalico.org/v3, kind: StagedNetworkPolicy, metadata: {name: later}}
";
    let two = format!("{}---\n{}", pod("a"), pod("b"));
    let folder = folder(&[
        ("pods.yaml", &two),
        ("deep/er/list.json", list),
        ("deep/mixed.yml", mixed),
        ("notes.txt", "not: [read"),
        (".hidden.yaml", "not: [read"),
    ]);
    let source = load(&folder).unwrap();
    let expected = [
        "+Pod shop/a",
        "+Pod shop/b",
        "+Pod x/c",
        "+Namespace /shop",
        "+Namespace /x",
        "+Service shop/s",
        "+OtherPolicy /networking.k8s.aws/v1alpha1/ClusterNetworkPolicy/deny",
        "+OtherPolicy shop/crd.antrea.io/v1beta1/NetworkPolicy/deny",
        "+OtherPolicy shop/example.org/v1/NetworkPolicy/deny",
        "synced",
    ];
    assert_eq!(brief(&source.changes()), expected);
    let skipped: Vec<_> = source.skipped().into_iter().collect();
    let expected =
        [("apps/v1 Deployment", 1), ("projectcalico.org/v3 StagedNetworkPolicy", 1), ("v1 ConfigMap", 1)];
    assert_eq!(skipped, expected.map(|(kind, count)| (kind.to_owned(), count)));
    let notes: Vec<_> = source.problems().iter().map(|problem| problem.object.clone()).collect();
    let expected = ["NetworkPolicy shop/deny", "NetworkPolicy shop/deny", "ClusterNetworkPolicy deny"];
    assert_eq!(notes, expected);
}

#[test]
fn the_netns_annotation_is_honoured() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {egress-agent.io/netns: /run/netns/a}}\n";
    let source = load(&folder(&[("a.yaml", text)])).unwrap();
    let path = source.changes().into_iter().find_map(|change| match change {
        ClusterChange::Apply { object: Object::Pod(pod) } => pod.netns_path.clone(),
        _ => None,
    });
    assert_eq!(path.as_deref(), Some("/run/netns/a"));
}

#[test]
fn each_error_of_a_policy_is_one_line_that_names_the_field() {
    let at = "a.yaml:2: NetworkPolicy shop/p:";
    let table = [
        (
            "egress: [{to: [{ipBlock: {cidr: 10.0.0.0/33}}]}]",
            r#"spec.egress[0].to[0].ipBlock.cidr: "10.0.0.0/33" is not a CIDR such as 10.0.0.0/8 or 2001:db8::/32"#,
        ),
        (
            "egress: [{to: [{ipBlock: {cidr: 10.0.0.1}}]}]",
            r#"spec.egress[0].to[0].ipBlock.cidr: "10.0.0.1" is not a CIDR such as 10.0.0.0/8 or 2001:db8::/32"#,
        ),
        (
            "egress: [{}, {to: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]",
            r#"spec.egress[1].to[0].ipBlock.except[0]: "11.0.0.0/16" is not within cidr "10.0.0.0/8""#,
        ),
        (
            "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]",
            r#"spec.ingress[0].from[0].ipBlock.except[0]: "10.0.0.0/8" is not within cidr "10.0.0.0/8""#,
        ),
        (
            "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: ['fd00::/64']}}]}]",
            r#"spec.ingress[0].from[0].ipBlock.except[0]: "fd00::/64" is not within cidr "10.0.0.0/8""#,
        ),
        (
            "egress: [{to: [{}]}]",
            "spec.egress[0].to[0]: names no peer: one of ipBlock, podSelector, namespaceSelector is needed",
        ),
        (
            "egress: [{to: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]",
            "spec.egress[0].to[0]: ipBlock cannot stand beside podSelector or namespaceSelector",
        ),
        (
            "egress: [{ports: [{endPort: 90}]}]",
            "spec.egress[0].ports[0].endPort: needs a numeric port beside it",
        ),
        (
            "egress: [{ports: [{port: http, endPort: 90}]}]",
            r#"spec.egress[0].ports[0].endPort: needs a numeric port beside it, not "http""#,
        ),
        (
            "egress: [{ports: [{port: 100, endPort: 90}]}]",
            "spec.egress[0].ports[0].endPort: 90 is below port 100",
        ),
        (
            "egress: [{ports: [{port: 0}]}]",
            "spec.egress[0].ports[0].port: 0 is not a port number (1 to 65535)",
        ),
        (
            "egress: [{ports: [{port: 65536}]}]",
            "spec.egress[0].ports[0].port: 65536 is not a port number (1 to 65535)",
        ),
        (
            "egress: [{ports: [{port: '443'}]}]",
            r#"spec.egress[0].ports[0].port: "443" is neither a port number nor a port name"#,
        ),
        (
            "egress: [{ports: [{protocol: tcp}]}]",
            r#"spec.egress[0].ports[0].protocol: "tcp" is none of TCP, UDP, SCTP"#,
        ),
        ("policyTypes: [egress]", r#"spec.policyTypes[0]: "egress" is none of Ingress, Egress"#),
        (
            "ingress: [{from: [{podSelector: {matchExpressions: [{key: a, operator: Equals}]}}]}]",
            r#"spec.ingress[0].from[0].podSelector.matchExpressions[0].operator: "Equals" is none of In, NotIn, Exists, DoesNotExist"#,
        ),
        (
            "ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: a, operator: NotIn}]}}]}]",
            "spec.ingress[0].from[0].namespaceSelector.matchExpressions[0].values: must not be empty with operator NotIn",
        ),
        (
            "ingress: [{from: [{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}]}]",
            "spec.ingress[0].from[0].podSelector.matchExpressions[0].values: must be empty with operator Exists",
        ),
        ("egress: {to: []}", "spec.egress: invalid type: map, expected a sequence"),
        (
            "egress: [{ports: [{port: 80, endPort: high}]}]",
            r#"spec.egress[0].ports[0].endPort: invalid type: string "high", expected i32"#,
        ),
    ];
    for (spec, expected) in table {
        assert_eq!(errors(&policy(&format!("  {spec}"))), [format!("{at} {expected}")], "{spec}");
    }
}

#[test]
fn all_errors_are_told_at_once() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {namespace: x}\nspec: {containers: [{name: c, ports: [{containerPort: 70000}]}]}\nstatus: {podIPs: [{ip: 10.0.0.300}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80, targetPort: A_B, nodePort: -1}], clusterIP: x}\n---\nkey: value\n";
    let expected = [
        "a.yaml:1: Pod x/(no name): metadata.name: is missing",
        "a.yaml:1: Pod x/(no name): status.podIPs[0].ip: \"10.0.0.300\" is not an IP address",
        "a.yaml:1: Pod x/(no name): spec.containers[0].ports[0].containerPort: 70000 is not a port number (1 to 65535)",
        "a.yaml:7: Service s: spec.clusterIP: \"x\" is not an IP address",
        "a.yaml:7: Service s: spec.ports[0].targetPort: \"A_B\" is neither a port number nor a port name",
        "a.yaml:7: Service s: spec.ports[0].nodePort: -1 is not a port number (1 to 65535)",
        "a.yaml:12: is no Kubernetes object: apiVersion or kind is missing",
    ];
    assert_eq!(errors(text), expected);
}

#[test]
fn files_that_are_no_manifests_are_named() {
    assert_eq!(errors("a: b\n c: d\n").len(), 1);
    assert!(
        errors("a: b\n c: d\n")[0].starts_with("a.yaml:2: malformed YAML: "),
        "{:?}",
        errors("a: b\n c: d\n")
    );
    let broken = folder(&[("a.json", "{")]);
    assert_eq!(load(&broken).unwrap_err(), ["a.json:1: malformed JSON: EOF while parsing an object"]);
    let binary = folder(&[]);
    std::fs::write(binary.path().join("a.yaml"), [0xff, 0xfe, 0]).unwrap();
    assert_eq!(load(&binary).unwrap_err(), ["a.yaml: is not UTF-8 text"]);
    let missing = FileSource::load(&["/nowhere/state".into()]).unwrap_err();
    assert_eq!(
        missing[0].to_string(),
        "/nowhere/state: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn an_object_in_two_files_is_an_error_that_names_both() {
    let folder = folder(&[("a.yaml", &pod("x")), ("b.yaml", &format!("{}---\n{}", pod("z"), pod("x")))]);
    let first = folder.path().join("a.yaml");
    assert_eq!(load(&folder).unwrap_err(), ["b.yaml:5: Pod shop/x: is also in a.yaml"]);
    // The same file named twice is one file.
    let twice = FileSource::load(&[first.clone(), first]).unwrap();
    assert_eq!(brief(&twice.changes()).len(), 3);
}

#[test]
fn a_later_path_replaces_objects_of_earlier_ones() {
    let labelled = |value: &str| pod("x").replace("name: x", &format!("name: x, labels: {{v: {value}}}"));
    let folder = folder(&[("export.yaml", &labelled("live")), ("before.yaml", &labelled("changed"))]);
    let path = |name: &str| folder.path().join(name);
    for (order, expected) in
        [(["export.yaml", "before.yaml"], "changed"), (["before.yaml", "export.yaml"], "live")]
    {
        let source = FileSource::load(&order.map(path)).unwrap();
        let changes = source.changes();
        let pods: Vec<_> = changes
            .iter()
            .filter_map(|change| match change {
                ClusterChange::Apply { object: Object::Pod(pod) } => pod.labels.get("v").map(str::to_owned),
                _ => None,
            })
            .collect();
        assert_eq!(pods, [expected]);
    }
}

struct Watched {
    _watch: FileWatch,
    told: Receiver<SourceEvent>,
}

impl Watched {
    fn paths(paths: &[&Path]) -> Self {
        let paths: Vec<_> = paths.iter().map(|path| path.to_path_buf()).collect();
        let (tell, told) = channel();
        let source = FileSource::load(&paths).unwrap();
        let watch = source.watch(move |event| tell.send(event).unwrap()).unwrap();
        Self { _watch: watch, told }
    }

    fn next(&self) -> SourceEvent {
        self.told.recv_timeout(Duration::from_secs(10)).expect("nothing was told")
    }

    fn changes(&self) -> Vec<String> {
        match self.next() {
            SourceEvent::Changes(changes) => brief(&changes),
            SourceEvent::Problems(problems) => panic!("{problems:?}"),
        }
    }

    fn problems(&self) -> Vec<String> {
        match self.next() {
            SourceEvent::Problems(problems) => {
                problems.iter().map(|problem| problem.message.clone()).collect()
            }
            SourceEvent::Changes(changes) => panic!("{changes:?}"),
        }
    }
}

#[test]
fn edits_additions_and_removals_are_followed() {
    let folder = folder(&[("a.yaml", &pod("a"))]);
    let watched = Watched::paths(&[folder.path()]);
    write(&folder, "a.yaml", &pod("b"));
    assert_eq!(watched.changes(), ["-Pod shop/a", "+Pod shop/b", "synced"]);
    // As editors save: a new file renamed over the old one.
    write(&folder, "a.yaml.tmp", &pod("c"));
    std::fs::rename(folder.path().join("a.yaml.tmp"), folder.path().join("a.yaml")).unwrap();
    assert_eq!(watched.changes(), ["-Pod shop/b", "+Pod shop/c", "synced"]);
    write(&folder, "new/folder/d.yaml", &pod("d"));
    assert_eq!(watched.changes(), ["+Pod shop/d", "synced"]);
    write(&folder, "new/folder/e.yaml", &pod("e"));
    assert_eq!(watched.changes(), ["+Pod shop/e", "synced"]);
    std::fs::remove_dir_all(folder.path().join("new")).unwrap();
    assert_eq!(watched.changes(), ["-Pod shop/d", "-Pod shop/e", "synced"]);
    write(&folder, "new/folder/f.yaml", &pod("f"));
    assert_eq!(watched.changes(), ["+Pod shop/f", "synced"]);
}

#[test]
fn a_file_that_becomes_invalid_keeps_its_objects_and_the_others_go_on() {
    let folder = folder(&[("a.yaml", &pod("a")), ("b.yaml", &pod("b"))]);
    let watched = Watched::paths(&[folder.path()]);
    write(&folder, "a.yaml", "kind: [");
    assert_eq!(watched.problems().len(), 1);
    write(&folder, "b.yaml", &pod("c"));
    // Not "synced": the files say something else than what is known.
    assert_eq!(watched.changes(), ["-Pod shop/b", "+Pod shop/c"]);
    write(&folder, "a.yaml", &pod("a"));
    assert_eq!(watched.changes(), ["synced"]);
    assert_eq!(watched.problems(), Vec::<String>::new());
}

#[test]
fn a_named_file_that_disappears_keeps_its_objects_until_it_is_back() {
    let folder = folder(&[("a.yaml", &pod("a"))]);
    let file = folder.path().join("a.yaml");
    let watched = Watched::paths(&[&file]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(watched.problems(), ["cannot be read: No such file or directory (os error 2)"]);
    write(&folder, "a.yaml", &pod("b"));
    assert_eq!(watched.changes(), ["-Pod shop/a", "+Pod shop/b", "synced"]);
    assert_eq!(watched.problems(), Vec::<String>::new());
}

#[test]
fn a_config_map_is_followed_through_its_links() {
    // As the kubelet lays it out: a.yaml -> ..data/a.yaml, ..data -> ..1, and an update swaps ..data.
    let folder = folder(&[("..1/a.yaml", &pod("a"))]);
    let path = |name: &str| folder.path().join(name);
    std::os::unix::fs::symlink("..1", path("..data")).unwrap();
    std::os::unix::fs::symlink("..data/a.yaml", path("a.yaml")).unwrap();
    let whole = Watched::paths(&[folder.path()]);
    let single = Watched::paths(&[&path("a.yaml")]);
    for (old, new, version) in [("a", "b", "..2"), ("b", "c", "..3")] {
        write(&folder, &format!("{version}/a.yaml"), &pod(new));
        std::os::unix::fs::symlink(version, path("..data_tmp")).unwrap();
        std::fs::rename(path("..data_tmp"), path("..data")).unwrap();
        let expected = [format!("-Pod shop/{old}"), format!("+Pod shop/{new}"), "synced".to_owned()];
        assert_eq!(whole.changes(), expected);
        assert_eq!(single.changes(), expected);
    }
}
