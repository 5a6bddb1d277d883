//! Defaults that come from where the daemon runs: platform and control group.
//!
//! Plain data, so that the settings are read without knowing either.

use std::path::PathBuf;

/// Default values in the form of a setting, each behind the name of its setting.
pub type Defaults = Vec<(&'static str, String)>;

/// Default of `memory_limit` that the control group implies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryDefault {
    /// Amount in the form of the setting, such as `204MiB`.
    pub size: String,
    /// Part of the control group's limit that this is, in words.
    pub origin: String,
}

/// Everything that platform and control group imply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Implied {
    /// Name of the platform, as the setting `runtime` has it.
    pub platform: &'static str,
    /// Defaults of the platform; they win over the built-in ones and over `memory`.
    pub defaults: Defaults,
    /// Directory of the platform with more CA certificates.
    pub ca_dir: Option<PathBuf>,
    /// Name of the function that the daemon serves.
    pub function: Option<String>,
    /// `None` where no control group bounds memory, or nobody looked.
    pub memory: Option<MemoryDefault>,
}
