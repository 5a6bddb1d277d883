//! The typed settings, and how they are read from the layers: every fault is collected, none ends the reading.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use figment::value::Value as Raw;

use super::auth::AuthSource;
use super::fault::Fault;
use super::key::{self, Key};
use super::layers::Layers;
use super::node::{NodeSettings, SocketPath};
use super::rule::Rule;
use super::value::{
    ControlUrl, Direct, Forward, HostPort, Hostname, Limit, Listen, LogFormat, LogLevel, Logout, Memory, OnFailure,
    Value, Words,
};
use crate::secret::{MASK, Secret, SecretSource, looks_like_a_key, mask_keys};

/// Who may use the SOCKS5 listeners.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub user: String,
    pub password: Secret,
}

impl Credentials {
    /// Whether these are the ones given; in a time that does not tell which of the two differs.
    pub fn accept(&self, user: &str, password: &str) -> bool {
        let user = Secret::new(self.user.as_str()).matches(user);
        user & self.password.matches(password)
    }
}

/// Everything the daemon can be told.
#[derive(Clone, Debug)]
pub struct Settings {
    pub auth: Option<AuthSource>,
    /// Where the Tailscale API is.
    pub api_url: ControlUrl,
    pub tailnet: String,
    pub control_url: Option<ControlUrl>,
    pub ca_file: Option<PathBuf>,
    /// A directory of more roots, that the runtime has.
    pub more_roots: Option<PathBuf>,
    pub hostname: Option<Hostname>,
    pub node: NodeSettings,
    pub socks_listen: Vec<Listen>,
    pub socks_credentials: Option<Credentials>,
    pub udp: bool,
    pub forwards: Vec<Forward>,
    pub prewarm: Vec<HostPort>,
    pub direct: Direct,
    pub allow: Vec<Rule>,
    pub deny: Vec<Rule>,
    pub connect_timeout: Duration,
    pub handshake_timeout: Duration,
    pub idle_timeout: Limit,
    pub half_close_timeout: Duration,
    pub drain_timeout: Duration,
    pub start_timeout: Limit,
    pub max_connections: Option<NonZeroUsize>,
    pub health_listen: SocketAddr,
    pub tailscaled_path: Option<PathBuf>,
    pub tailscaled_args: Words,
    pub tailscaled_socket: Option<SocketPath>,
    pub log_upload: bool,
    pub state_dir: Option<PathBuf>,
    pub memory_limit: Option<Memory>,
    pub logout: Logout,
    /// The Lambda function to whose log metrics go.
    pub metrics_of_function: Option<String>,
    pub log_level: LogLevel,
    pub log_format: LogFormat,
}

/// The origin of a value that no source has.
pub(super) const NOT_SET: &str = "not set";

/// One line of `tetherd check`.
#[derive(Clone, Debug)]
pub struct Shown {
    pub key: &'static str,
    pub value: String,
    pub origin: String,
}

/// Reads values and collects what is wrong with them, and what `check` shows.
pub(super) struct Reader {
    layers: Layers,
    pub faults: Vec<Fault>,
    pub shown: Vec<Shown>,
    pub health_listen: Option<SocketAddr>,
    pub lambda_on_failure: Option<OnFailure>,
    pub lambda_metrics: bool,
}

impl Reader {
    pub(super) fn new(mut layers: Layers) -> Self {
        let faults = std::mem::take(&mut layers.faults);
        Self { layers, faults, shown: Vec::new(), health_listen: None, lambda_on_failure: None, lambda_metrics: false }
    }

    /// The settings; `None` when a value without which they cannot be built is unusable.
    pub(super) fn settings(&mut self) -> Option<Settings> {
        self.health_listen = self.value("health_listen");
        self.lambda_on_failure = self.value("lambda_on_failure");
        self.lambda_metrics = self.value("lambda_metrics").unwrap_or(false);
        let node = self.node();
        let settings = Settings {
            auth: self.auth(!node.tags.is_empty()),
            api_url: self.api_url(),
            tailnet: self.value("tailnet").unwrap_or_default(),
            control_url: self.value("control_url"),
            ca_file: self.roots("ca_file"),
            more_roots: None,
            hostname: self.value("hostname"),
            node,
            socks_listen: self.filled_list("socks_listen"),
            socks_credentials: self.credentials(),
            udp: self.value("udp").unwrap_or(false),
            forwards: self.list("forwards"),
            prewarm: self.list("prewarm"),
            direct: self.value("direct").unwrap_or(Direct::Deny),
            allow: self.list("allow"),
            deny: self.list("deny"),
            connect_timeout: self.value("connect_timeout").unwrap_or_default(),
            handshake_timeout: self.value("handshake_timeout").unwrap_or_default(),
            idle_timeout: self.value("idle_timeout").unwrap_or(Limit(None)),
            half_close_timeout: self.value("half_close_timeout").unwrap_or_default(),
            drain_timeout: self.value("drain_timeout").unwrap_or_default(),
            start_timeout: self.value("start_timeout").unwrap_or(Limit(None)),
            max_connections: self.value("max_connections"),
            health_listen: self.health_listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
            tailscaled_path: self.value("tailscaled_path"),
            tailscaled_args: self.value("tailscaled_args").unwrap_or(Words(Vec::new())),
            tailscaled_socket: self.value("tailscaled_socket"),
            log_upload: self.value("log_upload").unwrap_or(false),
            state_dir: self.value("state_dir"),
            memory_limit: self.value("memory_limit"),
            logout: self.value("logout").unwrap_or(Logout::Auto),
            metrics_of_function: None,
            log_level: self.value("log_level").unwrap_or(LogLevel::Info),
            log_format: self.value("log_format").unwrap_or(LogFormat::Text),
        };
        self.no_open_proxy(&settings);
        self.no_address_twice(&settings);
        // A stand-in above is never used: it is there only where a fault was noted.
        self.faults.is_empty().then_some(settings)
    }

