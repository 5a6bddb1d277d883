//! Tells which environment variables are kept from child processes.

use crate::config::table::KEYS;
use crate::secret::redactor::Redactor;

/// Variables that are kept from child processes in addition to the secret settings: they bear secrets, or point at
/// them.
const SECRET_BEARING: [&str; 10] = [
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "TS_CLIENT_SECRET",
    // May hold an auth key among its flags.
    "TS_EXTRA_ARGS",
    "TS_ID_TOKEN",
    "TS_API_KEY",
    "TS_SECRET_API_KEY",
];

/// Whether a variable bears a secret: by its name, or because a known secret stands in its value.
pub fn bears_secret(name: &str, value: &str, redactor: &Redactor) -> bool {
    let of_a_key =
        KEYS.iter().filter(|key| key.secret).any(|key| key.variable() == name || key.aliases.contains(&name));
    of_a_key || SECRET_BEARING.contains(&name) || redactor.finds(value)
}
