//! Client of tailscaled's LocalAPI: HTTP/1.1 on a unix socket.
//!
//! Each request has a connection of its own, but for dials (`pool`).
//!
//! <https://pkg.go.dev/tailscale.com/client/local>

pub(crate) mod dial;
pub(crate) mod dns;
pub(crate) mod ipn_bus;
pub(crate) mod pool;
pub(crate) mod prefs;
pub(crate) mod serve_config;
pub mod socket;
pub(crate) mod types;

use std::pin::pin;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::sleep;

use crate::net::http_request;
use crate::net::http_request::HttpError;
use crate::secret::SecretJson;
use crate::tailscaled::local_api::ipn_bus::IpnBus;
use crate::tailscaled::local_api::socket::LocalApiSocket;
use crate::tailscaled::local_api::types::{Status, TailnetLockStatus};
use crate::tailscaled::path::timeout::within;
use crate::text::printable;

/// How long a request may stay without its response, while the daemon gets its CPU time; after that tailscaled is taken
/// to hang.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long `start` may take, which waits until the old control client has ended.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause between two tries to connect until tailscaled listens, some 40 ms after its start.
const LISTEN_RETRY_PAUSE: Duration = Duration::from_millis(2);

/// `NotifyInitialState`, `NotifyInitialHealthState` and `NotifyNoNetMap` of tailscale's `ipn` package: state and health
/// first, and no network maps, which are megabytes in a large tailnet.
const WATCH_MASK: u32 = 2 | 128 | 8192;

/// The LocalAPI of one tailscaled. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LocalApi {
    socket: LocalApiSocket,
}

/// Why a request to the LocalAPI failed.
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

impl LocalApi {
    /// Creates a client of the LocalAPI that listens, or will listen, on `socket`.
    pub fn new(socket: LocalApiSocket) -> Self {
        Self { socket }
    }

    /// Returns the socket that the LocalAPI listens on.
    pub fn socket(&self) -> &LocalApiSocket {
        &self.socket
    }

    /// Waits until tailscaled listens, without a limit.
    pub async fn wait_until_listening(&self) {
        while self.socket.connect().await.is_err() {
            sleep(LISTEN_RETRY_PAUSE).await;
        }
    }

    /// Opens the stream of tailscaled's notices, which ends when tailscaled does.
    ///
    /// # Errors
    /// When tailscaled does not answer within [`ANSWER_TIMEOUT`], or refuses.
    pub async fn watch(&self) -> Result<IpnBus, LocalApiError> {
        let path = format!("/localapi/v0/watch-ipn-bus?mask={WATCH_MASK}");
        let response = Self::in_time(self.success(&path, request(Method::GET, &path, Bytes::new()))).await?;
        Ok(IpnBus::new(response.into_body()))
    }

    /// Starts tailscaled's control client with these preferences and, where a login is needed, the auth key.
    ///
    /// # Errors
    /// When tailscaled does not answer within 30 s, or refuses.
    pub async fn start(&self, options: &SecretJson) -> Result<(), LocalApiError> {
        // `start` replaces all preferences. What is advertised by hand or by a serve file is to outlast it.
        let advertised = self.advertised_services().await.unwrap_or_default();
        let options =
            if advertised.is_empty() { options.to_bytes() } else { advertising(options, &advertised).to_bytes() };
        // tailscaled takes the old connection to the control server down before it answers.
        let exchange = self.exchange(Method::POST, "/localapi/v0/start", options);
        within(START_TIMEOUT, pin!(exchange)).await.unwrap_or(Err(LocalApiError::Silent)).map(drop)
    }

    /// Logs in: with the auth key handed over by [`Self::start`], or by asking for a login in a browser.
    pub async fn login_interactive(&self) -> Result<(), LocalApiError> {
        self.ask(Method::POST, "/localapi/v0/login-interactive", Bytes::new()).await.map(drop)
    }

