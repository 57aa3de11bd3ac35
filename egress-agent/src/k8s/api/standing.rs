//! How what is watched stands: what is in step as of when, what is wrong. Pure; time is an argument.

use std::collections::BTreeMap;
use std::path::PathBuf;

use egress_core::time::Timestamp;

use super::fault::Fault;
use super::kinds::{Resource, Use};
use crate::k8s::Problem;
use crate::k8s::convert::Invalid;

/// Malformed objects of a resource that are named; the others are counted.
const NAMED: usize = 100;

/// How every resource stands.
#[derive(Debug)]
pub(super) struct Standing {
    /// The API server, as problems name it.
    server: PathBuf,
    rows: BTreeMap<String, Row>,
    /// Whether it is known which custom resources there are.
    discovered: bool,
    discovery_fault: Option<Fault>,
    /// Told last.
    as_of: Option<Timestamp>,
    told: Vec<Problem>,
}

#[derive(Debug)]
struct Row {
    resource: Resource,
    state: State,
    /// What is wrong now, and the verb that met it.
    fault: Option<(&'static str, Fault)>,
    malformed: BTreeMap<String, Invalid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Never answered.
    Awaited,
    /// In step as of then.
    InStep(Timestamp),
    /// The server does not give it.
    Refused,
}

impl Standing {
    /// Nothing is known yet.
    pub(super) fn new(server: &str) -> Self {
        Self {
            server: PathBuf::from(server),
            rows: BTreeMap::new(),
            discovered: false,
            discovery_fault: None,
            as_of: None,
            told: Vec::new(),
        }
    }

    /// A resource that is to be watched.
    pub(super) fn expect(&mut self, resource: Resource) {
        let row = Row { resource, state: State::Awaited, fault: None, malformed: BTreeMap::new() };
        self.rows.entry(resource.qualified()).or_insert(row);
    }

    /// It is known which custom resources there are, and all of them are expected; or not, and why.
    pub(super) fn discovered(&mut self, outcome: Result<(), Fault>) {
        self.discovered |= outcome.is_ok();
        self.discovery_fault = outcome.err();
    }

    /// A resource is in step as of then.
    pub(super) fn in_step(&mut self, resource: &Resource, at: Timestamp) {
        if let Some(row) = self.rows.get_mut(&resource.qualified()) {
            row.state = State::InStep(at);
            row.fault = None;
        }
    }

    /// The server answers for a resource; in step it is when it has told something.
    pub(super) fn answers(&mut self, resource: &Resource) {
        if let Some(row) = self.rows.get_mut(&resource.qualified()) {
            row.fault = None;
        }
    }

    /// A request failed. What was in step stays so as of then.
    pub(super) fn failed(&mut self, resource: &Resource, verb: &'static str, fault: Fault) {
        let Some(row) = self.rows.get_mut(&resource.qualified()) else { return };
        if row.state == State::Awaited && matches!(fault, Fault::Forbidden(_) | Fault::Absent) {
            row.state = State::Refused;
        }
        row.fault = Some((verb, fault));
    }

    /// A custom resource is not there, or no longer.
    pub(super) fn absent(&mut self, resource: &Resource) {
        self.rows.remove(&resource.qualified());
    }

    /// All objects of a resource were read; these could not be.
    pub(super) fn malformed_all(&mut self, resource: &Resource, invalid: Vec<Invalid>) {
        if let Some(row) = self.rows.get_mut(&resource.qualified()) {
            row.malformed = invalid.into_iter().map(|invalid| (invalid.object.clone(), invalid)).collect();
        }
    }

    /// An object could not be read, or now it can, or it is gone.
    pub(super) fn malformed(&mut self, resource: &Resource, object: &str, invalid: Option<Invalid>) {
        let Some(row) = self.rows.get_mut(&resource.qualified()) else { return };
        match invalid {
            Some(invalid) => drop(row.malformed.insert(object.to_owned(), invalid)),
            None => drop(row.malformed.remove(object)),
        }
    }

    /// Since when everything is in step, if that is news. Before everything that is expected has been answered for
    /// the first time there is none.
    pub(super) fn news(&mut self) -> Option<Timestamp> {
        let answered = || self.rows.values().all(|row| row.state != State::Awaited);
        let pods = || {
            let mut rows = self.rows.values();
            rows.any(|row| row.resource.row.use_ == Use::Pods && matches!(row.state, State::InStep(_)))
        };
        if self.as_of.is_none() && !(self.discovered && answered() && pods()) {
            return None;
        }
        let in_step = self.rows.values().filter_map(|row| match row.state {
            State::InStep(at) => Some(at),
            State::Awaited | State::Refused => None,
        });
        let as_of = in_step.min()?;
        // Time does not go back where a kind is found later.
        if self.as_of.is_some_and(|told| told >= as_of) {
            return None;
        }
        self.as_of = Some(as_of);
        self.as_of
    }

