//! The LocalAPI's calls for the exit node: look-up, and the preference.

use std::net::IpAddr;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::tailscaled::local_api::types::{Peer, WhoIs};
use crate::tailscaled::local_api::{LocalApi, LocalApiError};

impl LocalApi {
    /// Finds the node that has `address`; `None` when there is none.
    pub async fn whois(&self, address: IpAddr) -> Result<Option<Peer>, LocalApiError> {
        match self.get::<WhoIs>(format!("/localapi/v0/whois?addr={address}")).await {
            Ok(found) => Ok(Some(found.node)),
            Err(LocalApiError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reaches targets outside the tailnet through the node with this `id` from now on.
    pub async fn set_exit_node(&self, id: &str) -> Result<(), LocalApiError> {
        let preferences = exit_node_preference(id);
        self.ask(Method::PATCH, "/localapi/v0/prefs", preferences.to_string().into()).await.map(drop)
    }
}

/// Builds the change of preferences that sets the exit node (`ipn.MaskedPrefs`).
fn exit_node_preference(id: &str) -> Value {
    json!({ "ExitNodeIDSet": true, "ExitNodeID": id })
}
