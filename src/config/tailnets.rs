//! Several tailnets in one file of settings: tables `[tailnet.NAME]`.
//!
//! What stands at the top counts for all of them, what stands in a table for that one.

use std::fmt;

use figment::value::{Dict, Value};

use crate::config::error::ConfigError;
use crate::config::origin::Origin;

/// Name of the key, and of the flag that chooses a tailnet. As a text it is the setting of the table of keys.
pub const TAILNET: &str = "tailnet";

/// Longest name of a tailnet, in bytes.
const LONGEST_NAME: usize = 32;

/// Form of a name, for messages.
const NAME_EXPECTED: &str = "1 to 32 lower-case letters, digits, - and _, the first of them a letter or a digit";

/// Name of a tailnet in the file of settings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TailnetName(String);

impl TailnetName {
    /// Parses a name: 1 to 32 of `a-z0-9_-`, which begins with a letter or a digit.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let fits = text.len() <= LONGEST_NAME
            && text.starts_with(is_plain)
            && text.chars().all(|c| is_plain(c) || matches!(c, '-' | '_'));
        fits.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TailnetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tailnet whose settings are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenTailnet {
    pub name: TailnetName,
    /// Whether the daemon is one of a supervisor, which has the health port of all.
    pub is_supervised: bool,
}

/// The tables of a file.
#[derive(Debug, Default)]
pub struct TailnetTables {
    pub tables: Vec<(TailnetName, Dict)>,
    pub faults: Vec<ConfigError>,
}

impl TailnetTables {
    /// Takes the tables out of a file's values, which came from `origin`. Leaves the setting `tailnet` there, a text.
    pub fn take_from(values: &mut Dict, origin: &str) -> Self {
        let mut found = Self::default();
        match values.get(TAILNET) {
            Some(Value::Dict(..)) => {}
            Some(Value::Array(_, items)) if items.iter().any(|item| matches!(item, Value::Dict(..))) => {
                values.remove(TAILNET);
                let problem = "is a list of tables: write each tailnet as a table [tailnet.NAME]";
                found.faults.push(ConfigError::new(TAILNET, origin, problem));
                return found;
            }
            _ => return found,
        }
        let Some(Value::Dict(_, entries)) = values.remove(TAILNET) else { return found };
        if entries.is_empty() {
            let problem = "is a table without tailnets: write each as a table [tailnet.NAME]";
            found.faults.push(ConfigError::new(TAILNET, origin, problem));
        }
        for (name, value) in entries {
            let key = format!("{TAILNET}.{name}");
            match (TailnetName::parse(&name), value) {
                (Some(name), Value::Dict(_, table)) => found.tables.push((name, table)),
                (None, Value::Dict(..)) => {
                    found.faults.push(ConfigError::new(
                        &key,
                        origin,
                        format!("has no name of a tailnet: {NAME_EXPECTED}"),
                    ));
                }
                (_, _) => {
                    let problem = "is a setting where tables of tailnets stand: write it below a table [tailnet.NAME]";
                    found.faults.push(ConfigError::new(&key, origin, problem));
                }
            }
        }
        found
    }
}

/// Returns the origin of values in the table of a tailnet.
pub fn table_origin(file: &str, name: &TailnetName) -> Origin {
    Origin::Given(format!("{file} [{TAILNET}.{name}]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_plain_words() {
        let long = "a".repeat(32);
        for (text, fits) in [
            ("office", true),
            ("1-a_b", true),
            (long.as_str(), true),
            (&format!("{long}a"), false),
            ("", false),
            ("-a", false),
            ("_a", false),
            ("Office", false),
            ("a.b", false),
            ("a/b", false),
            ("a b", false),
            ("büro", false),
        ] {
            assert_eq!(TailnetName::parse(text).is_some(), fits, "{text}");
        }
    }
}
