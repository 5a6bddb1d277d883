//! tailscaled's LocalAPI: HTTP/1.1 on a unix socket, one connection a question.
//! <https://pkg.go.dev/tailscale.com/client/local>

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use thiserror::Error;
use tokio::net::UnixStream;

use super::bus::Bus;
use super::exit_rule::ExitRule;
use crate::dial::{Dial, DialError, Dialled, Target};
use crate::http::{self, HttpError};

/// A question unanswered for this long means that tailscaled hangs.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// `NotifyInitialState`, `NotifyInitialHealthState` and `NotifyNoNetMap` of tailscale's `ipn` package: where it
/// stands, and no network maps, which are megabytes in a large tailnet.
const WATCH_MASK: u32 = 2 | 128 | 8192;

/// The LocalAPI of one tailscaled. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LocalApi {
    socket: PathBuf,
    exit: ExitRule,
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
    #[serde(default)]
    pub online: bool,
    pub key_expiry: Option<String>,
}

impl LocalApi {
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, exit: ExitRule::default() }
    }

    /// Sends nothing past an exit node.
    pub fn only_by_exit_node(self) -> Self {
        Self { exit: ExitRule::OnlyByExitNode, ..self }
    }

    /// Whether tailscaled listens already.
    pub async fn is_listening(&self) -> bool {
        UnixStream::connect(&self.socket).await.is_ok()
    }

    /// Follows what tailscaled says about its state. The stream stays open as long as tailscaled lives.
    pub async fn watch(&self) -> Result<Bus, LocalApiError> {
        let path = format!("/localapi/v0/watch-ipn-bus?mask={WATCH_MASK}");
        Ok(Bus::new(self.answer(Method::GET, &path, Bytes::new()).await?.into_body()))
    }

    /// Hands over preferences and, where a login is needed, the auth key.
    pub async fn start(&self, options: &serde_json::Value) -> Result<(), LocalApiError> {
        self.ask(Method::POST, "/localapi/v0/start", options.to_string().into()).await.map(drop)
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

    /// One question with its whole answer, within [`ANSWER_TIMEOUT`].
    pub(super) async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, LocalApiError> {
        Self::in_time(async { Ok(http::read(self.answer(method, path, body).await?).await?.1) }).await
    }

    pub(super) async fn in_time<T>(
        exchange: impl Future<Output = Result<T, LocalApiError>>,
    ) -> Result<T, LocalApiError> {
        tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.unwrap_or(Err(LocalApiError::Silent))
    }

    /// The head of a good answer.
    pub(super) async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, LocalApiError> {
        self.good(path, request(method, path, body)).await
    }

    /// The head of a good answer to this request.
    pub(super) async fn good(
        &self,
        path: &str,
        request: hyper::http::Result<Request<Full<Bytes>>>,
    ) -> Result<Response<Incoming>, LocalApiError> {
        let response = self.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, text) = http::read(response).await?;
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        Err(LocalApiError::Refused { path: path.to_owned(), status, text })
    }

    async fn send(&self, request: hyper::http::Result<Request<Full<Bytes>>>) -> Result<Response<Incoming>, HttpError> {
        let request = request.map_err(|error| HttpError::Body(error.to_string()))?;
        http::send(UnixStream::connect(&self.socket).await?, request).await
    }
}

pub(super) fn request(method: Method, path: &str, body: Bytes) -> hyper::http::Result<Request<Full<Bytes>>> {
    // The host name that tailscaled expects: it answers 403 to any other.
    Request::builder().method(method).uri(path).header("Host", "local-tailscaled.sock").body(Full::new(body))
}

impl Dial for LocalApi {
    async fn dial(&self, target: &Target) -> Result<Dialled, DialError> {
        if let Some(address) = self.exit.own_loopback(target) {
            return Ok(Dialled::Outside(address));
        }
        let request = Request::post("/localapi/v0/dial")
            .header("Host", "local-tailscaled.sock")
            .header("Connection", "upgrade")
            .header("Upgrade", "ts-dial")
            .header("Dial-Host", target.host.to_string())
            .header("Dial-Port", target.port)
            .body(Full::new(Bytes::new()))
            .map_err(|_| DialError::Host(format!("{:?} is not a host name", target.host.to_string())))?;
        let response = self.send(Ok(request)).await.map_err(unreachable)?;
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => upgraded(response).await,
            StatusCode::OK => outside(&response).and_then(|dialled| self.exit.permit(dialled)),
            _ => {
                let (_, text) = http::read(response).await.map_err(unreachable)?;
                Err(classify(String::from_utf8_lossy(&text).trim()))
            }
        }
    }
}

fn unreachable(error: HttpError) -> DialError {
    DialError::Tailscaled(error.to_string())
}

async fn upgraded(response: Response<Incoming>) -> Result<Dialled, DialError> {
    let upgraded = hyper::upgrade::on(response).await.map_err(|error| DialError::Tailscaled(error.to_string()))?;
    let parts = upgraded
        .downcast::<TokioIo<UnixStream>>()
        .map_err(|_| DialError::Other("the upgraded stream is not the unix socket it began as".into()))?;
    Ok(Dialled::Tailnet(parts.io.into_inner(), parts.read_buf))
}

fn outside(response: &Response<Incoming>) -> Result<Dialled, DialError> {
    let address = response.headers().get("Dial-Addr").and_then(|value| value.to_str().ok()?.parse::<SocketAddr>().ok());
    address.map(Dialled::Outside).ok_or_else(|| DialError::Other("tailscaled named no address to dial".into()))
}

/// What tailscaled's error text means. The texts are those of Go's `net` package and of gVisor's network stack.
fn classify(text: &str) -> DialError {
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    if text.starts_with("resolve failure") {
        // Also when the name server was silent: it is the name that is not known.
        DialError::Host(text.to_owned())
    } else if says(&["connection refused", "connection was refused"]) {
        DialError::Refused
    } else if says(&["i/o timeout", "deadline exceeded", "timed out", "context canceled"]) {
        DialError::TimedOut(text.to_owned())
    } else if says(&["no such host", "no route to host", "host is unreachable", "host is down"]) {
        DialError::Host(text.to_owned())
    } else if says(&["network is unreachable", "network unreachable"]) {
        DialError::Network(text.to_owned())
    } else {
        DialError::Other(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tailscaleds_texts_are_told_apart() {
        assert_eq!(classify("dial failure: connect tcp 100.64.0.2:81: connection was refused"), DialError::Refused);
        for (text, is) in [
            ("dial failure: context deadline exceeded", "timed out"),
            ("dial failure: connect tcp 100.64.0.2:81: operation timed out", "timed out"),
            ("resolve failure: lookup nope on 127.0.0.1:53: no such host", "host"),
            ("resolve failure: lookup nope on 127.0.0.1:53: i/o timeout", "host"),
            ("dial failure: connect tcp 100.64.0.2:81: no route to host", "host"),
            ("dial failure: connect tcp [fd7a::2]:81: network is unreachable", "network"),
        ] {
            assert!(classify(text).to_string().starts_with(is), "{text}");
        }
    }
}
