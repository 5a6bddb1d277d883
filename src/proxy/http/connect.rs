//! CONNECT: a client's connection becomes a tunnel (RFC 9110, section 9.3.6).

use hyper::body::{Bytes, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::upgrade::{OnUpgrade, on};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::proxy::access_log::ConnectionRecord;
use crate::proxy::connect::Connection;
use crate::proxy::context::{Granted, ProxyContext};
use crate::proxy::http::client_presence::ObservedStream;
use crate::proxy::http::responses::{Body, full_body};
use crate::proxy::listener::client::Client;
use crate::target::dial::Dial;

/// What a client's connection becomes after a CONNECT that was granted.
pub struct Tunnel {
    client: OnUpgrade,
    target: Connection,
    record: ConnectionRecord,
}

impl Tunnel {
    /// Prepares the tunnel from the client of `request` to its target.
    pub fn new(request: &mut Request<Incoming>, target: Connection, record: ConnectionRecord) -> Self {
        Self { client: on(request), target, record }
    }

    /// Relays until both sides have ended, once hyper has given the client's connection back.
    pub async fn relay<D: Dial>(self, context: &ProxyContext<D>, client: &Client) {
        let Ok(upgraded) = self.client.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<ObservedStream>>() else { return };
        if let Some(stream) = parts.io.into_inner().into_inner() {
            let granted = Granted { connection: self.target, sent: parts.read_buf.into(), record: self.record };
            context.relay(client, stream, granted).await;
        }
    }
}

/// Makes the answer to a CONNECT that was granted, in the words that clients know from other proxies.
pub fn granted() -> Response<Body> {
    let mut response = Response::new(full_body(Bytes::new()));
    response.extensions_mut().insert(ReasonPhrase::from_static(b"Connection established"));
    response
}
