//! Only what its sender has signed is forwarded; the secret is in Secrets Manager.

use crate::aws::Aws;
use crate::function::{direct, invoke, reason};
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
