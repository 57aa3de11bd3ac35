//! Rules of policy routing (`RTM_GETRULE`, `include/uapi/linux/fib_rules.h`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use egress_core::node::{Rule, RuleAction};
use ipnet::IpNet;

use crate::netlink::NetlinkError;
use crate::netlink::socket::NetlinkSocket;
use crate::netlink::wire::{Attributes, DUMP, Message, REQUEST, Request, address, u32_at};

/// Size of `struct fib_rule_hdr`.
const HEADER: usize = 12;
const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_GOTO: u16 = 4;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TUN_ID: u16 = 12;
const FRA_SUPPRESS_IFGROUP: u16 = 13;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_L3MDEV: u16 = 19;
const FRA_UID_RANGE: u16 = 20;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FRA_DPORT_RANGE: u16 = 24;
/// Selectors that are not looked into.
const UNREAD: &[u16] =
    &[FRA_TUN_ID, FRA_OIFNAME, FRA_L3MDEV, FRA_UID_RANGE, FRA_IP_PROTO, FRA_SPORT_RANGE, FRA_DPORT_RANGE];
/// `FIB_RULE_INVERT`
const INVERTED: u32 = 2;
/// No `suppress_prefixlength`, or no `suppress_ifgroup`.
const UNSET: u32 = u32::MAX;

/// Reads the rules of both families, in the order in which the kernel asks them.
pub(super) fn read(socket: &mut NetlinkSocket) -> Result<Vec<Rule>, NetlinkError> {
    let mut rules = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut header = [0u8; HEADER];
        header[0] = u8::try_from(family).unwrap_or_default();
        let request = Request::new(libc::RTM_GETRULE, REQUEST | DUMP, &header);
        rules.extend(socket.dump("list routing rules", &request, decode)?);
    }
    Ok(rules)
}

pub(super) fn decode(message: Message<'_>) -> Option<Rule> {
    if message.kind != libc::RTM_NEWRULE {
        return None;
    }
    let header = message.payload.get(..HEADER)?;
    let v6 = match i32::from(header[0]) {
        libc::AF_INET => false,
        libc::AF_INET6 => true,
        _ => return None,
    };
    let attributes = Attributes::after(message.payload, HEADER);
    let table = attributes.u32(FRA_TABLE).unwrap_or_else(|| u32::from(header[4]));
    let set = |number| attributes.u32(number).filter(|value| *value != UNSET);
    let action = match header[7] {
        1 => RuleAction::Table(table, set(FRA_SUPPRESS_PREFIXLEN)),
        2 => RuleAction::Goto(attributes.u32(FRA_GOTO)?),
        6 => RuleAction::Blackhole,
        7 => RuleAction::Unreachable,
        8 => RuleAction::Prohibit,
        _ => RuleAction::Nop,
    };
    let mark = attributes.u32(FRA_FWMARK).unwrap_or(0);
    let mask = attributes.u32(FRA_FWMASK).unwrap_or(if mark == 0 { 0 } else { UNSET });
    Some(Rule {
        v6,
        priority: attributes.u32(FRA_PRIORITY).unwrap_or(0),
        source: prefix(attributes.get(FRA_SRC), header[2], v6),
        destination: prefix(attributes.get(FRA_DST), header[1], v6),
        input: attributes.text(FRA_IIFNAME),
        mark: (mask != 0).then_some((mark, mask)),
        inverted: u32_at(header, 8)? & INVERTED != 0,
        // The type of service is in the header.
        unread: header[3] != 0
            || UNREAD.iter().any(|number| attributes.get(*number).is_some())
            || set(FRA_SUPPRESS_IFGROUP).is_some(),
        action,
    })
}

/// A selector; the whole address space is none.
fn prefix(bytes: Option<&[u8]>, length: u8, v6: bool) -> Option<IpNet> {
    let any: IpAddr = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let ip = match bytes {
        Some(bytes) => address(bytes)?,
        None if length == 0 => return None,
        None => any,
    };
    IpNet::new(ip, length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::wire::Messages;

    fn decoded(header: [u8; HEADER], with: impl FnOnce(Request) -> Request) -> Rule {
        let bytes = with(Request::new(libc::RTM_NEWRULE, 0, &header)).finish(1);
        decode(Messages(&bytes).next().unwrap()).unwrap()
    }

    fn header(action: u8, source: u8) -> [u8; HEADER] {
        [u8::try_from(libc::AF_INET).unwrap(), 0, source, 0, 0, 0, 0, action, 0, 0, 0, 0]
    }

    #[test]
    fn a_rule_of_an_egress_gateway() {
        let rule = decoded(header(1, 32), |request| {
            request
                .with(FRA_SRC, &[10, 244, 1, 5])
                .with(FRA_PRIORITY, &100u32.to_ne_bytes())
                .with(FRA_TABLE, &1000u32.to_ne_bytes())
                .with(FRA_SUPPRESS_PREFIXLEN, &UNSET.to_ne_bytes())
                .with(FRA_FWMARK, &0x200u32.to_ne_bytes())
                .with(FRA_FWMASK, &0xf00u32.to_ne_bytes())
        });
        assert_eq!(rule.to_string(), "100: from 10.244.1.5/32 fwmark 0x200/0xf00 lookup 1000");
        assert!(!rule.unread);
    }

    #[test]
    fn rules_that_refuse_and_selectors_that_are_not_read() {
        assert_eq!(decoded(header(8, 0), |request| request).to_string(), "0: from all prohibit");
        let of_a_user = decoded(header(1, 0), |request| request.with(FRA_UID_RANGE, &[0; 8]));
        assert!(of_a_user.unread);
    }
}
