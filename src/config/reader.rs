//! Reads single values from the layers, with their faults and what `check` shows.
//!
//! Every fault is collected; none ends the reading.

use std::net::SocketAddr;
use std::path::PathBuf;

use figment::value::Value as Raw;

use crate::config::error::ConfigError;
use crate::config::layers::{Found, Layers};
use crate::config::origin::Origin;
use crate::config::table;
use crate::config::table::Key;
use crate::config::types::Value;
use crate::config::types::enums::OnFailure;
use crate::config::written::{slip, slip_in_key, slip_in_password};
use crate::secret::redactor::{looks_like_a_key, mask_secrets};
use crate::secret::{MASK, Secret, SecretSource};
use crate::text::{bare, printable};

/// Settings that clients are given as well, maybe with the same slip: it is no fault of theirs.
const AS_GIVEN: [&str; 2] = ["socks_user", "socks_password"];

/// One line of `tetherd check`.
#[derive(Clone, Debug)]
pub struct Shown {
    pub key: &'static str,
    /// The value as shown: empty when there is none, a mask when it is secret.
    pub value: String,
    pub origin: Origin,
}

/// The text of a setting, in one part or, of a list, in several.
struct RawValue {
    key: &'static Key,
    texts: Vec<String>,
    origin: String,
}

/// Reads values and collects what is wrong with them, and what `check` shows.
pub struct Reader {
    layers: Layers,
    pub faults: Vec<ConfigError>,
    /// What is taken, and may not be what was meant.
    pub warnings: Vec<String>,
    pub shown: Vec<Shown>,
    /// Address of the health port, kept here as well since commands need it even when another setting is at fault.
    pub health_listen: Option<SocketAddr>,
    /// The setting `lambda_on_failure`, kept here as well since the platform needs it even when another setting is at
    /// fault.
    pub lambda_on_failure: Option<OnFailure>,
    /// Secrets that were read from what can be read only once, by the name of their setting.
    pub read_once: Vec<(&'static str, Secret)>,
}

impl Reader {
    /// Starts with the faults of the sources themselves.
    pub fn new(mut layers: Layers) -> Self {
        let (faults, warnings) = (std::mem::take(&mut layers.faults), std::mem::take(&mut layers.warnings));
        let (shown, read_once) = (Vec::new(), Vec::new());
        Self { layers, faults, warnings, shown, health_listen: None, lambda_on_failure: None, read_once }
    }

    /// Whether a source has a value.
    pub fn has_value(&self, name: &str) -> bool {
        table::find_key(name).is_some_and(|key| self.layers.find(key).is_some())
    }

    /// Notes the value for `check` and returns its text. `None` where there is none, or a fault was noted.
    fn parts(&mut self, name: &'static str) -> Option<RawValue> {
        let key = table::find_key(name).unwrap_or_else(|| unreachable!("{name} is not in the table of keys"));
        let Some(Found { value, origin }) = self.layers.find(key).cloned() else {
            self.shown.push(Shown { key: name, value: String::new(), origin: Origin::NotSet });
            return None;
        };
        let Some(texts) = texts(&value) else {
            self.fault(key, &origin.to_string(), "a single value or a list of them", None);
            return None;
        };
        let value = if key.secret { MASK.to_owned() } else { mask_secrets(&texts.join(",")) };
        self.shown.push(Shown { key: name, value, origin: origin.clone() });
        Some(RawValue { key, texts, origin: origin.to_string() })
    }

    /// Reads a single value. `None` where there is none, or a fault was noted.
    pub fn value<T: Value>(&mut self, name: &'static str) -> Option<T> {
        let RawValue { key, texts, origin } = self.parts(name)?;
        let text = texts.join(",");
        let text = bare(&text);
        let value = T::parse(text);
        match slip(text).filter(|_| T::FREE && !key.secret && value.is_some()) {
            _ if value.is_none() => self.fault(key, &origin, T::EXPECTED, Some(text)),
            Some(slip) if AS_GIVEN.contains(&key.name) => self.warn_at(key.name, slip),
            Some(slip) => self.faults.push(ConfigError::new(key.name, &origin, slip)),
            None => {}
        }
        value
    }

