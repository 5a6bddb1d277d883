//! The environment variables of the process.

use std::collections::BTreeMap;

/// Environment variables as they were when the program started: name and value. What is not UTF-8 is replaced.
pub type Environment = BTreeMap<String, String>;

/// The environment of a test.
#[cfg(test)]
pub fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
