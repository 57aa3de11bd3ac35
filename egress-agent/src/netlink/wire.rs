//! The netlink wire format (`include/uapi/linux/netlink.h`): messages and attributes, both ways.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Size of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Attribute types carry two flag bits (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`) above the number.
const TYPE_MASK: u16 = 0x3fff;
/// `NLA_F_NESTED`
const NESTED: u16 = 0x8000;

/// `NLM_F_REQUEST`
pub(super) const REQUEST: u16 = 0x1;
/// `NLM_F_DUMP`
pub(super) const DUMP: u16 = 0x300;

/// Lengths are rounded up to this many bytes.
fn align(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// A received message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// `nlmsg_type`
    pub(super) kind: u16,
    /// `nlmsg_flags`
    pub(super) flags: u16,
    /// `nlmsg_seq`
    pub(super) sequence: u32,
    /// What follows the header.
    pub(super) payload: &'a [u8],
}

/// The messages of one datagram. Ends at the first that is cut short.
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let bytes = self.0;
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let payload = bytes.get(HEADER..length)?;
        let message = Message {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            payload,
        };
        self.0 = bytes.get(align(length)..).unwrap_or_default();
        Some(message)
    }
}

/// The attributes of a message or of a nested attribute: number and value. Ends at the first that is cut short.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Attributes<'a> {
    /// The attributes behind a fixed header.
    pub(super) fn after(payload: &'a [u8], header: usize) -> Self {
        Self(payload.get(header..).unwrap_or_default())
    }

    /// The value of the first attribute of this number.
    pub(super) fn get(mut self, number: u16) -> Option<&'a [u8]> {
        self.find(|(found, _)| *found == number).map(|(_, value)| value)
    }

    /// The attributes nested in the first attribute of this number.
    pub(super) fn nested(self, number: u16) -> Option<Attributes<'a>> {
        self.get(number).map(Attributes)
    }

    /// A text.
    pub(super) fn text(self, number: u16) -> Option<String> {
        self.get(number).map(text)
    }

    /// A number in host byte order, as routing netlink writes them.
    pub(super) fn u32(self, number: u16) -> Option<u32> {
        u32_at(self.get(number)?, 0)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.0;
        let length = usize::from(u16_at(bytes, 0)?);
        let number = u16_at(bytes, 2)? & TYPE_MASK;
        let value = bytes.get(4..length)?;
        self.0 = bytes.get(align(length)..).unwrap_or_default();
        Some((number, value))
    }
}

/// A text up to its terminating zero, if it has one.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Two bytes in host byte order.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

/// Four bytes in host byte order.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

/// Two bytes in network byte order, as netfilter writes them.
pub(super) fn be16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().copied().map(u16::from_be_bytes)
}

/// Four bytes in network byte order, as netfilter writes them.
pub(super) fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_be_bytes)
}

/// Eight bytes in network byte order, as netfilter writes them.
pub(super) fn be64(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().copied().map(u64::from_be_bytes)
}

/// An address: 4 bytes are IPv4, 16 are IPv6.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        Some(Ipv4Addr::from(v4).into())
    } else if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
        Some(Ipv6Addr::from(v6).into())
    } else {
        None
    }
}

/// A message being written.
#[derive(Clone, Debug)]
pub(super) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A message of this type and flags that starts with this fixed header.
    pub(super) fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(header);
        let mut request = Self { bytes };
        request.pad();
        request
    }

    /// Adds an attribute.
    #[must_use]
    pub(super) fn with(mut self, number: u16, value: &[u8]) -> Self {
        self.put(number, value);
        self
    }

    /// Adds an attribute of attributes.
    #[must_use]
    pub(super) fn nest(mut self, number: u16, inside: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.put(number | NESTED, &[]);
        let mut request = inside(self);
        let length = u16::try_from(request.bytes.len() - start).unwrap_or(u16::MAX);
        request.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        request
    }

    /// Whether it asks for a whole table (`NLM_F_DUMP`).
    pub(super) fn is_dump(&self) -> bool {
        u16_at(&self.bytes, 6).is_some_and(|flags| flags & DUMP == DUMP)
    }

    /// The bytes to send, numbered.
    pub(super) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }

    fn put(&mut self, number: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&number.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(align(self.bytes.len()), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = Request::new(18, 0x301, &[7, 7, 7])
            .with(3, b"veth0\0")
            .nest(18, |inner| inner.with(1, b"veth").with(2, &9u32.to_ne_bytes()))
            .with(4, &1500u32.to_ne_bytes())
            .finish(42);
        let mut messages = Messages(&bytes);
        let message = messages.next().unwrap();
        assert!(messages.next().is_none());
        assert_eq!((message.kind, message.flags, message.sequence), (18, 0x301, 42));
        let attributes = Attributes::after(message.payload, 4);
        assert_eq!(attributes.text(3).unwrap(), "veth0");
        assert_eq!(attributes.u32(4), Some(1500));
        let nested = attributes.nested(18).unwrap();
        assert_eq!((nested.text(1).unwrap().as_str(), nested.u32(2)), ("veth", Some(9)));
        assert_eq!(attributes.get(99), None);
    }

    #[test]
    fn any_cut_or_corrupted_datagram_is_read_without_a_panic() {
        let bytes = Request::new(18, 0, &[0; 16]).with(3, b"x").nest(4, |n| n.with(1, b"yy")).finish(1);
        for end in 0..bytes.len() {
            for message in Messages(&bytes[..end]) {
                assert!(Attributes::after(message.payload, 16).count() <= 2);
            }
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 3, 4, 0x7f, 0xff] {
                let mut corrupt = bytes.clone();
                corrupt[at] = value;
                assert!(
                    Messages(&corrupt).take(100).count() < 100,
                    "an endless datagram, byte {at} = {value}"
                );
                for message in Messages(&corrupt) {
                    assert!(Attributes(message.payload).take(100).count() < 100);
                }
            }
        }
    }
}
