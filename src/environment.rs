//! The environment variables of the process.

use std::collections::BTreeMap;

/// Environment variables as they were when the program started: name and value. Bytes that are not UTF-8 are replaced.
pub type Environment = BTreeMap<String, String>;

/// Returns the first of these variables that is set and not empty, as Go reads those that have two names.
pub fn first_set<'a>(environment: &'a Environment, names: [&str; 2]) -> Option<&'a str> {
    names.iter().filter_map(|name| environment.get(*name)).map(String::as_str).find(|value| !value.is_empty())
}

/// Returns an environment of these names and values, for tests.
#[cfg(test)]
pub fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
