//! Mutual TLS: the agent's certificate, the authority of its clients, and both again when their files change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// How often the files are looked at.
const RELOAD: Duration = Duration::from_secs(10);
/// What both ends speak.
const ALPN: &[u8] = b"h2";

/// The files of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Its certificate and those up to the authority, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Authorities whose clients may come, PEM.
    pub client_ca: PathBuf,
    /// Which clients may ask: the common name or a name in the certificate. Empty: every one of the authority.
    pub allowed: Vec<String>,
}

/// The files of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTlsFiles {
    /// Authorities of the server, PEM.
    pub ca: PathBuf,
    /// The client's certificate and key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in the server's certificate, where it is not the host of the address.
    pub server_name: Option<String>,
}

/// Certificates that cannot be used. Each is one line that names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {why}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// A server's configuration that follows its files.
#[derive(Debug)]
pub struct ServerTls {
    files: TlsFiles,
    current: RwLock<(Contents, Arc<ServerConfig>)>,
}

/// What the files held.
type Contents = [Vec<u8>; 3];

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// One of them cannot be used.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let contents = contents(&files)?;
        let config = server_config(&files, &contents)?;
        Ok(Self { files, current: RwLock::new((contents, config)) })
    }

    /// The configuration for the next connection.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// Which clients may ask; empty: all.
    pub(super) fn allowed(&self) -> &[String] {
        &self.files.allowed
    }

    /// Reads the files again if they changed; connections that are open stay as they are. True: something is new.
    ///
    /// # Errors
    ///
    /// They cannot be used; what was there before goes on.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let contents = contents(&self.files)?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).0 == contents {
            return Ok(false);
        }
        let config = server_config(&self.files, &contents)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (contents, config);
        Ok(true)
    }

    /// Follows the files for as long as it is polled. Looks at their content: where a Secret is mounted, links change
    /// and not files.
    pub(super) async fn follow(&self) {
        let mut told = String::new();
        loop {
            tokio::time::sleep(RELOAD).await;
            match self.reload() {
                Ok(true) => {
                    tracing::info!("gRPC: certificates read again");
                    told.clear();
                }
                Ok(false) => told.clear(),
                Err(error) if error.to_string() == told => {}
                Err(error) => {
                    told = error.to_string();
                    tracing::warn!("gRPC goes on with the certificates it has: {told}");
                }
            }
        }
    }
}

fn contents(files: &TlsFiles) -> Result<Contents, TlsError> {
    Ok([read(&files.certificate)?, read(&files.key)?, read(&files.client_ca)?])
}

fn server_config(files: &TlsFiles, contents: &Contents) -> Result<Arc<ServerConfig>, TlsError> {
    let [certificate, key, client_ca] = contents;
    let roots = roots(&files.client_ca, client_ca)?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| content(&files.client_ca, error))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| content(&files.certificate, error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(&files.certificate, certificate)?, private_key(&files.key, key)?)
        .map_err(|error| content(&files.certificate, error))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A client is looked at anew each time: what was allowed once may not be any more.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// What a client needs to know.
#[derive(Clone, Debug)]
pub struct ClientTls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) server_name: Option<ServerName<'static>>,
}

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// One of them cannot be used.
    pub fn load(files: &ClientTlsFiles) -> Result<Self, TlsError> {
        let roots = roots(&files.ca, &read(&files.ca)?)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| content(&files.ca, error))?
            .with_root_certificates(roots);
        let mut config = match &files.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(
                    chain(certificate, &read(certificate)?)?,
                    private_key(key, &read(key)?)?,
                )
                .map_err(|error| content(certificate, error))?,
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        let server_name = match &files.server_name {
            None => None,
            Some(name) => {
                Some(ServerName::try_from(name.clone()).map_err(|error| content(Path::new(name), error))?)
            }
        };
        Ok(Self { config: Arc::new(config), server_name })
    }
}

/// The names of a client: the common name, and those of the certificate's own list (DNS, URI, mail, addresses).
pub(super) fn names(certificate: &[u8]) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(certificate) else { return Vec::new() };
    let common = certificate.subject().iter_common_name();
    let mut names: Vec<String> = common.filter_map(|name| name.as_str().ok()).map(str::to_owned).collect();
    if let Ok(Some(list)) = certificate.subject_alternative_name() {
        names.extend(list.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::URI(name) | GeneralName::RFC822Name(name) => {
                Some((*name).to_owned())
            }
            _ => None,
        }));
    }
    names
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn content(path: &Path, why: impl std::fmt::Display) -> TlsError {
    TlsError::Content { path: path.to_owned(), why: why.to_string() }
}

fn chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| content(path, error))?;
    if chain.is_empty() { Err(content(path, "there is no certificate in it")) } else { Ok(chain) }
}

fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|error| content(path, format!("there is no private key in it: {error}")))
}

fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(path, pem)? {
        roots.add(certificate).map_err(|error| content(path, error))?;
    }
    Ok(roots)
}
