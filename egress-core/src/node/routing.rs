//! Which route the node takes for a packet: rules of policy routing in their order, then the longest prefix of a table,
//! as `ip rule` and `ip route` describe it.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{NodeNetwork, Route};

/// `RT_TABLE_DEFAULT`, `RT_TABLE_MAIN`, `RT_TABLE_LOCAL` of `rtnetlink.h`.
const DEFAULT: u32 = 253;
const MAIN: u32 = 254;
const LOCAL: u32 = 255;

/// A rule of policy routing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// It is an IPv6 rule.
    pub v6: bool,
    /// `priority`; the lowest is asked first.
    pub priority: u32,
    /// `from`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpNet>,
    /// `to`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<IpNet>,
    /// `iif`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// `fwmark` and its mask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<(u32, u32)>,
    /// `not`
    #[serde(default)]
    pub inverted: bool,
    /// It selects by what is not read here (`oif`, `uidrange`, ports, …): whether it matches is not known.
    #[serde(default)]
    pub unread: bool,
    /// What it does.
    pub action: RuleAction,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleAction {
    /// Asks a table; routes with a prefix no longer than the second number (`suppress_prefixlength`) do not count.
    Table(u32, Option<u32>),
    /// Goes on with the rule of this priority.
    Goto(u32),
    /// Nothing.
    Nop,
    /// Drops it.
    Blackhole,
    /// Refuses it: host unreachable.
    Unreachable,
    /// Refuses it: administratively prohibited.
    Prohibit,
}

impl Default for RuleAction {
    fn default() -> Self {
        Self::Table(MAIN, None)
    }
}

/// What routing looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routed<'a> {
    /// Source, before it is translated.
    pub source: IpAddr,
    /// Destination, after it was translated.
    pub destination: IpAddr,
    /// Device it came in by, if known.
    pub input: Option<&'a str>,
    /// `skb->mark`, if known.
    pub mark: Option<u32>,
}

/// What routing decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision<'a> {
    /// The route, which may be one that refuses. `None`: there is none, or a rule refuses.
    pub route: Option<&'a Route>,
    /// The rule that led to it; `None` where the rules are not known.
    pub rule: Option<&'a Rule>,
    /// No rule was passed over or taken without knowing whether it matches.
    pub sure: bool,
}

impl Decision<'_> {
    /// The rule that refuses, if no route but a rule does.
    #[must_use]
    pub fn refusing_rule(&self) -> Option<(&Rule, &'static str)> {
        let rule = self.rule.filter(|_| self.route.is_none())?;
        let kind = match rule.action {
            RuleAction::Blackhole => "blackhole",
            RuleAction::Unreachable => "unreachable",
            RuleAction::Prohibit => "prohibit",
            RuleAction::Table(..) | RuleAction::Goto(_) | RuleAction::Nop => return None,
        };
        Some((rule, kind))
    }

    /// It was decided by a rule that the administrator (or an egress gateway) added.
    #[must_use]
    pub fn policy(&self) -> Option<&Rule> {
        self.rule.filter(|rule| !rule.is_default())
    }
}

