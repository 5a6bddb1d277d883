//! The body of a request on its way to the target.
//!
//! It is held back where the target is to be asked first.
//! `Expect: 100-continue` is the target's to answer (RFC 9110, section 10.1.1). hyper says 100 to the client as soon as the
//! body is asked for, so that is not done before the target has said so.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::ext::on_informational;
use hyper::header::EXPECT;
use hyper::{Request, StatusCode, Version};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a body is held back for a target that says nothing: so long curl, Go and botocore wait before they send it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Holds the body of a request back until its target has asked for it.
#[derive(Clone, Default)]
pub struct BodyGate(Arc<Gate>);

#[derive(Default)]
struct Gate {
    state: OnceLock<Decision>,
    /// Cancelled once the state is set.
    decided: CancellationToken,
    /// Cancelled when the response is over.
    over: CancellationToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Send,
    Leave,
}

impl BodyGate {
    /// Takes the response for the answer: the body is left with the client where it was not asked for. Returns whether it is.
    pub fn close(&self) -> bool {
        self.decide(Decision::Leave) == Decision::Leave
    }

    /// Returns what is to be dropped when the response is over.
    pub fn response_guard(&self) -> DropGuard {
        self.0.over.clone().drop_guard()
    }

    /// Decides, where that was not done before.
    fn decide(&self, decision: Decision) -> Decision {
        let decision = *self.0.state.get_or_init(|| decision);
        self.0.decided.cancel();
        decision
    }

    /// Waits until it is decided.
    async fn wait(self) -> Decision {
        let _ = timeout(PATIENCE, self.0.decided.cancelled()).await;
        self.decide(Decision::Send)
    }

    /// Waits until the response is over.
    async fn response_over(self) {
        self.0.over.cancelled().await;
    }
}

/// The body of a request.
pub struct RequestBody {
    /// Empty once it was left with the client.
    body: Option<Incoming>,
    hold: Hold,
}

/// What a body waits for.
enum Hold {
    Nothing,
    Decision(BodyGate, BoxFuture<'static, Decision>),
    /// The end of the response to a request whose body was left: the connection to the target ends with its request.
    Response(BoxFuture<'static, ()>),
}

impl RequestBody {
    /// Takes over the body of `request`. Returns the gate that holds it back, where the request expects to be answered first.
    pub fn of(mut request: Request<Incoming>) -> (Request<Self>, Option<BodyGate>) {
        let gate = expects_answer(&request).then(BodyGate::default);
        if let Some(gate) = gate.clone() {
            on_informational(&mut request, move |response| {
                if response.status() == StatusCode::CONTINUE {
                    gate.decide(Decision::Send);
                }
            });
        }
        let hold = gate.clone().map_or(Hold::Nothing, |gate| Hold::Decision(gate.clone(), gate.wait().boxed()));
        (request.map(|body| Self { body: Some(body), hold }), gate)
    }

    /// Waits until the body may be read, and returns it; none where it was left, once the response is over.
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Option<&mut Incoming>> {
        if let Hold::Decision(gate, wait) = &mut self.hold {
            let decision = ready!(wait.poll_unpin(context));
            self.hold = match decision {
                Decision::Send => Hold::Nothing,
                Decision::Leave => {
                    // By that hyper knows that nobody reads it.
                    self.body = None;
                    Hold::Response(gate.clone().response_over().boxed())
                }
            };
        }
        if let Hold::Response(over) = &mut self.hold {
            ready!(over.poll_unpin(context));
        }
        Poll::Ready(self.body.as_mut())
    }
}

/// Whether a request asks before it sends its body. One by HTTP/1.0 cannot (RFC 9110, section 10.1.1).
fn expects_answer<B: Body>(request: &Request<B>) -> bool {
    let expects = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
    let is_asked = request.headers().get(EXPECT).is_some_and(|value| expects(value.as_bytes()));
    is_asked && request.version() == Version::HTTP_11 && !request.body().is_end_stream()
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let Some(body) = ready!(this.poll_body(context)) else { return Poll::Ready(None) };
        Pin::new(body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}
