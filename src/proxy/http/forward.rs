//! Forwards absolute-form requests to their targets (RFC 9112, section 3.2.2).
//!
//! The connection to the target is kept for the client's next request to it.

use std::sync::Arc;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Body as _, Incoming};
use hyper::header::{HOST, HeaderValue, UPGRADE};
use hyper::upgrade::{OnUpgrade, on};
use hyper::{Request, Response, StatusCode, Version};
use tokio::sync::Mutex;

use crate::proxy::access_log::{ConnectionRecord, Success};
use crate::proxy::context::ProxyContext;
use crate::proxy::http::carried::Carried;
use crate::proxy::http::forward_error::ForwardError;
use crate::proxy::http::headers::{add_via, strip_hop_by_hop};
use crate::proxy::http::message_rules::{check_codings, origin_form, without_user};
use crate::proxy::http::request_body::{BodyGate, RequestBody};
use crate::proxy::http::responses::{Body, full_body};
use crate::proxy::http::target_connection::TargetConnection;
use crate::proxy::http::tunnel::Tunnel;
use crate::proxy::http::upgrade;
use crate::proxy::listener::client::Client;
use crate::proxy::metrics::labels::Protocol;
use crate::proxy::relay::HalfClose;
use crate::proxy::users::user::User;
use crate::target::dial::Dial;
use crate::target::host::Target;

/// The connection to the target of the client's last request, where there is one.
#[derive(Default)]
pub struct Upstream(Mutex<Option<KeptConnection>>);

struct KeptConnection {
    target: Target,
    /// Whose requests may go over it: another user's rules may be others, and so may the same user's once they were read again.
    user: Option<Arc<User>>,
    opened: TargetConnection,
}

impl KeptConnection {
    fn is_for(&self, user: Option<&Arc<User>>, target: &Target) -> bool {
        self.target == *target && self.user.as_ref().map(Arc::as_ptr) == user.map(Arc::as_ptr)
    }
}

/// What became of a request that was sent on.
pub struct Forwarded {
    pub response: Response<Body>,
    /// What the connection becomes, where the target has switched to another protocol.
    pub tunnel: Option<Tunnel>,
    /// Whether the target has answered without asking for the body that was held back.
    pub leaves_body: bool,
}

impl Upstream {
    /// Forwards `request` of `client` to `target` and returns its response, the body of which streams. A connection whose
    /// target did not ask for the body that `gate` holds back is not kept.
    pub async fn forward<D: Dial>(
        &self,
        (context, client): (&ProxyContext<D>, &Client),
        target: &Target,
        mut request: Request<RequestBody>,
        gate: Option<&BodyGate>,
    ) -> Result<Forwarded, ForwardError> {
        let user = client.user();
        let mut kept = self.0.lock().await;
        let mut reusable = None;
        if let Some(mut last) = kept.take().filter(|last| last.is_for(user.as_ref(), target))
            && last.opened.sender.ready().await.is_ok()
        {
            reusable = Some(last.opened);
        }
        let protocols = upgrade::asked_for(&request);
        let switching = protocols.is_some().then(|| on(&mut request));
        let request = for_next_hop(request, context.via, protocols)?;
        let carried = Carried::within(&context.counters);
        let (opened, response) = send(context, client, target, (reusable, request, &carried)).await?;
        let is_switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if is_switched && switching.is_none() {
            return Err(ForwardError::Switched);
        }
        check_codings(response.headers()).map_err(ForwardError::Answer)?;
        let (path, connect, reply) = (Some(opened.path), opened.connect, Some(response.status().as_u16()));
        let success = Success { protocol: Protocol::Http, target: Some(target), path, connect, reply };
        let record = context.record_success(client, &success);
        if let Some(client) = switching.filter(|_| is_switched) {
            return Ok(switched(client, opened.half_close, response, context.via, record));
        }
        carried.begin(record);
        let left = gate.filter(|gate| gate.close()).map(BodyGate::response_guard);
        let leaves_body = left.is_some();
        if !leaves_body {
            let opened = TargetConnection { connect: None, ..opened };
            *kept = Some(KeptConnection { target: target.clone(), user, opened });
        }
        let response = for_client(response, context.via);
        let response = response.map(|body| carried.counted(body, |traffic| &traffic.received));
        let response = response.map(|body| while_held(left, body));
        Ok(Forwarded { response, tunnel: None, leaves_body })
    }
}

