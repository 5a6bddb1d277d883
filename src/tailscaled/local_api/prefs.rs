//! The part of the LocalAPI that concerns a running node: its exit node, and what it serves.

use std::net::IpAddr;

use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::net::http_request;
use crate::tailscaled::local_api::{LocalApi, LocalApiError, request};

const SERVE_CONFIG: &str = "/localapi/v0/serve-config";

/// What the node serves now.
#[derive(Debug)]
pub struct Serving {
    /// JSON in the form of a serve configuration; `null` when there never was one.
    pub text: Bytes,
    /// Names this state of it, for the change that follows.
    etag: String,
}

/// Another node, as tailscaled sees it now. (The exit node in `status` is as old as the last whole network map: one
/// that goes offline or is deleted stays online there.)
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Peer {
    #[serde(rename = "StableID")]
    pub id: String,
    #[serde(default)]
    pub online: bool,
    #[serde(rename = "AllowedIPs", default)]
    networks: Vec<String>,
}

impl Peer {
    /// It offers to be an exit node, and may.
    pub fn is_exit_node(&self) -> bool {
        self.networks.iter().any(|network| network == "0.0.0.0/0")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WhoIs {
    node: Peer,
}

impl LocalApi {
    /// The node of this address, if there is one.
    pub async fn peer(&self, address: IpAddr) -> Result<Option<Peer>, LocalApiError> {
        let path = format!("/localapi/v0/whois?addr={address}");
        match self.ask(Method::GET, &path, Bytes::new()).await {
            Ok(body) => {
                let found: Result<WhoIs, _> = serde_json::from_slice(&body);
                found.map(|found| Some(found.node)).map_err(|source| LocalApiError::Malformed { path, source })
            }
            Err(LocalApiError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reaches targets outside the tailnet through this node from now on.
    pub async fn set_exit_node(&self, id: &str) -> Result<(), LocalApiError> {
        let preferences = exit_node(id);
        self.ask(Method::PATCH, "/localapi/v0/prefs", preferences.to_string().into()).await.map(drop)
    }

    pub async fn serving(&self) -> Result<Serving, LocalApiError> {
        let exchange = async {
            let response = self.answer(Method::GET, SERVE_CONFIG, Bytes::new()).await?;
            let etag =
                response.headers().get("Etag").and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
            Ok(Serving { text: http_request::read_answer(response).await?.1, etag })
        };
        LocalApi::in_time(exchange).await
    }

    /// Serves `text` in the place of `now`. Refused when somebody else has changed it since.
    pub async fn serve(&self, text: &str, now: &Serving) -> Result<(), LocalApiError> {
        let mut request = request(Method::POST, SERVE_CONFIG, text.to_owned().into());
        if let (Ok(request), Ok(etag)) = (&mut request, now.etag.parse()) {
            request.headers_mut().insert("If-Match", etag);
        }
        LocalApi::in_time(async {
            Ok(http_request::read_answer(self.good(SERVE_CONFIG, request).await?).await.map(drop)?)
        })
        .await
    }
}

/// The change of preferences (`ipn.MaskedPrefs`).
fn exit_node(id: &str) -> Value {
    json!({ "ExitNodeIDSet": true, "ExitNodeID": id })
}
