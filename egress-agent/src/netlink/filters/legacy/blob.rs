//! The memory image of a table (`include/uapi/linux/netfilter_ipv4/ip_tables.h`, `…/netfilter/x_tables.h`), as
//! 64-bit kernels hand it to 64-bit programs: one entry after the other, chains one after the other.

use std::collections::BTreeMap;

use super::super::ruleset::{Base, Chain, Effect};
use crate::netlink::wire::{text, u16_at, u32_at};

/// Size of `struct ipt_getinfo`.
pub(super) const INFO: usize = 84;
/// Offset of the entries in `struct ipt_get_entries`.
pub(super) const ENTRIES: usize = 40;

/// Hooks by number.
const HOOKS: [(&str, &str); 5] = [
    ("PREROUTING", "prerouting"),
    ("INPUT", "input"),
    ("FORWARD", "forward"),
    ("OUTPUT", "output"),
    ("POSTROUTING", "postrouting"),
];
/// Size of the header of a match or a target: its size (2 bytes), name (29) and revision (1).
const EXTENSION: usize = 32;
/// Verdicts of a standard target are written as -verdict - 1; other numbers are offsets of entries.
const DROP: i32 = -1;
const QUEUE: i32 = -4;

/// Where the fields of an entry are.
pub(super) struct Layout {
    /// `target_offset`; `next_offset` follows it.
    target_offset: usize,
    /// Size of the entry before its matches.
    size: usize,
}

/// `struct ipt_entry`
pub(super) const IPV4: Layout = Layout { target_offset: 88, size: 112 };
/// `struct ip6t_entry`
pub(super) const IPV6: Layout = Layout { target_offset: 140, size: 168 };

/// `struct ipt_getinfo`
#[derive(Debug)]
pub(super) struct Info {
    /// Offset of the first entry of each base chain, and of its last, the policy.
    hooks: [Option<(usize, usize)>; 5],
    /// Size of all entries.
    pub(super) size: usize,
}

impl Info {
    /// Parses the kernel's answer.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |at| u32_at(bytes, at).and_then(|number| usize::try_from(number).ok());
        let valid = u32_at(bytes, 32)?;
        let mut hooks = [None; 5];
        for (hook, entry) in hooks.iter_mut().enumerate() {
            if valid & (1 << hook) != 0 {
                *entry = Some((number(36 + 4 * hook)?, number(56 + 4 * hook)?));
            }
        }
        Some(Self { hooks, size: number(80)? })
    }
}

/// An entry.
struct Entry<'a> {
    offset: usize,
    /// Name of its target, empty for the standard one.
    target: String,
    /// What follows the target's header.
    data: &'a [u8],
    comment: Option<String>,
}

impl Entry<'_> {
    /// Verdict or offset of a standard target.
    fn verdict(&self) -> Option<i32> {
        if self.target.is_empty() { u32_at(self.data, 0).map(u32::cast_signed) } else { None }
    }
}

impl Layout {
    /// The chains of a table; `None` if the image is not what it should be.
    pub(super) fn chains(&self, table: &str, info: &Info, blob: &[u8]) -> Option<BTreeMap<String, Chain>> {
        let entries = self.entries(blob)?;
        // Where a jump can lead: to the first entry of a chain.
        let mut starts: BTreeMap<usize, String> = BTreeMap::new();
        for (hook, (first, _)) in info.hooks.iter().enumerate().filter_map(|(hook, at)| Some((hook, (*at)?)))
        {
            starts.insert(first, HOOKS[hook].0.to_owned());
        }
        for pair in entries.windows(2) {
            // A chain of the user begins with a target ERROR that holds its name.
            if pair[0].target == "ERROR" {
                starts.insert(pair[1].offset, text(pair[0].data));
            }
        }
        let mut chains: BTreeMap<String, Chain> = BTreeMap::new();
        let mut current: Option<(&str, usize)> = None;
        for entry in &entries {
            if let Some(name) = starts.get(&entry.offset) {
                current = Some((name, 0));
                chains.entry(name.clone()).or_default();
            }
            let Some((name, number)) = &mut current else { continue };
            *number += 1;
            let chain = chains.get_mut(*name)?;
            let policy_of =
                info.hooks.iter().position(|hook| hook.is_some_and(|(_, last)| last == entry.offset));
            if let Some(hook) = policy_of {
                chain.base = Some(Base {
                    hook: HOOKS[hook].1.to_owned(),
                    priority: priority(table, hook),
                    drops_by_default: entry.verdict() == Some(DROP),
                    devices: Vec::new(),
                });
                // What follows is another chain.
                current = None;
                continue;
            }
            chain.effects.extend(effect(entry, *number, &starts));
        }
        Some(chains)
    }

    fn entries<'a>(&self, blob: &'a [u8]) -> Option<Vec<Entry<'a>>> {
        let mut entries = Vec::new();
        let mut offset = 0;
        while offset < blob.len() {
            let bytes = blob.get(offset..)?;
            let target_offset = usize::from(u16_at(bytes, self.target_offset)?);
            let next_offset = usize::from(u16_at(bytes, self.target_offset + 2)?);
            let target = bytes.get(target_offset..next_offset).filter(|target| target.len() >= EXTENSION)?;
            let matches = bytes.get(self.size..target_offset)?;
            entries.push(Entry {
                offset,
                target: extension_name(target),
                data: &target[EXTENSION..],
                comment: comment(matches),
            });
            offset += next_offset;
        }
        Some(entries)
    }
}

