//! Why the cluster cannot be asked.

use kube::client::UpgradeConnectionError;

/// Why the cluster cannot be asked: one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReachError {
    /// The kubeconfig cannot be used.
    #[error("{0}")]
    Config(String),
    /// The API server does not answer.
    #[error("cannot reach the API server: {0}")]
    Unreachable(String),
    /// A right is missing; names it.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such object.
    #[error("{0}")]
    NotFound(String),
    /// The API server answers with another error.
    #[error("the API server refuses: {0}")]
    Failed(String),
}

/// What was asked for, to name the right that is missing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) verb: &'a str,
    pub(super) resource: &'a str,
    /// `None`: of all namespaces.
    pub(super) namespace: Option<&'a str>,
}

impl Asked<'_> {
    fn forbidden(self, said: &str) -> ReachError {
        let place = match self.namespace {
            Some(namespace) => format!("in namespace {namespace}"),
            None => "in all namespaces".to_owned(),
        };
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        ReachError::Forbidden(format!(
            "this needs the right to {} {} {place}{said}",
            self.verb, self.resource
        ))
    }
}

/// The client's error in our words.
pub(super) fn refused(error: kube::Error, asked: Asked<'_>) -> ReachError {
    match error {
        kube::Error::Api(status) => match status.code {
            403 => asked.forbidden(&status.message),
            404 => ReachError::NotFound(status.message),
            401 => ReachError::Failed("it does not know who asks (401 Unauthorized)".to_owned()),
            _ => ReachError::Failed(status.message),
        },
        kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(code)) => match code.as_u16() {
            403 => asked.forbidden(""),
            404 => ReachError::NotFound("the agent's pod is gone".to_owned()),
            _ => ReachError::Failed(format!("the port is not forwarded ({code})")),
        },
        other => {
            let mut error: &(dyn std::error::Error + 'static) = &other;
            while let Some(source) = error.source() {
                error = source;
            }
            ReachError::Unreachable(error.to_string())
        }
    }
}