    /// Notes the value for `check` and returns its text parts: one, or those of a list.
    fn parts(&mut self, name: &'static str) -> Option<(&'static Key, Vec<String>, String)> {
        let key = key::find(name).unwrap_or_else(|| unreachable!("{name} is not in the table of keys"));
        let Some((raw, origin)) = self.layers.find(key) else {
            self.shown.push(Shown { key: name, value: String::new(), origin: NOT_SET.into() });
            return None;
        };
        let Some(parts) = texts(&raw) else {
            self.fault(key, &origin, "a single value or a list of them", None);
            return None;
        };
        let value = if key.secret { MASK.to_owned() } else { mask_keys(&parts.join(",")) };
        self.shown.push(Shown { key: name, value, origin: origin.clone() });
        Some((key, parts, origin))
    }

    pub(super) fn value<T: Value>(&mut self, name: &'static str) -> Option<T> {
        let (key, parts, origin) = self.parts(name)?;
        let text = parts.join(",");
        let value = T::parse(text.trim());
        if value.is_none() {
            self.fault(key, &origin, T::EXPECTED, Some(&text));
        }
        value
    }

    pub(super) fn list<T: Value>(&mut self, name: &'static str) -> Vec<T> {
        let Some((key, parts, origin)) = self.parts(name) else { return Vec::new() };
        let mut values = Vec::new();
        for text in parts.iter().flat_map(|part| part.split(',')).map(str::trim).filter(|text| !text.is_empty()) {
            match T::parse(text) {
                Some(value) => values.push(value),
                None => self.fault(key, &origin, T::EXPECTED, Some(text)),
            }
        }
        values
    }

    /// A list without which the daemon serves nobody.
    fn filled_list<T: Value>(&mut self, name: &'static str) -> Vec<T> {
        let faults = self.faults.len();
        let values = self.list(name);
        if values.is_empty() && self.faults.len() == faults {
            let origin = self.origin(name);
            self.faults.push(Fault::new(name, &origin, format!("is empty, expected {}", T::EXPECTED)));
        }
        values
    }

    /// A secret from the key itself, its `file:` form or its `_file` twin. A file must be readable now; its content
    /// is read when it is needed.
    pub(super) fn secret(&mut self, name: &'static str) -> Option<SecretSource> {
        let twin = key::find(&format!("{name}_file")).map(|key| key.name);
        let file = twin.and_then(|twin| self.value::<std::path::PathBuf>(twin).map(|path| (twin, path)));
        let inline = self.value::<String>(name);
        let (key, source) = match (file, inline) {
            (Some((twin, path)), _) => (twin, SecretSource::File(path)),
            (None, Some(text)) => (name, SecretSource::from_text(&text)),
            (None, None) => return None,
        };
        let problem = match &source {
            SecretSource::File(path) if looks_like_a_key(&path.to_string_lossy()) => {
                format!("is no path but looks like a key itself: give it as {name}")
            }
            _ => match source.kept() {
                Ok(source) => return Some(source),
                Err(error) => error.to_string(),
            },
        };
        let origin = self.origin(key);
        self.faults.push(Fault::new(key, &origin, problem));
        None
    }

    fn roots(&mut self, name: &'static str) -> Option<PathBuf> {
        let path: PathBuf = self.value(name)?;
        let problem = match std::fs::read_to_string(&path) {
            Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => return Some(path),
            Ok(_) => format!("holds no certificate in PEM form: {}", path.display()),
            Err(error) => format!("cannot be read: {}: {error}", path.display()),
        };
        let origin = self.origin(name);
        self.faults.push(Fault::new(name, &origin, problem));
        None
    }

    pub(super) fn origin(&self, name: &str) -> String {
        self.shown.iter().find(|shown| shown.key == name).map_or_else(String::new, |shown| shown.origin.clone())
    }

    fn fault(&mut self, key: &Key, origin: &str, expected: &str, text: Option<&str>) {
        let given = match text {
            Some(text) if !key.secret => format!("is \"{}\", expected {expected}", mask_keys(text)),
            _ => format!("is unusable, expected {expected}"),
        };
        self.faults.push(Fault::new(key.name, origin, given));
    }
}

/// The text of a value, or of each item of a list.
fn texts(raw: &Raw) -> Option<Vec<String>> {
    match raw {
        Raw::String(_, text) => Some(vec![text.clone()]),
        Raw::Bool(_, value) => Some(vec![value.to_string()]),
        Raw::Num(_, number) => number
            .to_i128()
            .map(|number| number.to_string())
            .or_else(|| number.to_u128().map(|number| number.to_string()))
            .or_else(|| number.to_f64().map(|number| number.to_string()))
            .map(|text| vec![text]),
        Raw::Array(_, items) => {
            let items: Option<Vec<Vec<String>>> = items.iter().map(texts).collect();
            items.map(|items| items.concat())
        }
        _ => None,
    }
}
