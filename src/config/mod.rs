//! Settings: read once from all their sources into typed values.
//!
//! Every fault is reported with its key and origin. The platform is chosen between two steps: [`Sources::runtime`] says
//! which one is wanted, and [`Sources::load`] takes what it implies.

pub(crate) mod error;
pub(crate) mod layers;
pub(crate) mod origin;
pub(crate) mod pod_address;
pub(crate) mod reader;
pub(crate) mod runtime;
pub(crate) mod sections;
pub(crate) mod service_links;
pub(crate) mod settings;
pub mod table;
pub mod tailscale;
#[cfg(test)]
mod tests;
pub(crate) mod text_file;
pub mod types;
pub(crate) mod written;

use std::net::SocketAddr;

use crate::config::error::ConfigErrors;
use crate::config::layers::{ConfigFile, Flags, Layers};
use crate::config::reader::{Reader, Shown};
use crate::config::runtime::RuntimeSetting;
use crate::config::settings::Settings;
use crate::config::types::enums::OnFailure;
use crate::config::types::implied::Implied;
use crate::environment::Environment;

/// The settings, and what commands need where one of them is at fault.
#[derive(Debug)]
pub struct Config {
    /// Address at which the running daemon can be asked, also when another setting is at fault; `None` when this one
    /// is.
    pub health_listen: Option<SocketAddr>,
    /// What happens to a Lambda function whose extension fails, also when another setting is at fault.
    pub lambda_on_failure: OnFailure,
    /// The settings, or the faults of all sources.
    pub settings: Result<Settings, ConfigErrors>,
    /// Every value with its origin, for `check`.
    pub shown: Vec<Shown>,
    /// What is taken, and may not be what was meant.
    pub warnings: Vec<String>,
}

/// The sources that users write settings into.
pub struct Sources<'a> {
    environment: &'a Environment,
    file: Option<ConfigFile>,
    flags: &'a Flags,
}

impl<'a> Sources<'a> {
    /// Reads the file of settings. `config` is the path given by `--config`.
    pub fn read(environment: &'a Environment, config: Option<&str>, flags: &'a Flags) -> Self {
        Self { environment, file: ConfigFile::read(environment, config), flags }
    }

    /// Reads the setting `runtime`. `names` are those of all platforms.
    pub fn runtime(&self, names: &[&'static str]) -> RuntimeSetting {
        RuntimeSetting::read(&self.add_to(Layers::new()), names)
    }

    /// Reads all settings. `implied` is what the platform that was chosen by `runtime` implies.
    pub fn load(&self, runtime: RuntimeSetting, implied: &Implied) -> Config {
        let mut reader = Reader::new(self.add_to(Layers::new().implied(implied)));
        reader.faults.extend(runtime.fault);
        let settings = reader.settings(implied);
        reader.shown.push(Shown { key: "runtime", value: implied.platform.into(), origin: runtime.origin });
        Config {
            health_listen: reader.health_listen,
            lambda_on_failure: reader.lambda_on_failure.unwrap_or(OnFailure::Fail),
            settings: settings.ok_or(ConfigErrors(reader.faults)),
            shown: in_table_order(reader.shown),
            warnings: reader.warnings,
        }
    }

    fn add_to(&self, layers: Layers) -> Layers {
        layers.read(self.environment, self.file.as_ref(), self.flags)
    }
}

/// Reads all settings where nothing is implied, for the tests of this folder.
#[cfg(test)]
fn load(environment: &Environment, config: Option<&str>, flags: &Flags) -> Config {
    let sources = Sources::read(environment, config, flags);
    let implied = Implied { platform: "plain", defaults: Vec::new(), ca_dir: None, function: None, memory: None };
    sources.load(sources.runtime(&["plain"]), &implied)
}

fn in_table_order(mut shown: Vec<Shown>) -> Vec<Shown> {
    shown.sort_by_key(|shown| table::KEYS.iter().position(|key| key.name == shown.key));
    shown
}
