//! The form of a serve configuration: what the node offers to its tailnet.
//!
//! It is Tailscale's own (`ipn.ServeConfig`), read strictly, so that a misspelt name is a fault and not a port that
//! stays closed.
//! <https://tailscale.com/kb/1282/docker#ts_serve_config>

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

/// Text that stands for the node's own domain.
const DOMAIN: &str = "${TS_CERT_DOMAIN}";

/// A serve configuration.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct ServeConfig {
    #[serde(rename = "TCP")]
    tcp: BTreeMap<u16, Port>,
    web: BTreeMap<String, Site>,
    services: BTreeMap<String, Service>,
    allow_funnel: BTreeMap<String, bool>,
    foreground: BTreeMap<String, ServeConfig>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct Port {
    #[serde(rename = "HTTPS")]
    https: bool,
    #[serde(rename = "HTTP")]
    http: bool,
    #[serde(rename = "TCPForward")]
    tcp_forward: String,
    #[serde(rename = "TerminateTLS")]
    terminate_tls: String,
    proxy_protocol: i64,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct Site {
    handlers: BTreeMap<String, Handler>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct Handler {
    path: String,
    proxy: String,
    text: String,
    accept_app_caps: Vec<String>,
    redirect: String,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct Service {
    #[serde(rename = "TCP")]
    tcp: BTreeMap<u16, Port>,
    web: BTreeMap<String, Site>,
    tun: bool,
}

/// Failure to read a serve configuration.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error("cannot be read: {}: {source}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is not a serve configuration: {source}; `tailscale serve status --json` shows the form", .path.display())]
    Malformed { path: PathBuf, source: serde_json::Error },
}

impl ServeConfig {
    /// Reads the file. Returns its text, which has the right form.
    pub fn read(path: &Path) -> Result<String, ServeError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ServeError::Unreadable { path: path.to_owned(), source })?;
        match Self::parse(&text) {
            Ok(_) => Ok(text),
            Err(source) => Err(ServeError::Malformed { path: path.to_owned(), source }),
        }
    }

    /// Parses `text`. An empty text serves nothing: the image takes an empty file, too.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        // serde would take a list for a structure, too.
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text)?;
        serde_json::from_str(text)
    }

    /// Whether something is served with TLS, which needs certificates.
    pub fn has_https(&self) -> bool {
        let of_services = self.services.values().flat_map(|service| service.tcp.values());
        self.tcp.values().chain(of_services).any(|port| port.https || !port.terminate_tls.is_empty())
    }
}

/// Returns `text` for a node of this domain.
pub fn for_domain(text: &str, domain: &str) -> String {
    if text.trim().is_empty() { "{}".to_owned() } else { text.replace(DOMAIN, domain) }
}

/// Whether `text` depends on the node's domain.
pub fn names_domain(text: &str) -> bool {
    text.contains(DOMAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{
        "TCP": {"80": {"HTTP": true}, "443": {"HTTPS": true}, "5432": {"TCPForward": "127.0.0.1:5432"}},
        "Web": {"${TS_CERT_DOMAIN}:80": {"Handlers": {"/": {"Proxy": "http://127.0.0.1:3000"}, "/t": {"Text": "t"}}}},
        "AllowFunnel": {"${TS_CERT_DOMAIN}:443": false}
    }"#;

    #[test]
    fn tailscales_form_is_understood_and_the_domain_filled_in() {
        assert!(ServeConfig::parse(TEXT).expect("is well-formed").has_https());
        assert!(names_domain(TEXT));
        let text = for_domain(TEXT, "app.tail.test");
        assert!(!names_domain(&text) && text.contains(r#""app.tail.test:80""#), "{text}");
        assert_eq!(ServeConfig::parse(" \n").expect("is empty"), ServeConfig::default());
        assert_eq!(for_domain("", "x"), "{}");
    }

    #[test]
    fn a_misspelt_name_or_a_wrong_type_is_named() {
        for (text, part) in [
            (r#"{"Tcp": {}}"#, "unknown field `Tcp`, expected one of `TCP`"),
            (r#"{"TCP": {"80": {"TcpForward": "x"}}}"#, "TcpForward"),
            (r#"{"TCP": {"http": {}}}"#, "number in quotes"),
            (r#"{"TCP": {"80": {"HTTP": "yes"}}}"#, "expected a boolean"),
            ("{", "EOF"),
            ("[]", "invalid"),
        ] {
            let error = ServeConfig::parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
