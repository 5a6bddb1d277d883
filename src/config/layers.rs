//! The sources of settings, merged in their order; each value remembers its origin.
//!
//! A later source wins: default, control group, runtime, file, `TS_*`, `TETHERD_*`, table of a tailnet, command line.

use std::collections::BTreeMap;

use figment::value::{Dict, Value};

use crate::config::config_file::{ConfigFile, FILE_VARIABLE, given};
use crate::config::error::ConfigError;
use crate::config::origin::Origin;
use crate::config::pod_address::with_brackets;
use crate::config::service_links::is_service_link;
use crate::config::table;
use crate::config::table::{KEYS, Key};
use crate::config::tailnets::{ChosenTailnet, TailnetName, TailnetTables, table_origin};
use crate::config::tailscale::translate;
use crate::config::types::implied::Implied;
use crate::environment::Environment;
use crate::text::bare;

/// Settings given on the command line: key and value.
pub type Flags = Vec<(&'static str, String)>;

/// Variable that names the program which the wrapper of Lambda starts in place of the function's runtime: another wrapper.
pub const NEXT_WRAPPER: &str = "TETHERD_EXEC_WRAPPER_NEXT";

/// Setting that a supervised daemon has from the table of its tailnet alone.
const HEALTH: &str = "health_listen";

/// The `TETHERD_` names that are no settings.
const NO_SETTINGS: [&str; 2] = [FILE_VARIABLE, NEXT_WRAPPER];

/// A value with its origin.
#[derive(Clone, Debug)]
pub struct Found {
    pub value: Value,
    pub origin: Origin,
}

/// The merged sources, and their faults.
#[derive(Default)]
pub struct Layers {
    /// Value of the latest source, by the name of its setting.
    values: BTreeMap<&'static str, Found>,
    /// For each secret, by its name: which of the two a later source has set, the secret or its `_file` twin.
    winners: BTreeMap<&'static str, &'static str>,
    /// Faults of names and of the file; those of values are found when they are read.
    pub faults: Vec<ConfigError>,
    /// What is taken, and may not be what was meant.
    pub warnings: Vec<String>,
}

impl Layers {
    /// Starts with the built-in defaults.
    pub fn new() -> Self {
        let mut layers = Self::default();
        for key in KEYS {
            if let Some(default) = key.default {
                layers.add(Origin::Default, key, default.into());
            }
        }
        layers
    }

    /// Adds the defaults of control group and platform.
    pub fn implied(mut self, implied: &Implied) -> Self {
        if let Some(memory) = &implied.memory {
            self.imply(&Origin::ControlGroup(memory.origin.clone()), "memory_limit", &memory.size);
        }
        for (name, value) in &implied.defaults {
            self.imply(&Origin::Platform(implied.platform), name, value);
        }
        self
    }

    fn imply(&mut self, origin: &Origin, name: &str, value: &str) {
        if let Some(key) = table::find_key(name) {
            self.add(origin.clone(), key, value.into());
        }
    }

    /// Adds the file, the two families of variables, the table of the `chosen` tailnet and the command line.
    pub fn read(
        mut self,
        environment: &Environment,
        file: Option<&ConfigFile>,
        chosen: Option<&ChosenTailnet>,
        flags: &Flags,
    ) -> Self {
        let tables = file.map(|file| self.file(file)).unwrap_or_default();
        self.known_variables(environment);
        self.own_variables(environment);
        let Some((chosen, file)) = chosen.zip(file) else {
            self.command_line(flags, |_| true);
            return self;
        };
        if chosen.is_supervised {
            // At the top, and on the command line, it is the one health port of all tailnets.
            self.values.remove(HEALTH);
        }
        let origin = table_origin(&file.origin, &chosen.name);
        if let Some((_, table)) = tables.into_iter().find(|(name, _)| *name == chosen.name) {
            self.table(table, &origin);
        }
        self.command_line(flags, |name| name != HEALTH || !chosen.is_supervised);
        self.part_state_dir(chosen, &origin);
        self
    }

    /// Gives the tailnet a part of its own of a `state_dir` that counts for all.
    fn part_state_dir(&mut self, chosen: &ChosenTailnet, of_table: &Origin) {
        if let Some(Found { value: Value::String(_, path), origin }) = self.values.get_mut("state_dir")
            && origin != of_table
            && !bare(path).is_empty()
        {
            *path = format!("{}/{}", bare(path).trim_end_matches('/'), chosen.name);
        }
    }

    /// Replaces secrets, given as name and text, that were read from what can be read only once.
    pub fn with_kept(mut self, kept: &[(String, String)]) -> Self {
        for (name, text) in kept {
            if let Some(key) = table::find_key(name) {
                let file = table::find_key(&format!("{name}_file")).and_then(|twin| self.find(twin));
                let origin = file.or_else(|| self.find(key)).map_or(Origin::NotSet, |found| found.origin.clone());
                self.add(origin, key, text.clone().into());
            }
        }
        self
    }

    fn command_line(&mut self, flags: &Flags, counts: impl Fn(&str) -> bool) {
        for (name, value) in flags.iter().filter(|(name, _)| counts(name)) {
            if let Some(key) = table::find_key(name) {
                self.add(Origin::Given(format!("--{}", key.flag())), key, value.clone().into());
            }
        }
    }

    /// Returns the value that counts. `None` when no source has it, or a later source set its twin.
    pub fn find(&self, key: &Key) -> Option<&Found> {
        let secret = key.twin_of().map_or(key.name, |of| of.name);
        if self.winners.get(secret).is_some_and(|winner| *winner != key.name) {
            return None;
        }
        self.values.get(key.name)
    }

    fn add(&mut self, origin: Origin, key: &'static Key, value: Value) {
        let secret = key.twin_of().or(key.secret.then_some(key));
        if let Some(secret) = secret {
            self.winners.insert(secret.name, key.name);
        }
        self.values.insert(key.name, Found { value, origin });
    }

    /// Adds what stands at the top of the file. Returns the tables of tailnets.
    fn file(&mut self, file: &ConfigFile) -> Vec<(TailnetName, Dict)> {
        let mut values = match file.values() {
            Ok(values) => values,
            Err(problem) => {
                self.faults.push(ConfigError::new("config", &file.origin, problem));
                return Vec::new();
            }
        };
        let found = TailnetTables::take_from(&mut values, &file.origin);
        self.faults.extend(found.faults);
        self.table(values, &Origin::Given(file.origin.clone()));
        found.tables
    }

    fn table(&mut self, values: Dict, origin: &Origin) {
        let named = origin.to_string();
        for name in values.keys() {
            if let Some(key) = table::find_key(name).filter(|key| key.secret)
                && values.contains_key(&format!("{name}_file"))
            {
                self.faults.push(both_given(key, &named));
            }
        }
        for (name, value) in values {
            match table::find_key(&name) {
                Some(key) => self.add(origin.clone(), key, value),
                None => self.faults.push(ConfigError::unknown(&name, table::nearest(&name), &named)),
            }
        }
    }

    fn known_variables(&mut self, environment: &Environment) {
        for key in KEYS {
            // The first name counts most.
            for (alias, value) in
                key.aliases.iter().rev().filter_map(|alias| Some((*alias, given(environment, alias)?)))
            {
                self.add_variable(alias, key, value, environment);
            }
        }
        self.refuse_twins_by_aliases(environment);
        // Applied after the plain variables: in Tailscale's image, too, TS_EXTRA_ARGS wins over a variable for the same
        // setting.
        let translated = translate::translate(environment);
        self.faults.extend(translated.faults);
        self.warnings.extend(translated.warnings);
        for given in translated.given {
            if let Some(key) = table::find_key(given.key) {
                self.add_variable(&given.origin, key, &given.value, environment);
            }
        }
    }

    /// Notes a fault where other names of a secret and of its file are both given.
    fn refuse_twins_by_aliases(&mut self, environment: &Environment) {
        let first = |key: &Key| key.aliases.iter().copied().find(|alias| given(environment, alias).is_some());
        for file in KEYS {
            if let Some(secret) = file.twin_of()
                && let (Some(one), Some(other)) = (first(secret), first(file))
            {
                self.faults.push(ConfigError::new(
                    one,
                    "environment",
                    format!("is given together with {other}: give only one of them"),
                ));
            }
        }
    }

    fn own_variables(&mut self, environment: &Environment) {
        let in_kubernetes = environment.contains_key("KUBERNETES_SERVICE_HOST");
        for (variable, value) in environment {
            let Some(name) = variable.strip_prefix("TETHERD_") else { continue };
            if NO_SETTINGS.contains(&variable.as_str()) || (in_kubernetes && is_service_link(name, value)) {
                continue;
            }
            let name = name.to_lowercase();
            match table::find_key(&name) {
                // An empty variable is one that is not set, as for the names of Tailscale's image.
                Some(_) if bare(value).is_empty() => {}
                Some(key) => {
                    if key.secret && given(environment, &format!("{variable}_FILE")).is_some() {
                        self.faults.push(both_given(key, variable));
                    }
                    self.add_variable(variable, key, value, environment);
                }
                None => self.faults.push(ConfigError::unknown(variable, table::nearest(&name), "environment")),
            }
        }
    }

    fn add_variable(&mut self, origin: &str, key: &'static Key, value: &str, environment: &Environment) {
        let value = if key.listens() { with_brackets(value, environment) } else { value.to_owned() };
        self.add(Origin::Given(origin.to_owned()), key, value.into());
    }
}

fn both_given(key: &Key, origin: &str) -> ConfigError {
    ConfigError::new(key.name, origin, format!("is given together with {}_file: give only one of them", key.name))
}
