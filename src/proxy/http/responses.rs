//! Responses of the proxy itself: a status and one line that says why.

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderName, HeaderValue, PROXY_AUTHENTICATE};
use hyper::{Request, Response, StatusCode};

use crate::proxy::http::message_rules::without_user;
use crate::target::dial::DialError;

/// The body of every response: the proxy's own, or one that streams from the target.
pub type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// Makes a body of bytes that are there already.
pub fn full_body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Returns the status that tells the truth about `error`.
pub fn status_of(error: &DialError) -> StatusCode {
    match error {
        DialError::Policy(_) => StatusCode::FORBIDDEN,
        DialError::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        DialError::Network(_)
        | DialError::Host(_)
        | DialError::Refused
        | DialError::Tailscaled(_)
        | DialError::Other(_) => StatusCode::BAD_GATEWAY,
    }
}

/// Makes a response that refuses a request, with the reason as its body.
pub fn refusal(status: StatusCode, reason: &str) -> Response<Body> {
    let mut response = Response::new(full_body(format!("tetherd: {reason}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        let scheme = HeaderValue::from_static("Basic realm=\"tetherd\"");
        response.headers_mut().insert(PROXY_AUTHENTICATE, scheme);
    }
    response
}

/// Makes the answer to a TRACE that ends here (RFC 9110, section 9.3.8): the request, without what is secret in it.
pub fn trace_answer<B>(request: &Request<B>) -> Response<Body> {
    let host = request.uri().authority().map_or("", |authority| without_user(authority.as_str()));
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut text = format!("{} http://{host}{path} {:?}\r\n", request.method(), request.version());
    let is_secret =
        |name: &HeaderName| *name == AUTHORIZATION || *name == COOKIE || name.as_str().starts_with("proxy-");
    for (name, value) in request.headers().iter().filter(|(name, _)| !is_secret(name)) {
        text.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes())));
    }
    let mut response = Response::new(full_body(text + "\r\n"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("message/http"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_tell_policy_time_and_the_rest_apart() {
        assert_eq!(status_of(&DialError::Policy(String::new())), 403);
        assert_eq!(status_of(&DialError::TimedOut(String::new())), 504);
        assert_eq!(status_of(&DialError::Refused), 502);
        assert_eq!(status_of(&DialError::Host(String::new())), 502);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_trace_shows_no_secrets() {
        let request = Request::builder().method("TRACE").uri("http://app@web/").header("X-Seen", "d");
        let request =
            request.header("Authorization", "Basic a").header("Cookie", "b").header("Proxy-Authorization", "c");
        let body = trace_answer(&request.body(()).expect("a request")).into_body().collect().await.expect("a body");
        let text = String::from_utf8(body.to_bytes().to_vec()).expect("text");
        assert_eq!(text, "TRACE http://web/ HTTP/1.1\r\nx-seen: d\r\n\r\n");
    }
}
