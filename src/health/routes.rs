//! Answers each path of the health port.

use std::future::Future;
use std::net::SocketAddr;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use crate::health::audience::Audience;
use crate::health::metrics::{Format, Measured, render_metrics};
use crate::health::page;
use crate::health::responses::{MISDIRECTED, json_response, only_get_and_head, page_response, respond, text_response};
use crate::health::server::Respond;
use crate::state::{Phase, State, Watcher};
use crate::status::{Document, Snapshot};

/// Reads the running daemon for status and metrics.
pub trait Inspect: Send + Sync + 'static {
    /// Whether a node of the tailnet may be behind a connection from `end`, which is on loopback: tailscaled leads nodes there.
    fn is_of_peer(&self, end: SocketAddr) -> impl Future<Output = bool> + Send;

    /// Reads the status as it is now, of a daemon in this state.
    fn inspect(&self, state: &State) -> impl Future<Output = Snapshot> + Send;

    /// Reads the metrics as they are now, of a daemon in this state.
    fn measure(&self, state: &State) -> impl Future<Output = Measured> + Send;
}

/// Responds to requests, from the daemon's state and from a `source` of all other facts.
pub struct Routes<I> {
    state: Watcher,
    source: I,
    /// Beginning of the paths that are answered as those without it, where the tailnet has a name.
    prefix: Option<String>,
}

/// Whether the answer to this path depends on who asks.
pub fn shows_facts(path: &str) -> bool {
    matches!(path, "/" | "/status")
}

impl<I: Inspect> Routes<I> {
    pub fn new(state: Watcher, source: I) -> Self {
        Self { state, source, prefix: None }
    }

    /// Answers for the tailnet of this name, which paths may begin with: `/tailnet/NAME/readyz`.
    pub fn of_tailnet(self, name: Option<&str>) -> Self {
        Self { prefix: name.map(|name| format!("/tailnet/{name}/")), ..self }
    }

    /// Returns the path without the name of the tailnet.
    fn path<'a>(&self, path: &'a str) -> &'a str {
        let prefix = self.prefix.as_deref().filter(|prefix| path.starts_with(prefix));
        prefix.map_or(path, |prefix| &path[prefix.len() - 1..])
    }

    /// Whether a node of the tailnet may be behind a connection from `end`, which is on loopback.
    pub async fn is_of_peer(&self, end: SocketAddr) -> bool {
        self.source.is_of_peer(end).await
    }

    /// Returns who `audience`, which asks for `path` from `from` at a listener that nodes of the tailnet reach, turns out to be. A
    /// probe is answered alike to all, and waits for nothing.
    pub async fn audience_among_peers(&self, audience: Audience, path: &str, from: SocketAddr) -> Audience {
        let is_on_loopback = audience != Audience::Remote;
        match shows_facts(self.path(path)) && is_on_loopback && self.source.is_of_peer(from).await {
            true => Audience::Remote,
            false => audience,
        }
    }

    /// Responds to one request of this audience. HEAD gets the same response as GET; the server leaves out its body.
    pub async fn answer<B>(&self, request: &Request<B>, audience: Audience) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return only_get_and_head();
        }
        let state = self.state.borrow().clone();
        match self.path(request.uri().path()) {
            "/livez" => probe_response(&state, state.phase != Phase::Failed),
            "/startupz" => probe_response(&state, state.time_to_ready.is_some()),
            "/readyz" | "/healthz" => probe_response(&state, state.is_ready()),
            "/status" | "/" if audience == Audience::Mistaken => {
                text_response(StatusCode::MISDIRECTED_REQUEST, MISDIRECTED)
            }
            "/status" if audience == Audience::Remote => json_response(StatusCode::OK, &verdict(&state)),
            "/" if audience == Audience::Remote => page_response(page::render_verdict(&state)),
            "/status" => {
                let document = Document::new(&state, self.source.inspect(&state).await);
                json_response(StatusCode::OK, &serde_json::to_value(document).unwrap_or_default())
            }
            "/" => {
                let document = Document::new(&state, self.source.inspect(&state).await);
                page_response(page::render_page(&document))
            }
            "/metrics" => metrics_response(&self.source.measure(&state).await, Format::wanted_by(request.headers())),
            _ => text_response(
                StatusCode::NOT_FOUND,
                "not found; see /, /status, /metrics, /livez, /startupz, /readyz, /healthz\n",
            ),
        }
    }
}

