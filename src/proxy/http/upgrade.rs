//! `Upgrade`: a request after which both ends speak another protocol.
//!
//! Such as WebSocket (RFC 9110, section 7.8).

use hyper::body::Body;
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use hyper::{Request, Version};

/// HTTP/2 over the same connection is for the next hop alone (RFC 9113, section 3.1): a client would then send requests for
/// other targets by it.
const HTTP_2: &str = "h2c";

/// Returns the protocols that `request` asks its target for; `None` where it asks for none.
pub fn asked_for<B: Body>(request: &Request<B>) -> Option<HeaderValue> {
    let headers = request.headers();
    let protocols: Vec<&str> = words(headers, UPGRADE).filter(|name| !name.eq_ignore_ascii_case(HTTP_2)).collect();
    let is_asked = words(headers, CONNECTION).any(|option| option.eq_ignore_ascii_case("upgrade"));
    let can_switch = request.version() == Version::HTTP_11 && request.body().is_end_stream();
    if protocols.is_empty() || !is_asked || !can_switch {
        return None;
    }
    HeaderValue::from_str(&protocols.join(", ")).ok()
}

/// Puts the protocols into the headers of a message for the next hop.
pub fn ask_for(headers: &mut HeaderMap, protocols: HeaderValue) {
    headers.insert(UPGRADE, protocols);
    let with_te = headers.contains_key(CONNECTION);
    headers.insert(CONNECTION, HeaderValue::from_static(if with_te { "TE, Upgrade" } else { "Upgrade" }));
}

fn words(headers: &HeaderMap, name: impl hyper::header::AsHeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&str, &str)]) -> Option<String> {
        let request = headers.iter().fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
        let request = request.body(http_body_util::Empty::<hyper::body::Bytes>::new()).expect("a request");
        asked_for(&request).map(|value| value.to_str().expect("text").to_owned())
    }

    #[test]
    fn a_protocol_is_asked_for_by_two_headers() {
        assert_eq!(asked(&[("upgrade", "websocket"), ("connection", "Upgrade")]).as_deref(), Some("websocket"));
        assert_eq!(asked(&[("upgrade", "a, h2c,b"), ("connection", "TE, upgrade")]).as_deref(), Some("a, b"));
        assert_eq!(asked(&[("upgrade", "h2c"), ("connection", "Upgrade")]), None);
        assert_eq!(asked(&[("upgrade", "websocket")]), None);
        assert_eq!(asked(&[("connection", "upgrade")]), None);
    }
}
