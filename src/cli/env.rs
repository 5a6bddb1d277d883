//! `tetherd env`: prints the proxy variables for a shell, a file or a program.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::config::settings::Settings;
use crate::config::types::address::Listen;
use crate::daemon::exec::proxy_variables::ProxyVariables;
use crate::environment::Environment;
use crate::exit_reason::ExitReason;
use crate::platform::interface::Platform;

/// How the variables are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvForm {
    Sh,
    Dotenv,
    Json,
}

impl EnvForm {
    /// Names of the forms, as the command line has them.
    pub const NAMES: [&str; 3] = ["sh", "dotenv", "json"];

    /// Finds a form by its name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Sh, Self::Dotenv, Self::Json]
            .into_iter()
            .zip(Self::NAMES)
            .find(|(_, known)| *known == name)
            .map(|it| it.0)
    }
}

/// Prints the variables. Fails where the proxy's address is not known.
pub fn run_env(
    settings: &Settings,
    platform: &dyn Platform,
    environment: &Environment,
    form: EnvForm,
) -> Result<(), ExitReason> {
    let variables = configured_proxy_variables(settings, platform, environment)?;
    if let Some(warning) = without_password_for_programs(settings) {
        crate::cli::output::complain(&format!("tetherd: warning: {warning}"));
    }
    crate::cli::output::say(written(&variables, form).trim_end());
    Ok(())
}

/// Builds the variables that lead to a daemon with these settings. Fails where the proxy's address is not known.
pub fn configured_proxy_variables(
    settings: &Settings,
    platform: &dyn Platform,
    environment: &Environment,
) -> Result<ProxyVariables, ExitReason> {
    let unknown = |why: &str| ExitReason::Configuration(format!("the proxy's address is not known: {why}"));
    let mut listeners = settings.socks_listen.iter().filter(|listen| !settings.proxy_protocol.contains(listen));
    let listener = listeners.find_map(Listen::tcp).ok_or_else(|| {
        unknown("socks_listen has no TCP address that is not in proxy_protocol; add one such as 127.0.0.1:1055")
    })?;
    if listener.port() == 0 {
        return Err(unknown("socks_listen has port 0, which is another at every start; choose a port"));
    }
    let direct = platform.direct_hosts(environment);
    let proxy = (listener, settings.env_all_proxy);
    Ok(ProxyVariables::new(proxy, settings.socks_credentials.as_ref(), &direct, environment))
}

/// Writes the variables in `form`.
fn written(variables: &ProxyVariables, form: EnvForm) -> String {
    let mut text = String::new();
    for (name, value) in variables.in_both_cases() {
        // Writing to a String does not fail.
        let _ = match form {
            EnvForm::Sh => writeln!(text, "export {name}={}", quoted(value)),
            EnvForm::Dotenv => writeln!(text, "{name}={value}"),
            EnvForm::Json => Ok(()),
        };
    }
    if form == EnvForm::Json {
        let object: Map<String, Value> = variables.in_both_cases().map(|(name, value)| (name, value.into())).collect();
        let _ = writeln!(text, "{}", Value::from(object));
    }
    text
}

/// Quotes `value` for a shell, which takes everything within single quotes as it is, but for the quote itself.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Returns what is to be said where the variables of a program get no password though the proxy asks for one.
pub fn without_password_for_programs(settings: &Settings) -> Option<&'static str> {
    (settings.users.is_some() && settings.socks_credentials.is_none()).then_some(
        "the proxy variables hold no user and password: of those in the file of users tetherd knows hashes alone; \
         set socks_user and socks_password beside it for the programs that get the variables",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_cannot_be_left() {
        assert_eq!(quoted("a b;$(c)"), "'a b;$(c)'");
        assert_eq!(quoted("a'; rm 'b"), r"'a'\''; rm '\''b'");
    }

    #[test]
    fn every_form_is_found_by_its_name() {
        assert_eq!(EnvForm::NAMES.map(EnvForm::named), [Some(EnvForm::Sh), Some(EnvForm::Dotenv), Some(EnvForm::Json)]);
        assert_eq!(EnvForm::named("fish"), None);
    }
}
