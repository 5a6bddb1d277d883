//! The form of a serve configuration: what the node offers to its tailnet.
//!
//! It is Tailscale's own (`ipn.ServeConfig`), in any of the forms that tools write (`serve_forms`), and then read strictly, so that a
//! misspelt name is a fault and not a port that stays closed.
//! <https://tailscale.com/kb/1282/docker#ts_serve_config>

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::config::sections::serve_forms::{self, DOMAIN};
use crate::config::sections::serve_services::{self, TAILNET};
use crate::config::text_file::read_text_file;
use crate::text::bare;

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

/// The text of a serve file, in the one form that tailscaled takes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ServeText {
    /// JSON, in which [`DOMAIN`] and [`TAILNET`] stand for domains.
    pub json: String,
    /// Services that are configured, and are not to be advertised.
    pub hidden: Vec<String>,
}

impl ServeConfig {
    /// Reads the file. Returns its text, which has the right form.
    pub fn read(path: &Path) -> Result<ServeText, ServeError> {
        let text = read_text_file(path).map_err(|source| ServeError::Unreadable { path: path.to_owned(), source })?;
        ServeText::parse(&text).map_err(|source| ServeError::Malformed { path: path.to_owned(), source })
    }

    /// Parses JSON in the one form.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// Names of the services.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.services.keys().map(String::as_str)
    }

    /// Whether something is served with TLS, which needs certificates.
    pub fn has_https(&self) -> bool {
        let of_services = self.services.values().flat_map(|service| service.tcp.values());
        self.tcp.values().chain(of_services).any(|port| port.https || !port.terminate_tls.is_empty())
    }
}

impl ServeText {
    /// Parses the text of a file, in any of the forms. An empty one serves nothing: the image takes an empty file, too.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let text = bare(text);
        let text = if text.is_empty() { "{}" } else { text };
        // serde would take a list for a structure, too.
        let file = serde_json::from_str::<Map<String, Value>>(text)?;
        let (file, hidden) = if serve_services::has_form(&file) {
            serve_services::converted(&file).map_err(serde_json::Error::custom)?
        } else {
            (serve_forms::in_one_form(file).map_err(serde_json::Error::custom)?, Vec::new())
        };
        let json = Value::Object(file).to_string();
        ServeConfig::parse(&json)?;
        Ok(Self { json, hidden })
    }

    /// Returns the JSON for a node of this domain.
    pub fn for_domain(&self, domain: &str) -> String {
        let tailnet = domain.split_once('.').map_or("", |(_, tailnet)| tailnet);
        self.json.replace(DOMAIN, domain).replace(TAILNET, tailnet)
    }

    /// Whether the text depends on the node's domain.
    pub fn names_domain(&self) -> bool {
        [DOMAIN, TAILNET].iter().any(|name| self.json.contains(name))
    }
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
        let text = ServeText::parse(TEXT).expect("is well-formed");
        assert!(text.names_domain() && ServeConfig::parse(&text.json).expect("in one form").has_https());
        let filled = text.for_domain("app.tail.test");
        assert!(!filled.contains('$') && filled.contains(r#""app.tail.test:80""#), "{filled}");
        assert_eq!(ServeText::parse(" \n").expect("is empty").for_domain("x"), "{}");
    }

    #[test]
    fn what_tools_and_people_write_comes_into_one_form() {
        let web = r#"{"TCP":{"80":{"HTTP":true}},"Web":{"${TS_CERT_DOMAIN}:80":{"Handlers":{"/":{"Text":"t"}}}}}"#;
        for text in [
            web.to_owned(),
            format!("\u{feff}{web}\r\n"),
            web.replace("TCP", "tcp").replace("HTTP", "http").replace("Handlers", "handlers").replace("Text", "text"),
            web.replace("\"Web\"", "\"Services\":null,\"AllowFunnel\":null,\"Foreground\":null,\"web\""),
            web.replace("\"HTTP\":true", "\"HTTP\":true,\"TCPForward\":null,\"HTTPS\":null"),
            web.replace("\"TCP\"", "\"_comment\":\"mine\",\"//\":\"mine\",\"$schema\":\"x\",\"TCP\""),
            web.replace("\"80\"", "\"_comment\":\"mine\",\"443\":null,\"80\""),
            web.replace("${TS_CERT_DOMAIN}", ""),
            web.replace('$', "$$"),
            web.replace("${TS_CERT_DOMAIN}", "$TS_CERT_DOMAIN"),
        ] {
            let read = ServeText::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(read.json, web, "{text}");
        }
    }

    #[test]
    fn the_form_of_services_is_converted() {
        let text = r#"{"version": "0.0.1", "services": {
            "svc:web": {"endpoints": {"tcp:80": "http://127.0.0.1:3000", "tcp:443": "https+insecure://127.0.0.1:3443",
                "tcp:5432-5433": "tcp://127.0.0.1:6432-6433"}},
            "svc:db": {"endpoints": {"tcp:5432": "tls-terminated-tcp://unix:/db.sock"}, "advertised": false}}}"#;
        let read = ServeText::parse(text).expect("is well-formed");
        assert_eq!(read.hidden, ["svc:db"]);
        let made: Value = serde_json::from_str(&read.for_domain("app.tail.test")).expect("JSON");
        let web = &made["Services"]["svc:web"];
        assert_eq!(web["TCP"]["80"]["HTTP"], true);
        assert_eq!(web["TCP"]["443"]["HTTPS"], true);
        assert_eq!(web["TCP"]["5433"]["TCPForward"], "127.0.0.1:6433");
        assert_eq!(web["Web"]["web.tail.test:80"]["Handlers"]["/"]["Proxy"], "http://127.0.0.1:3000");
        assert_eq!(web["Web"]["web.tail.test:443"]["Handlers"]["/"]["Proxy"], "https+insecure://127.0.0.1:3443");
        let db = &made["Services"]["svc:db"]["TCP"]["5432"];
        assert_eq!((&db["TCPForward"], &db["TerminateTLS"]), (&"unix:/db.sock".into(), &"db.tail.test".into()));
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for (text, part) in [
            (r#"{"Tpc": {}}"#, "unknown field `Tpc`, expected one of `TCP`"),
            (r#"{"TCP": {"80": {"ForwardTCP": "x"}}}"#, "ForwardTCP"),
            (r#"{"TCP": {"http": {}}}"#, "number in quotes"),
            (r#"{"TCP": {"80": {"HTTP": "yes"}}}"#, "expected a boolean"),
            (r#"{"TCP": {}, "tcp": {}}"#, "\"TCP\" twice"),
            (r#"{"Web": {":80": {}, "${TS_CERT_DOMAIN}:80": {}}}"#, "twice"),
            (r#"{"Web": {"app.tail.test": {}}}"#, "a host and a port"),
            (r#"{"Web": {"${DOMAIN}:80": {}}}"#, "nothing replaces"),
            (r#"{"version": "1", "services": {}}"#, "0.0.1 is the one"),
            (r#"{"version": "0.0.1", "endpoints": {}}"#, "--all"),
            (r#"{"services": {"svc:a": {"endpoints": {"udp:80": "tcp://h:1"}}}}"#, "udp:80"),
            (r#"{"services": {"svc:a": {"endpoints": {"tcp:80-81": "tcp://h:1"}}}}"#, "tcp:80-81"),
            ("{", "EOF"),
            ("[]", "invalid"),
        ] {
            let error = ServeText::parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
