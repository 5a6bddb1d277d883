//! Tests of signatures with the services' own examples, and what must not pass.

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderValue};

use super::*;
use crate::request::Format;

const HELLO: &str = "Hello, World!";
/// GitHub's example: secret and signature of `Hello, World!`.
const GITHUB: (&str, &str) =
    ("It's a Secret to Everybody", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
/// Slack's example.
const SLACK: (&str, &str, u64) = (
    "8f742231b10e8888abcd99yyyzzz85a5",
    "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    1_531_420_618,
);
const SLACK_BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
/// Made with `openssl dgst -sha256 -hmac`.
const STRIPE: (&str, &str, u64) =
    ("whsec_test", "c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925", 1_700_000_000);
const STRIPE_BODY: &str = r#"{"id":"evt_1"}"#;
const SHOPIFY: (&str, &str) = ("key", "f0JOLQ/2vV3sYm4BAnVbr+yRw1EPGXOaTq7I87w6AaQ=");

fn request(body: &'static str, headers: &[(&'static str, &str)]) -> Request {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_str(value).expect("a value"));
    }
    let body = Bytes::from_static(body.as_bytes());
    let target = "/".to_owned();
    Request {
        format: Format::V2,
        id: "id".into(),
        method: Method::POST,
        target,
        headers: map,
        body,
        source: None,
        host: None,
    }
}

fn github(body: &'static str, signature: &str, secret: &str) -> Result<(), Rejected> {
    Scheme::GitHub.verify(&request(body, &[("x-hub-signature-256", signature)]), secret.as_bytes(), 0)
}

#[test]
fn github_s_example_passes_and_nothing_near_it() {
    let (secret, signature) = GITHUB;
    assert_eq!(github(HELLO, signature, secret), Ok(()));
    assert_eq!(github("Hello, World?", signature, secret), Err(Rejected::Wrong));
    assert_eq!(github(HELLO, signature, "another"), Err(Rejected::Wrong));
    assert_eq!(github(HELLO, &signature[..59], secret), Err(Rejected::Wrong), "a part of it");
    for none in ["", "sha256=", "sha256=zz", "sha1=757107ea", &signature[7..], "sha256=+7"] {
        assert!(github(HELLO, none, secret).is_err(), "{none}");
    }
    let without = request(HELLO, &[]);
    assert_eq!(Scheme::GitHub.verify(&without, secret.as_bytes(), 0), Err(Rejected::Missing));
    let twice = request(HELLO, &[("x-hub-signature-256", signature), ("x-hub-signature-256", "sha256=00")]);
    assert_eq!(Scheme::GitHub.verify(&twice, secret.as_bytes(), 0), Err(Rejected::Missing));
}

#[test]
fn slack_s_example_passes_within_five_minutes() {
    let (secret, signature, time) = SLACK;
    let verify = |stamp: u64, now: u64| {
        let headers = [("x-slack-signature", signature), ("x-slack-request-timestamp", &stamp.to_string())];
        Scheme::Slack.verify(&request(SLACK_BODY, &headers), secret.as_bytes(), now)
    };
    assert_eq!(verify(time, time + 300), Ok(()));
    assert_eq!(verify(time, time + 301), Err(Rejected::Stale));
    assert_eq!(verify(time, time - 301), Err(Rejected::Stale));
    assert_eq!(verify(time + 300, time + 300), Err(Rejected::Wrong), "the time is signed, too");
}

#[test]
fn stripe_s_header_may_bear_several_signatures() {
    let (secret, signature, time) = STRIPE;
    let verify = |header: String, now: u64| {
        Scheme::Stripe.verify(&request(STRIPE_BODY, &[("stripe-signature", &header)]), secret.as_bytes(), now)
    };
    let other = "0".repeat(64);
    assert_eq!(verify(format!("t={time},v1={signature},v0={other}"), time), Ok(()));
    assert_eq!(verify(format!("t={time},v1={other},v1={signature}"), time + 299), Ok(()));
    assert_eq!(verify(format!("t={time},v1={other}"), time), Err(Rejected::Wrong));
    assert_eq!(verify(format!("t={time},v0={signature}"), time), Err(Rejected::Missing), "another scheme");
    assert_eq!(verify(format!("v1={signature}"), time), Err(Rejected::Missing));
    assert_eq!(verify(format!("t={time},v1={signature}"), time + 301), Err(Rejected::Stale));
}

#[test]
fn a_header_of_one_s_own_is_hex_or_base64() {
    let (secret, signature) = SHOPIFY;
    let scheme = |coding| Scheme::named("", Some("X-Shopify-Hmac-Sha256"), coding).expect("a scheme");
    let signed = request(HELLO, &[("x-shopify-hmac-sha256", signature)]);
    assert_eq!(scheme(Coding::Base64).verify(&signed, secret.as_bytes(), 0), Ok(()));
    assert_eq!(scheme(Coding::Hex).verify(&signed, secret.as_bytes(), 0), Err(Rejected::Missing));
    let (secret, signature) = GITHUB;
    for text in [signature, &signature[7..]] {
        let signed = request(HELLO, &[("x-shopify-hmac-sha256", text)]);
        assert_eq!(scheme(Coding::Hex).verify(&signed, secret.as_bytes(), 0), Ok(()), "{text}");
    }
}