impl NodeNetwork {
    /// What routing decides on a packet, as of the rules and routes that were read last.
    #[must_use]
    pub fn route(&self, packet: &Routed<'_>) -> Decision<'_> {
        let v6 = packet.destination.is_ipv6();
        let mut sure = true;
        let mut skip_to = None;
        for rule in self.rules.iter().filter(|rule| rule.v6 == v6) {
            if skip_to.is_some_and(|target| rule.priority < target) {
                continue;
            }
            match rule.matches(packet) {
                Some(true) => {}
                Some(false) => continue,
                // Taken as if it did not match: most traffic carries no mark.
                None => {
                    sure = false;
                    continue;
                }
            }
            let (table, suppressed) = match rule.action {
                RuleAction::Table(table, suppressed) => (table, suppressed),
                RuleAction::Goto(target) => {
                    skip_to = Some(target);
                    continue;
                }
                RuleAction::Nop => continue,
                RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit => {
                    return Decision { route: None, rule: Some(rule), sure };
                }
            };
            let found = self.longest(table, packet.destination).filter(|route| {
                suppressed.is_none_or(|limit| u32::from(route.destination.prefix_len()) > limit)
            });
            if let Some(route) = found {
                return Decision { route: Some(route), rule: Some(rule), sure };
            }
        }
        if self.rules.iter().any(|rule| rule.v6 == v6) {
            return Decision { route: None, rule: None, sure };
        }
        let route =
            [LOCAL, MAIN, DEFAULT].into_iter().find_map(|table| self.longest(table, packet.destination));
        Decision { route, rule: None, sure: false }
    }

    /// The route of a table: the longest prefix, then the lowest metric. A `throw` route is none.
    fn longest(&self, table: u32, destination: IpAddr) -> Option<&Route> {
        self.routes
            .iter()
            .filter(|route| route.table == table && route.destination.contains(&destination))
            .max_by_key(|route| (route.destination.prefix_len(), std::cmp::Reverse(route.priority)))
            .filter(|route| route.kind != "throw")
    }
}

impl Rule {
    /// One of the three that every namespace begins with.
    fn is_default(&self) -> bool {
        self.source.is_none()
            && self.destination.is_none()
            && matches!(self.action, RuleAction::Table(LOCAL | MAIN | DEFAULT, None))
    }

    /// `None`: not known.
    fn matches(&self, packet: &Routed<'_>) -> Option<bool> {
        let within = |net: Option<IpNet>, ip: IpAddr| net.is_none_or(|net| net.contains(&ip));
        let mut matches = within(self.source, packet.source) && within(self.destination, packet.destination);
        let mut known = !self.unread;
        if let Some((mark, mask)) = self.mark {
            match packet.mark {
                Some(found) => matches &= found & mask == mark,
                None => known = false,
            }
        }
        if let Some(input) = &self.input {
            match packet.input {
                Some(device) => matches &= device == input,
                None => known = false,
            }
        }
        // What is known not to match decides, whatever the rest says.
        if self.inverted {
            known.then_some(!matches)
        } else if matches {
            known.then_some(true)
        } else {
            Some(false)
        }
    }
}

impl fmt::Display for Rule {
    /// As `ip rule` writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.priority)?;
        if self.inverted {
            f.write_str(" not")?;
        }
        match self.source {
            Some(source) => write!(f, " from {source}")?,
            None => f.write_str(" from all")?,
        }
        if let Some(destination) = self.destination {
            write!(f, " to {destination}")?;
        }
        if let Some((mark, mask)) = self.mark {
            write!(f, " fwmark {mark:#x}")?;
            if mask != u32::MAX {
                write!(f, "/{mask:#x}")?;
            }
        }
        if let Some(input) = &self.input {
            write!(f, " iif {input}")?;
        }
        match self.action {
            RuleAction::Table(table, _) => write!(f, " lookup {}", table_name(table)),
            RuleAction::Goto(target) => write!(f, " goto {target}"),
            RuleAction::Nop => f.write_str(" nop"),
            RuleAction::Blackhole => f.write_str(" blackhole"),
            RuleAction::Unreachable => f.write_str(" unreachable"),
            RuleAction::Prohibit => f.write_str(" prohibit"),
        }
    }
}

impl Route {
    /// As `ip route` writes it, with its table where that is not `main`. `device` names its output device.
    #[must_use]
    pub fn words(&self, device: Option<&str>) -> String {
        let mut text = String::new();
        if self.kind != "unicast" {
            text.push_str(&self.kind);
            text.push(' ');
        }
        match self.destination.prefix_len() {
            0 => text.push_str("default"),
            _ => text.push_str(&self.destination.to_string()),
        }
        if let Some(gateway) = self.gateway {
            text.push_str(&format!(" via {gateway}"));
        }
        if let Some(device) = device {
            text.push_str(&format!(" dev {device}"));
        }
        if self.table != MAIN {
            text.push_str(&format!(" table {}", table_name(self.table)));
        }
        if self.priority != 0 {
            text.push_str(&format!(" metric {}", self.priority));
        }
        text
    }
}

