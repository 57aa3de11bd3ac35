//! What a verdict must say.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

/// The expected verdict of a fault.
#[derive(Clone, Debug)]
pub struct Expect {
    /// `cause`
    pub cause: &'static str,
    /// `pod.name`
    pub pod: &'static str,
    /// `confidence` is one of these.
    pub confidence: &'static [&'static str],
    /// `direction`
    pub direction: &'static str,
    /// `stage`
    pub stage: &'static str,
    /// `affects`
    pub affects: &'static str,
    /// `peer.ip` and `peer.port`
    pub peer: (IpAddr, u16),
    /// `peer.kind`
    pub kind: &'static str,
    /// `peer.name`, where one must be known.
    pub name: Option<&'static str>,
    /// Names of the policies whose result is `does-not-admit`: exactly these.
    pub policies: &'static [&'static str],
    /// Kind and name of the one policy whose result is `denies`, which the fix has to name too.
    pub denied_by: Option<(&'static str, &'static str)>,
    /// The broken hop and its outcome.
    pub broken: (&'static str, &'static str),
    /// `translation.source.ip`, where the packet left translated.
    pub source: Option<IpAddr>,
    /// Keys of `detail` with their values.
    pub detail: &'static [(&'static str, &'static str)],
    /// JSON pointers, and what the text there must contain.
    pub says: &'static [(&'static str, &'static str)],
    /// A manifest must be offered.
    pub fix: bool,
    /// The verdict comes within this time of the first packet.
    pub within: Duration,
    /// The server pod shows it too.
    pub shown_on_server: bool,
}

impl Expect {
    /// The most usual verdict: the client pod's SYN to somebody outside was surely dropped by the node, and that is told
    /// within a second.
    pub const fn of(cause: &'static str, peer: (IpAddr, u16)) -> Self {
        Self {
            cause,
            pod: "api-client",
            confidence: &["certain"],
            direction: "egress",
            stage: "node",
            affects: "tcp",
            peer,
            kind: "external",
            name: None,
            policies: &[],
            denied_by: None,
            broken: ("node", "dropped"),
            source: None,
            detail: &[],
            says: &[],
            fix: false,
            within: Duration::from_secs(1),
            shown_on_server: false,
        }
    }

    /// Namespace of the pod.
    pub fn namespace(&self) -> &'static str {
        if self.pod == "coredns" { "kube-system" } else { "default" }
    }

    /// The pod as `query` takes it.
    pub fn pod_path(&self) -> String {
        format!("{}/{}", self.namespace(), self.pod)
    }

    /// All that differs, in words; nothing if it is as expected.
    pub fn differences(&self, verdict: &Value) -> Vec<String> {
        let mut differences = Vec::new();
        let mut expect = |path: &str, wanted: &str| {
            let found = verdict.pointer(path).unwrap_or(&Value::Null);
            if text(found) != wanted {
                differences.push(format!("{path} is {found}, not {wanted}"));
            }
        };
        expect("/schema", "egress.v1");
        expect("/cause", self.cause);
        expect("/direction", self.direction);
        expect("/stage", self.stage);
        expect("/affects", self.affects);
        expect("/pod/name", self.pod);
        expect("/pod/namespace", self.namespace());
        expect("/pod/workload", &format!("Deployment/{}", self.pod));
        expect("/peer/ip", &self.peer.0.to_string());
        expect("/peer/port", &self.peer.1.to_string());
        expect("/peer/kind", self.kind);
        if let Some(name) = self.name {
            expect("/peer/name", name);
        }
        if let Some(source) = self.source {
            expect("/translation/source/ip", &source.to_string());
        }
        for (key, value) in self.detail {
            expect(&format!("/detail/{key}"), value);
        }
        for (path, wanted) in self.says {
            let found = verdict.pointer(path).map(text).unwrap_or_default();
            if !found.contains(wanted) {
                differences.push(format!("{path} is {found}, without \"{wanted}\""));
            }
        }
        let confidence = text(&verdict["confidence"]);
        if !self.confidence.contains(&confidence.as_str()) {
            differences.push(format!("/confidence is {confidence}, none of {:?}", self.confidence));
        }
        let policies = denying(verdict);
        if policies != self.policies {
            differences
                .push(format!("the policies that do not admit it are {policies:?}, not {:?}", self.policies));
        }
        let denied = denied_by(verdict);
        if denied != Vec::from_iter(self.denied_by) {
            differences.push(format!("the policies that deny it are {denied:?}, not {:?}", self.denied_by));
        }
        if let Some((kind, name)) = self.denied_by {
            let fix = text(&verdict["fix"]["text"]);
            if !(fix.contains(&format!("{kind} {name}")) && fix.contains("denies it")) {
                differences
                    .push(format!("/fix/text is \"{fix}\" and does not say that {kind} {name} denies it"));
            }
        }
        let broken = broken_hop(verdict);
        if broken != (self.broken.0.to_owned(), self.broken.1.to_owned()) {
            differences.push(format!("the broken hop is {broken:?}, not {:?}", self.broken));
        }
        if self.fix && verdict.pointer("/fix/manifest").is_none_or(Value::is_null) {
            differences.push("no manifest is offered as a fix".to_owned());
        }
        if verdict["evidence"].as_array().is_none_or(Vec::is_empty) {
            differences.push("it carries no evidence".to_owned());
        }
        differences
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The policies with this result.
fn policies<'a>(verdict: &'a Value, result: &str) -> impl Iterator<Item = &'a Value> {
    let all = verdict["policies"].as_array().into_iter().flatten();
    all.filter(move |policy| policy["result"] == result)
}

fn denied_by(verdict: &Value) -> Vec<(&str, &str)> {
    policies(verdict, "denies")
        .map(|policy| ["kind", "name"].map(|field| policy[field].as_str().unwrap_or_default()).into())
        .collect()
}

fn denying(verdict: &Value) -> Vec<&str> {
    let mut names: Vec<_> =
        policies(verdict, "does-not-admit").filter_map(|policy| policy["name"].as_str()).collect();
    names.sort_unstable();
    names
}

/// The last hop of the path that is neither passed nor unseen.
fn broken_hop(verdict: &Value) -> (String, String) {
    verdict["path"]
        .as_array()
        .into_iter()
        .flatten()
        .rfind(|hop| ["dropped", "refused", "silent"].iter().any(|word| hop["outcome"] == **word))
        .map_or_else(Default::default, |hop| (text(&hop["hop"]), text(&hop["outcome"])))
}
