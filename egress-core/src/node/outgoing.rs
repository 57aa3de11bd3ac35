//! What answered flows of pods have shown of source translation on this node.

use std::collections::HashSet;
use std::net::IpAddr;

/// Sources that are remembered.
const SOURCES: usize = 1024;

/// Private networks (RFC 1918, RFC 6598, RFC 4193) may route pods' addresses; the internet does not.
#[must_use]
pub fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_link_local() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// What has been seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Outgoing {
    /// Some flow left translated, by family.
    translated: [bool; 2],
    /// Some flow that left with its pod's own address was answered, by family and by whether from a private network.
    untranslated: [[bool; 2]; 2],
    /// Sources that were answered to.
    answered: HashSet<IpAddr>,
}

impl Outgoing {
    pub(super) fn note(&mut self, client: IpAddr, source: IpAddr, destination: IpAddr) {
        let family = usize::from(source.is_ipv6());
        if source == client {
            self.untranslated[family][usize::from(is_private(destination))] = true;
        } else {
            self.translated[family] = true;
            if self.answered.len() < SOURCES {
                self.answered.insert(source);
            }
        }
    }

    pub(super) const fn translates(&self, v6: bool) -> bool {
        self.translated[v6 as usize]
    }

    /// An answer from the internet shows that somebody beyond translates, to private networks as well.
    pub(super) fn answers_untranslated(&self, from: IpAddr) -> bool {
        let [public, private] = self.untranslated[usize::from(from.is_ipv6())];
        public || (private && is_private(from))
    }

    pub(super) fn answered_as(&self, source: IpAddr) -> bool {
        self.answered.contains(&source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_answer_without_translation_speaks_for_its_own_network_and_family() {
        let mut seen = Outgoing::default();
        seen.note(ip("10.244.1.5"), ip("10.244.1.5"), ip("172.16.9.9"));
        assert!(seen.answers_untranslated(ip("10.1.2.3")) && seen.answers_untranslated(ip("100.64.0.1")));
        assert!(!seen.answers_untranslated(ip("203.0.113.4")) && !seen.answers_untranslated(ip("fd00::1")));
        assert!(!seen.translates(false));
        seen.note(ip("10.244.1.5"), ip("10.244.1.5"), ip("203.0.113.4"));
        assert!(seen.answers_untranslated(ip("198.51.100.1")));
    }

    #[test]
    fn translation_is_known_by_family_and_source() {
        let mut seen = Outgoing::default();
        seen.note(ip("10.244.1.5"), ip("192.0.2.10"), ip("203.0.113.4"));
        assert!(seen.translates(false) && !seen.translates(true));
        assert!(seen.answered_as(ip("192.0.2.10")) && !seen.answered_as(ip("192.0.2.99")));
    }
}
