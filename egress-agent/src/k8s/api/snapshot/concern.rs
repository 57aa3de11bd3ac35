//! What a question concerns, as far as its words say.

use std::collections::BTreeSet;
use std::net::IpAddr;

use egress_core::cluster::PodRef;
use egress_core::explain::{ExplainRequest, Mention};

use super::SnapshotError;

/// What a question concerns.
#[derive(Debug, Default)]
pub(super) struct Concern {
    /// Namespaces of the objects that it names.
    pub(super) namespaces: BTreeSet<String>,
    /// Addresses that it names.
    pub(super) addresses: Vec<IpAddr>,
    /// An end is a range: anything of the cluster may be within.
    pub(super) everything: bool,
    /// The pods, Services and workloads that it names, in the namespace where they are expected.
    pub(super) objects: Vec<PodRef>,
    /// The destination, where it may be a Service.
    pub(super) service: Option<PodRef>,
    /// Ends that are named without a namespace.
    pub(super) bare: Vec<Bare>,
}

/// An end that is named without a namespace.
#[derive(Debug)]
pub(super) struct Bare {
    /// It is the destination.
    pub(super) dialled: bool,
    /// It is a workload.
    pub(super) workload: bool,
    /// Its name.
    pub(super) name: String,
}

impl Concern {
    /// Of a question; `home` is the namespace of what names none.
    pub(super) fn of(request: &ExplainRequest, home: &str) -> Result<Self, SnapshotError> {
        let question = |error: egress_core::explain::ExplainError| SnapshotError::Question(error.to_string());
        let mut concern = Self::default();
        concern.add(request.source().map_err(question)?, false, home);
        for mention in request.destination().map_err(question)? {
            concern.add(mention, true, home);
        }
        Ok(concern)
    }

    fn add(&mut self, mention: Mention, dialled: bool, home: &str) {
        let (namespace, name, workload) = match mention {
            Mention::Address(ip) => return self.addresses.push(ip),
            Mention::Range(_) => return self.everything = true,
            Mention::Object { namespace, name, workload } => (namespace, name, workload),
        };
        if namespace.is_none() {
            self.bare.push(Bare { dialled, workload, name: name.clone() });
        }
        let namespace = namespace.unwrap_or_else(|| home.to_owned());
        self.namespaces.insert(namespace.clone());
        let object = PodRef { namespace, name };
        if dialled && !workload {
            self.service = Some(object.clone());
        }
        self.objects.push(object);
    }
}
