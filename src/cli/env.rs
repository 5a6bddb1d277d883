//! `tetherd env`: the proxy variables, for a shell, a dotenv file or a program.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::config::settings::Settings;
use crate::config::types::address::Listen;
use crate::daemon::exec::proxy_variables::ProxyVariables;
use crate::environment::Environment;
use crate::exit_reason::ExitReason;
use crate::platform::interface::Platform;

/// How they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Sh,
    Dotenv,
    Json,
}

impl Form {
    pub const NAMES: [&str; 3] = ["sh", "dotenv", "json"];

    pub fn named(name: &str) -> Option<Self> {
        [Self::Sh, Self::Dotenv, Self::Json]
            .into_iter()
            .zip(Self::NAMES)
            .find(|(_, known)| *known == name)
            .map(|it| it.0)
    }
}

pub fn run_env(
    settings: &Settings,
    platform: &dyn Platform,
    environment: &Environment,
    form: Form,
) -> Result<(), ExitReason> {
    let variables = variables(settings, platform, environment)?;
    crate::cli::output::say(written(&variables, form).trim_end());
    Ok(())
}

/// The variables that lead to the daemon with these settings.
pub fn variables(
    settings: &Settings,
    platform: &dyn Platform,
    environment: &Environment,
) -> Result<ProxyVariables, ExitReason> {
    let unknown = |why: &str| ExitReason::Configuration(format!("the proxy's address is not known: {why}"));
    let listener = settings.socks_listen.iter().find_map(Listen::tcp);
    let listener =
        listener.ok_or_else(|| unknown("socks_listen has no TCP address; add one such as 127.0.0.1:1055"))?;
    if listener.port() == 0 {
        return Err(unknown("socks_listen has port 0, which is another at every start; choose a port"));
    }
    let direct = platform.direct_hosts(environment);
    Ok(ProxyVariables::new(listener, settings.socks_credentials.as_ref(), &direct, environment))
}

fn written(variables: &ProxyVariables, form: Form) -> String {
    let mut text = String::new();
    for (name, value) in variables.in_both_cases() {
        // Writing to a String does not fail.
        let _ = match form {
            Form::Sh => writeln!(text, "export {name}={}", quoted(value)),
            Form::Dotenv => writeln!(text, "{name}={value}"),
            Form::Json => Ok(()),
        };
    }
    if form == Form::Json {
        let object: Map<String, Value> = variables.in_both_cases().map(|(name, value)| (name, value.into())).collect();
        let _ = writeln!(text, "{}", Value::from(object));
    }
    text
}

/// Within single quotes a shell takes everything as it is, but for the quote itself.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
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
        assert_eq!(Form::NAMES.map(Form::named), [Some(Form::Sh), Some(Form::Dotenv), Some(Form::Json)]);
        assert_eq!(Form::named("fish"), None);
    }
}
