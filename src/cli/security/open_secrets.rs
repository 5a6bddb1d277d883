//! Secrets that stand where others may look, or let others in for long.

use crate::cli::security::facts::Facts;
use crate::config::origin::Origin;
use crate::config::sections::auth::AuthSource;
use crate::config::table::find_key;
use crate::secret::SecretSource;
use crate::secret::redactor::{CLIENT_SECRET_PREFIX, HEADSCALE_API_KEY_PREFIX};

pub fn in_the_environment(facts: &Facts<'_>) -> Vec<String> {
    let variables = given(facts).filter_map(|(key, origin)| {
        // Of TS_EXTRA_ARGS the origin names the flag, too.
        let name = origin.split(' ').next().unwrap_or_default();
        let value = facts.environment.get(name)?;
        (!value.starts_with("file:")).then(|| format!("{key} stands in the variable {name}"))
    });
    variables.collect()
}

pub fn on_the_command_line(facts: &Facts<'_>) -> Vec<String> {
    let flags = given(facts).filter(|(_, origin)| origin.starts_with("--"));
    flags.map(|(key, origin)| format!("{key} stands on the command line, as {origin}")).collect()
}

/// Lists the secret settings that were given, with their origins.
fn given<'a>(facts: &'a Facts<'_>) -> impl Iterator<Item = (&'static str, &'a str)> {
    facts.shown.iter().filter_map(|shown| match &shown.origin {
        Origin::Given(origin) if find_key(shown.key).is_some_and(|key| key.secret) => {
            Some((shown.key, origin.as_str()))
        }
        _ => None,
    })
}

pub fn long_lived_key(facts: &Facts<'_>) -> Vec<String> {
    let Some(AuthSource::Key(source)) = &facts.settings.auth else { return Vec::new() };
    let makes_keys =
        |secret: &str| secret.starts_with(CLIENT_SECRET_PREFIX) || secret.starts_with(HEADSCALE_API_KEY_PREFIX);
    let is_key = SecretSource::read(source).is_ok_and(|secret| !makes_keys(secret.expose()));
    is_key.then(|| "an auth key is stored, which lets nodes into the tailnet".to_owned()).into_iter().collect()
}
