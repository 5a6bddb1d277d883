//! Responses of the proxy itself: a status and one line that says why.

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, PROXY_AUTHENTICATE};
use hyper::{Response, StatusCode};

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
}
