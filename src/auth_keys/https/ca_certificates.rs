//! The CA certificates that tetherd's own TLS connections trust.
//!
//! They are Mozilla's, which are bundled since an image may have none, the system's (`SSL_CERT_FILE` and `SSL_CERT_DIR`
//! count), those of `ca_file`, and those of the platform's directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore};

/// Makes a TLS connector that trusts the bundled CA certificates, the system's, those in `ca_file` (PEM) and those in
/// every file of `ca_directory`.
pub fn tls_connector(ca_file: Option<&Path>, ca_directory: Option<&Path>) -> Result<TlsConnector, Error> {
    let mut trusted = RootCertStore::empty();
    // The same CA certificates that tailscaled gets where the system has none: a second set, already parsed, would make
    // the program 70 KB larger.
    trusted.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!(%error, "some of the system's CA certificates cannot be read");
    }
    trusted.add_parsable_certificates(system.certs);
    // The files were checked when the settings were read. One that cannot be used any more is left out, and a
    // connection that needs it fails as untrusted.
    for file in ca_file.map(Path::to_owned).into_iter().chain(ca_directory.map(files_in).unwrap_or_default()) {
        if let Ok(more) = CertificateDer::pem_file_iter(file) {
            trusted.add_parsable_certificates(more.flatten());
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Every file in `directory`, whatever its name, as Go reads such a directory for tailscaled.
fn files_in(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
