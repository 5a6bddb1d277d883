//! Tests of settings as the environment has them.

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
    let found = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Settings::read(found).map_err(|faults| faults.to_string())
}

/// What a request needs no signature for.
const UNSIGNED: (&str, &str) = ("SIGNATURE_SCHEME", "none");

fn faults(pairs: &[(&str, &str)]) -> String {
    read(pairs).err().expect("unusable")
}

#[test]
fn a_target_alone_is_enough() {
    let settings = read(&[("TS_TARGET", "web"), UNSIGNED]).expect("usable");
    let target = settings.target.expect("a target");
    assert_eq!((target.authority.as_str(), target.host.to_str().expect("text")), ("web:80", "web"));
    assert_eq!((target.scheme, target.base_path.as_str()), (Scheme::HTTP, ""));
    assert_eq!(settings.socks.expect("through the tailnet").to_string(), "127.0.0.1:1055");
    assert!(settings.signature.is_none() && settings.queue_url.is_none());
}

#[test]
fn port_scheme_base_path_and_host_header_are_taken() {
    let set = [
        ("TS_TARGET", "web.tail1234.ts.net"),
        ("TS_PORT", "8443"),
        ("TS_SCHEME", "HTTPS"),
        ("TS_BASE_PATH", "/a%2Fb/"),
        UNSIGNED,
    ];
    let target = read(&set).expect("usable").target.expect("a target");
    assert_eq!(target.authority.as_str(), "web.tail1234.ts.net:8443");
    assert_eq!(target.host, "web.tail1234.ts.net:8443");
    assert_eq!(target.base_path, "/a%2Fb");
    let set = [("TS_TARGET", "fd7a:115c:a1e0::1"), ("TS_HOST_HEADER", "shop.example.com"), UNSIGNED];
    let target = read(&set).expect("usable").target.expect("a target");
    assert_eq!(
        (target.authority.as_str(), target.host.to_str().expect("text")),
        ("[fd7a:115c:a1e0::1]:80", "shop.example.com")
    );
}

#[test]
fn everything_wrong_is_named_at_once() {
    let mut wrong = [
        ("TS_TARGET", "http://web"),
        ("TS_PORT", "http"),
        ("TS_SCHEME", "ftp"),
        ("TS_BASE_PATH", "hooks"),
        ("TS_HOST_HEADER", "a b"),
        ("TS_SOCKS_PROXY", "nowhere"),
        ("SIGNATURE_SECRET_ARN", "arn"),
        ("SIGNATURE_ENCODING", "base32"),
        ("SIGNATURE_SCHEME", "gitlab"),
    ];
    for name in wrong.map(|(name, _)| name).into_iter().filter(|name| *name != "SIGNATURE_SECRET_ARN") {
        assert!(faults(&wrong).contains(name), "{name}: {}", faults(&wrong));
    }
    wrong[0].1 = "";
    for name in ["TS_TARGET is not set", "TS_PORT", "TS_SCHEME", "TS_BASE_PATH", "TS_HOST_HEADER"] {
        assert!(faults(&wrong).contains(name), "{name}: {}", faults(&wrong));
    }
    assert!(faults(&[("TS_TARGET", "web"), ("SIGNATURE_HEADER", "X-Signature")]).contains("SIGNATURE_SECRET_ARN"));
    assert!(faults(&[]).contains("TS_TARGET is not set"));
    for (name, value) in [
        ("TS_PORT", "0"),
        ("TS_PORT", "http"),
        ("TS_SCHEME", "ftp"),
        ("TS_BASE_PATH", "hooks"),
        ("TS_BASE_PATH", "/a?b=c"),
        ("TS_HOST_HEADER", "a b"),
        ("TS_HOST_HEADER", "user@web"),
        ("TS_TARGET", "web:8080"),
        ("TS_TARGET", "web/hooks"),
        ("TS_TARGET", "web?"),
        ("TS_TARGET", "[::1]:80"),
        ("TS_TARGET", "fe80::1%eth0"),
    ] {
        assert!(faults(&[(name, value), ("TS_TARGET", "web")]).contains(name), "{name}={value}");
    }
}

#[test]
fn a_function_that_only_fills_the_queue_needs_no_target() {
    let settings =
        read(&[("QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/123456789012/hooks"), ("TS_TARGET", ""), UNSIGNED]);
    assert!(settings.expect("usable").target.is_none());
}

#[test]
fn a_signature_needs_a_scheme_or_a_header() {
    let arn = ("SIGNATURE_SECRET_ARN", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:hook");
    let target = ("TS_TARGET", "web");
    assert!(read(&[target, arn, ("SIGNATURE_SCHEME", "Stripe")]).expect("usable").signature.is_some());
    assert!(read(&[target, arn, ("SIGNATURE_HEADER", "X-Signature")]).expect("usable").signature.is_some());
    assert!(faults(&[target, arn]).contains("SIGNATURE_SCHEME"));
    assert!(faults(&[target, arn, ("SIGNATURE_SCHEME", "gitlab")]).contains("gitlab"));
}

/// Nobody is let in without a signature because a variable was forgotten.
#[test]
fn requests_are_taken_unsigned_only_where_none_is_named() {
    let target = ("TS_TARGET", "web");
    for name in ["none", "None", "NONE"] {
        let settings = read(&[target, ("SIGNATURE_SCHEME", name)]).expect(name);
        assert!(settings.signature.is_none(), "{name}");
    }
    for forgotten in [&[target][..], &[target, ("SIGNATURE_SCHEME", "")], &[target, ("SIGNATURE_ENCODING", "hex")]] {
        assert!(faults(forgotten).contains("SIGNATURE_SCHEME=none"), "{}", faults(forgotten));
    }
    let arn = ("SIGNATURE_SECRET_ARN", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:hook");
    let contradiction = faults(&[target, arn, UNSIGNED]);
    assert!(contradiction.contains("SIGNATURE_SECRET_ARN"), "{contradiction}");
    let contradiction = faults(&[target, ("SIGNATURE_HEADER", "X-Signature"), UNSIGNED]);
    assert!(contradiction.contains("SIGNATURE_HEADER"), "{contradiction}");
}

#[test]
fn a_base_path_has_no_dot_segments() {
    for path in ["/..", "/a/..", "/a/./b", "/a/%2e%2e", "/..;/a", "/a%2f.."] {
        assert!(faults(&[("TS_BASE_PATH", path), ("TS_TARGET", "web")]).contains("TS_BASE_PATH"), "{path}");
    }
}
