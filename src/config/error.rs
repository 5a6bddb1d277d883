//! What is wrong with a setting: the key, where it came from, and what would be right.

use std::fmt;

/// One fault. Never holds the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub key: String,
    pub origin: String,
    pub problem: String,
}

impl ConfigError {
    pub fn new(key: &str, origin: &str, problem: impl Into<String>) -> Self {
        Self { key: key.to_owned(), origin: origin.to_owned(), problem: problem.into() }
    }

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

/// All faults found, one a line.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct ConfigErrors(pub Vec<ConfigError>);
