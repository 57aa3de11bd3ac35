//! Where an agent listens, and where a client finds it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Address of a gRPC server: `unix:PATH` or `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp {
        /// Name or address, IPv6 without brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

impl Address {
    /// The Unix socket of an agent installed the usual way.
    #[must_use]
    pub fn default_socket() -> Self {
        Self::Unix(PathBuf::from("/run/egress-agent/agent.sock"))
    }

    /// The loopback port of an agent installed the usual way.
    #[must_use]
    pub fn default_port() -> Self {
        Self::Tcp { host: "127.0.0.1".to_owned(), port: 50051 }
    }
}

/// Not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an address: unix:PATH, host:port or [IPv6]:port")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || AddressError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///run/…`, as URIs write it, means the same.
            let path = path.strip_prefix("//").filter(|rest| rest.starts_with('/')).unwrap_or(path);
            return if path.is_empty() { Err(error()) } else { Ok(Self::Unix(path.into())) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let port = port.parse().map_err(|_| error())?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(error)?,
            None if host.contains(':') => return Err(error()),
            None => host,
        };
        if host.is_empty() || host.contains(['/', ' ']) {
            return Err(error());
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, written) in [
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("unix:///run/a.sock", "unix:/run/a.sock"),
            ("unix:a.sock", "unix:a.sock"),
            ("127.0.0.1:50051", "127.0.0.1:50051"),
            ("localhost:1", "localhost:1"),
            ("[::1]:50051", "[::1]:50051"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), written);
        }
        for text in
            ["", "unix:", "50051", ":50051", "host:", "host:x", "host:70000", "::1:5", "[::1:5", "a/b:1"]
        {
            assert_eq!(text.parse::<Address>(), Err(AddressError(text.to_owned())), "{text}");
        }
    }
}
