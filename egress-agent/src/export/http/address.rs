//! Where HTTP listens.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// `host:port`, or `:port` for every address of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpAddress {
    /// Every address, IPv6 and IPv4.
    Any(u16),
    /// One address.
    One(SocketAddr),
}

impl Default for HttpAddress {
    fn default() -> Self {
        Self::Any(9750)
    }
}

/// Not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an address: IP:port, [IPv6]:port or :port")]
pub struct HttpAddressError(String);

impl HttpAddressError {
    pub(super) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl FromStr for HttpAddress {
    type Err = HttpAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || HttpAddressError::of(text);
        if let Some(port) = text.strip_prefix(':') {
            return port.parse().map(Self::Any).map_err(|_| error());
        }
        let text = text
            .strip_prefix("localhost:")
            .map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
        text.parse().map(Self::One).map_err(|_| error())
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(port) => write!(f, ":{port}"),
            Self::One(address) => write!(f, "{address}"),
        }
    }
}