/// Sends a request over the kept connection, or over a new one. Returns the connection, and the head of the response.
async fn send<D: Dial>(
    context: &ProxyContext<D>,
    client: &Client,
    target: &Target,
    (reusable, request, carried): (Option<TargetConnection>, Request<RequestBody>, &Carried),
) -> Result<(TargetConnection, Response<Incoming>), ForwardError> {
    let repeated = reusable.is_some().then(|| repeatable(&request)).flatten();
    let request = request.map(|body| carried.counted(body, |traffic| &traffic.sent));
    let mut opened = match reusable {
        Some(opened) => opened,
        None => TargetConnection::open(context, client, target).await?,
    };
    let response = match opened.sender.try_send_request(request).await {
        Ok(response) => response,
        // The target has closed the kept connection. The request is sent again when it was not sent at all or may
        // be sent twice, but not when the target has responded, however badly.
        Err(mut failure) => match failure.take_message().or(repeated.filter(|_| !failure.error().is_parse())) {
            Some(request) => {
                opened = TargetConnection::open(context, client, target).await?;
                opened.sender.send_request(request).await?
            }
            None => return Err(failure.into_error().into()),
        },
    };
    Ok((opened, response))
}

/// Makes the answer by which client and target switch to another protocol, and the tunnel that carries it.
fn switched(
    client: OnUpgrade,
    half_close: HalfClose,
    mut response: Response<Incoming>,
    via: bool,
    record: ConnectionRecord,
) -> Forwarded {
    let target = on(&mut response);
    let protocols = response.headers().get(UPGRADE).cloned();
    let mut response = for_client(response, via).map(|_| full_body(""));
    if let Some(protocols) = protocols {
        upgrade::ask_for(response.headers_mut(), protocols);
    }
    Forwarded { response, tunnel: Some(Tunnel::switched(client, target, half_close, record)), leaves_body: false }
}

/// Keeps what is `held` as long as `body` is there.
fn while_held<T: Send + 'static>(held: Option<T>, body: Body) -> Body {
    let Some(held) = held else { return body };
    let keep = move |frame| {
        let _ = &held;
        frame
    };
    body.map_frame(keep).boxed_unsync()
}

/// Turns a target's response into what the client expects.
fn for_client(mut response: Response<Incoming>, via: bool) -> Response<Incoming> {
    let version = response.version();
    strip_hop_by_hop(response.headers_mut());
    if via {
        add_via(response.headers_mut(), version);
    }
    *response.version_mut() = Version::HTTP_11;
    response
}

/// Copies a request that may be sent twice: asking again does no harm (RFC 9110, section 9.2.2), and it has no body.
fn repeatable(request: &Request<RequestBody>) -> Option<Request<Body>> {
    let (is_idempotent, has_no_body) = (request.method().is_idempotent(), request.body().is_end_stream());
    (is_idempotent && has_no_body).then(|| {
        let mut copy = Request::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        copy
    })
}

/// Turns a request into what the target expects: origin-form, `Host` after the address (RFC 9112, section 3.2.2), and the
/// protocols that the client asks for.
fn for_next_hop(
    request: Request<RequestBody>,
    via: bool,
    protocols: Option<HeaderValue>,
) -> Result<Request<RequestBody>, hyper::http::Error> {
    let (mut parts, body) = request.into_parts();
    let host = parts.uri.authority().map(|authority| without_user(authority.as_str()));
    let host = host.map(HeaderValue::from_str).transpose()?;
    strip_hop_by_hop(&mut parts.headers);
    if let Some(protocols) = protocols {
        upgrade::ask_for(&mut parts.headers, protocols);
    }
    if via {
        add_via(&mut parts.headers, parts.version);
    }
    if let Some(host) = host {
        parts.headers.insert(HOST, host);
    }
    parts.uri = origin_form(&parts.uri)?;
    parts.version = Version::HTTP_11;
    Ok(Request::from_parts(parts, body))
}
