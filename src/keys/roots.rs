//! The roots that TLS connections of tetherd's own trust: bundled ones, which an image without certificates needs,
//! the system's (`SSL_CERT_FILE` and `SSL_CERT_DIR` count), and those of `ca_file`.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore};

/// Starts TLS with these roots.
pub(super) fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, Error> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!(%error, "some of the system's roots cannot be read");
    }
    roots.add_parsable_certificates(system.certs);
    // Checked when the settings were read; what cannot be used now leads to a connection that is not trusted.
    if let Some(Ok(own)) = ca_file.map(CertificateDer::pem_file_iter) {
        roots.add_parsable_certificates(own.flatten());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
