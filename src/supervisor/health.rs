//! Answers the health port of all tailnets, from what their daemons answer.

use std::net::SocketAddr;

use futures_util::future::join_all;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::health::audience::Audience;
use crate::health::metrics::Format;
use crate::health::page::render_tailnets;
use crate::health::responses::{MISDIRECTED, json_response, only_get_and_head, page_response, respond, text_response};
use crate::health::routes::shows_facts;
use crate::health::server::Respond;
use crate::supervisor::ask::{DaemonAnswer, DaemonSocket, Question};
use crate::supervisor::exposition::merged;

/// Beginning of the paths of one tailnet.
const ONE_TAILNET: &str = "/tailnet/";

/// What is answered, for all tailnets and for one.
const PATHS: [&str; 7] = ["/", "/status", "/metrics", "/livez", "/startupz", "/readyz", "/healthz"];

const NOT_FOUND: &str =
    "not found; see /, /status, /metrics, /livez, /startupz, /readyz, /healthz, and /tailnet/NAME/ before each\n";

/// The daemons of all tailnets.
pub struct AllTailnets(Vec<DaemonSocket>);

impl AllTailnets {
    pub fn new(daemons: Vec<DaemonSocket>) -> Self {
        Self(daemons)
    }

    /// Asks all daemons at the same time.
    async fn ask_all(&self, question: Question<'_>) -> Vec<(&str, Option<DaemonAnswer>)> {
        join_all(self.0.iter().map(|daemon| async move { (daemon.name.as_str(), daemon.ask(question).await) })).await
    }

    /// Answers a probe: 200 where that is each daemon's answer.
    async fn probe(&self, question: Question<'_>) -> Response<Full<Bytes>> {
        let answers = self.ask_all(question).await;
        let is_good =
            |answer: &Option<DaemonAnswer>| answer.as_ref().is_some_and(|answer| answer.status == StatusCode::OK);
        let good = answers.iter().all(|(_, answer)| is_good(answer));
        let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        json_response(status, &verdict_of_all(&documents(answers)))
    }

    async fn metrics(&self, request: &Request<impl Sized>, question: Question<'_>) -> Response<Full<Bytes>> {
        let format = Format::wanted_by(request.headers());
        let answers = self.ask_all(question).await;
        let texts: Vec<(&str, String)> = answers
            .into_iter()
            .filter_map(|(name, answer)| Some((name, String::from_utf8(answer?.body.to_vec()).ok()?)))
            .collect();
        respond(StatusCode::OK, format.content_type(), merged(&texts, format))
    }

    /// Answers for one tailnet as its daemon does. `rest` is the path behind [`ONE_TAILNET`].
    async fn one(&self, rest: &str, question: Question<'_>) -> Response<Full<Bytes>> {
        let (name, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let Some(daemon) = self.0.iter().find(|daemon| daemon.name.as_str() == name) else {
            return text_response(StatusCode::NOT_FOUND, "there is no such tailnet; see /\n");
        };
        let path = if path.is_empty() { "/" } else { path };
        // Who may see the answer was judged by this path: a daemon must not read another one out of it.
        if !PATHS.contains(&path) {
            return text_response(StatusCode::NOT_FOUND, NOT_FOUND);
        }
        let Some(answer) = daemon.ask(Question { path, ..question }).await else {
            return json_response(StatusCode::SERVICE_UNAVAILABLE, &silent());
        };
        let mut response = respond(answer.status, "application/json", String::new());
        *response.body_mut() = Full::new(answer.body);
        if let Some(kind) = answer.kind {
            response.headers_mut().insert(CONTENT_TYPE, kind);
        }
        response
    }
}

impl Respond for AllTailnets {
    async fn audience_among_peers(&self, audience: Audience, path: &str, from: SocketAddr) -> Audience {
        let path = path.strip_prefix(ONE_TAILNET).map_or(path, |rest| rest.find('/').map_or("/", |at| &rest[at..]));
        if audience == Audience::Remote || !shows_facts(path) {
            return audience;
        }
        let peers = join_all(self.0.iter().map(|daemon| daemon.is_of_peer(from))).await;
        if peers.contains(&true) { Audience::Remote } else { audience }
    }

