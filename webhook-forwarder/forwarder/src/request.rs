//! Parses the HTTP request in an event, whichever of the formats it has.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};

use crate::dot_segments::has_dot_segment;
use crate::encoding;
use crate::event::Event;

/// Payload formats of API Gateway; a response has the request's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Format {
    V1,
    V2,
}

/// What a caller has sent.
#[derive(Clone, Debug)]
pub struct Request {
    pub format: Format,
    pub id: String,
    pub method: Method,
    /// Path and query as they may stand in a request line.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub source: Option<String>,
    /// The host that the caller has named.
    pub host: Option<String>,
}

/// Why an event is none.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Malformed {
    #[error("the event is neither an HTTP request of API Gateway (payload format 1.0 or 2.0) nor of SQS")]
    Unknown,
    #[error("the method is no HTTP method")]
    Method,
    #[error("the path has a segment of dots alone (..), in this or another spelling")]
    DotSegment,
    #[error("the path does not begin with a slash")]
    NoPath,
    #[error("the header {0:?} is no HTTP header")]
    Header(String),
    #[error("the body is marked as base64, and is not")]
    Body,
}

impl TryFrom<Event> for Request {
    type Error = Malformed;

    fn try_from(event: Event) -> Result<Self, Malformed> {
        let body = match (event.body.as_deref(), event.is_base64_encoded) {
            (None, _) => Bytes::new(),
            (Some(text), true) => STANDARD.decode(text).map_err(|_| Malformed::Body)?.into(),
            (Some(text), false) => Bytes::copy_from_slice(text.as_bytes()),
        };
        let context = &event.request_context;
        let (format, method, target, source) = match (&context.http, &event.http_method) {
            (Some(http), _) => (Format::V2, &http.method, target_v2(&event)?, http.source_ip.clone()),
            (None, Some(method)) => {
                let source = context.identity.as_ref().and_then(|identity| identity.source_ip.clone());
                (Format::V1, method, target_v1(&event)?, source)
            }
            (None, None) => return Err(Malformed::Unknown),
        };
        let headers = headers(&event)?;
        let named = headers.get("host").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Self {
            format,
            id: context.request_id.clone().unwrap_or_default(),
            method: method.parse().map_err(|_| Malformed::Method)?,
            target,
            headers,
            body,
            source,
            host: named.or_else(|| context.domain_name.clone()),
        })
    }
}

fn target_v2(event: &Event) -> Result<String, Malformed> {
    let path = checked(event.raw_path.as_deref())?;
    // A stage other than $default stands before the path, and the target knows nothing of it.
    let stage = event.request_context.stage.as_deref().filter(|stage| *stage != "$default");
    let own = stage.and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage));
    let own = own.filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path);
    let query = event.raw_query_string.as_deref().map(encoding::query).unwrap_or_default();
    Ok(joined(own, &query))
}

fn target_v1(event: &Event) -> Result<String, Malformed> {
    let path = checked(event.path.as_deref())?;
    let single = || event.query_string_parameters.iter().collect::<Vec<_>>();
    let many = event.multi_value_query_string_parameters.as_ref().map(|map| {
        map.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value))).collect::<Vec<_>>()
    });
    let pairs = many.unwrap_or_else(single).into_iter();
    let pairs = pairs.map(|(name, value)| format!("{}={}", encoding::parameter(name), encoding::parameter(value)));
    Ok(joined(path, &pairs.collect::<Vec<_>>().join("&")))
}

/// A path that stays below `TS_BASE_PATH`, whichever way the target reads it.
fn checked(path: Option<&str>) -> Result<&str, Malformed> {
    match path.unwrap_or_default() {
        "" => Ok("/"),
        path if has_dot_segment(path) => Err(Malformed::DotSegment),
        path if !path.starts_with('/') => Err(Malformed::NoPath),
        path => Ok(path),
    }
}

fn joined(path: &str, query: &str) -> String {
    let path = if path.is_empty() { "/".to_owned() } else { encoding::path(path) };
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

fn headers(event: &Event) -> Result<HeaderMap, Malformed> {
    let mut headers = HeaderMap::new();
    match &event.multi_value_headers {
        Some(many) => {
            for (name, value) in many.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value))) {
                append(&mut headers, name, value)?;
            }
        }
        None => event.headers.iter().try_for_each(|(name, value)| append(&mut headers, name, value))?,
    }
    if !event.cookies.is_empty() {
        headers.remove(COOKIE);
        append(&mut headers, "cookie", &event.cookies.join("; "))?;
    }
    Ok(headers)
}

fn append(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Malformed> {
    let wrong = || Malformed::Header(name.to_owned());
    let parsed: HeaderName = name.parse().map_err(|_| wrong())?;
    headers.append(parsed, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong())?);
    Ok(())
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
