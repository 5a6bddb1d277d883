//! Chooses the platform and reads the settings.
//!
//! The platform comes first, since it implies defaults of the settings.

use crate::config::layers::Flags;
use crate::config::settings::Settings;
use crate::config::tailnets::TailnetName;
use crate::config::types::implied::{Implied, MemoryDefault};
use crate::config::{Config, Sources};
use crate::environment::Environment;
use crate::exit_reason::ExitReason;
use crate::memory::budget::Share;
use crate::platform;
use crate::platform::interface::Platform;
use crate::supervisor::handover::Supervision;

/// The platform and the settings of one run of the program.
pub struct Configured {
    pub platform: &'static dyn Platform,
    pub config: Config,
    /// Name of the tailnet in a file of several.
    pub tailnet: Option<TailnetName>,
    /// Set where a supervisor has started this process.
    pub supervision: Option<Supervision>,
}

impl Configured {
    /// Returns the settings, or what is wrong with them.
    pub fn settings(&self) -> Result<&Settings, ExitReason> {
        let invalid = |faults| ExitReason::Configuration(format!("invalid configuration: {faults}"));
        self.config.settings.as_ref().map_err(invalid)
    }

    /// Returns the name of the tailnet in a file of several.
    pub fn tailnet_name(&self) -> Option<&str> {
        self.tailnet.as_ref().map(TailnetName::as_str)
    }
}

/// Reads all sources. `file` is the path given by `--config`, `share` tailscaled's part of what a control group allows.
pub fn load(environment: &Environment, file: Option<&str>, flags: &Flags, share: Option<Share>) -> Configured {
    read(&Sources::read(environment, file, flags), environment, share)
}

/// Reads the settings that `sources` have chosen.
pub fn read(sources: &Sources<'_>, environment: &Environment, share: Option<Share>) -> Configured {
    let runtime = sources.runtime(&platform::names());
    let platform = runtime.name.and_then(platform::named).unwrap_or_else(|| platform::detect(environment));
    let config = sources.load(runtime, &implied(platform, environment, share));
    Configured { platform, config, tailnet: sources.chosen().map(|chosen| chosen.name.clone()), supervision: None }
}

/// Puts together what the platform and the share of memory imply.
pub fn implied(platform: &dyn Platform, environment: &Environment, share: Option<Share>) -> Implied {
    Implied {
        platform: platform.name(),
        defaults: platform.defaults(environment),
        ca_dir: platform.ca_dir().filter(|directory| directory.is_dir()).map(Into::into),
        function: platform.function(environment),
        memory: share.map(|share| MemoryDefault { size: share.size(), origin: share.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::environment;

    #[test]
    fn in_lambda_nothing_is_served_but_by_a_tailscaled_of_ones_own() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), r#"{"TCP": {"443": {"HTTPS": true}}}"#).expect("written");
        let serve = ("TETHERD_SERVE_CONFIG", file.path().to_str().expect("UTF-8"));
        let lambda = ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001");
        for (given, is_refused) in [
            (&[serve][..], false),
            (&[serve, lambda], true),
            (&[serve, ("TETHERD_RUNTIME", "lambda")], true),
            (&[serve, lambda, ("TETHERD_TAILSCALED_PATH", "/usr/sbin/tailscaled")], false),
            (&[("TS_ROUTES", "10.0.0.0/8")], false),
            (&[("TS_ROUTES", "10.0.0.0/8"), lambda], true),
            (&[("TS_ROUTES", ""), lambda], false),
            (&[("TS_EXTRA_ARGS", "--advertise-exit-node"), lambda], true),
        ] {
            let settings = load(&environment(given), None, &vec![], None).config.settings;
            let faults = settings.err().map(|faults| faults.to_string()).unwrap_or_default();
            assert_eq!(faults.contains("is not for Lambda"), is_refused, "{given:?}: {faults}");
        }
    }

    #[test]
    fn in_lambda_it_is_said_that_logs_are_uploaded_only_by_a_tailscaled_of_ones_own() {
        let upload = ("TETHERD_LOG_UPLOAD", "true");
        let lambda = ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001");
        for (given, is_said) in [
            (&[upload][..], false),
            (&[lambda], false),
            (&[upload, lambda], true),
            (&[upload, lambda, ("TETHERD_TAILSCALED_PATH", "/usr/sbin/tailscaled")], false),
        ] {
            let warnings = load(&environment(given), None, &vec![], None).config.warnings;
            let said =
                warnings.iter().any(|warning| warning.starts_with("log_upload (from TETHERD_LOG_UPLOAD) does nothing"));
            assert_eq!(said, is_said, "{given:?}: {warnings:?}");
        }
    }
}
