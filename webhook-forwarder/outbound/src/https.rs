//! The TLS client: rustls with ring, trusting the system's CA certificates.
//!
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` name others, such as a CA of one's own that stands in the layer.

use hyper_rustls::HttpsConnector;
use rustls::{ClientConfig, RootCertStore};

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("no trusted root certificate was found: is SSL_CERT_FILE a PEM file that can be read?")]
    NoRoots,
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// Speaks HTTP/1.1 over `connector`, within TLS where the address begins with https.
pub fn over<C>(connector: C) -> Result<HttpsConnector<C>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let provider = rustls::crypto::ring::default_provider().into();
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    Ok((connector, config).into())
}