fn metrics_response(measured: &Measured, format: Format) -> Response<Full<Bytes>> {
    match render_metrics(measured, format) {
        Ok(document) => respond(StatusCode::OK, format.content_type(), document),
        Err(_) => {
            text_response(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written; please report this\n")
        }
    }
}

/// Makes the response to a probe: 200 when `good`, else 503, with phase and reason as JSON.
fn probe_response(state: &State, good: bool) -> Response<Full<Bytes>> {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_response(status, &verdict(state))
}

/// Phase and reason as JSON: what everybody may know.
fn verdict(state: &State) -> serde_json::Value {
    json!({
        "ready": state.is_ready(),
        "state": state.phase,
        "reason": state.reason,
        "since": humantime::format_rfc3339_seconds(state.since).to_string(),
    })
}

impl<I: Inspect> Respond for Routes<I> {
    async fn audience_among_peers(&self, audience: Audience, path: &str, from: SocketAddr) -> Audience {
        Routes::audience_among_peers(self, audience, path, from).await
    }

    async fn answer<B: Sync>(&self, request: &Request<B>, audience: Audience) -> Response<Full<Bytes>> {
        Routes::answer(self, request, audience).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Publisher;
    use http_body_util::BodyExt;
    use prometheus_client::registry::Registry;

    struct Nothing;

    impl Inspect for Nothing {
        async fn is_of_peer(&self, _: SocketAddr) -> bool {
            false
        }

        async fn inspect(&self, _: &State) -> Snapshot {
            Snapshot { tailscaled: Some("1.2.3".into()), ..Snapshot::default() }
        }

        async fn measure(&self, _: &State) -> Measured {
            Measured { own: Registry::default(), tailscaled: None }
        }
    }

    fn request(method: &Method, path: &str) -> Request<()> {
        Request::builder().method(method).uri(path).body(()).expect("a request")
    }

    async fn ask(publisher: &Publisher, path: &str) -> (u16, String) {
        ask_as(Audience::Local, publisher, path).await
    }

    async fn ask_as(audience: Audience, publisher: &Publisher, path: &str) -> (u16, String) {
        let answer = Routes::new(publisher.watch(), Nothing).answer(&request(&Method::GET, path), audience).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("body").to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("UTF-8"))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn each_probe_answers_its_own_question() {
        let publisher = Publisher::new();
        let codes = async |publisher: &Publisher| {
            let mut codes = Vec::new();
            for path in ["/livez", "/startupz", "/readyz", "/healthz"] {
                codes.push(ask(publisher, path).await.0);
            }
            codes
        };
        assert_eq!(codes(&publisher).await, [200, 503, 503, 503]);
        publisher.publish(Phase::Ready, "joined");
        assert_eq!(codes(&publisher).await, [200, 200, 200, 200]);
        publisher.publish(Phase::NeedsLogin, "the node was removed");
        assert_eq!(codes(&publisher).await, [200, 200, 503, 503]);
        publisher.publish(Phase::Failed, "no tailscaled");
        assert_eq!(codes(&publisher).await, [503, 200, 503, 503]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_verdict_has_the_contracts_fields() {
        let (_, body) = ask(&Publisher::new(), "/readyz").await;
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["ready"], false);
        assert_eq!(body["state"], "Starting");
        assert_eq!(body["reason"], "tailscaled is starting");
        humantime::parse_rfc3339(body["since"].as_str().expect("text")).expect("RFC 3339");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn nothing_can_be_changed() {
        let routes = Routes::new(Publisher::new().watch(), Nothing);
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let answer = routes.answer(&request(&method, "/status"), Audience::Local).await;
            assert_eq!(answer.status(), 405, "{method}");
        }
        let answer = routes.answer(&request(&Method::GET, "/nowhere"), Audience::Local).await;
        assert_eq!(answer.status(), 404);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_is_not_on_loopback_learns_phase_and_reason_alone() {
        let publisher = Publisher::new();
        publisher.publish(Phase::NeedsLogin, "the key <expired>");
        for path in ["/status", "/"] {
            let (code, body) = ask_as(Audience::Remote, &publisher, path).await;
            assert!(code == 200 && body.contains("NeedsLogin") && body.contains("the key"), "{path}: {body}");
            assert!(!body.contains("1.2.3") && !body.contains("connections"), "{path}: {body}");
            let (code, body) = ask_as(Audience::Mistaken, &publisher, path).await;
            assert!(code == 421 && !body.contains("NeedsLogin"), "{path}: {body}");
            assert!(ask(&publisher, path).await.1.contains("1.2.3"), "{path}");
        }
        for audience in [Audience::Local, Audience::Remote, Audience::Mistaken] {
            assert_eq!(ask_as(audience, &publisher, "/livez").await.0, 200);
            assert_eq!(ask_as(audience, &publisher, "/metrics").await.0, 200);
            assert_eq!(ask_as(audience, &publisher, "/readyz").await.0, 503);
        }
    }

    /// A tailscaled that does not say who is behind a connection.
    struct Hanging;

    impl Inspect for Hanging {
        async fn is_of_peer(&self, _: SocketAddr) -> bool {
            std::future::pending().await
        }

        async fn inspect(&self, _: &State) -> Snapshot {
            Snapshot::default()
        }

        async fn measure(&self, _: &State) -> Measured {
            Measured { own: Registry::default(), tailscaled: None }
        }
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn probes_and_metrics_do_not_wait_for_word_of_who_asks() {
        let routes = Routes::new(Publisher::new().watch(), Hanging);
        let from = "127.0.0.1:40000".parse().expect("an address");
        for (path, waits) in
            [("/livez", false), ("/readyz", false), ("/metrics", false), ("/status", true), ("/", true)]
        {
            let told = routes.audience_among_peers(Audience::Local, path, from);
            let told = tokio::time::timeout(std::time::Duration::from_secs(9), told).await;
            assert_eq!(told.is_err(), waits, "{path}");
        }
    }
}
