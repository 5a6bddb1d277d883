//! A client's connection that becomes a tunnel, by CONNECT or by `Upgrade`.
//!
//! RFC 9110, sections 9.3.6 and 7.8.

use hyper::body::Bytes;
use hyper::ext::ReasonPhrase;
use hyper::upgrade::{OnUpgrade, on};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::proxy::access_log::ConnectionRecord;
use crate::proxy::connect::Connection;
use crate::proxy::context::{Granted, ProxyContext, RelayTarget};
use crate::proxy::http::client_presence::ObservedStream;
use crate::proxy::http::responses::{Body, full_body};
use crate::proxy::http::target_stream::TargetStream;
use crate::proxy::listener::client::Client;
use crate::proxy::listener::stream::Stream;
use crate::proxy::relay::HalfClose;
use crate::target::dial::Dial;

/// What a client's connection becomes after a CONNECT that was granted, or once its target has switched.
pub struct Tunnel {
    client: OnUpgrade,
    target: TunnelTarget,
    record: ConnectionRecord,
}

/// The other end of a tunnel.
enum TunnelTarget {
    Dialled(Connection),
    Switched(OnUpgrade, HalfClose),
}

impl Tunnel {
    /// Prepares the tunnel from the client of `request` to the target of its CONNECT.
    pub fn new<B>(request: &mut Request<B>, target: Connection, record: ConnectionRecord) -> Self {
        Self { client: on(request), target: TunnelTarget::Dialled(target), record }
    }

    /// Prepares the tunnel between a client and its target that both switch to another protocol.
    pub fn switched(client: OnUpgrade, target: OnUpgrade, half_close: HalfClose, record: ConnectionRecord) -> Self {
        Self { client, target: TunnelTarget::Switched(target, half_close), record }
    }

    /// Relays until both sides have ended, once hyper has given the client's connection back.
    pub async fn relay<D: Dial>(self, context: &ProxyContext<D>, client: &Client) {
        let Some((stream, sent)) = client_of(self.client).await else { return };
        let record = self.record;
        match self.target {
            TunnelTarget::Dialled(connection) => {
                context.relay(client, stream, Granted { connection, sent, record }).await;
            }
            TunnelTarget::Switched(target, half_close) => {
                if let Some((stream_to, early)) = target_of(target).await {
                    let target = RelayTarget { stream: stream_to, early, half_close };
                    context.relay_to(client, (stream, sent), target, record).await;
                }
            }
        }
    }
}

/// Returns the client's stream, and what the client has sent on it already.
async fn client_of(client: OnUpgrade) -> Option<(Stream, Vec<u8>)> {
    let parts = client.await.ok()?.downcast::<TokioIo<ObservedStream>>().ok()?;
    let (stream, unread) = parts.io.into_inner().into_inner()?;
    Some((stream, [parts.read_buf, unread].concat()))
}

/// Returns the target's stream, and what the target has sent on it already.
async fn target_of(target: OnUpgrade) -> Option<(Stream, Bytes)> {
    let parts = target.await.ok()?.downcast::<TokioIo<TargetStream>>().ok()?;
    let (stream, early) = parts.io.into_inner().into_inner();
    Some((stream, [parts.read_buf, early].concat().into()))
}

/// Makes the answer to a CONNECT that was granted, in the words that clients know from other proxies.
pub fn granted() -> Response<Body> {
    let mut response = Response::new(full_body(Bytes::new()));
    response.extensions_mut().insert(ReasonPhrase::from_static(b"Connection established"));
    response
}
