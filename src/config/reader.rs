//! Reads single values from the layers: every fault is collected, none ends the reading, and each value is noted for
//! `check`.

use std::net::SocketAddr;
use std::path::PathBuf;

use figment::value::Value as Raw;

use crate::config::error::ConfigError;
use crate::config::layers::Layers;
use crate::config::table;
use crate::config::table::Key;
use crate::config::types::Value;
use crate::config::types::enums::OnFailure;
use crate::secret::redactor::{looks_like_a_key, mask_secrets};
use crate::secret::{MASK, SecretSource};

/// The origin of a value that no source has.
pub const NOT_SET: &str = "not set";

/// One line of `tetherd check`.
#[derive(Clone, Debug)]
pub struct Shown {
    pub key: &'static str,
    pub value: String,
    pub origin: String,
}

/// Reads values and collects what is wrong with them, and what `check` shows.
pub struct Reader {
    layers: Layers,
    pub faults: Vec<ConfigError>,
    pub shown: Vec<Shown>,
    pub health_listen: Option<SocketAddr>,
    pub lambda_on_failure: Option<OnFailure>,
    pub lambda_metrics: bool,
}

impl Reader {
    pub fn new(mut layers: Layers) -> Self {
        let faults = std::mem::take(&mut layers.faults);
        Self { layers, faults, shown: Vec::new(), health_listen: None, lambda_on_failure: None, lambda_metrics: false }
    }

    /// Notes the value for `check` and returns its text parts: one, or those of a list.
    fn parts(&mut self, name: &'static str) -> Option<(&'static Key, Vec<String>, String)> {
        let key = table::find_key(name).unwrap_or_else(|| unreachable!("{name} is not in the table of keys"));
        let Some((raw, origin)) = self.layers.find(key) else {
            self.shown.push(Shown { key: name, value: String::new(), origin: NOT_SET.into() });
            return None;
        };
        let Some(parts) = texts(&raw) else {
            self.fault(key, &origin, "a single value or a list of them", None);
            return None;
        };
        let value = if key.secret { MASK.to_owned() } else { mask_secrets(&parts.join(",")) };
        self.shown.push(Shown { key: name, value, origin: origin.clone() });
        Some((key, parts, origin))
    }

    pub fn value<T: Value>(&mut self, name: &'static str) -> Option<T> {
        let (key, parts, origin) = self.parts(name)?;
        let text = parts.join(",");
        let value = T::parse(text.trim());
        if value.is_none() {
            self.fault(key, &origin, T::EXPECTED, Some(&text));
        }
        value
    }

    pub fn list<T: Value>(&mut self, name: &'static str) -> Vec<T> {
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
    pub fn filled_list<T: Value>(&mut self, name: &'static str) -> Vec<T> {
        let faults = self.faults.len();
        let values = self.list(name);
        if values.is_empty() && self.faults.len() == faults {
            self.fault_at(name, format!("is empty, expected {}", T::EXPECTED));
        }
        values
    }

    /// A secret from the key itself, its `file:` form or its `_file` twin. A file must be readable now; its content
    /// is read when it is needed.
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
                Ok(source) => return Some(source),
                Err(error) => error.to_string(),
            },
        };
        self.fault_at(key, problem);
        None
    }

    /// A file of roots to trust, which must be readable now.
    pub fn roots(&mut self, name: &'static str) -> Option<PathBuf> {
        let path: PathBuf = self.value(name)?;
        let problem = match std::fs::read_to_string(&path) {
            Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => return Some(path),
            Ok(_) => format!("holds no certificate in PEM form: {}", path.display()),
            Err(error) => format!("cannot be read: {}: {error}", path.display()),
        };
        self.fault_at(name, problem);
        None
    }

    pub fn origin(&self, name: &str) -> String {
        self.shown.iter().find(|shown| shown.key == name).map_or_else(String::new, |shown| shown.origin.clone())
    }

    /// Notes what is wrong with a value that was read.
    pub fn fault_at(&mut self, key: &'static str, problem: impl Into<String>) {
        let origin = self.origin(key);
        self.faults.push(ConfigError::new(key, &origin, problem));
    }

    fn fault(&mut self, key: &Key, origin: &str, expected: &str, text: Option<&str>) {
        let given = match text {
            Some(text) if !key.secret => format!("is \"{}\", expected {expected}", mask_secrets(text)),
            _ => format!("is unusable, expected {expected}"),
        };
        self.faults.push(ConfigError::new(key.name, origin, given));
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
