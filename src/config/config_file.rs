//! The file of settings: reads it once, and finds the tables of tailnets in it.

use figment::providers::{Format, Toml};
use figment::value::Dict;
use figment::{Profile, Provider};

use crate::config::tailnets::{TailnetName, TailnetTables};
use crate::environment::Environment;
use crate::text::bare;

/// Variable that names the file of settings.
pub const FILE_VARIABLE: &str = "TETHERD_CONFIG";

/// The file of settings. Read once, since it may be a pipe.
#[derive(Debug)]
pub struct ConfigFile {
    /// "file" and the path.
    pub origin: String,
    pub text: Result<String, String>,
}

impl ConfigFile {
    /// Reads the file of `--config`, or else by the environment; `None` where neither names one.
    pub fn read(environment: &Environment, given_path: Option<&str>) -> Option<Self> {
        let path = given_path.or(given(environment, FILE_VARIABLE).map(bare))?;
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"));
        Some(Self { origin: format!("file {path}"), text })
    }

    /// Returns the names of the tailnets that have a table, in their order by name.
    pub fn tailnets(&self) -> Vec<TailnetName> {
        let mut values = self.values().unwrap_or_default();
        TailnetTables::take_from(&mut values, "").tables.into_iter().map(|(name, _)| name).collect()
    }

    /// Whether `tailnet` stands there for tables of tailnets, well made or not.
    pub fn has_tailnets(&self) -> bool {
        let mut values = self.values().unwrap_or_default();
        let found = TailnetTables::take_from(&mut values, "");
        !found.tables.is_empty() || !found.faults.is_empty()
    }

    /// Returns the values by their names, or the problem of a file that cannot be read or is not TOML.
    pub fn values(&self) -> Result<Dict, String> {
        let text = self.text.as_ref().map_err(Clone::clone)?;
        let mut profiles = Toml::string(text.trim_start_matches('\u{feff}')).data().map_err(|error| {
            // figment's message quotes the line at fault, which may hold a secret.
            format!("is not TOML: {}", error.to_string().lines().next().unwrap_or_default())
        })?;
        Ok(profiles.remove(&Profile::Default).unwrap_or_default())
    }
}

/// Returns the value of a variable that holds something.
pub fn given<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
    environment.get(name).map(String::as_str).filter(|value| !bare(value).is_empty())
}
