//! The values that sources of auth keys need besides their own settings.

use std::path::Path;

use crate::environment::Environment;
use crate::secret::redactor::Redactor;

/// Settings and surroundings that sources of auth keys share.
pub struct KeyContext<'a> {
    pub environment: &'a Environment,
    /// PEM file of CA certificates to trust, the user's.
    pub ca_file: Option<&'a Path>,
    /// Directory of further CA certificates to trust, the platform's.
    pub ca_directory: Option<&'a Path>,
    /// Base address of Tailscale's API, without a slash at its end.
    pub api_url: &'a str,
    /// Tailnet that keys are made for; `-` is the credential's own.
    pub tailnet: &'a str,
    /// Address of the control server; `None` for Tailscale's.
    pub control_url: Option<&'a str>,
    /// Tags that keys are made with.
    pub tags: Vec<String>,
    /// Whether AWS's instance metadata service may be asked.
    pub imds: bool,
    /// Redactor that learns every secret that is fetched or made.
    pub redactor: Redactor,
}
