//! Types of settings: how text becomes a value.
//!
//! Each type says what it expects, for the message of a fault.

pub(crate) mod address;
pub mod enums;
pub(crate) mod exit_node;
pub(crate) mod implied;
pub mod local_targets;
pub(crate) mod node_label;
pub(crate) mod rule;
pub(crate) mod units;

use std::path::PathBuf;

/// A type that a setting can have.
pub trait Value: Sized {
    /// Description of right values, to stand after "expected".
    const EXPECTED: &'static str;

    /// Whether any text will do, so that a slip of writing is not found by the form.
    const FREE: bool = false;

    /// Parses `text`; `None` when it is not usable.
    fn parse(text: &str) -> Option<Self>;
}

impl Value for String {
    const EXPECTED: &'static str = "a text that is not empty";
    const FREE: bool = true;

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";
    const FREE: bool = true;

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.into())
    }
}

/// Arguments for tailscaled, separated by white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

impl Value for Words {
    const EXPECTED: &'static str = "arguments separated by spaces";

    fn parse(text: &str) -> Option<Self> {
        Some(Self(text.split_whitespace().map(str::to_owned).collect()))
    }
}
