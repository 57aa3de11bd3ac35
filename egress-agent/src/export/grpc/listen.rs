//! Listening: a Unix socket that only its owner may use, or a port of the loopback.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::accept::Accepted;
use super::{Address, ServerTls};

/// An address that could be taken.
#[derive(Debug)]
pub struct Listener {
    pub(super) address: Address,
    pub(super) socket: Socket,
    /// Off the loopback.
    pub(super) tls: Option<Arc<ServerTls>>,
}

#[derive(Debug)]
pub(super) enum Socket {
    Unix(UnixListener, #[expect(dead_code, reason = "removes the file when it is dropped")] SocketFile),
    Tcp(TcpListener),
}

/// Why an address could not be taken. Each is one line that names it.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else has it.
    #[error("cannot listen on {0}: the address is taken, another agent or program answers there")]
    Taken(Address),
    /// Reachable from elsewhere.
    #[error(
        "refusing to listen on {0}: it is not a loopback address, and gRPC off the loopback needs mutual TLS: give \
         --grpc-tls-cert-file, --grpc-tls-private-key-file and --grpc-client-ca-file, or use 127.0.0.1, [::1] or a Unix \
         socket"
    )]
    NotLoopback(Address),
    /// Something that is no socket has the path.
    #[error("cannot listen on {0}: there is a file at that path which is not a socket")]
    NotASocket(Address),
    /// The system refused.
    #[error("cannot listen on {address}: {source}")]
    Io {
        /// The address.
        address: Address,
        /// What it said.
        source: io::Error,
    },
}

impl Socket {
    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Unix(listener, _) => Ok(Accepted::Unix(listener.accept().await?.0)),
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream, from))
            }
        }
    }
}

impl Listener {
    /// Takes an address. A socket left behind by an agent that was killed is replaced; one that answers is not.
    ///
    /// # Errors
    ///
    /// The address is taken, not on the loopback, or refused by the system.
    pub async fn bind(address: &Address) -> Result<Self, ListenError> {
        Self::bind_with(address, None).await
    }

    /// Takes an address, off the loopback with TLS. On the loopback nobody else can listen in, and the API server's
    /// port-forward ends there.
    ///
    /// # Errors
    ///
    /// The address is taken, off the loopback without TLS, or refused by the system.
    pub async fn bind_with(address: &Address, tls: Option<&Arc<ServerTls>>) -> Result<Self, ListenError> {
        match address {
            Address::Unix(path) => {
                Ok(Self { address: address.clone(), socket: bind_unix(address, path).await?, tls: None })
            }
            Address::Tcp { host, port } => bind_tcp(address, host, *port, tls).await,
        }
    }

    /// The address, with the port the system chose if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> Address {
        match (&self.address, &self.socket) {
            (Address::Tcp { host, port: 0 }, Socket::Tcp(listener)) => {
                let port = listener.local_addr().map_or(0, |local| local.port());
                Address::Tcp { host: host.clone(), port }
            }
            (address, _) => address.clone(),
        }
    }
}

async fn bind_tcp(
    address: &Address,
    host: &str,
    port: u16,
    tls: Option<&Arc<ServerTls>>,
) -> Result<Listener, ListenError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::Taken(address.clone()),
        _ => ListenError::Io { address: address.clone(), source },
    };
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await.map_err(failed)?.collect();
    let loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    let tls = match tls {
        _ if found.iter().all(|at| loopback(at.ip())) => None,
        Some(tls) => Some(Arc::clone(tls)),
        None => return Err(ListenError::NotLoopback(address.clone())),
    };
    let socket = Socket::Tcp(TcpListener::bind(&found[..]).await.map_err(failed)?);
    Ok(Listener { address: address.clone(), socket, tls })
}

async fn bind_unix(address: &Address, path: &Path) -> Result<Socket, ListenError> {
    let failed = |source| ListenError::Io { address: address.clone(), source };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => return Err(ListenError::NotASocket(address.clone())),
        Ok(_) => match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => return Err(ListenError::Taken(address.clone())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    // Bound beside its place, closed to others, then moved there: nobody can connect before the mode is set.
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(name);
    let _ = fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside).map_err(failed)?;
    let placed = fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| SocketFile::at(path));
    match placed {
        Ok(file) => Ok(Socket::Unix(listener, file)),
        Err(error) => {
            let _ = fs::remove_file(&beside);
            Err(failed(error))
        }
    }
}

/// The file of a Unix socket, removed with this value if it is still the same file.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

/// Device and inode of a file.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // Nothing can be done about a failure: the next start replaces a socket that nobody answers on.
            let _ = fs::remove_file(&self.path);
        }
    }
}
