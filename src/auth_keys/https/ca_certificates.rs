//! The CA certificates that tetherd's own TLS connections trust.
//!
//! Those that Go, and with it tailscaled, would trust here.
//! They are the system's, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name in their place, those of `ca_file`, and those of the
//! platform's directory. Mozilla's, which are bundled since an image may have none, count unless a variable names others.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore};

use crate::environment::{Environment, set_variable};

/// Files in which Go looks for CA certificates; the first that can be read counts (crypto/x509/root_linux.go).
pub const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Directories of which Go reads every file.
pub const DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// Where the CA certificates are that a client trusts.
#[derive(Clone, Debug)]
pub struct CaSources {
    bundles: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    /// Whether these directories are the system's, as its tools fill them, and not named by the user.
    of_the_system: bool,
    /// The platform's.
    ca_directory: Option<PathBuf>,
    /// The user's `ca_file` (PEM).
    ca_file: Option<PathBuf>,
    with_mozillas: bool,
}

impl CaSources {
    /// Takes what the environment names, or what the system has, the user's `ca_file` and the platform's `ca_directory`.
    pub fn new(ca_file: Option<&Path>, ca_directory: Option<&Path>, environment: &Environment) -> Self {
        let [file, directory] = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(|name| set_variable(environment, name));
        let bundles = file.map_or_else(|| BUNDLES.to_vec(), |file| vec![file]);
        let directories = directory.map_or_else(|| DIRECTORIES.to_vec(), |list| list.split(':').collect());
        Self {
            bundles: bundles.into_iter().map(PathBuf::from).collect(),
            directories: directories.into_iter().map(PathBuf::from).collect(),
            of_the_system: directory.is_none(),
            ca_directory: ca_directory.map(Path::to_owned),
            ca_file: ca_file.map(Path::to_owned),
            with_mozillas: file.is_none() && directory.is_none(),
        }
    }

    /// Makes a TLS connector that trusts the certificates as they are now.
    pub fn tls_connector(&self) -> Result<TlsConnector, Error> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.read())
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// Reads the certificates. What cannot be used leads to a connection that is not trusted; `ca_file` was checked with the
    /// settings.
    fn read(&self) -> RootCertStore {
        let mut found: Vec<CertificateDer<'static>> = Vec::new();
        if self.with_mozillas {
            // The set that tailscaled gets where the system has none: a second one, ready to use, would be 70 KB more.
            found.extend(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        }
        let files = if self.of_the_system {
            files_of_the_system(&self.bundles, &self.directories)
        } else {
            let files = self.directories.iter().flat_map(|directory| files_in(directory));
            first_readable(&self.bundles).into_iter().chain(files).collect()
        };
        let platforms = self.ca_directory.iter().flat_map(|directory| files_in(directory));
        for file in files.into_iter().chain(platforms).chain(self.ca_file.clone()) {
            if let Ok(more) = CertificateDer::pem_file_iter(file) {
                found.extend(more.flatten());
            }
        }
        // A directory mostly has each certificate of the bundle once more, under one or two names.
        found.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
        found.dedup();
        let mut trusted = RootCertStore::empty();
        trusted.add_parsable_certificates(found);
        trusted
    }
}

fn first_readable(bundles: &[PathBuf]) -> Option<PathBuf> {
    bundles.iter().find(|bundle| fs::File::open(bundle).is_ok()).cloned()
}

/// The files in which a system has its CA certificates. The tools that fill its directories put links to each certificate of the
/// bundle there: hundreds of files, which add nothing to it and take 0.1 s and more of a small function's start. What
/// is there beside the links is read.
fn files_of_the_system(bundles: &[PathBuf], directories: &[PathBuf]) -> Vec<PathBuf> {
    let Some(bundle) = first_readable(bundles) else {
        return directories.iter().flat_map(|directory| files_in(directory)).collect();
    };
    let is_more =
        |file: &PathBuf| !bundles.contains(file) && fs::symlink_metadata(file).is_ok_and(|found| found.is_file());
    let more = directories.iter().flat_map(|directory| files_in(directory)).filter(is_more);
    let more: Vec<PathBuf> = more.collect();
    [bundle].into_iter().chain(more).collect()
}

