//! What a question names, as its words say: who reads a cluster only as far as a question needs it asks for this first.

use std::net::IpAddr;

use ipnet::IpNet;

use super::ends::{self, End, Kind, Name};
use super::{ExplainError, ExplainRequest};

/// What one end of a question names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mention {
    /// An address.
    Address(IpAddr),
    /// A range of addresses.
    Range(IpNet),
    /// An object.
    Object {
        /// Its namespace, where that is said.
        namespace: Option<String>,
        /// Its name.
        name: String,
        /// It is a workload, which stands for its pods.
        workload: bool,
    },
}

impl ExplainRequest {
    /// Who connects.
    ///
    /// # Errors
    /// It is neither an address nor a name.
    pub fn source(&self) -> Result<Mention, ExplainError> {
        mention(&self.from)
    }

    /// To whom: one thing, or the addresses that were given for a name.
    ///
    /// # Errors
    /// It is neither an address nor a name.
    pub fn destination(&self) -> Result<Vec<Mention>, ExplainError> {
        let addresses = ends::given(&self.to, &self.dns);
        if addresses.is_empty() {
            Ok(vec![mention(&self.to)?])
        } else {
            Ok(addresses.into_iter().map(Mention::Address).collect())
        }
    }
}

fn mention(text: &str) -> Result<Mention, ExplainError> {
    match ends::address(text).map(End::Ip).or_else(|| ends::range(text)) {
        Some(End::Ip(ip)) => return Ok(Mention::Address(ip)),
        Some(End::Range(range)) => return Ok(Mention::Range(range)),
        _ => {}
    }
    let Name { kind, namespace, name } = Name::parse(text)?;
    let workload = matches!(kind, Kind::Workload(_));
    Ok(Mention::Object { namespace: namespace.map(str::to_owned), name: name.to_owned(), workload })
}

/// The text of an end that names an object without its namespace, with this one: `web` is `shop/web`, `deploy/web` is
/// `deploy/shop/web`.
#[must_use]
pub fn qualified(text: &str, namespace: &str) -> String {
    match text.split_once('/') {
        Some((kind, name)) => format!("{kind}/{namespace}/{name}"),
        None => format!("{namespace}/{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Protocol;

    fn request(to: &str) -> ExplainRequest {
        let dns = vec![("api.example.com".to_owned(), "203.0.113.4".parse().unwrap())];
        ExplainRequest { from: "web".to_owned(), to: to.to_owned(), port: 1, protocol: Protocol::Tcp, dns }
    }

    fn object(namespace: Option<&str>, name: &str, workload: bool) -> Mention {
        Mention::Object { namespace: namespace.map(str::to_owned), name: name.to_owned(), workload }
    }

    #[test]
    fn an_end_says_what_has_to_be_read() {
        let address = |text: &str| Mention::Address(text.parse().unwrap());
        for (text, expected) in [
            ("web", object(None, "web", false)),
            ("shop/web", object(Some("shop"), "web", false)),
            ("svc/web", object(None, "web", false)),
            ("web.shop.svc.cluster.local", object(Some("shop"), "web", false)),
            ("deploy/shop/web", object(Some("shop"), "web", true)),
            ("deployment.apps/web", object(None, "web", true)),
            ("203.0.113.4", address("203.0.113.4")),
            ("[2001:db8::1]", address("2001:db8::1")),
            ("10.0.0.1/8", Mention::Range("10.0.0.0/8".parse().unwrap())),
            ("API.example.com.", address("203.0.113.4")),
        ] {
            assert_eq!(request(text).destination(), Ok(vec![expected]), "{text}");
        }
        assert!(request("A b").destination().is_err());
    }

    #[test]
    fn a_namespace_is_put_where_it_belongs() {
        assert_eq!(qualified("web", "shop"), "shop/web");
        assert_eq!(qualified("deploy/web", "shop"), "deploy/shop/web");
    }
}
