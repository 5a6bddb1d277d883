//! Sends one request to a control server's API: JSON both ways, with a deadline.
//!
//! Errors say what to do. No response is quoted whole: it may hold a key.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;
use webhook_outbound::aws::cause;
use webhook_outbound::https::{self, TlsError};
use webhook_outbound::message::presentable;

const DEADLINE: Duration = Duration::from_secs(10);
const LARGEST: usize = 8 << 20;

/// Why an API has not done what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{0} cannot be asked: {1}")]
    Unreachable(&'static str, String),
    #[error("{0} has not answered within 10 s")]
    TooSlow(&'static str),
    #[error("{whom} answers {status} to {what}: {message}")]
    Refused { whom: &'static str, status: u16, what: &'static str, message: String },
    #[error("{0} answers {1} with something else than was asked for")]
    Strange(&'static str, &'static str),
}

/// A client for one API.
pub struct Api {
    whom: &'static str,
    url: String,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What is sent, and what errors call it.
pub struct Question<'a> {
    pub what: &'static str,
    pub method: Method,
    pub path: String,
    pub auth: Auth<'a>,
    pub body: Body,
}

/// What shows who asks. No error repeats it.
pub enum Auth<'a> {
    Bearer(&'a str),
    /// It is a field of the body.
    InBody(&'a str),
}

pub enum Body {
    None,
    Json(Value),
    Form(String),
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

impl Api {
    pub fn new(whom: &'static str, url: &str) -> Result<Self, TlsError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        let client = Client::builder(TokioExecutor::new()).build(https::over(connector)?);
        Ok(Self { whom, url: url.to_owned(), client })
    }

    pub async fn ask<T: DeserializeOwned>(&self, question: Question<'_>) -> Result<T, ApiError> {
        let what = question.what;
        let body = self.send(question).await?.ok_or(ApiError::Strange(self.whom, what))?;
        serde_json::from_slice(&body).map_err(|_| ApiError::Strange(self.whom, what))
    }

    /// For a question whose answer says nothing of interest; that the thing is not there is fine, too.
    pub async fn tell(&self, question: Question<'_>) -> Result<(), ApiError> {
        self.send(question).await.map(drop)
    }

    /// `None` where it is not there.
    pub async fn find<T: DeserializeOwned>(&self, question: Question<'_>) -> Result<Option<T>, ApiError> {
        let what = question.what;
        let Some(body) = self.send(question).await? else { return Ok(None) };
        serde_json::from_slice(&body).map(Some).map_err(|_| ApiError::Strange(self.whom, what))
    }

    async fn send(&self, question: Question<'_>) -> Result<Option<Bytes>, ApiError> {
        let (whom, what) = (self.whom, question.what);
        let (Auth::Bearer(secret) | Auth::InBody(secret)) = question.auth;
        let request = self.request(question)?;
        let exchange = async {
            let unreachable = |error: &(dyn std::error::Error + 'static)| ApiError::Unreachable(whom, cause(error));
            let answer = self.client.request(request).await.map_err(|error| unreachable(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LARGEST).collect().await;
            let body = body.map_err(|error| ApiError::Unreachable(whom, error.to_string()))?.to_bytes();
            match status {
                StatusCode::NOT_FOUND => Ok(None),
                status if status.is_success() => Ok(Some(body)),
                status => {
                    // Of the errors only this field. Some quote what they were asked with.
                    let said =
                        serde_json::from_slice(&body).map_or_else(|_| "no reason".into(), |it: Message| it.message);
                    let message = presentable(&said, &[secret, &escaped(secret)]);
                    Err(ApiError::Refused { whom, status: status.as_u16(), what, message })
                }
            }
        };
        timeout(DEADLINE, exchange).await.unwrap_or(Err(ApiError::TooSlow(whom)))
    }

    fn request(&self, question: Question<'_>) -> Result<Request<Full<Bytes>>, ApiError> {
        let (kind, body) = match question.body {
            Body::None => (None, Bytes::new()),
            Body::Json(value) => (Some("application/json"), value.to_string().into()),
            Body::Form(text) => (Some("application/x-www-form-urlencoded"), text.into()),
        };
        let mut request = Request::builder().method(question.method).uri(format!("{}{}", self.url, question.path));
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        if let Auth::Bearer(token) = question.auth {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| ApiError::Unreachable(self.whom, "the credential is no text for a header".into()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(Full::new(body)).map_err(|error| ApiError::Unreachable(self.whom, error.to_string()))
    }
}

/// As a value of a form or one segment of a path.
pub fn escaped(text: &str) -> String {
    let stands = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if stands(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
