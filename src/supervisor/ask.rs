//! Asks a daemon of the supervisor's by its own socket.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, StatusCode};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::config::tailnets::TailnetName;
use crate::health::audience::Audience;
use crate::health::private::{AUDIENCE, CLIENT, IS_OF_PEER};
use crate::net::http_request;

/// Longest wait for an answer. A daemon asks its tailscaled for a second or two.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// Where the daemon of a tailnet is asked.
pub struct DaemonSocket {
    pub name: TailnetName,
    pub path: PathBuf,
}

/// An answer of a daemon.
#[derive(Clone, Debug)]
pub struct DaemonAnswer {
    pub status: StatusCode,
    pub kind: Option<HeaderValue>,
    pub body: Bytes,
}

/// A question to a daemon.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub path: &'a str,
    /// Who gets the answer.
    pub audience: Audience,
    /// Wanted form of the answer.
    pub accept: Option<&'a HeaderValue>,
}

impl DaemonSocket {
    /// Asks the daemon. `None` where it does not answer in time.
    pub async fn ask(&self, question: Question<'_>) -> Option<DaemonAnswer> {
        let mut request = Request::get(question.path).header(AUDIENCE, question.audience.name());
        if let Some(accept) = question.accept {
            request = request.header(ACCEPT, accept);
        }
        self.send(request).await
    }

    /// Whether a node of this tailnet may be behind a connection from `end`, which is on loopback.
    pub async fn is_of_peer(&self, end: SocketAddr) -> bool {
        let answer = self.send(Request::get(IS_OF_PEER).header(CLIENT, end.to_string())).await;
        // One that does not answer may lead nodes here all the same.
        answer.is_none_or(|answer| answer.body != Bytes::from_static(b"false"))
    }

    async fn send(&self, request: hyper::http::request::Builder) -> Option<DaemonAnswer> {
        let exchange = async {
            let stream = UnixStream::connect(&self.path).await.ok()?;
            let request = request.header(HOST, "localhost").body(Full::new(Bytes::new())).ok()?;
            let response = http_request::send(stream, request).await.ok()?;
            let kind = response.headers().get(CONTENT_TYPE).cloned();
            let (status, body) = http_request::read_answer(response).await.ok()?;
            Some(DaemonAnswer { status, kind, body })
        };
        timeout(ANSWER_TIMEOUT, exchange).await.ok().flatten()
    }
}
