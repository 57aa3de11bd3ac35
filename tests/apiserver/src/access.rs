//! Who may do what: bearer tokens, and the rules of ClusterRoles.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::request::Call;
use crate::status::Refusal;

/// The known users, by token. Without any, everybody may do everything.
#[derive(Clone, Debug, Default)]
pub struct Access {
    users: BTreeMap<String, User>,
}

#[derive(Clone, Debug)]
struct User {
    name: String,
    /// `None`: may do everything.
    rules: Option<Rules>,
}

impl Access {
    /// A user that may do everything.
    #[must_use]
    pub fn admin(mut self, token: &str, name: &str) -> Self {
        self.users.insert(token.to_owned(), User { name: name.to_owned(), rules: None });
        self
    }

    /// A user that may do what these rules say.
    #[must_use]
    pub fn user(mut self, token: &str, name: &str, rules: Rules) -> Self {
        self.users.insert(token.to_owned(), User { name: name.to_owned(), rules: Some(rules) });
        self
    }

    /// The user of an `Authorization` header, as messages name it.
    pub(crate) fn authenticate(&self, header: Option<&str>) -> Result<&str, Refusal> {
        if self.users.is_empty() {
            return Ok("system:anonymous");
        }
        Ok(&self.find(header).ok_or_else(Refusal::unauthorized)?.name)
    }

    /// Whether the user of this header may.
    pub(crate) fn authorize(&self, header: Option<&str>, call: &Call) -> Result<(), Refusal> {
        let Some(user) = self.find(header) else { return Ok(()) };
        let allowed = user.rules.as_ref().is_none_or(|rules| rules.allow(call));
        if allowed { Ok(()) } else { Err(Refusal::forbidden(call, &user.name)) }
    }

    fn find(&self, header: Option<&str>) -> Option<&User> {
        self.users.get(header?.strip_prefix("Bearer ")?.trim())
    }
}

/// `rules` of ClusterRoles.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    /// Where they hold; `None`: everywhere.
    namespace: Option<String>,
}

#[derive(Clone, Debug)]
struct Rule {
    groups: Vec<String>,
    resources: Vec<String>,
    verbs: Vec<String>,
    names: Vec<String>,
}

/// A manifest that is no ClusterRole.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// It cannot be read.
    #[error("not YAML: {0}")]
    Syntax(String),
    /// No ClusterRole of this name is there.
    #[error("there is no ClusterRole {0} in the manifest")]
    Missing(String),
}

impl Rules {
    /// The rules of the ClusterRole of this name, in a manifest with any number of documents.
    ///
    /// # Errors
    /// It cannot be read, or the role is not there.
    pub fn of_cluster_role(name: &str, manifest: &str) -> Result<Self, RulesError> {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(manifest).map_err(|error| RulesError::Syntax(error.to_string()))?;
        let role = documents
            .iter()
            .find(|document| document["kind"] == "ClusterRole" && document["metadata"]["name"] == name)
            .ok_or_else(|| RulesError::Missing(name.to_owned()))?;
        let rules = role["rules"].as_array().into_iter().flatten();
        Ok(Self { rules: rules.map(Rule::of).collect(), namespace: None })
    }

    /// Without the rules that name this resource.
    #[must_use]
    pub fn without(mut self, plural: &str) -> Self {
        for rule in &mut self.rules {
            rule.resources.retain(|resource| resource != plural);
        }
        self
    }

    /// As a RoleBinding in this namespace gives them: for what is in it, and for the namespace itself by its name.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    fn allow(&self, call: &Call) -> bool {
        let own = if call.resource.plural == "namespaces" { &call.name } else { &call.namespace };
        (self.namespace.is_none() || self.namespace == *own)
            && self.rules.iter().any(|rule| rule.allows(call))
    }
}

impl Rule {
    fn of(rule: &Value) -> Self {
        let texts = |field: &str| {
            let all = rule[field].as_array().into_iter().flatten();
            all.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            groups: texts("apiGroups"),
            resources: texts("resources"),
            verbs: texts("verbs"),
            names: texts("resourceNames"),
        }
    }

    fn allows(&self, call: &Call) -> bool {
        let holds = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
        let resource = call.subresource.as_ref().map_or_else(
            || call.resource.plural.clone(),
            |subresource| format!("{}/{subresource}", call.resource.plural),
        );
        holds(&self.groups, &call.resource.group)
            && holds(&self.resources, &resource)
            && holds(&self.verbs, call.verb)
            && (self.names.is_empty() || call.name.as_ref().is_some_and(|name| self.names.contains(name)))
    }
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::*;
    use crate::request::Path;

    const ROLE: &str = "kind: ConfigMap\nmetadata: {name: agent}\n---\nkind: ClusterRole\nmetadata: {name: agent}\nrules:\n\
        - {apiGroups: [''], resources: [pods, pods/portforward], verbs: [get, list]}\n\
        - {apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: ['*']}\n\
        - {apiGroups: [''], resources: [configmaps], verbs: [get], resourceNames: [settings]}\n";

    #[test]
    fn rules_allow_what_they_name_and_refusals_say_what_is_missing() {
        let access = Access::default().user("t", "bob", Rules::of_cluster_role("agent", ROLE).unwrap());
        let asked = |method: Method, uri: &str| {
            let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
            let Ok(Path::Call(call)) = Path::parse(&method, path, Some(query)) else { panic!("{uri}") };
            access.authorize(Some("Bearer t"), &call).map_err(|refusal| refusal.message)
        };
        for uri in [
            "/api/v1/pods",
            "/api/v1/namespaces/a/pods/b/portforward",
            "/apis/networking.k8s.io/v1/networkpolicies?watch=1",
            "/api/v1/namespaces/a/configmaps/settings",
        ] {
            assert_eq!(asked(Method::GET, uri), Ok(()), "{uri}");
        }
        let refused = |text: &str| Err(text.to_owned());
        assert_eq!(
            asked(Method::GET, "/api/v1/pods?watch=1"),
            refused(
                "pods is forbidden: User \"bob\" cannot watch resource \"pods\" in API group \"\" at the cluster scope"
            )
        );
        assert_eq!(
            asked(Method::POST, "/api/v1/namespaces/a/pods/b/portforward"),
            refused(
                "pods \"b\" is forbidden: User \"bob\" cannot create resource \"pods/portforward\" in API group \"\" in the namespace \"a\""
            )
        );
        assert!(asked(Method::GET, "/api/v1/namespaces/a/configmaps/other").is_err());
        assert_eq!(access.authenticate(Some("Bearer x")).unwrap_err().code, 401);
    }
}
