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
