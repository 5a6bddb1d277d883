//! The environment tailscaled gets: the daemon's own, without what bears a secret, with what userspace mode needs.

use std::path::{Path, PathBuf};

use crate::config::Environment;
use crate::inherited::bears_secret;
use crate::secret::Redactor;

/// Where Go looks for roots beside the bundle file, unless `SSL_CERT_DIR` is set (crypto/x509/root_linux.go).
const GO_ROOTS: &str = "/etc/ssl/certs:/etc/pki/tls/certs";

/// Builds it. `logs` is a directory for tailscaled's log buffers; `roots` are those of additional roots.
pub fn for_tailscaled(own: &Environment, logs: &Path, roots: &[PathBuf], redactor: &Redactor) -> Environment {
    let mut environment: Environment =
        own.iter().filter(|(name, value)| !bears_secret(name, value, redactor)).map(owned).collect();
    // The port mapper waits 0.5 s for a gateway's answer that a container never gets.
    environment.entry("TS_DISABLE_PORTMAPPER".into()).or_insert_with(|| "1".into());
    // Otherwise tailscaled writes to /var/lib/tailscale, wherever its state is.
    environment.entry("TS_LOGS_DIR".into()).or_insert_with(|| logs.display().to_string());
    if !roots.is_empty() {
        // Adds to the roots. SSL_CERT_FILE would replace them.
        let others = own.get("SSL_CERT_DIR").map_or(GO_ROOTS, String::as_str).to_owned();
        let all = roots.iter().fold(others, |all, more| format!("{all}:{}", more.display()));
        environment.insert("SSL_CERT_DIR".into(), all);
    }
    environment
}

fn owned((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::environment;
    use crate::secret::Secret;

    #[test]
    fn secrets_stay_behind_and_knobs_pass() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("0123456789abcdef"));
        let own = environment(&[
            ("TETHERD_AUTH_KEY", "x"),
            ("TS_AUTHKEY", "file:/run/key"),
            ("TETHERD_SOCKS_PASSWORD", "x"),
            ("TS_EXTRA_ARGS", "--authkey=x"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("COPY_OF_THE_KEY", "prefix 0123456789abcdef"),
            ("TS_DEBUG_MTU", "1200"),
            ("HTTPS_PROXY", "http://proxy:3128"),
            ("SSL_CERT_FILE", "/ca.pem"),
        ]);
        let names: Vec<String> = for_tailscaled(&own, Path::new("/logs"), &[], &redactor).into_keys().collect();
        assert_eq!(names, ["HTTPS_PROXY", "SSL_CERT_FILE", "TS_DEBUG_MTU", "TS_DISABLE_PORTMAPPER", "TS_LOGS_DIR"]);
    }

    #[test]
    fn more_roots_add_to_those_there_are() {
        let own = environment(&[("SSL_CERT_DIR", "/a")]);
        let environment = for_tailscaled(&own, Path::new("/logs"), &["/b".into(), "/c".into()], &Redactor::default());
        assert_eq!(environment.get("SSL_CERT_DIR").map(String::as_str), Some("/a:/b:/c"));
    }
}
