//! Makes keys by the control server's API.
//!
//! Its credentials are read for one step and then forgotten.

use webhook_outbound::https::TlsError;

use crate::api::ApiError;
use crate::credentials::Credentials;
use crate::headscale::Headscale;
use crate::key::{KeyState, StoredKey, Wanted};
use crate::settings::Control;
use crate::tailscale::Tailscale;

pub enum Maker {
    Tailscale(Tailscale),
    Headscale(Headscale),
}

impl Maker {
    pub fn new(control: &Control) -> Result<Self, TlsError> {
        Ok(match control {
            Control::Tailscale { api_url, tailnet } => Self::Tailscale(Tailscale::new(api_url, tailnet)?),
            Control::Headscale { url } => Self::Headscale(Headscale::new(url)?),
        })
    }

    pub async fn create(&self, credentials: &Credentials, wanted: &Wanted) -> Result<StoredKey, ApiError> {
        match self {
            Self::Tailscale(api) => api.create(credentials, wanted).await,
            Self::Headscale(api) => api.create(credentials, wanted).await,
        }
    }

    /// `None` when there is no such key.
    pub async fn state(&self, credentials: &Credentials, id: &str) -> Result<Option<KeyState>, ApiError> {
        match self {
            Self::Tailscale(api) => api.state(credentials, id).await,
            Self::Headscale(api) => api.state(credentials, id).await,
        }
    }

    /// Fine as well when it is gone already.
    pub async fn delete(&self, credentials: &Credentials, id: &str) -> Result<(), ApiError> {
        match self {
            Self::Tailscale(api) => api.delete(credentials, id).await,
            Self::Headscale(api) => api.delete(credentials, id).await,
        }
    }

    /// Deletes what an earlier attempt at the same version made and could not store. A rotation does not fail over
    /// tidying up. Headscale's keys bear no mark: there such a key stays, known to nobody, until it expires.
    pub async fn delete_lost(&self, credentials: &Credentials, mark: &str) {
        if let Self::Tailscale(api) = self
            && let Err(error) = api.delete_marked(credentials, mark).await
        {
            tracing::warn!(%error, "keys of earlier attempts were not looked for");
        }
    }
}
