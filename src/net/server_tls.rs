//! TLS of listeners: reads its files, and reads them again when they change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
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
        let fault = |error| TlsFilesError::Pair { certificate: self.certificate.clone(), key: self.key.clone(), error };
        let mut config = builder.with_single_cert(certificates, key).map_err(fault)?;
        if self.client_ca.is_some() {
            // Who resumes a session shows no certificate: one that has expired meanwhile would count on.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Arc::new(config))
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

/// Serves TLS with the files as they are now. Clones share what was read.
#[derive(Clone, Debug)]
pub struct ServerTls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
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
    /// Whether somebody looks at the files now.
    looking: bool,
}

impl ServerTls {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// As [`TlsFiles::load`].
    pub fn new(files: TlsFiles) -> Result<Self, TlsFilesError> {
        let (stamps, config) = (files.stamps(), files.load()?);
        let loaded = Loaded { config, stamps, refused: None, looked: Instant::now(), looking: false };
        Ok(Self(Arc::new(Inner { files, loaded: Mutex::new(loaded) })))
    }

    /// Returns what accepts one client. The files are looked at where that was not done for [`LOOK_EVERY`]: ones that have
    /// changed are read again, and where they cannot be used, what was read before stays. That is done on another thread,
    /// since they may be on a file system of the network: the client waits for it, and no other one.
    pub async fn acceptor(&self) -> TlsAcceptor {
        if self.0.begin_to_look() {
            let looking = Arc::clone(&self.0);
            let _ = tokio::task::spawn_blocking(move || looking.look()).await;
        }
        TlsAcceptor::from(Arc::clone(&self.0.loaded().config))
    }
}

impl Inner {
    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().ignore_poison()
    }

    /// Whether the files are due to be looked at, which the caller does then.
    fn begin_to_look(&self) -> bool {
        let mut loaded = self.loaded();
        let is_due = !loaded.looking && loaded.looked.elapsed() >= LOOK_EVERY;
        loaded.looking |= is_due;
        is_due
    }

    /// Reads the files again where they have changed.
    fn look(&self) {
        let stamps = self.files.stamps();
        let has_changed = stamps != self.loaded().stamps;
        let read = has_changed.then(|| self.files.load());
        let mut loaded = self.loaded();
        (loaded.looked, loaded.looking) = (Instant::now(), false);
        match read {
            Some(Ok(config)) => {
                (loaded.config, loaded.stamps) = (config, stamps);
                tracing::info!("certificate and key of the listeners were read again");
            }
            // Tried again with a later client: not all that fails is in the files.
            Some(Err(error)) if loaded.refused.replace(stamps.clone()) != Some(stamps) => {
                tracing::warn!(%error, "the listeners keep the certificate that they had");
            }
            Some(Err(_)) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use std::fs;
    use testbed::ca;
    use tokio::time::{sleep, timeout};
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::version::{TLS12, TLS13};
    use tokio_rustls::rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConnection};

    /// Has a client connect, and returns whether the handshake was a full one.
    fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Option<HandshakeKind> {
        let name = ServerName::try_from("localhost").expect("a name");
        let mut client = ClientConnection::new(Arc::clone(client), name).expect("a client");
        let mut server = ServerConnection::new(Arc::clone(server)).expect("a server");
        while client.wants_write() || server.wants_write() {
            let (mut up, mut down) = (Vec::new(), Vec::new());
            client.write_tls(&mut up).expect("is written");
            server.read_tls(&mut &*up).expect("is read");
            server.process_new_packets().expect("is understood");
            while server.wants_write() {
                server.write_tls(&mut down).expect("is written");
            }
            let mut unread = &*down;
            while !unread.is_empty() {
                client.read_tls(&mut unread).expect("is read");
                client.process_new_packets().expect("is understood");
            }
        }
        client.handshake_kind()
    }

    #[test]
    fn a_client_certificate_is_asked_for_each_time_and_no_session_stands_in_for_it() {
        let directory = tempfile::tempdir().expect("a directory");
        ca::write(directory.path(), &["localhost".to_owned()]).expect("certificates");
        let file = |name: &str| directory.path().join(name);
        let mut trusted = RootCertStore::empty();
        trusted.add_parsable_certificates(certificates(&file("ca.pem")).expect("a CA"));
        for version in [&TLS12, &TLS13] {
            for (client_ca, again) in [(None, HandshakeKind::Resumed), (Some(file("ca.pem")), HandshakeKind::Full)] {
                let (certificate, key) = (file("server.pem"), file("server.key"));
                let server = TlsFiles { certificate, key, client_ca }.load().expect("loads");
                let key = PrivateKeyDer::from_pem_file(file("client.key")).expect("a key");
                let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                    .with_protocol_versions(&[version])
                    .expect("a version")
                    .with_root_certificates(trusted.clone())
                    .with_client_auth_cert(certificates(&file("client.pem")).expect("a certificate"), key);
                let client = Arc::new(client.expect("a configuration"));
                let kinds = [handshake(&client, &server), handshake(&client, &server)];
                assert_eq!(kinds, [Some(HandshakeKind::Full), Some(again)], "{version:?}");
            }
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn files_that_cannot_be_read_in_time_hold_up_one_client_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        ca::write(directory.path(), &[]).expect("certificates");
        let (certificate, key) = (directory.path().join("server.pem"), directory.path().join("server.key"));
        let good = fs::read(&certificate).expect("is there");
        let tls = ServerTls::new(TlsFiles { certificate: certificate.clone(), key, client_ca: None }).expect("loads");
        let before = Arc::clone(&tls.0.loaded().config);
        // Who opens it to read waits for somebody who writes.
        fs::remove_file(&certificate).expect("removed");
        nix::unistd::mkfifo(&certificate, Mode::S_IRUSR | Mode::S_IWUSR).expect("a pipe");
        sleep(LOOK_EVERY).await;
        timeout(Duration::from_millis(100), tls.acceptor()).await.map(drop).expect_err("it waits for the files");
        timeout(Duration::from_millis(100), tls.acceptor()).await.map(drop).expect("others are served");
        fs::write(&certificate, good).expect("is read");
        while tls.0.loaded().looking {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(!Arc::ptr_eq(&before, &tls.0.loaded().config), "what came late counts");
    }
}
