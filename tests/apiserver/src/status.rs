//! Refusals as the API server words them (`metav1.Status`).

use serde_json::{Value, json};

use crate::kinds::Resource;
use crate::request::Call;

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    /// HTTP status.
    pub(crate) code: u16,
    /// `reason`, such as `Forbidden`.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, reason: reason(code), message: message.into() }
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        Self::new(404, format!("{} \"{name}\" not found", resource.qualified()))
    }

    /// As for a path that nothing serves: an absent CRD.
    pub(crate) fn no_such_resource() -> Self {
        Self::new(404, "the server could not find the requested resource")
    }

    pub(crate) fn expired(version: u64, oldest: u64) -> Self {
        Self {
            reason: "Expired",
            ..Self::new(410, format!("too old resource version: {version} ({oldest})"))
        }
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized")
    }

    /// As the RBAC authorizer says it.
    pub(crate) fn forbidden(call: &Call, user: &str) -> Self {
        let resource = &call.resource;
        let name = call.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
        let place = call.namespace.as_ref().map_or_else(
            || "at the cluster scope".to_owned(),
            |namespace| format!("in the namespace \"{namespace}\""),
        );
        let sub = call.subresource.as_ref().map(|sub| format!("/{sub}")).unwrap_or_default();
        let message = format!(
            "{}{name} is forbidden: User \"{user}\" cannot {} resource \"{}{sub}\" in API group \"{}\" {place}",
            resource.qualified(),
            call.verb,
            resource.plural,
            resource.group,
        );
        Self::new(403, message)
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if self.code == 429 {
            status["details"] = json!({"retryAfterSeconds": 1});
        }
        status
    }
}

fn reason(code: u16) -> &'static str {
    match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        409 => "Conflict",
        410 => "Gone",
        415 => "UnsupportedMediaType",
        422 => "Invalid",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    }
}