    async fn answer<B: Sync>(&self, request: &Request<B>, audience: Audience) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return only_get_and_head();
        }
        let path = request.uri().path();
        let question = Question { path, audience, accept: request.headers().get(ACCEPT) };
        match path {
            "/livez" | "/startupz" | "/readyz" | "/healthz" => self.probe(question).await,
            "/metrics" => self.metrics(request, question).await,
            "/status" | "/" if audience == Audience::Mistaken => {
                text_response(StatusCode::MISDIRECTED_REQUEST, MISDIRECTED)
            }
            "/status" => {
                let documents = documents(self.ask_all(question).await);
                json_response(StatusCode::OK, &json!({ "tailnets": documents }))
            }
            "/" => {
                let documents = documents(self.ask_all(Question { path: "/readyz", ..question }).await);
                page_response(page(&documents))
            }
            _ => match path.strip_prefix(ONE_TAILNET) {
                Some(rest) => self.one(rest, question).await,
                None => text_response(StatusCode::NOT_FOUND, NOT_FOUND),
            },
        }
    }
}

/// Returns the documents of daemons by the names of their tailnets.
fn documents(answers: Vec<(&str, Option<DaemonAnswer>)>) -> Map<String, Value> {
    let document = |answer: Option<DaemonAnswer>| answer.and_then(|answer| serde_json::from_slice(&answer.body).ok());
    answers.into_iter().map(|(name, answer)| (name.to_owned(), document(answer).unwrap_or_else(silent))).collect()
}

/// Stands for the document of a daemon that does not answer.
fn silent() -> Value {
    json!({ "ready": false, "state": "Starting", "reason": "the daemon does not answer" })
}

/// Phase and reason of all together: those of the tailnets that are not ready, each by its name.
fn verdict_of_all(documents: &Map<String, Value>) -> Value {
    let text = |document: &Value, field: &str| document[field].as_str().unwrap_or_default().to_owned();
    let unready: Vec<_> = documents.iter().filter(|(_, document)| document["ready"] != true).collect();
    // All times are in UTC and have the same form.
    let since = documents.values().map(|document| text(document, "since")).max().unwrap_or_default();
    let (state, reason) = match unready.first() {
        None => ("Ready".to_owned(), "all tailnets are ready".to_owned()),
        Some((_, first)) => {
            let reasons = unready.iter().map(|(name, document)| format!("{name}: {}", text(document, "reason")));
            (text(first, "state"), reasons.collect::<Vec<_>>().join("; "))
        }
    };
    json!({
        "ready": unready.is_empty(), "state": state, "reason": reason, "since": since, "tailnets": documents,
    })
}

fn page(documents: &Map<String, Value>) -> String {
    let text = |document: &Value, field: &str| document[field].as_str().unwrap_or_default().to_owned();
    let rows = documents
        .iter()
        .map(|(name, document)| (name.clone(), format!("{}: {}", text(document, "state"), text(document, "reason"))));
    render_tailnets(documents.values().all(|document| document["ready"] == true), &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_names_who_is_not_ready_and_why() {
        let ready = json!({ "ready": true, "state": "Ready", "reason": "joined", "since": "2026-01-01T00:00:00Z" });
        let away = json!({
            "ready": false, "state": "NeedsLogin", "reason": "no key", "since": "2026-01-02T00:00:00Z"
        });
        let documents =
            |pairs: &[(&str, &Value)]| pairs.iter().map(|(name, it)| ((*name).into(), (*it).clone())).collect();
        let verdict = verdict_of_all(&documents(&[("a", &ready), ("b", &away), ("c", &silent())]));
        assert_eq!(verdict["ready"], false);
        assert_eq!(verdict["state"], "NeedsLogin");
        assert_eq!(verdict["reason"], "b: no key; c: the daemon does not answer");
        assert_eq!(verdict["since"], "2026-01-02T00:00:00Z");
        assert_eq!(verdict["tailnets"]["b"]["reason"], "no key");
        let verdict = verdict_of_all(&documents(&[("a", &ready)]));
        assert_eq!((&verdict["ready"], &verdict["state"]), (&json!(true), &json!("Ready")));
    }
}
