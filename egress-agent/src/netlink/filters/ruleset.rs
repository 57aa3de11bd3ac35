//! A table as a graph of chains, and which of its rules can drop a packet that enters at a base chain.

use std::collections::{BTreeMap, BTreeSet};

use egress_core::node::FilterChain;

/// Rules that are told of one base chain; the rest is counted.
const MOST_RULES: usize = 200;

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    /// `nftables` or `iptables-legacy`
    pub(super) backend: &'static str,
    /// `ip`, `ip6`, `inet`, …
    pub(super) family: &'static str,
    /// Name.
    pub(super) name: String,
    /// Chains by name.
    pub(super) chains: BTreeMap<String, Chain>,
}

/// A chain, reduced to what bears on drops.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// Where it is hooked in, if it is a base chain.
    pub(super) base: Option<Base>,
    /// Effects of its rules, in order.
    pub(super) effects: Vec<Effect>,
}

/// Where a base chain is hooked in.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) hook: String,
    pub(super) priority: i32,
    pub(super) drops_by_default: bool,
    /// Devices it is bound to; empty: all.
    pub(super) devices: Vec<String>,
}

/// What a rule can do that bears on drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It can drop, reject, or leave that to a program in user space; the rule as text.
    Drop(String),
    /// It can go on in another chain.
    Enter(String),
}

impl Table {
    /// The base chains from which a packet can be dropped.
    pub(super) fn dropping_chains(&self) -> Vec<FilterChain> {
        let mut found = Vec::new();
        for (name, chain) in &self.chains {
            let Some(base) = &chain.base else { continue };
            let dropping_rules = self.dropping_rules(name);
            if base.drops_by_default || !dropping_rules.is_empty() {
                found.push(FilterChain {
                    backend: self.backend.to_owned(),
                    family: self.family.to_owned(),
                    table: self.name.clone(),
                    chain: name.clone(),
                    hook: base.hook.clone(),
                    priority: base.priority,
                    drops_by_default: base.drops_by_default,
                    dropping_rules,
                    devices: base.devices.clone(),
                });
            }
        }
        found
    }

    /// The rules that can drop, in the base chain and in the chains that can be reached from it, as text; those of
    /// other chains say which.
    fn dropping_rules(&self, base: &str) -> Vec<String> {
        let (mut rules, mut more) = (Vec::new(), 0usize);
        let mut entered = BTreeSet::from([base]);
        let mut waiting = vec![base];
        while let Some(name) = waiting.pop() {
            let Some(chain) = self.chains.get(name) else { continue };
            let mut next = Vec::new();
            for effect in &chain.effects {
                match effect {
                    Effect::Drop(_) if rules.len() >= MOST_RULES => more += 1,
                    Effect::Drop(rule) if name == base => rules.push(rule.clone()),
                    Effect::Drop(rule) => rules.push(format!("chain {name} {rule}")),
                    Effect::Enter(target) => {
                        if entered.insert(target) {
                            next.push(target.as_str());
                        }
                    }
                }
            }
            // In the order of the rules.
            waiting.extend(next.into_iter().rev());
        }
        if more > 0 {
            rules.push(format!("and {more} more"));
        }
        rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(base: Option<(&str, bool)>, effects: &[&str]) -> Chain {
        let effect = |text: &&str| match text.strip_prefix("> ") {
            Some(target) => Effect::Enter(target.to_owned()),
            None => Effect::Drop((*text).to_owned()),
        };
        let base = base.map(|(hook, drops_by_default)| Base {
            hook: hook.to_owned(),
            priority: 0,
            drops_by_default,
            devices: Vec::new(),
        });
        Chain { base, effects: effects.iter().map(effect).collect() }
    }

    fn dropping(chains: Vec<(&str, Chain)>) -> Vec<(String, Vec<String>)> {
        let chains = chains.into_iter().map(|(name, chain)| (name.to_owned(), chain)).collect();
        let table = Table { backend: "nftables", family: "ip", name: "t".to_owned(), chains };
        table.dropping_chains().into_iter().map(|chain| (chain.chain, chain.dropping_rules)).collect()
    }

    #[test]
    fn rules_belong_to_every_base_chain_that_reaches_them() {
        let found = dropping(vec![
            ("input", chain(Some(("input", false)), &["> shared"])),
            ("forward", chain(Some(("forward", false)), &["handle 1 drop", "> a", "> b", "handle 9 drop"])),
            ("output", chain(Some(("output", true)), &[])),
            ("postrouting", chain(Some(("postrouting", false)), &["> harmless"])),
            ("a", chain(None, &["> shared", "handle 2 reject"])),
            ("b", chain(None, &["> shared", "> a", "> missing"])),
            ("shared", chain(None, &["> shared", "handle 3 drop"])),
            ("harmless", chain(None, &[])),
            ("unreachable", chain(None, &["handle 4 drop"])),
        ]);
        let expected = [
            (
                "forward",
                vec![
                    "handle 1 drop",
                    "handle 9 drop",
                    "chain a handle 2 reject",
                    "chain shared handle 3 drop",
                ],
            ),
            ("input", vec!["chain shared handle 3 drop"]),
            ("output", vec![]),
        ];
        let expected = expected
            .map(|(name, rules)| (name.to_owned(), rules.into_iter().map(str::to_owned).collect::<Vec<_>>()));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let rules: Vec<_> = (0..250).map(|handle| format!("handle {handle} drop")).collect();
        let rules: Vec<_> = rules.iter().map(String::as_str).collect();
        let found = dropping(vec![("f", chain(Some(("forward", false)), &rules))]);
        assert_eq!((found[0].1.len(), found[0].1.last().unwrap().as_str()), (201, "and 50 more"));
    }
}
