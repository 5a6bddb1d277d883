//! Credentials for a control server's API: read for one step, then forgotten.

use serde::Deserialize;

/// Credentials of the API, stored as `{"id","key"}`. They have no `Debug`: the key is secret.
#[derive(Clone, Deserialize)]
pub struct Credentials {
    /// Identifier of the OAuth client; empty for Headscale, whose API keys need none.
    #[serde(default)]
    pub id: String,
    pub key: String,
}
