//! Reads a function's settings from its environment, once.
//!
//! That is through a lookup that a test can replace. All faults are reported together.

use std::fmt;

/// Everything that is wrong with it.
#[derive(Debug, PartialEq)]
pub struct Faults(Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for Faults {}

/// Reads variables, and collects what is wrong with them.
pub struct Reader<L> {
    lookup: L,
    faults: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Reader<L> {
    pub fn new(lookup: L) -> Self {
        Self { lookup, faults: Vec::new() }
    }

    /// Unset and empty are the same: CloudFormation cannot leave a variable out.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// `None`, for the value that there is not.
    pub fn fault<T>(&mut self, text: String) -> Option<T> {
        self.faults.push(text);
        None
    }

    /// What was made of them, if nothing was wrong.
    pub fn finish<T>(self, settings: T) -> Result<T, Faults> {
        if self.faults.is_empty() { Ok(settings) } else { Err(Faults(self.faults)) }
    }
}
