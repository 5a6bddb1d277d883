//! Reads the environment variables of the process.

use std::collections::BTreeMap;

/// Environment variables as they were when the program started: name and value. Bytes that are not UTF-8 are replaced.
pub type Environment = BTreeMap<String, String>;

/// Returns an environment of these names and values, for tests.
#[cfg(test)]
pub fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
