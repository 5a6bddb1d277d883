//! Chooses the platform and reads the settings.
//!
//! The platform comes first, since it implies defaults of the settings.

use crate::config::layers::Flags;
use crate::config::types::implied::{Implied, MemoryDefault};
use crate::config::{Config, Sources};
use crate::environment::Environment;
use crate::memory::budget::Share;
use crate::platform;
use crate::platform::interface::Platform;

/// The platform and the settings of one run of the program.
pub struct Configured {
    pub platform: &'static dyn Platform,
    pub config: Config,
}

/// Reads all sources. `file` is the path given by `--config`, `share` tailscaled's part of what a control group allows.
pub fn load(environment: &Environment, file: Option<&str>, flags: &Flags, share: Option<Share>) -> Configured {
    let sources = Sources::read(environment, file, flags);
    let runtime = sources.runtime(&platform::names());
    let platform = runtime.name.and_then(platform::named).unwrap_or_else(|| platform::detect(environment));
    let implied = Implied {
        platform: platform.name(),
        defaults: platform.defaults(environment),
        ca_dir: platform.ca_dir().filter(|directory| directory.is_dir()).map(Into::into),
        function: platform.function(environment),
        memory: share.map(|share| MemoryDefault { size: share.size(), origin: share.to_string() }),
    };
    Configured { platform, config: sources.load(runtime, &implied) }
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
        ] {
            let settings = load(&environment(given), None, &vec![], None).config.settings;
            let faults = settings.err().map(|faults| faults.to_string()).unwrap_or_default();
            assert_eq!(faults.contains("is not for Lambda"), is_refused, "{given:?}: {faults}");
        }
    }
}
