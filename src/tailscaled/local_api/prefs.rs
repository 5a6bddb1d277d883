//! The LocalAPI's calls for preferences and for who is behind an address.
//!
//! The exit node and the services that are advertised are preferences.

use std::net::{IpAddr, SocketAddr};

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::tailscaled::local_api::types::{ExitNodeSuggestion, Peer, WhoIs};
use crate::tailscaled::local_api::{LocalApi, LocalApiError};

const PATH: &str = "/localapi/v0/prefs";

impl LocalApi {
    /// Finds the node that has `address`; `None` when there is none.
    pub async fn whois(&self, address: IpAddr) -> Result<Option<Peer>, LocalApiError> {
        self.ask_whois(address.to_string()).await
    }

    /// Finds the node that is behind a TCP connection of tailscaled's from `end`, which is on loopback; `None` when it is no
    /// node's.
    pub async fn whois_connection(&self, end: SocketAddr) -> Result<Option<Peer>, LocalApiError> {
        self.ask_whois(format!("{end}&proto=tcp")).await
    }

    async fn ask_whois(&self, question: String) -> Result<Option<Peer>, LocalApiError> {
        match self.get::<WhoIs>(format!("/localapi/v0/whois?addr={question}")).await {
            Ok(found) => Ok(Some(found.node)),
            Err(LocalApiError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks which exit node has the shortest way, where the control server lets tailscaled tell.
    pub async fn suggested_exit_node(&self) -> Option<String> {
        let answer: Result<ExitNodeSuggestion, _> = self.get("/localapi/v0/suggest-exit-node".to_owned()).await;
        answer.ok().map(|suggestion| suggestion.id).filter(|id| !id.is_empty())
    }

    /// Reaches targets outside the tailnet through the node with this `id` from now on.
    pub async fn set_exit_node(&self, id: &str) -> Result<(), LocalApiError> {
        let preferences = exit_node_preference(id);
        self.change(&preferences).await
    }

    /// Reads the names of the services that the node advertises.
    pub async fn advertised_services(&self) -> Result<Vec<String>, LocalApiError> {
        Ok(self.get::<Preferences>(PATH.to_owned()).await?.services.unwrap_or_default())
    }

    /// Advertises these services from now on, and no others.
    pub async fn advertise_services(&self, names: &[String]) -> Result<(), LocalApiError> {
        self.change(&json!({ "AdvertiseServicesSet": true, "AdvertiseServices": names })).await
    }

    async fn change(&self, preferences: &Value) -> Result<(), LocalApiError> {
        self.ask(Method::PATCH, PATH, preferences.to_string().into()).await.map(drop)
    }
}

/// The preferences that are read.
#[derive(Deserialize)]
struct Preferences {
    /// `null` for none.
    #[serde(rename = "AdvertiseServices", default)]
    services: Option<Vec<String>>,
}

/// Builds the change of preferences that sets the exit node (`ipn.MaskedPrefs`).
fn exit_node_preference(id: &str) -> Value {
    json!({ "ExitNodeIDSet": true, "ExitNodeID": id })
}
