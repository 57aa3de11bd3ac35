//! The rules of nftables (and with it of iptables-nft) that translate the source of what leaves, read when a failure
//! needs them. Those of iptables-legacy are not read.

use std::collections::HashMap;

use egress_core::node::{TranslationRule, Translations};

use super::NetlinkError;
use super::netfilter::{attributes, family, number, request};
use super::socket::NetlinkSocket;
use super::wire::{Attributes, DUMP, Message, REQUEST, be16, be32, be64, text, u32_at};

const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_MASQ_REG_PROTO_MIN: u16 = 2;
const NFTA_MASQ_REG_PROTO_MAX: u16 = 3;
const NFTA_NAT_TYPE: u16 = 1;
const NFTA_NAT_REG_ADDR_MIN: u16 = 3;
const NFTA_NAT_REG_PROTO_MIN: u16 = 5;
const NFTA_NAT_REG_PROTO_MAX: u16 = 6;
const NFTA_TARGET_NAME: u16 = 1;
const NFTA_TARGET_REV: u16 = 2;
const NFTA_TARGET_INFO: u16 = 3;
const NFTA_MATCH_NAME: u16 = 1;
const NFTA_MATCH_INFO: u16 = 3;
/// `NFT_NAT_SNAT`
const SNAT: u32 = 0;
/// `NF_NAT_RANGE_PROTO_SPECIFIED`
const PORTS_GIVEN: u32 = 1 << 1;
/// Rules that are told at most.
const RULES: usize = 100;

/// Reads the rules of the socket's namespace; what cannot be read is told in words.
pub(super) fn read(socket: &mut NetlinkSocket) -> Translations {
    let mut unread = Vec::new();
    let rules = nftables(socket).unwrap_or_else(|error| {
        // A kernel without nftables has no such rules.
        if !matches!(error.errno(), Some(libc::EINVAL | libc::EOPNOTSUPP)) {
            unread.push(format!("nftables: {error}"));
        }
        Vec::new()
    });
    Translations { rules, unread }
}

fn nftables(socket: &mut NetlinkSocket) -> Result<Vec<TranslationRule>, NetlinkError> {
    let message = u8::try_from(libc::NFT_MSG_GETRULE).unwrap_or_default();
    let unspecified = u8::try_from(libc::NFPROTO_UNSPEC).unwrap_or_default();
    let asked = request(libc::NFNL_SUBSYS_NFTABLES, message, REQUEST | DUMP, unspecified);
    let mut rules = socket.dump("list rules that translate", &asked, |message: Message<'_>| {
        // The answer to GET… is NEW…, the number before.
        if i32::from(number(&message)) != libc::NFT_MSG_GETRULE - 1 {
            return None;
        }
        decode(family(&message), attributes(&message))
    })?;
    rules.truncate(RULES);
    Ok(rules)
}

fn decode(family: u8, rule: Attributes<'_>) -> Option<TranslationRule> {
    let family = match i32::from(family) {
        libc::NFPROTO_INET => "inet",
        libc::NFPROTO_IPV4 => "ip",
        libc::NFPROTO_IPV6 => "ip6",
        _ => return None,
    };
    let (mut values, mut found, mut comment) = (HashMap::new(), None, None);
    for (_, expression) in rule.nested(NFTA_RULE_EXPRESSIONS)? {
        let expression = Attributes(expression);
        let (Some(name), Some(data)) = (expression.text(NFTA_EXPR_NAME), expression.nested(NFTA_EXPR_DATA))
        else {
            continue;
        };
        match name.as_str() {
            "immediate" => {
                let register = data.get(NFTA_IMMEDIATE_DREG).and_then(be32);
                let value = data.nested(NFTA_IMMEDIATE_DATA).and_then(|data| data.get(NFTA_DATA_VALUE));
                if let (Some(register), Some(value)) = (register, value) {
                    values.insert(register, value);
                }
            }
            "match" if data.text(NFTA_MATCH_NAME).as_deref() == Some("comment") => {
                // struct xt_comment_info: a text.
                comment = data.get(NFTA_MATCH_INFO).map(text);
            }
            "masq" => {
                let ports = ports(data, &values, NFTA_MASQ_REG_PROTO_MIN, NFTA_MASQ_REG_PROTO_MAX);
                found = Some(("masquerade".to_owned(), ports));
            }
            "nat" if data.get(NFTA_NAT_TYPE).and_then(be32) == Some(SNAT) => {
                let register = data.get(NFTA_NAT_REG_ADDR_MIN).and_then(be32);
                let address = register.and_then(|register| super::wire::address(values.get(&register)?));
                let action = address.map_or_else(|| "snat".to_owned(), |ip| format!("snat to {ip}"));
                let ports = ports(data, &values, NFTA_NAT_REG_PROTO_MIN, NFTA_NAT_REG_PROTO_MAX);
                found = Some((action, ports));
            }
            "target" => found = found.or_else(|| target(data, family)),
            _ => {}
        }
    }
    let (action, ports) = found?;
    let handle = be64(rule.get(NFTA_RULE_HANDLE)?)?;
    let (table, chain) = (rule.text(NFTA_RULE_TABLE)?, rule.text(NFTA_RULE_CHAIN)?);
    let place = format!("{family} {table} {chain} handle {handle}");
    Some(TranslationRule { family: family.to_owned(), place, action, ports, comment })
}

/// The ports in two registers; the second is left out where there is one port only.
fn ports(
    data: Attributes<'_>,
    values: &HashMap<u32, &[u8]>,
    lowest: u16,
    highest: u16,
) -> Option<(u16, u16)> {
    let port = |number| be16(values.get(&data.get(number).and_then(be32)?)?);
    let low = port(lowest)?;
    Some((low, port(highest).unwrap_or(low)))
}

type Found = (String, Option<(u16, u16)>);

/// An xtables target of iptables-nft (`include/uapi/linux/netfilter/nf_nat.h`).
fn target(data: Attributes<'_>, family: &str) -> Option<Found> {
    let name = data.text(NFTA_TARGET_NAME)?;
    let revision = data.get(NFTA_TARGET_REV).and_then(be32).unwrap_or_default();
    let info = data.get(NFTA_TARGET_INFO)?;
    // struct nf_nat_ipv4_multi_range_compat, or struct nf_nat_range.
    let (flags, address, low) = match (name.as_str(), family, revision) {
        ("MASQUERADE", "ip6", _) | ("SNAT", _, 1..) | ("SNAT", "ip6", _) => (0, 4..20, 36),
        ("MASQUERADE" | "SNAT", _, _) => (4, 8..12, 16),
        _ => return None,
    };
    let given = u32_at(info, flags)? & PORTS_GIVEN != 0;
    let port = |at: usize| be16(info.get(at..)?);
    let ports = if given { port(low).zip(port(low + 2)) } else { None };
    if name == "MASQUERADE" {
        return Some(("masquerade".to_owned(), ports));
    }
    // IPv4 in the first four of sixteen bytes.
    let bytes = info.get(address)?;
    let bytes = if family == "ip" { bytes.get(..4)? } else { bytes };
    let to = super::wire::address(bytes).map_or_else(String::new, |ip| format!(" to {ip}"));
    Some((format!("snat{to}"), ports))
}
