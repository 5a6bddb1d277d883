//! Makes a certificate authority, and certificates that it has signed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// Writes `ca.pem`, `server.pem`, `server.key`, `client.pem` and `client.key` into `directory`. The server certificate is
/// for loopback and for `names`.
pub fn write(directory: &Path, names: &[String]) -> Result<()> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "tetherd test bed");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let ca_certificate = ca.self_signed(&ca_key)?;

    let server_key = KeyPair::generate()?;
    let loopback = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let mut server = CertificateParams::new([&loopback[..], names].concat())?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let issuer = Issuer::new(ca, ca_key);
    let server_certificate = server.signed_by(&server_key, &issuer)?;

    let client_key = KeyPair::generate()?;
    let mut client = CertificateParams::new(["app".to_owned()])?;
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client_certificate = client.signed_by(&client_key, &issuer)?;

    save(directory, "ca.pem", &ca_certificate.pem())?;
    save(directory, "server.pem", &server_certificate.pem())?;
    save(directory, "server.key", &server_key.serialize_pem())?;
    save(directory, "client.pem", &client_certificate.pem())?;
    save(directory, "client.key", &client_key.serialize_pem())
}

fn save(directory: &Path, name: &str, text: &str) -> Result<()> {
    fs::write(directory.join(name), text).with_context(|| format!("cannot write {name}"))
}
