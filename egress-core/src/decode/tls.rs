//! TLS records at the begin of a segment, cut anywhere: ClientHello, alerts, and the short encrypted records that
//! can only be alerts. Record layer: RFC 8446 section 5.1.

use tls_parser::{TlsExtension, parse_tls_client_hello_extension, parse_tls_handshake_client_hello};

/// Bytes of a record's header.
const RECORD: usize = 5;
/// The same, as sequence numbers count.
const RECORD_LENGTH: u32 = 5;
/// Bytes of a handshake message's header.
const MESSAGE: usize = 4;
/// Bytes of an extension's header.
const EXTENSION: usize = 4;
/// Extensions that are read: server_name, ALPN, early_data, supported_versions.
const WANTED: [u16; 4] = [0, 16, 42, 43];
/// A ChangeCipherSpec record, whole.
const CHANGE_CIPHER_SPEC: [u8; 6] = [20, 3, 3, 0, 1, 1];
/// Length of an encrypted TLS 1.3 record of two bytes: they, their type, and a tag of 16 bytes.
const TWO_BYTES_SEALED: usize = 19;
/// Names are no longer (DNS), and lists of protocols need not be.
const NAME: usize = 255;
const PROTOCOLS: usize = 8;

/// What a segment carries of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsMessage {
    /// The client begins.
    ClientHello(Box<ClientHello>),
    /// An alert that can be read.
    Alert {
        /// 1 warning, 2 fatal.
        level: u8,
        /// Which, as IANA numbers them.
        description: u8,
    },
    /// An alert of TLS 1.2 that is encrypted.
    SealedAlert,
    /// An encrypted TLS 1.3 record of two bytes: an alert, unless the application sends so little.
    TwoBytes {
        /// Bytes of the segment before it.
        offset: u32,
    },
    /// An end switches to encryption.
    Flight,
}

/// What a ClientHello offers, as far as it was captured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// Bytes of the record, header included; `None` if the message goes on in further records.
    pub length: Option<u32>,
    /// Server name (SNI).
    pub sni: Option<String>,
    /// Versions offered, as on the wire.
    pub versions: Vec<u16>,
    /// Application protocols (ALPN).
    pub alpn: Vec<String>,
    /// Data of a resumed session follows at once (0-RTT).
    pub early_data: bool,
    /// All of it was captured.
    pub complete: bool,
}

impl ClientHello {
    /// The versions offered, in words.
    #[must_use]
    pub fn version_names(&self) -> Vec<String> {
        self.versions.iter().map(|version| version_name(*version)).collect()
    }
}

fn version_name(version: u16) -> String {
    match version {
        0x0300 => "SSL 3.0".to_owned(),
        0x0301..=0x0304 => format!("TLS 1.{}", version - 0x0301),
        other => format!("0x{other:04x}"),
    }
}

/// What the payload of a TCP segment begins with, if it is TLS.
pub(super) fn parse(payload: &[u8]) -> Option<TlsMessage> {
    let &[kind, 3, _, high, low] = payload.first_chunk::<RECORD>()? else { return None };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let body = &payload[RECORD..];
    match kind {
        20 if payload.starts_with(&CHANGE_CIPHER_SPEC) => {
            let rest = &payload[CHANGE_CIPHER_SPEC.len()..];
            match parse(rest) {
                Some(TlsMessage::TwoBytes { .. }) => {
                    Some(TlsMessage::TwoBytes { offset: u32::try_from(CHANGE_CIPHER_SPEC.len()).ok()? })
                }
                _ => Some(TlsMessage::Flight),
            }
        }
        21 if length == 2 => {
            let &[level, description] = body.first_chunk()?;
            Some(TlsMessage::Alert { level, description })
        }
        21 => Some(TlsMessage::SealedAlert),
        22 if body.first() == Some(&1) => Some(TlsMessage::ClientHello(Box::new(hello(body, length)))),
        23 if length == TWO_BYTES_SEALED && body.len() == length => Some(TlsMessage::TwoBytes { offset: 0 }),
        _ => None,
    }
}

/// A ClientHello in a record of `length` bytes.
fn hello(body: &[u8], length: usize) -> ClientHello {
    let message = body.get(1..MESSAGE).map_or(0, |b| u32::from_be_bytes([0, b[0], b[1], b[2]]));
    let whole = u32::try_from(length).ok().filter(|length| message.checked_add(4) == Some(*length));
    let mut hello = ClientHello {
        length: whole.and_then(|length| length.checked_add(RECORD_LENGTH)),
        complete: whole.is_some() && body.len() >= length,
        ..ClientHello::default()
    };
    let inside = body.get(MESSAGE..body.len().min(length)).unwrap_or_default();
    let Ok((rest, contents)) = parse_tls_handshake_client_hello(inside) else { return hello };
    // Without its end the list of extensions is handed back with its length in front.
    let mut extensions = contents.ext.unwrap_or_else(|| rest.get(2..).unwrap_or_default());
    while let Some(&[a, b, high, low]) = extensions.first_chunk::<EXTENSION>() {
        let end = EXTENSION + usize::from(u16::from_be_bytes([high, low]));
        let Some(extension) = extensions.get(..end) else { break };
        if WANTED.contains(&u16::from_be_bytes([a, b]))
            && let Ok((_, extension)) = parse_tls_client_hello_extension(extension)
        {
            note(&mut hello, &extension);
        }
        extensions = &extensions[end..];
    }
    // Before TLS 1.3 the version field alone says what is offered, as its highest.
    if hello.versions.is_empty() && hello.complete {
        hello.versions.push(contents.version.0);
    }
    hello
}

