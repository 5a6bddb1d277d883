//! The CA certificates that tailscaled trusts, as one file (a bundle).
//!
//! They are the user's own, those of the platform, and where the system has none, Mozilla's, which are part of this
//! program; all are trusted in addition to the system's. tailscaled itself brings those of Let's Encrypt alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::auth_keys::https::ca_certificates::{BUNDLES, DIRECTORIES};
use crate::environment::{Environment, set_variable};
use crate::tailscaled::process::state_dir::StateDir;

/// Returns the directories of CA certificates for Go's `SSL_CERT_DIR`. `ca_file` is the user's file, `platform` the
/// platform's directory.
///
/// # Errors
/// When a directory cannot be written.
pub fn directories(
    directory: &StateDir,
    ca_file: Option<&Path>,
    platform: Option<&Path>,
    environment: &Environment,
) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = ca_file.map(|file| directory.with_ca_file(file)).transpose()?.into_iter().collect();
    found.extend(platform.map(Path::to_owned));
    let named = |name: &str| set_variable(environment, name).is_some();
    if !named("SSL_CERT_FILE") && !named("SSL_CERT_DIR") && !system_has_certificates() {
        tracing::info!("the system has no CA certificates; those of this program are used");
        found.push(write_mozillas(directory.private())?);
    }
    Ok(found)
}

fn system_has_certificates() -> bool {
    let has_entries = |directory: &&str| fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
    BUNDLES.iter().any(|bundle| Path::new(bundle).is_file()) || DIRECTORIES.iter().any(has_entries)
}

/// Writes Mozilla's CA certificates into a directory below `private`.
fn write_mozillas(private: &Path) -> io::Result<PathBuf> {
    let directory = private.join("own-roots");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("mozilla.pem"), pem())?;
    Ok(directory)
}

/// Returns Mozilla's CA certificates as PEM.
fn pem() -> String {
    let mut pem = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        // RFC 7468, section 2: lines of 64 characters.
        for line in BASE64_STANDARD.encode(certificate).as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::environment;

    #[test]
    fn the_users_roots_and_those_of_the_place_add_up() {
        let directory = StateDir::open(None, None).expect("opens");
        let file = directory.private().join("ca.pem");
        fs::write(&file, "x").expect("written");
        let environment = environment(&[("SSL_CERT_FILE", "/ca")]);
        let found = directories(&directory, Some(&file), Some(Path::new("/opt/ssl")), &environment).expect("found");
        assert_eq!(found, [directory.private().join("roots"), PathBuf::from("/opt/ssl")]);
    }

    #[test]
    fn own_roots_are_written_as_pem() {
        let directory = StateDir::open(None, None).expect("opens");
        let written = fs::read_to_string(write_mozillas(directory.private()).expect("written").join("mozilla.pem"))
            .expect("read");
        assert!(written.matches("-----BEGIN CERTIFICATE-----\nMII").count() > 100, "{}", written.len());
        assert!(written.lines().all(|line| line.len() <= 64));
    }
}
