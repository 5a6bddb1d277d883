//! The proxy: listener → client (by protocol) → connector → relay.
//!
//! Each step knows only the input of the next one. A new protocol is a module of its own, a line in the table here, and
//! a label in `metrics/labels.rs`.

pub mod access_log;
pub mod client;
pub mod connect;
pub mod context;
pub(crate) mod http;
pub mod listener;
pub mod metrics;
pub(crate) mod names;
pub mod policy;
pub mod relay;
pub(crate) mod socks4;
pub(crate) mod socks5;
pub(crate) mod udp_forward;
pub mod users;

use std::ops::RangeInclusive;

use futures_util::future::BoxFuture;

use crate::proxy::context::ProxyContext;
use crate::proxy::http::serve_http;
use crate::proxy::listener::client::Client;
use crate::proxy::listener::stream::Stream;
use crate::proxy::socks4::refuse_socks4;
use crate::proxy::socks5::serve_socks5;
use crate::target::dial::Dial;

/// What the log says of a client that speaks none of the protocols.
pub(crate) const NO_PROTOCOL: &str = "neither SOCKS5 nor HTTP";

/// A protocol of the proxy's clients, told from the others by the first byte that a client sends.
pub(crate) struct ProxyProtocol<D: 'static> {
    /// The bytes that a client of this protocol can begin with.
    first_bytes: &'static [RangeInclusive<u8>],
    /// Serves a client to the end. The future is heap-allocated (`Box::pin`), so that the state of a silent
    /// connection is only as large as its protocol needs.
    pub serve: for<'a> fn(&'a ProxyContext<D>, Stream, &'a Client) -> BoxFuture<'a, ()>,
}

impl<D: Dial> ProxyProtocol<D> {
    const TABLE: &'static [Self] = &[
        // A SOCKS5 client begins with the version (RFC 1928, section 3).
        Self {
            first_bytes: &[5..=5],
            serve: |context, stream, client| Box::pin(serve_socks5(context, stream, client)),
        },
        Self {
            first_bytes: &[4..=4],
            serve: |context, stream, client| Box::pin(refuse_socks4(context, stream, client)),
        },
        // Every HTTP method begins with a letter; an empty line may come first (RFC 9112, section 2.2).
        Self {
            first_bytes: &[b'A'..=b'Z', b'a'..=b'z', b'\r'..=b'\r', b'\n'..=b'\n'],
            serve: |context, stream, client| Box::pin(serve_http(context, stream, client)),
        },
    ];

    /// Finds the protocol of a client that begins with `byte`.
    pub fn beginning_with(byte: u8) -> Option<&'static Self> {
        Self::TABLE.iter().find(|protocol| protocol.first_bytes.iter().any(|bytes| bytes.contains(&byte)))
    }
}
