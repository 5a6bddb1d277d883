//! The roots that TLS connections of tetherd's own trust: bundled ones, which an image without certificates needs,
//! the system's (`SSL_CERT_FILE` and `SSL_CERT_DIR` count), those of `ca_file`, and those of the place it runs in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore};

/// Starts TLS with these roots. `ca_file` is the user's, `place` the directory of the runtime.
pub fn tls_connector(ca_file: Option<&Path>, place: Option<&Path>) -> Result<TlsConnector, Error> {
    let mut roots = RootCertStore::empty();
    // The same that tailscaled gets where there are no others: a second set, ready to use, would be 70 KB more.
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!(%error, "some of the system's roots cannot be read");
    }
    roots.add_parsable_certificates(system.certs);
    // Checked when the settings were read; what cannot be used now leads to a connection that is not trusted.
    for file in ca_file.map(Path::to_owned).into_iter().chain(place.map(files_in).unwrap_or_default()) {
        if let Ok(more) = CertificateDer::pem_file_iter(file) {
            roots.add_parsable_certificates(more.flatten());
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// As Go reads such a directory for tailscaled: every file, whatever its name; what is no PEM counts for nothing.
fn files_in(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
