//! Tells hop-by-hop headers, which go no further (RFC 9110, 7.6.1).
//!
//! They are for the next hop alone.

use hyper::header::{CONNECTION, HeaderMap, HeaderName};

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

/// Headers by which proxies tell their targets of the caller, beside those that begin with [`PREFIXES`].
const TRUSTED: [&str; 26] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "front-end-https",
    // The variable HTTP_PROXY of a CGI program.
    "proxy",
    "proxy-client-ip",
    "sm-universalid",
    "sm-user",
    "true-client-ip",
    "x-anonymous-consumer",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-host",
    "x-jwt-assertion",
    "x-middleware-subrequest",
    "x-nginx-proxy",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-scheme",
    "x-url-scheme",
    "x-userinfo",
];

/// `x-forwarded-for`, `-host` and `-proto` are what the forwarder itself says, from what the gateway has seen.
const PREFIXES: [&str; 36] = [
    "cf-access-",
    "client-cert",
    "cloudfront-viewer-",
    "iv-",
    "remote-",
    "ssl-",
    "tailscale-",
    "wl-proxy-",
    "x-accel-",
    "x-amzn-ava-",
    "x-amzn-mtls-",
    "x-amzn-oidc-",
    "x-amzn-tls-",
    "x-appengine-",
    "x-arr-",
    "x-auth-request-",
    "x-authenticated-",
    "x-authentik-",
    "x-azure-",
    "x-client-cert",
    "x-consumer-",
    "x-credential-",
    "x-envoy-",
    "x-forwarded-",
    "x-goog-authenticated-user-",
    "x-goog-iap-",
    "x-ms-client-principal",
    "x-original-",
    "x-pomerium-",
    "x-remote-",
    "x-rewrite-",
    "x-sendfile-",
    "x-ssl-",
    "x-tailscale-",
    "x-vouch-",
    "x-webauth-",
];

/// Takes them out, those that `Connection` names among them.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().map(HeaderName::as_str).chain(HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Takes out what a target may take for the word of a proxy of its own: who the caller is, where it is, and which URL is meant.
///
/// Names with other characters than letters, digits and hyphens go as well: CGI and WSGI read `x_real_ip` as `X-Real-IP`.
pub fn strip_trusted(headers: &mut HeaderMap) {
    let is_plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_trusted = |name: &str| TRUSTED.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let doomed = headers.keys().filter(|name| is_trusted(name.as_str()) || !is_plain(name.as_str()));
    for name in doomed.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn what_connection_names_goes_with_it() {
        let mut headers = HeaderMap::new();
        let all = [
            ("connection", "close, X-Secret-Hop"),
            ("connection", "x-other"),
            ("x-secret-hop", "1"),
            ("x-other", "2"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("x-kept", "3"),
            ("x-kept", "4"),
        ];
        for (name, value) in all {
            headers.append(name, HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.keys_len(), 1, "{headers:?}");
        assert_eq!(headers.get_all("x-kept").iter().count(), 2);
    }
}
