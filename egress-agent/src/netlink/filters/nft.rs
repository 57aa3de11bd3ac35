//! nftables, iptables-nft included (`include/uapi/linux/netfilter/nf_tables.h`).

mod expression;

use std::collections::{BTreeMap, BTreeSet};

use super::ruleset::{Base, Chain, Effect, Table};
use crate::netlink::NetlinkError;
use crate::netlink::netfilter::{attributes, family, number, request};
use crate::netlink::socket::NetlinkSocket;
use crate::netlink::wire::{Attributes, DUMP, Message, Messages, REQUEST, Request, be32, be64, text};
use expression::{Outcome, Rule, Verdict};

const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_FLAGS: u16 = 2;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_HOOK_DEV: u16 = 3;
const NFTA_HOOK_DEVS: u16 = 4;
const NFTA_DEVICE_NAME: u16 = 1;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
/// `NFT_TABLE_F_DORMANT`: the table's hooks are not registered.
const DORMANT: u32 = 1;
/// Policy of a base chain: `NF_DROP`.
const NF_DROP: u32 = 0;

/// Family and name of a table.
type TableKey = (u8, String);

/// Reads all tables of the socket's namespace.
pub(super) fn read(socket: &mut NetlinkSocket) -> Result<Vec<Table>, NetlinkError> {
    let keys = dump(socket, "list nftables tables", libc::NFT_MSG_GETTABLE, decode_table)?;
    let chains = dump(socket, "list nftables chains", libc::NFT_MSG_GETCHAIN, decode_chain)?;
    let rules = dump(socket, "list nftables rules", libc::NFT_MSG_GETRULE, decode_rule)?;
    let maps = read_maps(socket, &rules)?;
    Ok(join(keys, chains, rules, &maps))
}

/// Tables with their chains, and these with their rules.
fn join(
    keys: Vec<TableKey>,
    chains: Vec<(TableKey, String, Chain)>,
    rules: Vec<(TableKey, String, Rule)>,
    maps: &BTreeMap<(TableKey, String), BTreeSet<Verdict>>,
) -> Vec<Table> {
    let mut tables: BTreeMap<TableKey, BTreeMap<String, Chain>> =
        keys.into_iter().map(|key| (key, BTreeMap::new())).collect();
    for (key, name, chain) in chains {
        if let Some(chains) = tables.get_mut(&key) {
            chains.insert(name, chain);
        }
    }
    for (key, chain, rule) in rules {
        let Some(chain) = tables.get_mut(&key).and_then(|chains| chains.get_mut(&chain)) else { continue };
        match &rule.outcome {
            Outcome::Drop(how) => chain.effects.push(Effect::Drop(rule.text(how))),
            Outcome::Enter(target) => chain.effects.push(Effect::Enter(target.clone())),
            Outcome::Map(map) => {
                let verdicts = maps.get(&(key, map.clone())).into_iter().flatten();
                chain.effects.extend(verdicts.map(|verdict| match verdict {
                    Verdict::Drop(how) => Effect::Drop(rule.text(&format!("{how} by map {map}"))),
                    Verdict::Enter(target) => Effect::Enter(target.clone()),
                }));
            }
        }
    }
    tables
        .into_iter()
        .filter_map(|((family, name), chains)| {
            Some(Table { backend: "nftables", family: family_name(family)?, name, chains })
        })
        .collect()
}

/// The tables of answers to all questions at once.
pub(super) fn decode(messages: Messages<'_>) -> Vec<Table> {
    let (mut keys, mut chains, mut rules, mut maps) = (Vec::new(), Vec::new(), Vec::new(), BTreeMap::new());
    for message in messages {
        let (family, found) = (family(&message), attributes(&message));
        match i32::from(number(&message)) {
            libc::NFT_MSG_NEWTABLE => keys.extend(decode_table(family, found)),
            libc::NFT_MSG_NEWCHAIN => chains.extend(decode_chain(family, found)),
            libc::NFT_MSG_NEWRULE => rules.extend(decode_rule(family, found)),
            libc::NFT_MSG_NEWSETELEM => {
                let names = (found.text(NFTA_SET_ELEM_LIST_TABLE), found.text(NFTA_SET_ELEM_LIST_SET));
                if let (Some(table), Some(set)) = names {
                    let verdicts: &mut BTreeSet<_> = maps.entry(((family, table), set)).or_default();
                    verdicts.extend(decode_elements(found).unwrap_or_default());
                }
            }
            _ => {}
        }
    }
    join(keys, chains, rules, &maps)
}

fn family_name(family: u8) -> Option<&'static str> {
    Some(match i32::from(family) {
        libc::NFPROTO_INET => "inet",
        libc::NFPROTO_IPV4 => "ip",
        libc::NFPROTO_IPV6 => "ip6",
        libc::NFPROTO_BRIDGE => "bridge",
        libc::NFPROTO_NETDEV => "netdev",
        // ARP decides over no packet of a pod.
        _ => return None,
    })
}

