//! Makes the request to the target of the caller's request.
//!
//! It is the caller's, without what is for one hop only, and with what a proxy adds.

use http_body_util::Full;
use hyper::Uri;
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, VIA};

use crate::failure::Failure;
use crate::headers::strip_hop_by_hop;
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
    // The body is whole: its length is known anew, and nobody waits for a 100.
    headers.remove(CONTENT_LENGTH);
    headers.remove(EXPECT);
    if let Some(source) = &request.source {
        append_unless_last(&mut headers, FORWARDED_FOR, source)?;
    }
    // API Gateway and function URLs are reached by HTTPS alone.
    headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static("https"));
    if let Some(host) = request.host {
        headers.insert(FORWARDED_HOST, value(&FORWARDED_HOST, &host)?);
    }
    append_unless_last(&mut headers, VIA, PSEUDONYM)?;
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

/// One list in one header, whose last entry is this hop's. API Gateway has mostly added it already.
fn append_unless_last(headers: &mut HeaderMap, name: HeaderName, own: &str) -> Result<(), Failure> {
    let given: Vec<&[u8]> = headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
    let given = String::from_utf8_lossy(&given.join(&b", "[..])).into_owned();
    let all = match given.rsplit(',').next().map(str::trim).unwrap_or_default() {
        "" => own.to_owned(),
        last if last == own => given,
        _ => format!("{given}, {own}"),
    };
    let all = value(&name, &all)?;
    headers.insert(name, all);
    Ok(())
}

fn value(name: &HeaderName, text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|_| Malformed::Header(name.to_string()).into())
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::*;
    use crate::request::Format;
    use crate::settings::Settings;

    fn target(pairs: &[(&str, &str)]) -> Target {
        let lookup = |name: &str| match pairs.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => Some((*value).to_owned()),
            None => (name == "TS_TARGET").then(|| "web".into()),
        };
        Settings::read(lookup).expect("usable").target.expect("a target")
    }

    fn request(target: &str, headers: &[(&'static str, &'static str)]) -> Request {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let (method, host, source) = (Method::POST, Some("api.example.com".into()), Some("192.0.2.1".into()));
        let body = Bytes::from_static(b"body");
        Request { format: Format::V2, id: "id".into(), method, target: target.into(), headers: map, body, source, host }
    }

    fn sent(request: Request, to: &[(&str, &str)]) -> (String, Vec<(String, String)>) {
        let outgoing = build(request, &target(to)).expect("a request");
        let mut headers: Vec<_> = outgoing
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        headers.sort();
        (outgoing.uri().to_string(), headers)
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn paths_and_queries_are_not_tidied_up() {
        for path in ["/a/../b/./c//d", "/%2e%2e/%2F?a=1&a=2&%zz={}", "/?", "/a;b?x[]=1&&"] {
            let (uri, _) = sent(request(path, &[]), &[("TS_PORT", "8080")]);
            assert_eq!(uri, format!("http://web:8080{path}"));
            let (uri, _) =
                sent(request(path, &[]), &[("TS_BASE_PATH", "/base/"), ("TS_SCHEME", "https"), ("TS_PORT", "443")]);
            assert_eq!(uri, format!("https://web:443/base{path}"));
        }
    }

    #[test]
    fn one_hop_s_headers_go_and_the_proxy_s_come() {
        let given = [
            ("host", "api.example.com"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("content-length", "99"),
            ("expect", "100-continue"),
            ("x-twice", "1"),
            ("x-twice", "2"),
        ];
        let (_, headers) = sent(request("/", &given), &[]);
        let expected = [
            ("host", "web"),
            ("via", "1.1 tetherd-webhook"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-host", "api.example.com"),
            ("x-forwarded-proto", "https"),
            ("x-twice", "1"),
            ("x-twice", "2"),
        ];
        assert_eq!(headers, pairs(&expected));
    }

    #[test]
    fn what_earlier_proxies_added_stays_before_it() {
        let given = [
            ("x-forwarded-for", "203.0.113.9"),
            ("via", "1.1 cdn"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "forged"),
        ];
        let (_, headers) = sent(request("/", &given), &[("TS_HOST_HEADER", "shop.example.com")]);
        let expected = [
            ("host", "shop.example.com"),
            ("via", "1.1 cdn, 1.1 tetherd-webhook"),
            ("x-forwarded-for", "203.0.113.9, 192.0.2.1"),
            ("x-forwarded-host", "api.example.com"),
            ("x-forwarded-proto", "http"),
        ];
        assert_eq!(headers, pairs(&expected));
        let (_, headers) = sent(request("/", &[("x-forwarded-for", "203.0.113.9, 192.0.2.1")]), &[]);
        assert!(
            headers.contains(&("x-forwarded-for".into(), "203.0.113.9, 192.0.2.1".into())),
            "not twice: {headers:?}"
        );
    }
}
