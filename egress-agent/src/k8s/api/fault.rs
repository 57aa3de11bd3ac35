//! Why the API server did not give what was asked, in words that say what to do.

use std::error::Error;
use std::time::Duration;

use super::kinds::{Resource, Use};

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// 401
    Unauthorized,
    /// 403, with the server's words.
    Forbidden(String),
    /// 404: there is no such resource.
    Absent,
    /// 410: the version is too old to go on from.
    Expired,
    /// 429, and for how long to stay away.
    Busy(Duration),
    /// Any other refusal.
    Refused(u16, String),
    /// The server says something that is not understood.
    Garbled(String),
    /// No answer, or the connection broke.
    Unreachable(String),
}

impl From<kube::Error> for Fault {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(status.code, &status.message, retry_after(&status)),
            other => Self::Unreachable(root(&other)),
        }
    }
}

fn retry_after(status: &kube::core::Status) -> Duration {
    Duration::from_secs(status.details.as_ref().map_or(0, |details| details.retry_after_seconds.into()))
}

impl Fault {
    /// From a `Status`.
    pub(super) fn of_status(code: u16, message: &str, after: Duration) -> Self {
        match code {
            401 => Self::Unauthorized,
            403 => Self::Forbidden(message.to_owned()),
            404 => Self::Absent,
            410 => Self::Expired,
            429 => Self::Busy(after),
            code => Self::Refused(code, message.to_owned()),
        }
    }

    /// How long the server asks to be left alone.
    pub(super) const fn wait(&self) -> Duration {
        match self {
            Self::Busy(after) => *after,
            // A person has to give the right first.
            Self::Forbidden(_) => Duration::from_secs(15),
            _ => Duration::ZERO,
        }
    }

    /// Whether it is an answer that stays the same until somebody changes something.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Unauthorized | Self::Forbidden(_) | Self::Absent)
    }

    /// One line for `status` and the log. The verb is `list` or `watch`.
    pub(super) fn describe(&self, verb: &str, resource: &Resource) -> String {
        let what = resource.qualified();
        let why = match self {
            Self::Unauthorized => "unauthorized: the API server does not accept the agent's token".to_owned(),
            Self::Forbidden(message) => {
                let follows = match resource.row.use_ {
                    Use::Policies => "; until then policies cannot be decided",
                    Use::Pods => "; until then no pod is watched",
                    Use::Identity => "",
                };
                format!(
                    "forbidden ({message}): add the rule {{apiGroups: [\"{}\"], resources: [\"{}\"], verbs: [\"list\", \"watch\"]}} to the agent's ClusterRole{follows}",
                    resource.group(),
                    resource.row.plural
                )
            }
            other => other.words(),
        };
        format!("cannot {verb} {what}: {why}")
    }

    /// What happened, in words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Unauthorized => "unauthorized".to_owned(),
            Self::Forbidden(message) => format!("forbidden ({message})"),
            Self::Absent => "the API server has no such resource".to_owned(),
            Self::Expired => "what was known is too old to go on from; listing again".to_owned(),
            Self::Busy(_) => "the API server is busy (429)".to_owned(),
            Self::Refused(code, message) => format!("status {code}: {message}"),
            Self::Garbled(what) => format!("the answer is not understood: {what}"),
            Self::Unreachable(why) => format!("the API server cannot be reached: {why}"),
        }
    }
}

/// What is behind an error: `Connection refused (os error 111)`, without the layers that it came through.
pub(super) fn root(mut error: &dyn Error) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
