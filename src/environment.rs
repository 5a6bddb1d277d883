//! Reads the environment variables of the process.

use std::collections::BTreeMap;

/// Environment variables as they were when the program started: name and value. Bytes that are not UTF-8 are replaced.
pub type Environment = BTreeMap<String, String>;

/// Returns the value of a variable that is set and not empty, which is what counts as set for Go.
pub fn set_variable<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
    environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// Returns the first of these variables that is set and not empty, as Go reads those that have two names.
pub fn first_set<'a>(environment: &'a Environment, names: [&str; 2]) -> Option<&'a str> {
    names.iter().find_map(|name| set_variable(environment, name))
}

/// Returns an environment of these names and values, for tests.
#[cfg(test)]
pub fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
