//! tailscaled's LocalAPI: HTTP/1.1 on a unix socket, one connection a question.
//! <https://pkg.go.dev/tailscale.com/client/local>

pub(crate) mod dial;
pub(crate) mod ipn_bus;
pub(crate) mod pool;
pub(crate) mod prefs;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::time::sleep;

use crate::net::http_request;
use crate::net::http_request::HttpError;
use crate::secret::SecretJson;
use crate::tailscaled::local_api::ipn_bus::IpnBus;
use crate::tailscaled::path::timeout::within;

/// A question unanswered for this long, while the daemon runs in time, means that tailscaled hangs.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// For `start`, which waits for the control client to be gone.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Connecting is tried as often until tailscaled listens, some 40 ms after its start.
const LISTEN_RETRY: Duration = Duration::from_millis(2);

/// `NotifyInitialState`, `NotifyInitialHealthState` and `NotifyNoNetMap` of tailscale's `ipn` package: where it
/// stands, and no network maps, which are megabytes in a large tailnet.
const WATCH_MASK: u32 = 2 | 128 | 8192;

/// The LocalAPI of one tailscaled. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LocalApi {
    socket: PathBuf,
}

#[derive(Debug, Error)]
pub enum LocalApiError {
    #[error("no answer from tailscaled: {0}")]
    Unreachable(#[from] HttpError),
    #[error("tailscaled did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Silent,
    #[error("tailscaled answered {status} to {path}: {text}")]
    Refused { path: String, status: StatusCode, text: String },
    #[error("the node has not joined the tailnet yet")]
    NotJoined,
    #[error("tailscaled's answer to {path} is not understood: {source}")]
    Malformed { path: String, source: serde_json::Error },
}

/// The part of `status` that is used here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Status {
    pub version: String,
    /// `Running` once joined.
    #[serde(default)]
    pub backend_state: String,
    #[serde(rename = "Self")]
    pub node: Option<Node>,
    pub peer: Option<std::collections::BTreeMap<String, Node>>,
    /// The domain of the tailnet's own names; empty without MagicDNS.
    #[serde(rename = "MagicDNSSuffix", default)]
    pub suffix: String,
    /// The names that certificates can be had for.
    pub cert_domains: Option<Vec<String>>,
}

/// A node of the tailnet.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Node {
    #[serde(rename = "ID", default)]
    pub id: String,
    /// It offers to be an exit node, and may.
    #[serde(default)]
    pub exit_node_option: bool,
    #[serde(rename = "DNSName", default)]
    pub dns_name: String,
    #[serde(default)]
    pub host_name: String,
    #[serde(rename = "TailscaleIPs")]
    pub addresses: Option<Vec<IpAddr>>,
    /// Its addresses, and the networks behind it, as prefixes.
    #[serde(rename = "AllowedIPs")]
    pub routes: Option<Vec<String>>,
    #[serde(default)]
    pub online: bool,
    pub key_expiry: Option<String>,
}

impl LocalApi {
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Ends when tailscaled listens.
    pub async fn wait_until_listening(&self) {
        while UnixStream::connect(&self.socket).await.is_err() {
            sleep(LISTEN_RETRY).await;
        }
    }

    /// Follows what tailscaled says about its state. The stream stays open as long as tailscaled lives.
    pub async fn watch(&self) -> Result<IpnBus, LocalApiError> {
        let path = format!("/localapi/v0/watch-ipn-bus?mask={WATCH_MASK}");
        let head = Self::in_time(self.answer(Method::GET, &path, Bytes::new())).await?;
        Ok(IpnBus::new(head.into_body()))
    }

    /// Hands over preferences and, where a login is needed, the auth key.
    pub async fn start(&self, options: &SecretJson) -> Result<(), LocalApiError> {
        // It takes the old connection to the control server down before it answers.
        let exchange = self.exchange(Method::POST, "/localapi/v0/start", options.to_bytes());
        within(START_TIMEOUT, pin!(exchange)).await.unwrap_or(Err(LocalApiError::Silent)).map(drop)
    }

    /// Logs in: with the auth key handed over by [`Self::start`], or by asking for a login in a browser.
    pub async fn login_interactive(&self) -> Result<(), LocalApiError> {
        self.ask(Method::POST, "/localapi/v0/login-interactive", Bytes::new()).await.map(drop)
    }

    /// Leaves the tailnet; an ephemeral node is removed at once.
    pub async fn logout(&self) -> Result<(), LocalApiError> {
        self.ask(Method::POST, "/localapi/v0/logout", Bytes::new()).await.map(drop)
    }

    pub async fn status(&self, peers: bool) -> Result<Status, LocalApiError> {
        let path = format!("/localapi/v0/status?peers={peers}");
        let body = self.ask(Method::GET, &path, Bytes::new()).await?;
        serde_json::from_slice(&body).map_err(|source| LocalApiError::Malformed { path, source })
    }

    /// Has it make its connections to the control server, to relays and to peers anew.
    pub async fn rebind(&self) -> Result<(), LocalApiError> {
        self.ask(Method::POST, "/localapi/v0/debug?action=rebind", Bytes::new()).await.map(drop)
    }

    /// tailscaled's own metrics, in Prometheus' text format.
    pub async fn metrics(&self) -> Result<String, LocalApiError> {
        let body = self.ask(Method::GET, "/localapi/v0/usermetrics", Bytes::new()).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// One question with its whole answer, within [`ANSWER_TIMEOUT`].
    pub async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, LocalApiError> {
        Self::in_time(self.exchange(method, path, body)).await
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, LocalApiError> {
        Ok(http_request::read_answer(self.answer(method, path, body).await?).await?.1)
    }

    pub async fn in_time<T>(exchange: impl Future<Output = Result<T, LocalApiError>>) -> Result<T, LocalApiError> {
        within(ANSWER_TIMEOUT, pin!(exchange)).await.unwrap_or(Err(LocalApiError::Silent))
    }

    /// The head of a good answer.
    pub async fn answer(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, LocalApiError> {
        self.good(path, request(method, path, body)).await
    }

    /// The head of a good answer to this request.
    pub async fn good(
        &self,
        path: &str,
        request: hyper::http::Result<Request<Full<Bytes>>>,
    ) -> Result<Response<Incoming>, LocalApiError> {
        let response = self.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, text) = http_request::read_answer(response).await?;
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        Err(LocalApiError::Refused { path: path.to_owned(), status, text })
    }

    /// Sends any request; for answers that are no documents.
    pub async fn send(
        &self,
        request: hyper::http::Result<Request<Full<Bytes>>>,
    ) -> Result<Response<Incoming>, HttpError> {
        let request = request.map_err(|error| HttpError::Body(error.to_string()))?;
        http_request::send(UnixStream::connect(&self.socket).await?, request).await
    }
}

pub fn request(method: Method, path: &str, body: Bytes) -> hyper::http::Result<Request<Full<Bytes>>> {
    // The host name that tailscaled expects: it answers 403 to any other.
    Request::builder().method(method).uri(path).header("Host", "local-tailscaled.sock").body(Full::new(body))
}
