//! TLS of listeners: reads its files, and reads them again when they change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use crate::net::file_stamp::{Stamp, stamp};
use crate::sync::IgnorePoison;

/// Shortest time between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Files in PEM form that TLS is served with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those between it and its root.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// CA certificates, one of which a client's is to be signed by. Without it clients need no certificate.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS cannot be served with these files.
#[derive(Debug, Error)]
pub enum TlsFilesError {
    #[error("{0}")]
    Certificate(CertificatesError),
    #[error("{}: {error}", .path.display())]
    Key { path: PathBuf, error: pem::Error },
    #[error("{} and {} do not go together: {error}", .certificate.display(), .key.display())]
    Pair { certificate: PathBuf, key: PathBuf, error: rustls::Error },
    #[error("{0}")]
    ClientCaFile(CertificatesError),
    #[error("{}: {error}", .path.display())]
    ClientCa { path: PathBuf, error: VerifierBuilderError },
    #[error("TLS: {0}")]
    Other(#[from] rustls::Error),
}

/// Why a file gives no certificates.
#[derive(Debug, Error)]
pub enum CertificatesError {
    #[error("{}: {error}", .path.display())]
    Unreadable { path: PathBuf, error: pem::Error },
    #[error("{} holds no certificate in PEM form", .0.display())]
    Empty(PathBuf),
}

impl TlsFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, or key and certificate do not go together.
    pub fn load(&self) -> Result<Arc<ServerConfig>, TlsFilesError> {
        let provider = Arc::new(ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let builder = match &self.client_ca {
            Some(path) => {
                let mut trusted = RootCertStore::empty();
                trusted.add_parsable_certificates(certificates(path).map_err(TlsFilesError::ClientCaFile)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), provider).build();
                let fault = |error| TlsFilesError::ClientCa { path: path.clone(), error };
                builder.with_client_cert_verifier(verifier.map_err(fault)?)
            }
            None => builder.with_no_client_auth(),
        };
        let unreadable = |error| TlsFilesError::Key { path: self.key.clone(), error };
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(unreadable)?;
        let certificates = certificates(&self.certificate).map_err(TlsFilesError::Certificate)?;
        let config = builder.with_single_cert(certificates, key);
        let (certificate, key) = (self.certificate.clone(), self.key.clone());
        config.map(Arc::new).map_err(|error| TlsFilesError::Pair { certificate, key, error })
    }

    fn stamps(&self) -> Vec<Stamp> {
        let files = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        files.into_iter().flatten().map(|path| stamp(path)).collect()
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificatesError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| CertificatesError::Unreadable { path: path.to_owned(), error })?;
    if found.is_empty() { Err(CertificatesError::Empty(path.to_owned())) } else { Ok(found) }
}

/// Serves TLS with the files as they are now.
#[derive(Debug)]
pub struct ServerTls {
    files: TlsFiles,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    stamps: Vec<Stamp>,
    /// Stamps of files that could not be used, of which a warning was given.
    refused: Option<Vec<Stamp>>,
    looked: Instant,
}

impl ServerTls {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// As [`TlsFiles::load`].
    pub fn new(files: TlsFiles) -> Result<Self, TlsFilesError> {
        let stamps = files.stamps();
        let loaded = Loaded { config: files.load()?, stamps, refused: None, looked: Instant::now() };
        Ok(Self { files, loaded: Mutex::new(loaded) })
    }

    /// Returns what accepts one client. Files that have changed are read again; where they cannot be used, what was read
    /// before stays.
    pub fn acceptor(&self) -> TlsAcceptor {
        let mut loaded = self.loaded.lock().ignore_poison();
        if loaded.looked.elapsed() >= LOOK_EVERY {
            loaded.looked = Instant::now();
            let stamps = self.files.stamps();
            if stamps != loaded.stamps {
                match self.files.load() {
                    Ok(config) => {
                        (loaded.config, loaded.stamps) = (config, stamps);
                        tracing::info!("certificate and key of the listeners were read again");
                    }
                    // Tried again with the next client: not all that fails is in the files.
                    Err(error) if loaded.refused.replace(stamps.clone()) != Some(stamps) => {
                        tracing::warn!(%error, "the listeners keep the certificate that they had");
                    }
                    Err(_) => {}
                }
            }
        }
        TlsAcceptor::from(Arc::clone(&loaded.config))
    }
}
