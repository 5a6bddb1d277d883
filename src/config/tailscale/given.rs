//! Settings that variables of Tailscale's image give.

use crate::config::error::ConfigError;

/// The value of a setting, given by one variable or by several together.
#[derive(Debug, PartialEq, Eq)]
pub struct Given {
    /// Name of the setting.
    pub key: &'static str,
    /// The variables that gave it, in the words of `check`.
    pub origin: String,
    pub value: String,
}

impl Given {
    pub fn new(key: &'static str, origin: &str, value: impl Into<String>) -> Self {
        Self { key, origin: origin.to_owned(), value: value.into() }
    }
}

/// What variables give, what is wrong with them, and what is to be said of them. No text repeats a value.
#[derive(Debug, Default)]
pub struct Translated {
    /// Settings; of two values for one the later counts.
    pub given: Vec<Given>,
    pub faults: Vec<ConfigError>,
    pub warnings: Vec<String>,
}

impl Translated {
    /// Adds a fault of the variable `name`.
    pub fn fault(&mut self, name: &str, problem: impl Into<String>) {
        self.faults.push(ConfigError::new(name, "environment", problem));
    }

    /// Adds everything of `other`, whose values count more.
    pub fn extend(&mut self, other: Self) {
        self.given.extend(other.given);
        self.faults.extend(other.faults);
        self.warnings.extend(other.warnings);
    }
}