    /// Reads a list, whose items a comma separates. Notes a fault for each item that is unusable.
    pub fn list<T: Value>(&mut self, name: &'static str) -> Vec<T> {
        let Some(RawValue { key, texts, origin }) = self.parts(name) else { return Vec::new() };
        let mut values = Vec::new();
        for text in texts.iter().flat_map(|part| part.split(',')).map(bare).filter(|text| !text.is_empty()) {
            match T::parse(text) {
                Some(value) => values.push(value),
                None => self.fault(key, &origin, T::EXPECTED, Some(text)),
            }
        }
        values
    }

    /// Reads a list that must have an item, since the daemon serves nobody without.
    pub fn filled_list<T: Value>(&mut self, name: &'static str) -> Vec<T> {
        let faults = self.faults.len();
        let values = self.list(name);
        if values.is_empty() && self.faults.len() == faults {
            self.fault_at(name, format!("is empty, expected {}", T::EXPECTED));
        }
        values
    }

    /// Reads a secret from the setting itself, its `file:` form or its `_file` twin. A file must be readable now; its
    /// content is read when it is needed.
    pub fn secret(&mut self, name: &'static str) -> Option<SecretSource> {
        let twin = table::find_key(&format!("{name}_file")).map(|key| key.name);
        let file = twin.and_then(|twin| self.value::<PathBuf>(twin).map(|path| (twin, path)));
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
                Ok(source) => match self.slip_in_secret(key, name, &source) {
                    None => {
                        if let SecretSource::Once(secret) = &source {
                            self.read_once.push((name, secret.clone()));
                        }
                        return Some(source);
                    }
                    Some(problem) => problem,
                },
                Err(error) => error.to_string(),
            },
        };
        self.fault_at(key, problem);
        None
    }

    /// Returns what is wrong with a key by the look of it. Of a password, which clients may have in the same form, it is a warning.
    /// `key` is the setting that gave it, `name` the secret's.
    fn slip_in_secret(&mut self, key: &'static str, name: &str, source: &SecretSource) -> Option<String> {
        let secret = source.read().ok()?;
        let of_password = AS_GIVEN.contains(&name);
        let slip = if of_password { slip_in_password(secret.expose()) } else { slip_in_key(secret.expose()) }?;
        let problem = if key == name { slip } else { format!("names a file whose text {slip}") };
        if of_password {
            self.warn_at(key, problem);
            return None;
        }
        Some(problem)
    }

    /// Reads the path of a file of CA certificates (PEM), which must be readable now.
    pub fn pem_file(&mut self, name: &'static str) -> Option<PathBuf> {
        let path: PathBuf = self.value(name)?;
        let problem = match std::fs::read_to_string(&path) {
            Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => return Some(path),
            Ok(_) => format!("holds no certificate in PEM form: {}", path.display()),
            Err(error) => format!("cannot be read: {}: {error}", path.display()),
        };
        self.fault_at(name, problem);
        None
    }

    /// Returns the origin of a value that was read, in words; empty where it was not read.
    pub fn origin(&self, name: &str) -> String {
        self.typed_origin(name).map_or_else(String::new, ToString::to_string)
    }

    /// Returns the origin of a value that was read.
    pub fn typed_origin(&self, name: &str) -> Option<&Origin> {
        self.shown.iter().find(|shown| shown.key == name).map(|shown| &shown.origin)
    }

    /// Notes what is wrong with a value that was read.
    pub fn fault_at(&mut self, key: &'static str, problem: impl Into<String>) {
        let origin = self.origin(key);
        self.faults.push(ConfigError::new(key, &origin, problem));
    }

    /// Notes what is to be said of a value that was read.
    pub fn warn_at(&mut self, key: &'static str, text: impl AsRef<str>) {
        let origin = self.origin(key);
        self.warnings.push(format!("{key} (from {origin}) {}", text.as_ref()));
    }

    fn fault(&mut self, key: &Key, origin: &str, expected: &str, text: Option<&str>) {
        let given = match text {
            Some(text) if !key.secret => format!("is \"{}\", expected {expected}", printable(&mask_secrets(text))),
            _ => format!("is unusable, expected {expected}"),
        };
        let hint = text.and_then(slip).map_or_else(String::new, |slip| format!("; it {slip}"));
        self.faults.push(ConfigError::new(key.name, origin, given + &hint));
    }
}

/// Returns the text of a value, or of each item of a list; `None` for a table of TOML.
pub fn texts(raw: &Raw) -> Option<Vec<String>> {
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