/// Whether the system's directories have CA certificates that its bundle does not have; where there is no bundle, always.
pub fn system_directories_add() -> bool {
    let [bundles, directories] =
        [&BUNDLES[..], &DIRECTORIES[..]].map(|places| places.iter().map(PathBuf::from).collect::<Vec<_>>());
    first_readable(&bundles).is_none() || files_of_the_system(&bundles, &directories).len() > 1
}

/// Every file in `directory`, whatever its name, as Go reads such a directory for tailscaled.
fn files_in(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::environment;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    /// What update-ca-certificates makes of 300 authorities, and one that somebody has put beside them.
    #[test]
    fn beside_a_bundle_links_of_the_systems_directory_are_not_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = |name: &str| directory.path().join(name);
        fs::create_dir(place("certs")).expect("made");
        fs::create_dir(place("share")).expect("made");
        for number in 0..300 {
            let (file, link) =
                (place("share").join(format!("{number}.crt")), place("certs").join(format!("{number}.pem")));
            fs::write(&file, pem(number % 100)).expect("written");
            std::os::unix::fs::symlink(&file, link).expect("linked");
        }
        fs::write(place("certs/own.crt"), pem(101)).expect("written");
        fs::write(place("bundle"), pem(102)).expect("written");
        let read = |bundle: &str| files_of_the_system(&[place(bundle)], &[place("certs")]);
        assert_eq!(read("bundle"), [place("bundle"), place("certs/own.crt")]);
        assert_eq!(read("none").len(), 301, "without a bundle they are all there is");
        let directories = vec![place("certs")];
        let sources = CaSources {
            bundles: vec![place("bundle")],
            directories,
            ca_directory: None,
            ca_file: None,
            of_the_system: true,
            with_mozillas: false,
        };
        assert_eq!(sources.read().len(), 2);
        let named = CaSources { of_the_system: false, ..sources };
        assert_eq!(named.read().len(), 102, "where a variable names the directory, all of it is meant");
    }

    /// One of Mozilla's certificates as PEM.
    fn pem(number: usize) -> String {
        let certificate = BASE64_STANDARD.encode(&webpki_root_certs::TLS_SERVER_ROOT_CERTS[number]);
        format!("-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n")
    }

    #[test]
    fn variables_replace_what_is_trusted_and_files_are_read_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
        for (file, number) in [("file", 0), ("ca", 1), ("many/a", 2), ("many/b", 3), ("more/c", 4), ("more/again", 0)] {
            let file = directory.path().join(file);
            fs::create_dir_all(file.parent().expect("a directory")).expect("made");
            fs::write(file, pem(number)).expect("written");
        }
        fs::create_dir(directory.path().join("none")).expect("made");
        let both = format!("{}:{}", path("many"), path("more"));
        let ca_file = directory.path().join("ca");
        for (file, list, with_ca_file, expected) in [
            (path("file"), path("none"), None, 1),
            (path("file"), path("none"), Some(&ca_file), 2),
            (path("file"), path("many"), None, 3),
            (path("file"), both.clone(), None, 4),
            (path("missing"), path("none"), None, 0),
            (path("missing"), both, Some(&ca_file), 5),
        ] {
            let environment = environment(&[("SSL_CERT_FILE", &file), ("SSL_CERT_DIR", &list)]);
            let sources = CaSources::new(with_ca_file.map(PathBuf::as_path), None, &environment);
            assert_eq!(sources.read().len(), expected, "{file} {list} {with_ca_file:?}");
        }
        for variables in [&[][..], &[("SSL_CERT_FILE", ""), ("SSL_CERT_DIR", "")]] {
            let sources = CaSources::new(None, None, &environment(variables));
            assert!(sources.read().len() > 100, "Mozilla's, and the system's");
            assert_eq!((sources.bundles.len(), sources.directories.len()), (BUNDLES.len(), DIRECTORIES.len()));
        }
        let only = environment(&[("SSL_CERT_FILE", &path("missing")), ("SSL_CERT_DIR", &path("none"))]);
        let sources = CaSources::new(Some(&ca_file), None, &only);
        assert_eq!(sources.read().len(), 1);
        fs::write(&ca_file, pem(5) + &pem(6)).expect("written");
        assert_eq!(sources.read().len(), 2, "as it is now");
    }
}
