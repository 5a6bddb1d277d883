//! Headers that end at a proxy, and its own: `Via`, `Proxy-Authorization`.

use base64::engine::general_purpose::STANDARD;
use base64::{Engine, decoded_len_estimate};
use hyper::Version;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, VIA,
};
use zeroize::Zeroizing;

use crate::proxy::users::user::Given;

/// Longest head of a message, and most of a body that is buffered at a time, in bytes: as much as Squid allows. hyper's
/// 400 KiB would be 1 GB with 3 000 clients.
pub const MAX_HEAD: usize = 64 << 10;

/// Hop-by-hop headers (RFC 9110, section 7.6.1), in addition to those that `Connection` names.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Adds the proxy's word to a message that came by `version`.
pub fn add_via(headers: &mut HeaderMap, version: Version) {
    let via = if version == Version::HTTP_10 { "1.0 tetherd" } else { "1.1 tetherd" };
    headers.append(VIA, HeaderValue::from_static(via));
}

/// Turns the headers of a message into those for the next hop. A chunked body stays one, with its trailers, and who takes
/// trailers still does.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let (is_chunked, takes_trailers) = (headers.contains_key(TRANSFER_ENCODING), takes_trailers(headers));
    let trailers = headers.get(TRAILER).filter(|_| is_chunked).cloned();
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    // RFC 9112, section 6.3: the length is not that of a chunked body.
    if is_chunked {
        headers.remove(CONTENT_LENGTH);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    if is_chunked {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if let Some(trailers) = trailers {
        headers.insert(TRAILER, trailers);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("TE"));
    }
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    let mut wanted =
        headers.get_all(TE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    wanted.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// User and password of a request, zeroed when dropped.
pub struct BasicCredentials(Zeroizing<Vec<u8>>);

impl BasicCredentials {
    /// Reads what a request has; `None` where that is nothing, or not as RFC 7617 writes it.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        decode(headers.get(PROXY_AUTHORIZATION)?.to_str().ok()?).map(Self)
    }

    /// Returns the two; `None` where they are no text, or there is no colon between them.
    pub fn given(&self) -> Option<Given<'_>> {
        let (user, password) = std::str::from_utf8(&self.0).ok()?.split_once(':')?;
        Some(Given { user, password })
    }
}

/// Returns user, colon and password. They are zeroed when dropped, and leave no copy: the buffer has room for all from the start.
fn decode(value: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let encoded = encoded.trim();
    let mut decoded = Zeroizing::new(vec![0; decoded_len_estimate(encoded.len())]);
    let length = STANDARD.decode_slice(encoded, &mut decoded).ok()?;
    decoded.truncate(length);
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn hop_by_hop_headers_end_here_also_those_that_connection_names() {
        let mut headers = map(&[
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic x"),
            ("te", "trailers"),
            ("x-other", "2"),
        ]);
        strip_hop_by_hop(&mut headers);
        let next = [("x-other", "2"), ("te", "trailers"), ("connection", "TE")];
        assert_eq!(headers, map(&next));
    }

    #[test]
    fn credentials_are_read_as_rfc_7617_writes_them() {
        let is_let_in = |value: &'static str| {
            let credentials = BasicCredentials::of(&map(&[("proxy-authorization", value)]));
            let given = credentials.as_ref().and_then(BasicCredentials::given);
            given.is_some_and(|given| (given.user, given.password) == ("app", "pass:word"))
        };
        assert!(is_let_in("Basic YXBwOnBhc3M6d29yZA=="));
        assert!(is_let_in("basic YXBwOnBhc3M6d29yZA=="));
        assert!(!is_let_in("Basic YXBwOndyb25n"));
        assert!(is_let_in("BASIC  YXBwOnBhc3M6d29yZA== "));
        assert!(!is_let_in("Basic YXBwOnBhc3M6d29yZP8="), "no UTF-8");
        assert!(!is_let_in("Basic"));
        assert!(!is_let_in("Basic "));
        assert!(!is_let_in("Bearer YXBwOnBhc3M6d29yZA=="));
        assert!(!is_let_in("Basic ***"));
        assert!(BasicCredentials::of(&HeaderMap::new()).is_none());
    }
}
