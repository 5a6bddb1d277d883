//! The client of AWS Lambda's Extensions API: four requests over plain HTTP/1.1.
//!
//! They go to an address inside the execution environment.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>

use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use thiserror::Error;
use tokio::net::TcpStream;

use crate::net::http_request;
use crate::net::http_request::HttpError;

const BASE: &str = "/2020-01-01/extension";
const IDENTIFIER: &str = "Lambda-Extension-Identifier";

/// Longest wait for a response. It comes from the same machine; the limit allows for a machine under load. `next` has
/// no limit.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Client of the API. Lambda knows an extension by the name of its file in `/opt/extensions`.
#[derive(Clone, Debug)]
pub struct ExtensionApi {
    pub address: String,
    pub name: String,
}

/// Identifier that Lambda gives at registration; every further request carries it.
#[derive(Clone, Debug)]
pub struct Identifier(String);

#[cfg(test)]
impl Identifier {
    /// Returns an identifier of a registration that a test has not made.
    pub fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Response to `next`. Unknown fields and reasons, which Lambda may add, are no fault.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub event_type: String,
    /// Unix time in milliseconds.
    #[serde(default)]
    pub deadline_ms: u64,
    #[serde(default)]
    pub shutdown_reason: String,
}

/// Phase in which an extension fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before the first `next`.
    Init,
    /// From the first `next` on.
    Exit,
}

/// Failure of one request.
#[derive(Debug, Error)]
pub enum ApiError {
    #[error("{0}")]
    Unreachable(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] HttpError),
    #[error("no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Silent,
    #[error("answer {status}: {text}")]
    Refused { status: StatusCode, text: String },
    #[error("the answer is not understood: {0}")]
    Malformed(String),
}

impl ExtensionApi {
    /// Registers for `events`. With INVOKE every invocation waits for a round trip.
    pub async fn register(&self, events: &[&str]) -> Result<Identifier, ApiError> {
        let request = Request::post(format!("{BASE}/register")).header("Lambda-Extension-Name", &self.name);
        let response = timely(self.send(request, json!({ "events": events }).to_string())).await?;
        let identifier = response.headers().get(IDENTIFIER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        timely(answer(response)).await?;
        identifier.map(Identifier).ok_or_else(|| ApiError::Malformed(format!("it has no {IDENTIFIER}")))
    }

    /// Says that this extension has nothing left to do, and waits for the next event.
    pub async fn next(&self, identifier: &Identifier) -> Result<Event, ApiError> {
        let request = Request::get(format!("{BASE}/event/next")).header(IDENTIFIER, &identifier.0);
        let body = answer(self.send(request, String::new()).await?).await?;
        serde_json::from_slice(&body).map_err(|error| ApiError::Malformed(error.to_string()))
    }

    /// Says that this extension fails and is about to exit.
    pub async fn fail(
        &self,
        identifier: &Identifier,
        stage: Stage,
        error_type: &str,
        message: &str,
    ) -> Result<(), ApiError> {
        let path = if stage == Stage::Init { "init/error" } else { "exit/error" };
        let request = Request::post(format!("{BASE}/{path}"))
            .header(IDENTIFIER, &identifier.0)
            .header("Lambda-Extension-Function-Error-Type", error_type);
        let body = json!({ "errorType": error_type, "errorMessage": message, "stackTrace": [] });
        timely(async { answer(self.send(request, body.to_string()).await?).await }).await.map(drop)
    }

    async fn send(&self, request: hyper::http::request::Builder, body: String) -> Result<Response<Incoming>, ApiError> {
        let request = request
            .header("Host", &self.address)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ApiError::Malformed(error.to_string()))?;
        let stream = TcpStream::connect(&self.address).await?;
        Ok(http_request::send(stream, request).await?)
    }
}

async fn answer(response: Response<Incoming>) -> Result<Bytes, ApiError> {
    let (status, body) = http_request::read_answer(response).await?;
    if status.is_success() {
        return Ok(body);
    }
    Err(ApiError::Refused { status, text: String::from_utf8_lossy(&body).trim().to_owned() })
}

async fn timely<T>(exchange: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.unwrap_or(Err(ApiError::Silent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_with_whatever_else_it_has() {
        let text = r#"{"eventType":"SHUTDOWN","deadlineMs":1700000000000,"shutdownReason":"SandboxTerminated","x":{}}"#;
        let event: Event = serde_json::from_str(text).expect("parses");
        assert_eq!((event.event_type.as_str(), event.deadline_ms), ("SHUTDOWN", 1_700_000_000_000));
        let bare: Event = serde_json::from_str(r#"{"eventType":"SHUTDOWN"}"#).expect("parses");
        assert_eq!(bare.deadline_ms, 0);
    }
}
