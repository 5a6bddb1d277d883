//! Makes auth keys by workload identity federation (`oauth_client_id`).
//!
//! The federated identity of Tailscale is proven with an identity token of the workload.

use futures_util::future::BoxFuture;

use crate::auth_keys::credential::Credential;
use crate::auth_keys::error::KeyError;
use crate::auth_keys::fetched::Fetched;
use crate::auth_keys::key_source::KeySource;
use crate::auth_keys::sources::platform_token::PlatformToken;
use crate::auth_keys::sources::tailscale_api::TailscaleApi;
use crate::auth_keys::sources::text::read_secret;
use crate::config::sections::auth::IdentityToken;

/// A federated identity: each fetch exchanges an identity token and makes one auth key.
pub struct WorkloadIdentity {
    /// Id of the federated identity, perhaps with suffixes that say what the key is to be.
    pub client: String,
    pub token: IdentityToken,
    pub platform: PlatformToken,
    pub api: TailscaleApi,
}

impl WorkloadIdentity {
    async fn make_key(&self) -> Result<Fetched, KeyError> {
        let token = match &self.token {
            IdentityToken::Given(source) => read_secret("the identity token", source)?,
            IdentityToken::For(audience) => self.platform.get(audience).await?,
        };
        self.api.key_by_identity(Credential::parse(&self.client)?, &token).await
    }
}

impl KeySource for WorkloadIdentity {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, KeyError>> {
        Box::pin(self.make_key())
    }

    fn needs_network(&self) -> bool {
        true
    }

    fn origin(&self) -> String {
        "oauth_client_id".to_owned()
    }

    fn carries_tags(&self) -> bool {
        true
    }
}
