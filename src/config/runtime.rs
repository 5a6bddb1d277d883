//! The setting `runtime`, read before all others.
//!
//! It chooses the platform, which implies defaults of the others.

use crate::config::error::ConfigError;
use crate::config::layers::Layers;
use crate::config::origin::Origin;
use crate::config::table;
use crate::text::bare;

/// Finds the platform from the environment, as without the setting.
const AUTO: &str = "auto";

/// Value of the setting `runtime`.
#[derive(Debug)]
pub struct RuntimeSetting {
    /// Name of the chosen platform; `None` where it is to be found from the environment.
    pub name: Option<&'static str>,
    pub origin: Origin,
    /// Fault of a value that names no platform.
    pub fault: Option<ConfigError>,
}

impl RuntimeSetting {
    /// Reads the setting from `layers`. `names` are those of all platforms.
    pub fn read(layers: &Layers, names: &[&'static str]) -> Self {
        let found = Self { name: None, origin: Origin::Found, fault: None };
        let Some(setting) = table::find_key("runtime").and_then(|key| layers.find(key)) else { return found };
        let text = setting.value.as_str().map(bare);
        let is = |word: &str| text.is_some_and(|text| text.eq_ignore_ascii_case(word));
        if is(AUTO) {
            return found;
        }
        let name = names.iter().copied().find(|name| is(name));
        let fault = name.is_none().then(|| {
            let problem = format!("is unknown, expected {}", choices(names));
            ConfigError::new("runtime", &setting.origin.to_string(), problem)
        });
        Self { name, origin: setting.origin.clone(), fault }
    }
}

/// Lists the values of `runtime`, such as "auto, ecs or plain". `names` are those of all platforms.
pub fn choices(names: &[&str]) -> String {
    match names {
        [] => AUTO.to_owned(),
        [others @ .., last] => {
            let all: Vec<&str> = [AUTO].into_iter().chain(others.iter().copied()).collect();
            format!("{} or {last}", all.join(", "))
        }
    }
}
