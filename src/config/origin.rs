//! Where the value of a setting came from, as `check` and faults show it.

use std::fmt;

/// The text of [`Origin::NotSet`].
pub const NOT_SET: &str = "not set";

/// The source of a setting's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// No source has a value.
    NotSet,
    /// The built-in default.
    Default,
    /// The memory that the control group allows; the text says which part of it.
    ControlGroup(String),
    /// A default of the platform of this name.
    Platform(&'static str),
    /// Detection from the environment.
    Found,
    /// The setting of this name, which decides for another one.
    Because(&'static str),
    /// A file, variables or a flag, named as the user knows them.
    Given(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSet => f.write_str(NOT_SET),
            Self::Default => f.write_str("default"),
            Self::ControlGroup(part) => f.write_str(part),
            Self::Platform(name) => write!(f, "runtime {name}"),
            Self::Found => f.write_str("found"),
            Self::Because(key) => write!(f, "because of {key}"),
            Self::Given(source) => f.write_str(source),
        }
    }
}
