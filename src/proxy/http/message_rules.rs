//! What a message must be like to be passed on: Host, codings, address.
//!
//! hyper parses; these are the rules for proxies that it leaves to its user (RFC 9110, RFC 9112).

use hyper::header::{HOST, HeaderMap, HeaderValue, MAX_FORWARDS, TRANSFER_ENCODING};
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode, Uri, Version};
use thiserror::Error;

use crate::proxy::http::request_lines::WHOLE_SERVER;
use crate::target::host::Target;

const HTTP_PORT: u16 = 80;

/// Why a message is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BrokenRule {
    #[error("the request needs one Host header, and has none")]
    NoHost,
    #[error("the request needs one Host header, and has more")]
    TwoHosts,
    #[error("a transfer coding besides chunked is not passed on")]
    Coding,
}

impl BrokenRule {
    /// Returns the status of a request that breaks the rule.
    pub fn status(self) -> StatusCode {
        match self {
            Self::NoHost | Self::TwoHosts => StatusCode::BAD_REQUEST,
            Self::Coding => StatusCode::NOT_IMPLEMENTED,
        }
    }
}

/// Checks a request.
pub fn check_request<B>(request: &Request<B>) -> Result<(), BrokenRule> {
    match request.headers().get_all(HOST).iter().count() {
        0 if request.version() == Version::HTTP_11 => Err(BrokenRule::NoHost),
        0 | 1 => check_codings(request.headers()),
        _ => Err(BrokenRule::TwoHosts),
    }
}

/// Checks that a message has no transfer coding but `chunked`, which is put on anew (RFC 9112, section 6.1): another one would
/// be lost.
pub fn check_codings(headers: &HeaderMap) -> Result<(), BrokenRule> {
    let is_chunked = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(value), None) if is_chunked(value) => Ok(()),
        _ => Err(BrokenRule::Coding),
    }
}

/// Whether targets of this scheme are spoken to by plain HTTP.
fn is_plain(scheme: &str) -> bool {
    scheme == "http" || scheme.eq_ignore_ascii_case("ws")
}

/// Error of an address whose host is invalid.
const NO_HOST: &str = "the host of the address is no name: it has letters, digits, - and _ between dots";

/// Returns the target of an absolute-form request, or what is wrong with its address.
pub fn absolute_target(uri: &Uri) -> Result<Target, &'static str> {
    let Some(authority) = uri.authority() else {
        return Err("this is a proxy: a request must name its whole address, or use CONNECT");
    };
    match uri.scheme_str() {
        Some(scheme) if is_plain(scheme) => match without_user(authority.as_str()).strip_prefix(authority.host()) {
            // `http://host:/` names no port (RFC 9110, section 4.2.3).
            Some("" | ":") => Target::new(authority.host(), HTTP_PORT).map_err(|_| NO_HOST),
            // A port that is no number must not become another port than the client meant.
            _ => match port(authority) {
                Some(port) => Target::new(authority.host(), port).map_err(|_| NO_HOST),
                None => Err("the port of the address is no number up to 65535"),
            },
        },
        _ => Err("only http:// and ws:// can be sent on; use CONNECT for anything else"),
    }
}

/// Returns the target of a CONNECT; `None` where it is no plain host and port (RFC 9112, section 3.2.3).
pub fn authority_target(uri: &Uri) -> Option<Target> {
    let authority = uri.authority().filter(|_| uri.scheme().is_none() && uri.path_and_query().is_none())?;
    if authority.as_str().contains('@') {
        return None;
    }
    Target::new(authority.host(), port(authority)?).ok()
}

/// Returns the port that `authority` names; `None` where it is missing, or anything but digits: `+80` is no port.
pub fn port(authority: &Authority) -> Option<u16> {
    authority.port().filter(|port| port.as_str().bytes().all(|byte| byte.is_ascii_digit())).map(|port| port.as_u16())
}

/// Removes `user:password@`, which is not for the wire (RFC 9110, section 4.2.4).
pub fn without_user(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// Returns the path that the target is asked for.
pub fn origin_form(uri: &Uri) -> Result<Uri, hyper::http::Error> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    if path == WHOLE_SERVER {
        return "*".parse().map_err(hyper::http::Error::from);
    }
    // `http://web?x=1` has an empty path (RFC 9112, section 3.2.1).
    Ok(if path.starts_with('?') { format!("/{path}").parse()? } else { path.parse()? })
}

/// Counts `Max-Forwards` of OPTIONS and TRACE down (RFC 9110, section 7.6.2). Returns whether the request ends here.
pub fn ends_here(method: &Method, headers: &mut HeaderMap) -> bool {
    if method != Method::OPTIONS && method != Method::TRACE {
        return false;
    }
    let left = headers.get(MAX_FORWARDS).and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok());
    match left {
        Some(0) => true,
        Some(left) => {
            headers.insert(MAX_FORWARDS, HeaderValue::from(left - 1));
            false
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunked_is_the_only_coding() {
        let check = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TRANSFER_ENCODING, HeaderValue::from_static(value));
            }
            check_codings(&headers).is_ok()
        };
        assert!(check(&[]) && check(&["chunked"]) && check(&["Chunked"]));
        for values in [&["gzip, chunked"][..], &["gzip", "chunked"], &["chunked, chunked"], &["identity"], &[""]] {
            assert!(!check(values), "{values:?}");
        }
    }

    #[test]
    fn the_target_is_the_address_of_the_request() {
        let target = |text: &str| absolute_target(&text.parse().expect("URI")).map(|target| target.to_string());
        assert_eq!(target("http://web/path").as_deref(), Ok("web:80"));
        assert_eq!(target("http://web:8080/").as_deref(), Ok("web:8080"));
        assert_eq!(target("http://[fd7a::1]:81/").as_deref(), Ok("[fd7a::1]:81"));
        assert_eq!(target("http://app:1@web:/").as_deref(), Ok("web:80"));
        assert!(target("http://web:99999/").is_err());
        assert!(target("http://web:x/").is_err());
        assert!(target("https://web/").is_err());
        assert!(target("/path").is_err());
    }

    #[test]
    fn only_a_host_and_a_port_are_the_target_of_a_connect() {
        let target = |text: &str| authority_target(&text.parse().ok()?).map(|target| target.to_string());
        assert_eq!(target("web:80").as_deref(), Some("web:80"));
        assert_eq!(target("[fd7a::1]:80").as_deref(), Some("[fd7a::1]:80"));
        for text in
            ["web", "web:", "web:+80", "web:99999", "app@web:80", "app:1@web:80", "http://web:80", "web:80/", "/"]
        {
            assert_eq!(target(text), None, "{text}");
        }
    }

    #[test]
    fn credentials_in_the_address_stay_here() {
        assert_eq!(without_user("app:pass@web:80"), "web:80");
        assert_eq!(without_user("web:80"), "web:80");
    }

    #[test]
    fn the_path_goes_on_as_it_came() {
        let path = |text: &str| origin_form(&text.parse().expect("URI")).expect("a path").to_string();
        assert_eq!(path("http://web/a?b"), "/a?b");
        assert_eq!(path("http://web"), "/");
        assert_eq!(path("http://web?b"), "/?b");
        assert_eq!(path(&format!("http://web{WHOLE_SERVER}")), "*");
    }
}
