//! Makes auth keys by an OAuth client of Tailscale (`oauth_client_secret`).

use futures_util::future::BoxFuture;

use crate::auth_keys::credential::Credential;
use crate::auth_keys::error::KeyError;
use crate::auth_keys::fetched::Fetched;
use crate::auth_keys::key_source::KeySource;
use crate::auth_keys::sources::tailscale_api::TailscaleApi;
use crate::auth_keys::sources::text::read_secret;
use crate::secret::SecretSource;

/// An OAuth client: each fetch makes one auth key with its secret.
pub struct OAuthClient {
    id: Option<String>,
    secret: SecretSource,
    api: TailscaleApi,
}

impl OAuthClient {
    /// `id` may be left out: it is part of the secret.
    pub fn new(id: Option<String>, secret: SecretSource, api: TailscaleApi) -> Self {
        Self { id, secret, api }
    }

    async fn make_key(&self) -> Result<Fetched, KeyError> {
        let secret = read_secret("oauth_client_secret", &self.secret)?;
        self.api.redactor.learn(&secret);
        self.api.key_by_client(self.id.as_deref(), Credential::parse(secret.expose())?).await
    }
}

impl KeySource for OAuthClient {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, KeyError>> {
        Box::pin(self.make_key())
    }

    fn needs_network(&self) -> bool {
        true
    }

    fn origin(&self) -> String {
        "oauth_client_secret".to_owned()
    }

    fn carries_tags(&self) -> bool {
        true
    }
}