fn note(hello: &mut ClientHello, extension: &TlsExtension<'_>) {
    match extension {
        TlsExtension::SNI(names) => {
            let host = names.iter().find(|(kind, _)| kind.0 == 0);
            hello.sni = host.and_then(|(_, name)| text(name));
        }
        TlsExtension::SupportedVersions(versions) => {
            // Values of 0x?a?a are there to keep servers tolerant (RFC 8701).
            hello.versions = versions.iter().map(|v| v.0).filter(|v| v & 0x0f0f != 0x0a0a).collect();
        }
        TlsExtension::ALPN(protocols) => {
            hello.alpn = protocols.iter().filter_map(|protocol| text(protocol)).take(PROTOCOLS).collect();
        }
        TlsExtension::EarlyData(_) => hello.early_data = true,
        _ => {}
    }
}

/// A name of printable characters.
fn text(bytes: &[u8]) -> Option<String> {
    let printable = !bytes.is_empty() && bytes.len() <= NAME && bytes.iter().all(u8::is_ascii_graphic);
    printable.then(|| String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello with a server name before or behind a key share of this many bytes.
    fn hello(key_share: usize, name_first: bool) -> Vec<u8> {
        let two = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
        let extension = |kind: u16, data: &[u8]| [&kind.to_be_bytes()[..], &two(data.len()), data].concat();
        let name = b"api.stripe.com";
        let server_name = [&two(name.len() + 3)[..], &[0], &two(name.len()), name].concat();
        let share = [&two(key_share + 4)[..], &[0x11, 0xec], &two(key_share), &vec![1; key_share]].concat();
        let (name, share) = (extension(0, &server_name), extension(51, &share));
        let versions = extension(43, &[6, 0x1a, 0x1a, 3, 4, 3, 3]);
        // One that the parser does not like: it must not hide what follows.
        let odd = extension(15, &[]);
        let all =
            if name_first { [odd, name, versions, share] } else { [odd, share, versions, name] }.concat();
        let body = [&[3, 3][..], &[5; 32], &[0, 0, 2, 0x13, 1, 1, 0], &two(all.len()), &all].concat();
        let length = two(body.len());
        [&[22, 3, 1][..], &two(body.len() + 4), &[1, 0], &length, &body].concat()
    }

    #[test]
    fn a_hello_says_what_it_offers() {
        let bytes = hello(32, true);
        let Some(TlsMessage::ClientHello(hello)) = parse(&bytes) else { panic!("no hello") };
        assert_eq!(hello.sni.as_deref(), Some("api.stripe.com"));
        assert_eq!(hello.version_names(), ["TLS 1.3", "TLS 1.2"]);
        assert_eq!((hello.complete, hello.length), (true, u32::try_from(bytes.len()).ok()));
    }

    #[test]
    fn cut_anywhere_it_says_what_is_there_and_nothing_else() {
        for name_first in [true, false] {
            let bytes = hello(1216, name_first);
            for cut in 0..bytes.len() {
                let Some(TlsMessage::ClientHello(hello)) = parse(&bytes[..cut]) else {
                    assert!(cut <= RECORD, "nothing at {cut}");
                    continue;
                };
                assert!(!hello.complete);
                assert!(hello.sni.is_none_or(|name| name == "api.stripe.com"), "cut at {cut}");
                if cut >= 9 {
                    assert_eq!(hello.length, u32::try_from(bytes.len()).ok());
                }
                assert_eq!(hello.versions.is_empty(), hello.versions != [0x0304, 0x0303]);
            }
            // What a long record carries of it.
            let Some(TlsMessage::ClientHello(hello)) = parse(&bytes[..972]) else { panic!("no hello") };
            assert_eq!(hello.sni.is_some(), name_first);
        }
    }

    #[test]
    fn alerts_are_told_from_closes_and_data() {
        assert_eq!(parse(&[21, 3, 3, 0, 2, 2, 48]), Some(TlsMessage::Alert { level: 2, description: 48 }));
        assert_eq!(parse(&[&[21, 3, 3, 0, 26][..], &[0; 26]].concat()), Some(TlsMessage::SealedAlert));
        let sealed = [&[23, 3, 3, 0, 19][..], &[0; 19]].concat();
        assert_eq!(parse(&sealed), Some(TlsMessage::TwoBytes { offset: 0 }));
        let behind = [&CHANGE_CIPHER_SPEC[..], &sealed].concat();
        assert_eq!(parse(&behind), Some(TlsMessage::TwoBytes { offset: 6 }));
        assert_eq!(parse(&[&CHANGE_CIPHER_SPEC[..], &[23, 3, 3, 0, 69]].concat()), Some(TlsMessage::Flight));
        for other in [&b"GET / HTTP/1.1\r\n"[..], &[], &[21], &[23, 3, 3, 0, 40, 1]] {
            assert_eq!(parse(other), None);
        }
    }
}
