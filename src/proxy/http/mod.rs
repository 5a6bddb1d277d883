//! Serves HTTP proxy clients: CONNECT, and absolute-form requests.
//!
//! The protocol is hyper's; the statuses tell the truth about what failed.

pub(crate) mod carried;
pub(crate) mod client_presence;
pub(crate) mod exchange;
pub(crate) mod forward;
pub(crate) mod forward_error;
pub(crate) mod headers;
pub(crate) mod line_scanner;
pub(crate) mod message_rules;
pub(crate) mod progress;
pub(crate) mod request_body;
pub(crate) mod request_lines;
pub(crate) mod responses;
pub(crate) mod target_connection;
pub(crate) mod target_stream;
pub(crate) mod tunnel;
pub(crate) mod upgrade;

use std::convert::Infallible;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::proxy::access_log::Failure;
use crate::proxy::context::ProxyContext;
use crate::proxy::http::client_presence::ObservedStream;
use crate::proxy::http::exchange::Exchange;
use crate::proxy::http::headers::MAX_HEAD;
use crate::proxy::listener::client::Client;
use crate::proxy::listener::stream::Stream;
use crate::proxy::metrics::labels::Protocol;
use crate::proxy::relay::limits::idle;
use crate::sync::IgnorePoison;
use crate::target::dial::Dial;

/// What a client is told whose first words are HTTP/2's.
const ONLY_HTTP_1: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Serves one client to the end: request after request, or as a tunnel.
pub async fn serve_http<D: Dial>(context: &ProxyContext<D>, stream: Stream, client: &Client) {
    let exchange = Exchange::new(context, client);
    let service = service_fn(|request| {
        exchange.lines.head_was_read(&request);
        async { Ok::<_, Infallible>(exchange.serve(request).await) }
    });
    let stream = ObservedStream::new(stream, exchange.lines.clone());
    let presence = stream.presence();
    let limits = context.limits_of(client);
    let server = server(context.handshake_timeout);
    let mut connection = Box::pin(server.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = async {
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = context.limits.draining.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.as_mut().await
            }
        }
    };
    let mut speaks_http2 = false;
    let failure = tokio::select! {
        ended = ended => ended.err().and_then(|error| {
            speaks_http2 = error.is_parse_version_h2();
            Some((exchange.progress.outcome_of(&error)?, error.to_string()))
        }),
        () = presence.gone(limits, || exchange.progress.waits()) => {
            exchange.progress.unanswered("the client has gone, and its target is silent")
        }
        () = idle(presence.traffic(), limits.idle) => exchange.progress.unanswered("idle"),
        end = exchange.handshake_ended() => exchange.without_request(end),
    };
    drop(connection);
    if let Some((outcome, reason)) = &failure {
        let reason = format!("HTTP: {reason}");
        context.record_failure(client, &Failure::of_handshake(Protocol::Http, *outcome, &reason));
    }
    let tunnel = exchange.tunnel.lock().ignore_poison().take();
    if let Some(tunnel) = tunnel.filter(|_| failure.is_none()) {
        drop(presence);
        tunnel.relay(context, client).await;
    } else if speaks_http2 {
        Box::pin(presence.answer_last(context, client, ONLY_HTTP_1)).await;
    } else if exchange.progress.has_left_body() {
        Box::pin(presence.answer_last(context, client, b"")).await;
    }
}

fn server(header_timeout: Duration) -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(MAX_HEAD)
        // One read may go beyond the buffer.
        .max_header_size(MAX_HEAD)
        .preserve_header_case(true)
        // The target's own Date passes; one of ours would say what nobody asked.
        .auto_date_header(false)
        // A client that ends its sending still gets its response.
        .half_close(true);
    server
}
