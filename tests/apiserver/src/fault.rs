//! Failures on demand.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::request::Call;
use crate::status::Refusal;

/// What goes wrong with requests of a verb for a resource, until [`crate::ApiServer::heal`].
#[derive(Clone, Debug)]
pub struct Fault {
    verb: String,
    resource: String,
    times: Option<u32>,
    failure: Failure,
}

#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// 403 as the RBAC authorizer words it.
    Forbidden,
    Status(Refusal),
    /// The answer comes so much later.
    Late(Duration),
    /// The connection ends in the middle of the answer.
    Cut,
    /// This text with status 200.
    Text(String),
}

impl Fault {
    /// Refused for want of rights. `*` stands for every verb or every resource.
    #[must_use]
    pub fn forbidden(verb: &str, resource: &str) -> Self {
        Self::new(verb, resource, Failure::Forbidden)
    }

    /// Answered with this status: 401, 404, 410, 429, 500, ….
    #[must_use]
    pub fn status(verb: &str, resource: &str, code: u16, message: &str) -> Self {
        Self::new(verb, resource, Failure::Status(Refusal::new(code, message)))
    }

    /// Answered only after this time.
    #[must_use]
    pub fn late(verb: &str, resource: &str, by: Duration) -> Self {
        Self::new(verb, resource, Failure::Late(by))
    }

    /// The connection ends in the middle of the answer.
    #[must_use]
    pub fn cut(verb: &str, resource: &str) -> Self {
        Self::new(verb, resource, Failure::Cut)
    }

    /// Answered with this text, whatever was asked.
    #[must_use]
    pub fn text(verb: &str, resource: &str, text: &str) -> Self {
        Self::new(verb, resource, Failure::Text(text.to_owned()))
    }

    /// Only so many times.
    #[must_use]
    pub const fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    fn new(verb: &str, resource: &str, failure: Failure) -> Self {
        Self { verb: verb.to_owned(), resource: resource.to_owned(), times: None, failure }
    }

    fn concerns(&self, call: &Call) -> bool {
        (self.verb == "*" || self.verb == call.verb)
            && (self.resource == "*" || self.resource == call.resource.plural)
    }
}

/// What happens to watches that are open. `*` stands for every resource.
#[derive(Clone, Debug)]
pub enum Disturbance {
    /// The connection ends in the middle of an event.
    Cut,
    /// The watch ends in order, as it does after its timeout.
    End,
    /// The server says that the version is too old, in the stream.
    Gone,
    /// A bookmark of the newest version.
    Bookmark,
    /// A line that is no event of the object's kind.
    Line(String),
}

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What goes wrong with this request.
    pub(crate) fn of(&self, call: &Call) -> Option<Failure> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = faults.iter().position(|fault| fault.concerns(call))?;
        let fault = &mut faults[found];
        let failure = fault.failure.clone();
        if let Some(times) = &mut fault.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                faults.remove(found);
            }
        }
        Some(failure)
    }
}
