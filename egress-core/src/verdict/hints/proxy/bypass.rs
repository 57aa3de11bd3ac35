//! `NO_PROXY`: names with their subdomains, addresses, CIDRs, each perhaps with a port, and `*`.

use std::net::IpAddr;

use super::setting::split_port;

/// Whether a list exempts a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// This entry does.
    By(String),
    /// None does.
    No,
    /// Entries are names, and the destination's is not known.
    Unknown,
}

impl Cover {
    /// The word for `detail.no_proxy`.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::By(_) => "covers",
            Self::No => "does-not-cover",
            Self::Unknown => "unknown",
        }
    }
}

/// Looks a destination up in the list.
pub(super) fn covers(list: &str, name: Option<&str>, ip: IpAddr, port: u16) -> Cover {
    let mut named = false;
    for entry in list.split([',', ' ', '\t', '\n']).map(str::trim).filter(|entry| !entry.is_empty()) {
        if entry == "*" || matches_address(entry, ip, port) {
            return Cover::By(entry.to_owned());
        }
        let (host, only) = split_port(entry);
        if only.is_some_and(|only| only != port) || is_address(host) {
            continue;
        }
        match name {
            Some(name) if matches_name(host, name) => return Cover::By(entry.to_owned()),
            Some(_) => {}
            None => named = true,
        }
    }
    if named { Cover::Unknown } else { Cover::No }
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok() || host.parse::<ipnet::IpNet>().is_ok()
}

fn matches_address(entry: &str, ip: IpAddr, port: u16) -> bool {
    if let Ok(net) = entry.parse::<ipnet::IpNet>() {
        return net.contains(&ip);
    }
    let (host, only) = split_port(entry);
    host.parse() == Ok(ip) && only.is_none_or(|only| only == port)
}

/// `example.com` and `.example.com` and `*.example.com`: the name and what is below it.
fn matches_name(host: &str, name: &str) -> bool {
    let host =
        host.trim_start_matches("*.").trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase();
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    !host.is_empty() && (name == host || name.strip_suffix(&host).is_some_and(|head| head.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(list: &str, name: Option<&str>) -> Cover {
        covers(list, name, "203.0.113.4".parse().unwrap(), 443)
    }

    fn by(entry: &str) -> Cover {
        Cover::By(entry.to_owned())
    }

    #[test]
    fn entries_cover_as_documented() {
        let stripe = Some("api.stripe.com");
        for entry in [
            "*",
            "stripe.com",
            ".stripe.com",
            "*.stripe.com",
            "api.stripe.com",
            "STRIPE.com",
            "api.stripe.com:443",
            "203.0.113.4",
            "203.0.113.0/24",
            "203.0.113.4:443",
        ] {
            assert_eq!(look(&format!("localhost, {entry},.svc"), stripe), by(entry), "{entry}");
        }
        for entry in [
            "",
            "tripe.com",
            "stripe.com.evil",
            "api.stripe.com:8443",
            "203.0.113.5",
            "10.0.0.0/8",
            "203.0.113.4:80",
            ".",
        ] {
            assert_eq!(look(entry, stripe), Cover::No, "{entry}");
        }
    }

    #[test]
    fn a_list_of_names_says_nothing_of_an_address_without_a_name() {
        assert_eq!(look("localhost,.svc", None), Cover::Unknown);
        assert_eq!(look("10.0.0.0/8,192.0.2.1", None), Cover::No);
        assert_eq!(look("localhost 203.0.113.0/24", None), by("203.0.113.0/24"));
    }

    #[test]
    fn ipv6_entries_are_read_with_and_without_brackets() {
        let ip = "2001:db8::4".parse().unwrap();
        assert_eq!(covers("2001:db8::4", None, ip, 443), by("2001:db8::4"));
        assert_eq!(covers("[2001:db8::4]:443", None, ip, 443), by("[2001:db8::4]:443"));
        assert_eq!(covers("[2001:db8::4]:80", None, ip, 443), Cover::No);
        assert_eq!(covers("2001:db8::/32", None, ip, 443), by("2001:db8::/32"));
    }
}
