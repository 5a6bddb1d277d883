//! Faults of settings: the key, the origin of the value, and what would be right.

use std::fmt;

/// Fault of one setting. Never holds the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Name of the setting, or a given name that is no setting.
    pub key: String,
    /// Source that gave the value, in words.
    pub origin: String,
    /// Predicate of the message, such as "is empty, expected …".
    pub problem: String,
}

impl ConfigError {
    pub fn new(key: &str, origin: &str, problem: impl Into<String>) -> Self {
        Self { key: key.to_owned(), origin: origin.to_owned(), problem: problem.into() }
    }

    /// Fault of a name that is no setting. `nearest` is the known name that may be meant.
    pub fn unknown(name: &str, nearest: Option<&str>, origin: &str) -> Self {
        let hint = nearest.map_or_else(
            || "`tetherd --help` lists the settings".to_owned(),
            |nearest| format!("did you mean {nearest}?"),
        );
        Self::new(name, origin, format!("is not a known setting: {hint}"))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (from {}) {}", self.key, self.origin, self.problem)
    }
}

/// All faults of one reading.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct ConfigErrors(pub Vec<ConfigError>);