fn effect(entry: &Entry<'_>, number: usize, starts: &BTreeMap<usize, String>) -> Option<Effect> {
    let rule = |how: &str| {
        let comment = entry.comment.as_deref().filter(|comment| !comment.is_empty());
        let comment = comment.map_or_else(String::new, |comment| format!(" ({comment})"));
        Some(Effect::Drop(format!("rule {number} {how}{comment}")))
    };
    match (entry.target.as_str(), entry.verdict()) {
        ("REJECT", _) => rule("reject"),
        ("NFQUEUE", _) | ("", Some(QUEUE)) => rule("queue"),
        ("", Some(DROP)) => rule("drop"),
        ("", Some(target)) => {
            starts.get(&usize::try_from(target).ok()?).map(|name| Effect::Enter(name.clone()))
        }
        _ => None,
    }
}

/// Name of a match or target.
fn extension_name(bytes: &[u8]) -> String {
    text(bytes.get(2..EXTENSION - 1).unwrap_or_default())
}

/// The text of a `comment` match.
fn comment(mut matches: &[u8]) -> Option<String> {
    while !matches.is_empty() {
        let size = usize::from(u16_at(matches, 0)?);
        let this = matches.get(..size).filter(|this| this.len() >= EXTENSION)?;
        if extension_name(this) == "comment" {
            return Some(text(&this[EXTENSION..]));
        }
        matches = &matches[size..];
    }
    None
}

/// Priority of a table at a hook (`enum nf_ip_hook_priorities`).
fn priority(table: &str, hook: usize) -> i32 {
    match table {
        "raw" => -300,
        "mangle" => -150,
        // Destinations are translated at prerouting and output, sources at input and postrouting.
        "nat" => {
            if hook == 0 || hook == 3 {
                -100
            } else {
                100
            }
        }
        "security" => 50,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry of IPv4 with an optional comment, and a target with its data.
    fn entry(comment: &str, target: &str, data: &[u8]) -> Vec<u8> {
        let extension = |name: &str, data: &[u8]| {
            let mut bytes = vec![0u8; EXTENSION];
            bytes[2..2 + name.len()].copy_from_slice(name.as_bytes());
            bytes.extend_from_slice(data);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            let size = u16::try_from(bytes.len()).unwrap();
            bytes[..2].copy_from_slice(&size.to_ne_bytes());
            bytes
        };
        let mut bytes = vec![0u8; IPV4.size];
        if !comment.is_empty() {
            bytes.extend(extension("comment", comment.as_bytes()));
        }
        let target_offset = u16::try_from(bytes.len()).unwrap();
        bytes.extend(extension(target, data));
        let next_offset = u16::try_from(bytes.len()).unwrap();
        bytes[88..90].copy_from_slice(&target_offset.to_ne_bytes());
        bytes[90..92].copy_from_slice(&next_offset.to_ne_bytes());
        bytes
    }

    fn image() -> (Info, Vec<u8>) {
        let plain = entry("", "", &[0; 4]).len();
        let standard = |verdict: i32| entry("", "", &verdict.to_ne_bytes());
        let named = |name: &str| entry("", "ERROR", &[name.as_bytes(), &[0]].concat());
        // FORWARD: jump to `deny`, policy drop. `deny`: a commented drop, return.
        let deny_at = plain * 2 + named("deny").len();
        let parts = [
            standard(i32::try_from(deny_at).unwrap()),
            standard(DROP),
            named("deny"),
            entry("why", "", &DROP.to_ne_bytes()),
            entry("", "REJECT", &[0; 4]),
            standard(-5),
            named("ERROR"),
        ];
        let blob = parts.concat();
        let mut hooks = [None; 5];
        hooks[2] = Some((0, plain));
        (Info { hooks, size: blob.len() }, blob)
    }

    #[test]
    fn chains_policies_jumps_and_comments_are_read() {
        let (info, blob) = image();
        let chains = IPV4.chains("filter", &info, &blob).unwrap();
        assert_eq!(chains.keys().collect::<Vec<_>>(), ["FORWARD", "deny"]);
        let base = chains["FORWARD"].base.as_ref().unwrap();
        assert_eq!((base.hook.as_str(), base.priority, base.drops_by_default), ("forward", 0, true));
        assert_eq!(chains["FORWARD"].effects, [Effect::Enter("deny".to_owned())]);
        let rules = ["rule 1 drop (why)", "rule 2 reject"].map(|rule| Effect::Drop(rule.to_owned()));
        assert_eq!(chains["deny"].effects, rules);
    }

    #[test]
    fn a_corrupted_image_is_refused_without_a_panic() {
        let (info, blob) = image();
        for end in 0..blob.len() {
            let _ = IPV4.chains("filter", &info, &blob[..end]);
            let _ = IPV6.chains("filter", &info, &blob[..end]);
        }
        for at in 0..blob.len() {
            for value in [0, 1, 0x20, 0x7f, 0xff] {
                let mut corrupt = blob.clone();
                corrupt[at] = value;
                let _ = IPV4.chains("filter", &info, &corrupt);
            }
        }
        assert!(IPV4.chains("filter", &info, &blob[..blob.len() - 1]).is_none());
    }
}
