//! Tests that only what its sender has signed is forwarded.
//!
//! The secret is in Secrets Manager.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;
use testbed::api::{Api, Reply, Request};
use testbed::lambda::Builder;
use testbed::netns;

use crate::aws::Aws;
use crate::function::{direct, function, invoke, reason};
use crate::gateway::Call;

/// GitHub's own example.
const SECRET: &str = "It's a Secret to Everybody";
const BODY: &[u8] = b"Hello, World!";
const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

#[test]
fn signed_requests_pass_and_others_never_reach_the_target() {
    let (target, builder) = direct();
    let aws = Aws::start();
    let arn = aws.store("hook/github", SECRET);
    let builder = aws.reachable(builder).env("SIGNATURE_SECRET_ARN", &arn).env("SIGNATURE_SCHEME", "github");
    let environment = builder.start().expect("starts");
    let signed = |body: &[u8]| Call::post(body).header("x-hub-signature-256", SIGNATURE).v2();
    assert_eq!(invoke(&environment, &signed(BODY))["statusCode"], 200, "{}", environment.log());
    assert_eq!(target.take().len(), 1);
    assert_eq!(invoke(&environment, &signed(b"Hello, Mallory!"))["statusCode"], 401);
    assert_eq!(invoke(&environment, &Call::post(BODY).v2())["statusCode"], 401);
    assert_eq!(target.take().len(), 0);
    let log = environment.log();
    assert!(!log.contains(SECRET) && !log.contains("Mallory"), "{log}");
}

#[test]
fn without_the_secret_nothing_passes() {
    let (target, builder) = direct();
    let aws = Aws::start();
    let builder = aws.reachable(builder).env("SIGNATURE_SECRET_ARN", "hook/missing").env("SIGNATURE_SCHEME", "github");
    let environment = builder.start().expect("starts");
    let call = Call::post(BODY).header("x-hub-signature-256", SIGNATURE);
    let answer = invoke(&environment, &call.v2());
    assert_eq!(answer["statusCode"], 503, "{}", environment.log());
    assert!(!answer["body"].as_str().expect("text").contains("hook/missing"), "{answer}");
    let reason = reason(&environment);
    assert!(reason["reason"].as_str().expect("text").contains("ResourceNotFoundException"), "{reason}");
    assert_eq!(target.take().len(), 0);
}

/// As AWS's own answer to a signature that is wrong.
fn quoting(request: &Request) -> Reply {
    let token = request.header("x-amz-security-token").unwrap_or_default();
    let message = format!("The Canonical String should have been 'POST\n/\n\nx-amz-security-token:{token}\n'");
    (403, json!({ "__type": "InvalidSignatureException", "message": message }).to_string())
}

const TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLETOKENwEaCWV1LXdlc3QtMSJHMEUCIQ";

/// The function with credentials, which asks `url` for everything of AWS's.
fn asking(builder: Builder, url: &str) -> Builder {
    let builder = builder.env("AWS_ENDPOINT_URL", url).env("AWS_REGION", "eu-west-1").env("AWS_SESSION_TOKEN", TOKEN);
    builder.env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE").env("AWS_SECRET_ACCESS_KEY", "secret-0123456789")
}

#[test]
fn a_refusal_of_aws_that_quotes_the_session_token_is_not_repeated() {
    let signed = [("SIGNATURE_SECRET_ARN", "hook/github"), ("SIGNATURE_SCHEME", "github")];
    for settings in [&signed[..], &[("QUEUE_URL", "http://127.0.0.1/queue")]] {
        let (_target, builder) = direct();
        let aws = Api::start(quoting).expect("an API");
        let builder = settings.iter().fold(builder, |builder, (name, value)| builder.env(name, value));
        let environment = asking(builder, &aws.url()).start().expect("starts");
        let call = Call::post(BODY).header("x-hub-signature-256", SIGNATURE).v2();
        assert_eq!(invoke(&environment, &call)["statusCode"], 503, "{}", environment.log());
        let reason = reason(&environment);
        assert!(reason["reason"].as_str().expect("text").contains("InvalidSignatureException"), "{reason}");
        assert!(!environment.log().contains(TOKEN), "{}", environment.log());
        assert_eq!(aws.seen()[0].header("x-amz-security-token"), Some(TOKEN), "it was there to be quoted");
    }
}

#[test]
fn aws_is_not_asked_over_plain_http_but_on_loopback() {
    let (_target, builder) = direct();
    let builder = builder.env("SIGNATURE_SECRET_ARN", "hook/github").env("SIGNATURE_SCHEME", "github");
    let environment = asking(builder, "http://aws.example.com").start().expect("starts");
    let call = Call::post(BODY).header("x-hub-signature-256", SIGNATURE).v2();
    assert_eq!(invoke(&environment, &call)["statusCode"], 503, "{}", environment.log());
    let reason = reason(&environment);
    assert!(reason["reason"].as_str().expect("text").contains("AWS_ENDPOINT_URL cannot be used"), "{reason}");
}

#[test]
fn services_that_never_answer_are_a_503_before_the_function_s_own_timeout() {
    netns::enter_new().expect("a network namespace");
    let tailnet = testbed::Tailnet::start().expect("a certificate authority");
    let silent = TcpListener::bind("127.0.0.1:0").expect("accepts, and says nothing");
    let url = format!("https://{}", silent.local_addr().expect("an address"));
    let call = Call::post(BODY).header("x-hub-signature-256", SIGNATURE).v2();
    let signed = [("SIGNATURE_SECRET_ARN", "hook/github"), ("SIGNATURE_SCHEME", "github"), ("TS_TARGET", "web")];
    let queued = [("QUEUE_URL", url.as_str()), ("TS_TARGET", ""), ("TS_PORT", "")];
    for settings in [signed, queued] {
        let builder = crate::aws::reachable(function(), &url, &tailnet).env("AWS_LAMBDA_FUNCTION_TIMEOUT", "3");
        let builder = settings.iter().fold(builder, |builder, (name, value)| builder.env(name, value));
        let environment = builder.start().expect("starts");
        let asked = Instant::now();
        assert_eq!(invoke(&environment, &call)["statusCode"], 503, "{}", environment.log());
        assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
        assert!(reason(&environment)["reason"].as_str().expect("text").contains("in time"));
    }
}
