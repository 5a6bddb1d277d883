//! SOCKS4 clients are told that they are not served.
//!
//! The protocol knows no IPv6, and SOCKS4 proper no names: a client that is left without a word waits, or guesses.

use tokio::io::AsyncWriteExt;

use crate::proxy::access_log::Failure;
use crate::proxy::context::ProxyContext;
use crate::proxy::listener::client::Client;
use crate::proxy::listener::stream::Stream;
use crate::proxy::metrics::labels::{Outcome, Protocol};
use crate::target::dial::Dial;

/// "Request rejected or failed", with a port and an address that mean nothing.
/// <https://www.openssh.org/txt/socks4.protocol>
const REJECTED: [u8; 8] = [0, 0x5b, 0, 0, 0, 0, 0, 0];

/// Refuses one client.
pub async fn refuse_socks4<D: Dial>(context: &ProxyContext<D>, mut stream: Stream, client: &Client) {
    let reason = "it speaks SOCKS4, which is not served: use SOCKS5 (socks5h://) or HTTP";
    context.record_failure(client, &Failure::of_handshake(Protocol::Unknown, Outcome::Unsupported, reason));
    let refused = client.handshake(context.handshake_timeout, stream.write_all(&REJECTED)).await;
    if matches!(refused, Ok(Ok(()))) {
        context.linger_after_handshake(client, stream).await;
    }
}
