//! The part of the LocalAPI that changes a running node: its exit node, and what it serves.

use hyper::Method;
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::local_api::{LocalApi, LocalApiError, request};
use crate::http;

const SERVE_CONFIG: &str = "/localapi/v0/serve-config";

/// What the node serves now.
#[derive(Debug)]
pub struct Serving {
    /// JSON in the form of a serve configuration; `null` when there never was one.
    pub text: Bytes,
    /// Names this state of it, for the change that follows.
    etag: String,
}

impl LocalApi {
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
            Ok(Serving { text: http::read(response).await?.1, etag })
        };
        LocalApi::in_time(exchange).await
    }

    /// Serves `text` in the place of `now`. Refused when somebody else has changed it since.
    pub async fn serve(&self, text: &str, now: &Serving) -> Result<(), LocalApiError> {
        let mut request = request(Method::POST, SERVE_CONFIG, text.to_owned().into());
        if let (Ok(request), Ok(etag)) = (&mut request, now.etag.parse()) {
            request.headers_mut().insert("If-Match", etag);
        }
        LocalApi::in_time(async { Ok(http::read(self.good(SERVE_CONFIG, request).await?).await.map(drop)?) }).await
    }
}

/// The change of preferences (`ipn.MaskedPrefs`).
fn exit_node(id: &str) -> Value {
    json!({ "ExitNodeIDSet": true, "ExitNodeID": id })
}
