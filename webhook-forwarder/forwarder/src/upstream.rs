//! Sends the request to the target, with a deadline and a limit of the response.
//!
//! One pool of connections an environment. The response may be no larger than Lambda lets through.

use std::error::Error;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::http::uri::Scheme;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;
use webhook_outbound::https::{self, TlsError};

use crate::failure::Failure;
use crate::headers::strip_hop_by_hop;
use crate::socks::{Dial, DialError};
use crate::target_answer::{LIMIT, TargetAnswer};

/// Below the keep-alive of common servers (Node.js and Apache 5 s): a connection that the target has closed while the
/// environment was frozen would take a request with it, and a webhook must not be sent twice on suspicion.
const IDLE: Duration = Duration::from_secs(4);

/// The client; the two differ in their type.
pub enum Upstream {
    Plain(Client<Dial, Full<Bytes>>),
    Tls(Client<HttpsConnector<Dial>, Full<Bytes>>),
}

impl Upstream {
    pub fn new(dial: Dial, scheme: &Scheme) -> Result<Self, TlsError> {
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_idle_timeout(IDLE).pool_timer(TokioTimer::new());
        Ok(match *scheme == Scheme::HTTPS {
            true => Self::Tls(builder.build(https::over(dial)?)),
            false => Self::Plain(builder.build(dial)),
        })
    }

    /// Sends it, and reads the answer to its end, or only its head. `within` is for all of it.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        within: Duration,
        with_body: bool,
    ) -> Result<TargetAnswer, Failure> {
        let exchange = async {
            let (mut head, body) = match self {
                Self::Plain(client) => client.request(request).await,
                Self::Tls(client) => client.request(request).await,
            }
            .map_err(|error| classify(&error))?
            .into_parts();
            if head.status.is_informational() {
                return Err(Failure::Broken(format!("it answers {}, which nobody has asked for", head.status)));
            }
            strip_hop_by_hop(&mut head.headers);
            let body = if with_body { read(body).await? } else { Bytes::new() };
            Ok(TargetAnswer { status: head.status, headers: head.headers, body })
        };
        timeout(within, exchange).await.unwrap_or(Err(Failure::TooSlow("it is still at work")))
    }
}

async fn read(body: Incoming) -> Result<Bytes, Failure> {
    match Limited::new(body, LIMIT).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Failure::TooLarge { size: format!("more than {LIMIT}"), limit: LIMIT })
        }
        Err(error) => Err(Failure::Broken(format!("its answer is cut: {error}"))),
    }
}

fn classify(error: &legacy::Error) -> Failure {
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(inner) = cause.source() {
        cause = inner;
        match cause.downcast_ref::<DialError>() {
            Some(dial) if dial.is_timeout() => return Failure::TooSlow("it could not be connected to in time"),
            Some(dial) => return Failure::Unreachable(dial.to_string()),
            None => {}
        }
    }
    let text = cause.to_string();
    if error.is_connect() { Failure::Unreachable(text) } else { Failure::Broken(text) }
}