    /// Leaves the tailnet; an ephemeral node is removed at once. Takes as long as the control server does: the caller sets a
    /// limit.
    pub async fn logout(&self) -> Result<(), LocalApiError> {
        self.exchange(Method::POST, "/localapi/v0/logout", Bytes::new()).await.map(drop)
    }

    /// Reads the state of tailscaled and of this node, with all other nodes when `peers` is set: megabytes in a large
    /// tailnet.
    pub async fn status(&self, peers: bool) -> Result<Status, LocalApiError> {
        self.get(format!("/localapi/v0/status?peers={peers}")).await
    }

    /// Reads where the node stands with Tailnet Lock; `None` where tailscaled was built without it.
    pub async fn tailnet_lock(&self) -> Result<Option<TailnetLockStatus>, LocalApiError> {
        match self.get("/localapi/v0/tka/status".to_owned()).await {
            Err(LocalApiError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Tells tailscaled to make its connections to the control server, to relays and to peers anew.
    pub async fn rebind(&self) -> Result<(), LocalApiError> {
        self.ask(Method::POST, "/localapi/v0/debug?action=rebind", Bytes::new()).await.map(drop)
    }

    /// Reads tailscaled's own metrics, in Prometheus' text format.
    pub async fn metrics(&self) -> Result<String, LocalApiError> {
        let body = self.ask(Method::GET, "/localapi/v0/usermetrics", Bytes::new()).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Gets the JSON document at `path`.
    ///
    /// # Errors
    /// [`LocalApiError::Malformed`] when the response is another document; those of [`Self::ask`].
    pub async fn get<T: DeserializeOwned>(&self, path: String) -> Result<T, LocalApiError> {
        let body = self.ask(Method::GET, &path, Bytes::new()).await?;
        serde_json::from_slice(&body).map_err(|source| LocalApiError::Malformed { path, source })
    }

    /// Sends one request and reads its whole response.
    ///
    /// # Errors
    /// When the response is not there within [`ANSWER_TIMEOUT`], or its status is no success.
    pub async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, LocalApiError> {
        Self::in_time(self.exchange(method, path, body)).await
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, LocalApiError> {
        let response = self.success(path, request(method, path, body)).await?;
        Ok(http_request::read_answer(response).await?.1)
    }

    /// Bounds `exchange` to [`ANSWER_TIMEOUT`]; [`LocalApiError::Silent`] after that.
    pub async fn in_time<T>(exchange: impl Future<Output = Result<T, LocalApiError>>) -> Result<T, LocalApiError> {
        within(ANSWER_TIMEOUT, pin!(exchange)).await.unwrap_or(Err(LocalApiError::Silent))
    }

    /// Sends `request` for `path`, and returns the head of the response.
    ///
    /// # Errors
    /// [`LocalApiError::Refused`] when its status is no success.
    pub async fn success(
        &self,
        path: &str,
        request: hyper::http::Result<Request<Full<Bytes>>>,
    ) -> Result<Response<Incoming>, LocalApiError> {
        let response = self.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, text) = http_request::read_answer(response).await?;
        let text = printable(String::from_utf8_lossy(&text).trim());
        Err(LocalApiError::Refused { path: path.to_owned(), status, text })
    }

    async fn send(&self, request: hyper::http::Result<Request<Full<Bytes>>>) -> Result<Response<Incoming>, HttpError> {
        let request = request.map_err(|error| HttpError::Body(error.to_string()))?;
        let response = http_request::send(self.socket.connect().await?, request).await?;
        self.socket.restrict();
        Ok(response)
    }
}

/// Builds a request with the host name that tailscaled expects: it answers 403 to any other.
pub fn request(method: Method, path: &str, body: Bytes) -> hyper::http::Result<Request<Full<Bytes>>> {
    Request::builder().method(method).uri(path).header("Host", "local-tailscaled.sock").body(Full::new(body))
}

/// Returns the options of `start` with these services advertised.
fn advertising(options: &SecretJson, names: &[String]) -> SecretJson {
    let mut options = options.expose().clone();
    options["UpdatePrefs"]["AdvertiseServices"] = names.into();
    SecretJson::new(options)
}
