//! Requests as the target gets them.

use hyper::Method;

use super::*;
use crate::request::Format;
use crate::settings::Settings;

fn target(pairs: &[(&str, &str)]) -> Target {
    let lookup = |name: &str| match pairs.iter().find(|(known, _)| *known == name) {
        Some((_, value)) => Some((*value).to_owned()),
        None if name == "SIGNATURE_SCHEME" => Some("none".into()),
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
    for path in ["/a//b//c", "/a%2Fb%5c?a=1&a=2&%zz={}", "/?", "/a;b?x[]=1&&/../"] {
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
        ("x-forwarded-proto", "https"),
    ];
    assert_eq!(headers, pairs(&expected));
    let (_, headers) = sent(request("/", &[("x-forwarded-for", "203.0.113.9, 192.0.2.1")]), &[]);
    assert!(headers.contains(&("x-forwarded-for".into(), "203.0.113.9, 192.0.2.1".into())), "not twice: {headers:?}");
}

/// What targets take for the word of a proxy of theirs. The names are as a gateway hands them over, or in any case.
const TRUSTED: [&str; 88] = [
    "X-Forwarded-User",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-forwarded-prefix",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "x-forwarded-uri",
    "x-forwarded-method",
    "x-forwarded-client-cert",
    "x-forwarded-tls-client-cert",
    "x-forwarded-by",
    "X-Auth-Request-User",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-access-token",
    "Remote-User",
    "remote-groups",
    "remote-email",
    "remote-name",
    "x-remote-user",
    "x-remote-group",
    "x-remote-extra-scopes",
    "x-webauth-user",
    "x-authentik-username",
    "x-authenticated-user",
    "x-goog-authenticated-user-email",
    "cf-access-authenticated-user-email",
    "x-ms-client-principal",
    "x-amzn-oidc-identity",
    "X-Real-IP",
    "x-client-ip",
    "client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "Forwarded",
    "X-Original-URL",
    "x-original-uri",
    "x-original-host",
    "x-original-forwarded-for",
    "X-Rewrite-URL",
    "x-host",
    "x-scheme",
    "x-url-scheme",
    "front-end-https",
    "client-cert",
    "ssl-client-verify",
    "x-ssl-client-dn",
    "proxy",
    "Tailscale-User-Login",
    "tailscale-user-name",
    "tailscale-app-capabilities",
    "x-tailscale-user",
    "x-forwarded",
    "x-originating-ip",
    "proxy-client-ip",
    "wl-proxy-client-ip",
    "wl-proxy-ssl",
    "x-arr-clientcert",
    "x-azure-clientip",
    "fly-client-ip",
    "cloudfront-viewer-address",
    "X-Amzn-Mtls-Clientcert-Subject",
    "x-amzn-ava-user-context",
    "x-amzn-tls-version",
    "iv-user",
    "iv-groups",
    "iv-creds",
    "SM-User",
    "sm-universalid",
    "x-consumer-username",
    "x-credential-identifier",
    "x-authenticated-userid",
    "x-anonymous-consumer",
    "x-vouch-user",
    "x-pomerium-jwt-assertion",
    "x-middleware-subrequest",
    "x-accel-redirect",
    "x-sendfile-type",
    "x-appengine-user-email",
    "x-userinfo",
    "x-jwt-assertion",
    "x-nginx-proxy",
];

#[test]
fn headers_that_targets_trust_are_dropped_and_their_neighbours_are_not() {
    let odd = ["x_forwarded_for", "x_forwarded_user", "remote_user", "x-real_ip", "x.real.ip", "x!a", "x'y", "a_b"];
    for name in TRUSTED.into_iter().chain(odd) {
        let mut asked = request("/", &[]);
        asked.headers.append(name.parse::<HeaderName>().expect(name), HeaderValue::from_static("admin"));
        let (_, headers) = sent(asked, &[]);
        assert!(!headers.iter().any(|(_, value)| value.contains("admin")), "{name}: {headers:?}");
    }
    let kept = [
        "authorization",
        "cookie",
        "x-hub-signature-256",
        "x-goog-channel-id",
        "x-auth-token",
        "x-github-event",
        "x-forward",
        "x-request-id",
        "x-amzn-trace-id",
        "user-agent",
        "x-gitlab-token",
        "x-shopify-hmac-sha256",
        "origin",
    ];
    for name in kept {
        let (_, headers) = sent(request("/", &[(name, "admin")]), &[]);
        assert!(headers.contains(&(name.into(), "admin".into())), "{name}: {headers:?}");
    }
}

#[test]
fn the_proto_is_https_and_what_the_gateway_does_not_say_nobody_says() {
    for given in ["http", "HTTP", "https, http", "", "wss"] {
        let (_, headers) = sent(request("/", &[("x-forwarded-proto", given)]), &[]);
        let protos: Vec<_> = headers.iter().filter(|(name, _)| name == "x-forwarded-proto").collect();
        assert_eq!(protos, [&("x-forwarded-proto".to_owned(), "https".to_owned())], "{given}");
    }
    let twice = [("x-forwarded-proto", "http"), ("x-forwarded-proto", "http")];
    assert_eq!(sent(request("/", &twice), &[]).1.iter().filter(|(_, value)| value == "http").count(), 0);
    let forged = [("x-forwarded-host", "admin"), ("x-forwarded-for", "127.0.0.1")];
    let asked = Request { host: None, source: None, ..request("/", &forged) };
    let (_, headers) = sent(asked, &[]);
    assert!(!headers.iter().any(|(_, value)| value == "admin" || value == "127.0.0.1"), "{headers:?}");
}
