//! Makes the request to the target of the caller's request.
//!
//! It is the caller's, without what is for one hop only, and with what a proxy adds.

use http_body_util::Full;
use hyper::Uri;
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, VIA};

use crate::failure::Failure;
use crate::headers::{strip_hop_by_hop, strip_trusted};
use crate::request::{Malformed, Request};
use crate::settings::Target;

/// How `Via` names this proxy (RFC 9110, 7.6.3).
const PSEUDONYM: &str = "1.1 tetherd-webhook";
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

pub fn build(request: Request, target: &Target) -> Result<hyper::Request<Full<Bytes>>, Failure> {
    let uri = uri(&request.target, target)?;
    let mut headers = request.headers;
    strip_hop_by_hop(&mut headers);
    // The gateway adds its own to what it was given; without a source nobody knows how much of it is true.
    let forwarded_for = request.source.as_ref().map(|source| list(&headers, &FORWARDED_FOR, source));
    strip_trusted(&mut headers);
    // The body is whole: its length is known anew, and nobody waits for a 100.
    headers.remove(CONTENT_LENGTH);
    headers.remove(EXPECT);
    if let Some(forwarded_for) = forwarded_for {
        headers.insert(FORWARDED_FOR, value(&FORWARDED_FOR, &forwarded_for)?);
    }
    // API Gateway and function URLs are reached by HTTPS alone.
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
    if let Some(host) = request.host {
        headers.insert(FORWARDED_HOST, value(&FORWARDED_HOST, &host)?);
    }
    let via = list(&headers, &VIA, PSEUDONYM);
    headers.insert(VIA, value(&VIA, &via)?);
    headers.insert(HOST, target.host.clone());
    let mut outgoing = hyper::Request::new(Full::new(request.body));
    *outgoing.method_mut() = request.method;
    *outgoing.uri_mut() = uri;
    *outgoing.headers_mut() = headers;
    Ok(outgoing)
}

/// Not by way of a URL parser: one that follows the WHATWG would turn `/a/../b` and `/%2e%2e/` into other paths.
fn uri(path_and_query: &str, target: &Target) -> Result<Uri, Failure> {
    let whole = format!("{}{path_and_query}", target.base_path);
    let builder = Uri::builder().scheme(target.scheme.clone()).authority(target.authority.clone());
    builder.path_and_query(whole).build().map_err(|error| Failure::Broken(format!("no request line: {error}")))
}

/// The values of a header as one list, whose last entry is this hop's. API Gateway has mostly added it already.
fn list(headers: &HeaderMap, name: &HeaderName, own: &str) -> String {
    let given: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let given = String::from_utf8_lossy(&given.join(&b", "[..])).into_owned();
    match given.rsplit(',').next().map(str::trim).unwrap_or_default() {
        "" => own.to_owned(),
        last if last == own => given,
        _ => format!("{given}, {own}"),
    }
}

fn value(name: &HeaderName, text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|_| Malformed::Header(name.to_string()).into())
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
