//! A setting that a variable of Tailscale's image gives.

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
