//! Takes the auth key from a text or a file: settings `auth_key`, `auth_key_file`.

use futures_util::future::{BoxFuture, ready};

use crate::auth_keys::error::KeyError;
use crate::auth_keys::fetched::Fetched;
use crate::auth_keys::key_source::KeySource;
use crate::secret::redactor::{CLIENT_SECRET_PREFIX, HEADSCALE_API_KEY_PREFIX};
use crate::secret::{Secret, SecretSource};

/// An auth key or a credential that is given in the settings or in a file. A file is read anew at each fetch.
pub struct TextSource {
    text: SecretSource,
}

impl TextSource {
    pub fn new(text: SecretSource) -> Self {
        Self { text }
    }
}

impl KeySource for TextSource {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, KeyError>> {
        let secret = read_secret("the auth key", &self.text);
        Box::pin(ready(secret.map(|secret| Fetched::kept(secret, None))))
    }

    /// Whether the text is now a credential from which an API makes auth keys. A file may hold another kind later.
    fn needs_network(&self) -> bool {
        let prefixes = [CLIENT_SECRET_PREFIX, HEADSCALE_API_KEY_PREFIX];
        self.text.read().is_ok_and(|secret| prefixes.iter().any(|prefix| secret.expose().starts_with(prefix)))
    }

    fn origin(&self) -> String {
        "auth_key".to_owned()
    }
}

/// Reads a secret of the settings; `what` names it in the error. The error is [`KeyError::Passing`]: a file that is
/// missing or empty for a while may be about to be replaced.
pub fn read_secret(what: &str, source: &SecretSource) -> Result<Secret, KeyError> {
    source.read().map_err(|error| KeyError::Passing(format!("{what} {error}")))
}