fn hook_name(family: u8, hook: u32) -> String {
    let names: &[&str] = match i32::from(family) {
        libc::NFPROTO_NETDEV => &["ingress", "egress"],
        _ => &["prerouting", "input", "forward", "output", "postrouting", "ingress"],
    };
    let name = usize::try_from(hook).ok().and_then(|hook| names.get(hook));
    name.map_or_else(|| format!("hook {hook}"), |name| (*name).to_owned())
}

fn ask(message: libc::c_int, family: u8) -> Request {
    let message = u8::try_from(message).unwrap_or_default();
    request(libc::NFNL_SUBSYS_NFTABLES, message, REQUEST | DUMP, family)
}

/// Reads all objects of one kind, of all families.
fn dump<T>(
    socket: &mut NetlinkSocket,
    doing: &'static str,
    message: libc::c_int,
    decode: impl Fn(u8, Attributes<'_>) -> Option<T>,
) -> Result<Vec<T>, NetlinkError> {
    // The answer to GET… is NEW…, the number before.
    let answer = message - 1;
    let unspecified = u8::try_from(libc::NFPROTO_UNSPEC).unwrap_or_default();
    socket.dump(doing, &ask(message, unspecified), |message: Message<'_>| {
        if i32::from(number(&message)) != answer {
            return None;
        }
        decode(family(&message), attributes(&message))
    })
}

fn decode_table(family: u8, table: Attributes<'_>) -> Option<TableKey> {
    let dormant = table.get(NFTA_TABLE_FLAGS).and_then(be32).is_some_and(|flags| flags & DORMANT != 0);
    if dormant { None } else { Some((family, table.text(NFTA_TABLE_NAME)?)) }
}

fn decode_chain(family: u8, chain: Attributes<'_>) -> Option<(TableKey, String, Chain)> {
    let base = chain.nested(NFTA_CHAIN_HOOK).and_then(|hook| {
        Some(Base {
            hook: hook_name(family, be32(hook.get(NFTA_HOOK_HOOKNUM)?)?),
            priority: be32(hook.get(NFTA_HOOK_PRIORITY)?)?.cast_signed(),
            drops_by_default: chain.get(NFTA_CHAIN_POLICY).and_then(be32) == Some(NF_DROP),
            devices: devices(hook),
        })
    });
    let key = (family, chain.text(NFTA_CHAIN_TABLE)?);
    Some((key, chain.text(NFTA_CHAIN_NAME)?, Chain { base, effects: Vec::new() }))
}

/// The devices a chain is bound to.
fn devices(hook: Attributes<'_>) -> Vec<String> {
    let listed = hook.nested(NFTA_HOOK_DEVS).into_iter().flatten();
    let listed = listed.filter(|(kind, _)| *kind == NFTA_DEVICE_NAME).map(|(_, name)| text(name));
    let mut devices: Vec<String> = hook.text(NFTA_HOOK_DEV).into_iter().chain(listed).collect();
    devices.sort();
    devices.dedup();
    devices
}

/// A rule that can drop or go on in another chain; the others are of no interest.
fn decode_rule(family: u8, rule: Attributes<'_>) -> Option<(TableKey, String, Rule)> {
    let handle = be64(rule.get(NFTA_RULE_HANDLE)?)?;
    let decoded = Rule::decode(handle, rule.nested(NFTA_RULE_EXPRESSIONS)?, rule.get(NFTA_RULE_USERDATA))?;
    Some(((family, rule.text(NFTA_RULE_TABLE)?), rule.text(NFTA_RULE_CHAIN)?, decoded))
}

/// The verdicts of the maps that rules look up, each once.
fn read_maps(
    socket: &mut NetlinkSocket,
    rules: &[(TableKey, String, Rule)],
) -> Result<BTreeMap<(TableKey, String), BTreeSet<Verdict>>, NetlinkError> {
    let mut maps = BTreeMap::new();
    for (key, _, rule) in rules {
        let Outcome::Map(map) = &rule.outcome else { continue };
        let name = (key.clone(), map.clone());
        if maps.contains_key(&name) {
            continue;
        }
        let zero_ended = |text: &str| [text.as_bytes(), &[0]].concat();
        let request = ask(libc::NFT_MSG_GETSETELEM, key.0)
            .with(NFTA_SET_ELEM_LIST_TABLE, &zero_ended(&key.1))
            .with(NFTA_SET_ELEM_LIST_SET, &zero_ended(map));
        let elements = |message: Message<'_>| decode_elements(attributes(&message));
        let verdicts = socket.dump("list an nftables map", &request, elements);
        match verdicts {
            Ok(verdicts) => {
                maps.insert(name, verdicts.into_iter().flatten().collect());
            }
            // Gone since the rules were listed: there will be a notification.
            Err(error) if error.errno() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(maps)
}

/// The verdicts of the elements of a map.
fn decode_elements(map: Attributes<'_>) -> Option<Vec<Verdict>> {
    let elements = map.nested(NFTA_SET_ELEM_LIST_ELEMENTS)?;
    let data = elements.filter_map(|(_, element)| Attributes(element).nested(NFTA_SET_ELEM_DATA));
    Some(data.filter_map(Verdict::decode).collect())
}
