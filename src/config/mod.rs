//! Settings: read once from all their sources into typed values.
//!
//! Every fault is reported with its key and origin. The platform is chosen between two steps: [`Sources::runtime`] says
//! which one is wanted, and [`Sources::load`] takes what it implies.

pub(crate) mod config_file;
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
pub(crate) mod tailnet_clashes;
pub(crate) mod tailnets;
pub mod tailscale;
#[cfg(test)]
mod tests;
pub(crate) mod text_file;
pub mod types;
pub(crate) mod written;

use std::net::SocketAddr;

use crate::config::config_file::ConfigFile;
use crate::config::error::{ConfigError, ConfigErrors};
use crate::config::layers::{Flags, Layers};
use crate::config::reader::{Reader, Shown};
use crate::config::runtime::RuntimeSetting;
use crate::config::sections::supervisor::SupervisorSettings;
use crate::config::settings::Settings;
use crate::config::tailnets::{ChosenTailnet, TAILNET, TailnetName};
use crate::config::types::enums::OnFailure;
use crate::config::types::implied::Implied;
use crate::environment::Environment;
use crate::secret::Secret;

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
    /// Secrets that were read from what can be read only once, such as a pipe, by the name of their setting.
    pub read_once: Vec<(&'static str, Secret)>,
}

/// The sources that users write settings into.
pub struct Sources<'a> {
    environment: &'a Environment,
    file: Option<ConfigFile>,
    flags: Flags,
    names: Vec<TailnetName>,
    /// The tailnet that the command line names, as it stands there.
    named: Option<String>,
    chosen: Option<ChosenTailnet>,
    /// Secrets that another process has read from what can be read only once: name and text.
    kept: Vec<(String, String)>,
}

impl<'a> Sources<'a> {
    /// Reads the file of settings. `config` is the path given by `--config`.
    pub fn read(environment: &'a Environment, config: Option<&str>, flags: &Flags) -> Self {
        Self::new(environment, ConfigFile::read(environment, config), flags)
    }

    /// Takes a `file` that was read already. Where it has tables of tailnets, `--tailnet` among the `flags` names one of them.
    pub fn new(environment: &'a Environment, file: Option<ConfigFile>, flags: &Flags) -> Self {
        let names = file.as_ref().map(ConfigFile::tailnets).unwrap_or_default();
        let mut flags = flags.clone();
        let mut named = None;
        if file.as_ref().is_some_and(ConfigFile::has_tailnets) {
            named = flags.iter().rfind(|(name, _)| *name == TAILNET).map(|(_, value)| value.clone());
            flags.retain(|(name, _)| *name != TAILNET);
        }
        // One alone needs no name.
        let chosen = match names.as_slice() {
            [only] => Some(ChosenTailnet { name: only.clone(), is_supervised: false }),
            _ => None,
        };
        Self { environment, file, flags, names, named, chosen, kept: Vec::new() }
    }

    /// Returns the names of the tables of tailnets in the file.
    pub fn tailnets(&self) -> &[TailnetName] {
        &self.names
    }

    /// Returns the tailnet that the command line names, as it stands there.
    pub fn named_tailnet(&self) -> Option<&str> {
        self.named.as_deref()
    }

    /// Returns file and flags, for another process.
    pub fn parts(&self) -> (Option<&ConfigFile>, &Flags) {
        (self.file.as_ref(), &self.flags)
    }

    /// Reads the settings of this tailnet from now on; what stands at the top alone for `None`.
    pub fn choose(&mut self, tailnet: Option<ChosenTailnet>) {
        self.chosen = tailnet;
    }

    /// Returns the tailnet whose settings are read.
    pub fn chosen(&self) -> Option<&ChosenTailnet> {
        self.chosen.as_ref()
    }

    /// Takes secrets, by name and text, that another process has read from what can be read only once.
    pub fn keep(&mut self, secrets: Vec<(String, String)>) {
        self.kept = secrets;
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
            read_once: reader.read_once,
        }
    }

    /// Reads the settings of the process that keeps the daemons of several tailnets, from what stands at the top.
    pub fn supervisor(&self, runtime: RuntimeSetting, implied: &Implied) -> (SupervisorSettings, ReadTop) {
        let mut reader = Reader::new(self.add_to(Layers::new().implied(implied)));
        reader.faults.extend(runtime.fault);
        let settings = reader.supervisor();
        (settings, ReadTop { faults: reader.faults, warnings: reader.warnings, shown: in_table_order(reader.shown) })
    }

    fn add_to(&self, layers: Layers) -> Layers {
        layers.read(self.environment, self.file.as_ref(), self.chosen.as_ref(), &self.flags).with_kept(&self.kept)
    }
}

/// What was found where the settings of several tailnets were read, beside the settings.
#[derive(Debug)]
pub struct ReadTop {
    pub faults: Vec<ConfigError>,
    pub warnings: Vec<String>,
    pub shown: Vec<Shown>,
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
