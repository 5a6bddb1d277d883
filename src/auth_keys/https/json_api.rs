//! Requests to JSON APIs over [`Https`], and what their error responses mean.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::auth_keys::error::KeyError;
use crate::auth_keys::https::Https;
use crate::config::types::address::ControlUrl;
use crate::secret::redactor::Redactor;
use crate::secret::{Secret, zeroed_when_sent};
use crate::text::{percent_encoded, printable};

/// Longest part of an error response's message that is repeated, in characters.
const LONGEST_MESSAGE: usize = 300;

/// A request to an API.
pub struct ApiRequest {
    pub method: Method,
    pub url: String,
    /// Token for the header Authorization.
    pub bearer: Option<Secret>,
    pub body: RequestBody,
    /// Further headers, name and value.
    pub headers: &'static [(&'static str, &'static str)],
}

/// The body of a request to an API.
pub enum RequestBody {
    None,
    Json(Value),
    /// A form (`application/x-www-form-urlencoded`): names and values, not yet escaped.
    Form(Vec<(&'static str, Secret)>),
}

impl ApiRequest {
    pub fn post(url: String, body: RequestBody) -> Self {
        Self { method: Method::POST, url, bearer: None, body, headers: &[] }
    }

    pub fn get(url: String) -> Self {
        Self { method: Method::GET, url, bearer: None, body: RequestBody::None, headers: &[] }
    }

    /// Adds the token for the header Authorization.
    pub fn bearer(self, token: &Secret) -> Self {
        Self { bearer: Some(token.clone()), ..self }
    }

    /// Whether a credential is sent along.
    fn has_credential(&self) -> bool {
        self.bearer.is_some() || matches!(self.body, RequestBody::Form(_))
    }

    /// Returns the HTTP request; `None` when address or token cannot be sent.
    fn http_request(&self) -> Option<Request<Full<Bytes>>> {
        let (kind, body) = match &self.body {
            RequestBody::None => (None, Bytes::new()),
            RequestBody::Json(value) => (Some("application/json"), value.to_string().into()),
            RequestBody::Form(fields) => {
                (Some("application/x-www-form-urlencoded"), zeroed_when_sent(encoded_form(fields)))
            }
        };
        let mut request = Request::builder().method(&self.method).uri(&self.url).header(ACCEPT, "application/json");
        request = request.header(USER_AGENT, concat!("tetherd/", env!("CARGO_PKG_VERSION")));
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        if let Some(token) = &self.bearer {
            let mut value =
                HeaderValue::from_maybe_shared(zeroed_when_sent(format!("Bearer {}", token.expose()))).ok()?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(Full::new(body)).ok()
    }
}

/// Sends a request and returns the body of a successful response, which may hold a secret. `whom` names the API in
/// errors; `explain` says what an error status means there.
pub async fn call_api(
    https: &Https,
    request: ApiRequest,
    whom: &str,
    explain: impl FnOnce(StatusCode) -> Option<KeyError>,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    if request.has_credential() && ControlUrl(request.url.clone()).is_in_the_clear() {
        return Err(KeyError::Misconfigured(format!("{whom} would be sent a credential in the clear: use https://")));
    }
    let request = request
        .http_request()
        .ok_or_else(|| KeyError::Misconfigured(format!("{whom}: the credential or address cannot be sent")))?;
    let host = request.uri().authority().map_or_else(String::new, ToString::to_string);
    let (status, body) = https
        .exchange(request)
        .await
        .map_err(|error| KeyError::no_response(error.passes(), format!("{whom} at {host} cannot be asked: {error}")))?;
    if status.is_success() {
        return Ok(Zeroizing::new(body.into()));
    }
    let message = error_message(&body, https.redactor());
    let answered = format!("{whom} answered {}: {message}", status.as_u16());
    let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
    Err(match explain(status) {
        _ if passing => KeyError::Passing(format!("{answered}; trying again")),
        Some(failure) => failure.map(|meaning| format!("{answered}; {meaning}")),
        None => KeyError::Misconfigured(answered),
    })
}

/// Parses the body of a response. An error does not repeat the body, since it holds a secret.
pub fn parse_response<T: DeserializeOwned>(body: &[u8], whom: &str) -> Result<T, KeyError> {
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        KeyError::Passing(format!("{whom}: the answer is not understood ({place}); is that its address?"))
    })
}

/// Returns the message of an error response: printable, of bounded length, never empty. Secrets are masked before it is
/// cut: of one that lies across the end a part would be left that nobody knows.
fn error_message(body: &[u8], redactor: &Redactor) -> String {
    let object: Option<Value> = serde_json::from_slice(body).ok();
    let field = |name: &str| Some(object.as_ref()?.get(name)?.as_str()?.to_owned());
    let text = field("message").or_else(|| field("error_description")).or_else(|| field("error"));
    let text = text.unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned());
    let text: String = redactor.redact(&text).chars().take(LONGEST_MESSAGE).collect();
    if text.is_empty() { "no message".into() } else { printable(&text) }
}

/// Escapes the fields as `application/x-www-form-urlencoded`. Allocated once at its full size: growing would move the
/// text and leave a copy of the secrets in freed memory.
fn encoded_form(fields: &[(&'static str, Secret)]) -> String {
    let escaped = |text: &str| 3 * text.len();
    let room = fields.iter().map(|(name, value)| name.len() + escaped(value.expose()) + "&=".len()).sum();
    let mut form = String::with_capacity(room);
    for (name, value) in fields {
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str(name);
        form.push('=');
        form.extend(percent_encoded(value.expose()));
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_escaped() {
        let fields = [("a", Secret::new("x y&z=ü")), ("b", Secret::new("T/k-1_~."))];
        assert_eq!(encoded_form(&fields), "a=x%20y%26z%3D%C3%BC&b=T%2Fk-1_~.");
    }

    #[test]
    fn messages_are_found_bounded_and_printable() {
        let redactor = Redactor::default();
        assert_eq!(error_message(br#"{"message":"no\u001b[31m"}"#, &redactor), "no\\u{1b}[31m");
        assert_eq!(error_message(br#"{"error":"invalid_client"}"#, &redactor), "invalid_client");
        assert_eq!(error_message(&[b'a'; 5000], &redactor).len(), LONGEST_MESSAGE);
        assert_eq!(error_message(b"", &redactor), "no message");
    }

    #[test]
    fn a_secret_that_lies_across_the_end_of_a_message_is_not_shown_in_part() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("0123456789abcdef"));
        for before in LONGEST_MESSAGE - 17..=LONGEST_MESSAGE {
            for (secret, begin) in [("0123456789abcdef", "0"), ("tskey-auth-abcdef", "t")] {
                let text = format!("{}{secret}", "-".repeat(before));
                let json = serde_json::json!({ "message": text }).to_string();
                for body in [text.as_bytes(), json.as_bytes()] {
                    let message = error_message(body, &redactor);
                    assert!(!message.contains(begin), "{before}: {message}");
                }
            }
        }
    }
}
