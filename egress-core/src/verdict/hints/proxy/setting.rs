//! Proxy variables of a pod's containers.

use crate::cluster::Pod;

/// Which traffic a variable is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    /// `HTTP_PROXY`
    Http,
    /// `HTTPS_PROXY`
    Https,
    /// `ALL_PROXY`
    All,
    /// `NO_PROXY`: where no proxy is used.
    No,
}

/// A variable that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The container that has it.
    pub(super) container: String,
    /// The name as written: programs read either case.
    pub(super) name: String,
    pub(super) variable: Variable,
    scheme: String,
    /// Host of the proxy, without brackets; for `NO_PROXY` the whole value.
    pub(super) host: String,
    port: Option<u16>,
}

/// What the containers of a pod set. Values that refer to other variables are not known, and left out.
pub(super) fn of(pod: &Pod) -> Vec<Setting> {
    let mut settings = Vec::new();
    for container in &pod.containers {
        for (name, value) in &container.proxy_env {
            if !value.contains("$(")
                && let Some(setting) = parse(&container.name, name, value)
            {
                settings.push(setting);
            }
        }
    }
    settings
}

fn parse(container: &str, name: &str, value: &str) -> Option<Setting> {
    let variable = match name.to_ascii_uppercase().as_str() {
        "HTTP_PROXY" => Variable::Http,
        "HTTPS_PROXY" => Variable::Https,
        "ALL_PROXY" => Variable::All,
        "NO_PROXY" => Variable::No,
        _ => return None,
    };
    let (container, name) = (container.to_owned(), name.to_owned());
    if variable == Variable::No {
        return Some(Setting {
            container,
            name,
            variable,
            scheme: String::new(),
            host: value.to_owned(),
            port: None,
        });
    }
    let value = value.trim();
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // Credentials are nobody's business.
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let (host, port) = split_port(place);
    (!host.is_empty()).then(|| Setting {
        container,
        name,
        variable,
        scheme: scheme.to_ascii_lowercase(),
        host: host.to_owned(),
        port,
    })
}

/// `host:port`, `[v6]:port`, or either without the port; a bare IPv6 address has none.
pub(super) fn split_port(place: &str) -> (&str, Option<u16>) {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, port) = rest.split_once(']').unwrap_or((rest, ""));
        return (host, port.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match place.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, port.parse().ok()),
        _ => (place, None),
    }
}

impl Setting {
    /// Ports by which the proxy is dialled: the one given, else those that clients take for its scheme.
    pub(super) fn ports(&self) -> Vec<u16> {
        match (self.port, self.scheme.as_str()) {
            (Some(port), _) => vec![port],
            (None, "https") => vec![443, 1080],
            (None, scheme) if scheme.starts_with("socks") => vec![1080],
            (None, _) => vec![80, 1080, 3128],
        }
    }

    /// Whether a name that the pod resolved is the proxy's, perhaps with a search domain behind it.
    pub(super) fn is_named(&self, name: &str) -> bool {
        let (name, host) = (name.trim_end_matches('.'), self.host.trim_end_matches('.'));
        if name.len() < host.len()
            || !name.is_char_boundary(host.len())
            || host.parse::<std::net::IpAddr>().is_ok()
        {
            return false;
        }
        let (head, tail) = name.split_at(host.len());
        head.eq_ignore_ascii_case(host) && (tail.is_empty() || tail.starts_with('.'))
    }

    /// Without credentials.
    pub(super) fn shown(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            Some(port) => format!("{}://{host}:{port}", self.scheme),
            None => format!("{}://{host}", self.scheme),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn https(value: &str) -> Option<Setting> {
        parse("app", "HTTPS_PROXY", value)
    }

    #[test]
    fn values_are_read_as_clients_read_them_and_shown_without_credentials() {
        for (value, shown) in [
            ("http://proxy.corp:3128", "http://proxy.corp:3128"),
            ("proxy.corp:3128", "http://proxy.corp:3128"),
            ("http://me:s3cret@proxy.corp:3128/", "http://proxy.corp:3128"),
            ("http://me:p@ss@proxy.corp", "http://proxy.corp"),
            ("socks5://[2001:db8::1]:1080", "socks5://[2001:db8::1]:1080"),
            ("HTTP://10.0.0.9:8080", "http://10.0.0.9:8080"),
        ] {
            assert_eq!(https(value).unwrap().shown(), shown);
        }
        assert_eq!(https(""), None);
        assert_eq!(https("http://"), None);
    }

    #[test]
    fn a_name_is_the_proxys_with_or_without_a_search_domain() {
        let setting = https("http://proxy:3128").unwrap();
        assert!(setting.is_named("proxy") && setting.is_named("Proxy.default.svc.cluster.local."));
        assert!(!setting.is_named("proxy2") && !setting.is_named("my.proxy") && !setting.is_named("prox"));
        assert!(!https("http://10.0.0.9:3128").unwrap().is_named("10.0.0.9"));
    }

    #[test]
    fn without_a_port_the_usual_ones_count() {
        assert_eq!(https("http://proxy").unwrap().ports(), [80, 1080, 3128]);
        assert_eq!(https("http://proxy:8888").unwrap().ports(), [8888]);
    }
}