    /// What is wrong, if that is news.
    pub(super) fn problems(&mut self) -> Option<Vec<Problem>> {
        let mut now = Vec::new();
        let faults = self.rows.values().filter_map(|row| row.fault.as_ref().map(|fault| (row, fault)));
        let mut unreachable =
            self.discovery_fault.as_ref().filter(|fault| matches!(fault, Fault::Unreachable(_)));
        for (row, (verb, fault)) in faults {
            if let Fault::Unreachable(_) = fault {
                unreachable = unreachable.or(Some(fault));
            } else {
                now.push(self.problem("", "", &fault.describe(verb, &row.resource)));
            }
        }
        // One server that is gone is one problem.
        if let Some(Fault::Unreachable(why)) = unreachable {
            now.insert(0, self.problem("", "", &format!("the API server cannot be reached: {why}")));
        } else if let Some(fault) = &self.discovery_fault {
            now.push(self.problem("", "", &format!("cannot find out which kinds there are: {fault:?}")));
        }
        for row in self.rows.values() {
            for invalid in row.malformed.values().take(NAMED) {
                let errors = invalid.errors.iter();
                now.extend(errors.map(|error| self.problem(&invalid.object, &error.field, &error.message)));
            }
            if let more @ 1.. = row.malformed.len().saturating_sub(NAMED) {
                let what = row.resource.qualified();
                now.push(self.problem("", "", &format!("{more} more {what} cannot be read")));
            }
        }
        if now == self.told {
            return None;
        }
        self.told.clone_from(&now);
        Some(now)
    }

    fn problem(&self, object: &str, field: &str, message: &str) -> Problem {
        Problem {
            file: self.server.clone(),
            line: 0,
            object: object.to_owned(),
            field: field.to_owned(),
            message: message.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kinds::WATCHED;
    use super::*;

    fn resource(plural: &str) -> Resource {
        let row = WATCHED.iter().find(|row| row.plural == plural).unwrap();
        Resource { row, api_version: row.versions[0] }
    }

    fn standing(plurals: &[&str]) -> Standing {
        let mut standing = Standing::new("https://10.96.0.1");
        for plural in plurals {
            standing.expect(resource(plural));
        }
        standing.discovered(Ok(()));
        standing
    }

    fn words(standing: &mut Standing) -> Vec<String> {
        standing.problems().expect("news").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn it_is_as_of_the_kind_that_was_in_step_longest_ago() {
        let mut standing = standing(&["pods", "networkpolicies"]);
        standing.in_step(&resource("pods"), Timestamp(5));
        assert_eq!(standing.news(), None, "policies are not there yet");
        standing.in_step(&resource("networkpolicies"), Timestamp(3));
        assert_eq!(standing.news(), Some(Timestamp(3)));
        standing.in_step(&resource("pods"), Timestamp(9));
        assert_eq!(standing.news(), None);
        standing.in_step(&resource("networkpolicies"), Timestamp(8));
        assert_eq!(standing.news(), Some(Timestamp(8)));
        // A kind that comes later does not set the clock back, nor does it make what is known unknown.
        standing.expect(resource("ciliumnetworkpolicies"));
        standing.in_step(&resource("pods"), Timestamp(10));
        standing.in_step(&resource("networkpolicies"), Timestamp(10));
        assert_eq!(standing.news(), Some(Timestamp(10)));
    }

    #[test]
    fn an_outage_freezes_it_and_is_one_problem() {
        let mut standing = standing(&["pods", "networkpolicies"]);
        for plural in ["pods", "networkpolicies"] {
            standing.in_step(&resource(plural), Timestamp(5));
        }
        assert_eq!(standing.news(), Some(Timestamp(5)));
        for plural in ["pods", "networkpolicies"] {
            standing.failed(&resource(plural), "watch", Fault::Unreachable("connection refused".to_owned()));
        }
        assert_eq!(standing.news(), None);
        let expected = ["https://10.96.0.1: the API server cannot be reached: connection refused"];
        assert_eq!(words(&mut standing), expected);
        assert_eq!(standing.problems(), None, "told once");
        standing.answers(&resource("pods"));
        standing.in_step(&resource("networkpolicies"), Timestamp(7));
        assert_eq!(standing.problems(), Some(Vec::new()));
        assert_eq!(standing.news(), None, "pods have not told anything yet");
    }

    #[test]
    fn a_missing_right_is_told_with_the_rule_that_gives_it() {
        let mut standing = standing(&["pods", "networkpolicies"]);
        standing.in_step(&resource("pods"), Timestamp(5));
        let message = "networkpolicies.networking.k8s.io is forbidden: User \"a\" cannot list …".to_owned();
        standing.failed(&resource("networkpolicies"), "list", Fault::Forbidden(message));
        assert_eq!(
            standing.news(),
            Some(Timestamp(5)),
            "one kind that is refused does not hold up the others"
        );
        let expected = "https://10.96.0.1: cannot list networkpolicies.networking.k8s.io: forbidden (networkpolicies.networking.k8s.io is forbidden: User \"a\" cannot list …): add the rule {apiGroups: [\"networking.k8s.io\"], resources: [\"networkpolicies\"], verbs: [\"list\", \"watch\"]} to the agent's ClusterRole; until then policies cannot be decided";
        assert_eq!(words(&mut standing), [expected]);
    }

    #[test]
    fn without_pods_there_is_nothing_to_watch() {
        let mut standing = standing(&["pods", "networkpolicies"]);
        standing.in_step(&resource("networkpolicies"), Timestamp(5));
        standing.failed(&resource("pods"), "list", Fault::Forbidden(String::new()));
        assert_eq!(standing.news(), None);
    }
}