/// As `ip` writes a table's number.
fn table_name(table: u32) -> String {
    match table {
        DEFAULT => "default".to_owned(),
        MAIN => "main".to_owned(),
        LOCAL => "local".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(table: u32, destination: &str, kind: &str, priority: u32) -> Route {
        Route {
            table,
            destination: destination.parse().unwrap(),
            kind: kind.to_owned(),
            device: 2,
            gateway: None,
            priority,
        }
    }

    fn rule(priority: u32, action: RuleAction) -> Rule {
        Rule { priority, action, ..Rule::default() }
    }

    fn network() -> NodeNetwork {
        let table = |priority, table| rule(priority, RuleAction::Table(table, None));
        NodeNetwork {
            routes: vec![
                route(MAIN, "0.0.0.0/0", "unicast", 100),
                route(MAIN, "203.0.113.0/24", "blackhole", 5),
                route(MAIN, "203.0.113.0/24", "unicast", 50),
                route(100, "0.0.0.0/0", "prohibit", 0),
                route(100, "198.51.100.0/24", "throw", 0),
            ],
            rules: vec![
                table(0, LOCAL),
                Rule { source: Some("10.0.0.5/32".parse().unwrap()), ..table(90, 100) },
                Rule { mark: Some((1, 1)), ..rule(95, RuleAction::Unreachable) },
                table(32766, MAIN),
                table(32767, DEFAULT),
            ],
            ..NodeNetwork::default()
        }
    }

    fn packet(source: &str, destination: &str, mark: Option<u32>) -> Routed<'static> {
        Routed {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            input: None,
            mark,
        }
    }

    #[test]
    fn the_longest_prefix_with_the_lowest_metric_decides() {
        let network = network();
        let decided = network.route(&packet("10.0.0.9", "203.0.113.4", Some(0)));
        assert_eq!(decided.route.unwrap().words(None), "blackhole 203.0.113.0/24 metric 5");
        assert!(decided.sure && decided.policy().is_none());
    }

    #[test]
    fn a_rule_leads_to_another_table_and_throw_leads_on() {
        let network = network();
        let decided = network.route(&packet("10.0.0.5", "203.0.113.4", Some(0)));
        assert_eq!(decided.route.unwrap().words(None), "prohibit default table 100");
        assert_eq!(decided.policy().unwrap().to_string(), "90: from 10.0.0.5/32 lookup 100");
        let thrown = network.route(&packet("10.0.0.5", "198.51.100.1", Some(0)));
        assert_eq!(thrown.route.unwrap().words(Some("eth0")), "default dev eth0 metric 100");
    }

    #[test]
    fn a_rule_can_refuse_and_an_unknown_mark_leaves_doubt() {
        let network = network();
        let refused = network.route(&packet("10.0.0.9", "192.0.2.1", Some(3)));
        assert_eq!(refused.refusing_rule().unwrap().1, "unreachable");
        assert!(!network.route(&packet("10.0.0.9", "192.0.2.1", None)).sure);
    }

    #[test]
    fn without_rules_the_usual_tables_are_asked() {
        let network = NodeNetwork { rules: Vec::new(), ..network() };
        let decided = network.route(&packet("10.0.0.5", "192.0.2.1", None));
        assert_eq!(decided.route.unwrap().table, MAIN);
        assert!(!decided.sure);
    }

    #[test]
    fn a_table_without_a_long_enough_prefix_is_passed() {
        let mut network = network();
        network.rules = vec![rule(10, RuleAction::Table(MAIN, Some(0))), rule(20, RuleAction::Blackhole)];
        let decided = network.route(&packet("10.0.0.9", "192.0.2.1", Some(0)));
        assert_eq!(decided.refusing_rule().unwrap().1, "blackhole");
    }
}
