//! Tests what the caller gets and the log says when forwarding fails.

use std::time::{Duration, Instant};

use serde_json::json;
use testbed::netns;

use crate::function::{direct, function, invoke, reason};
use crate::gateway::Call;

const SECRET_BODY: &[u8] = b"card=4242424242424242";

#[test]
fn a_target_that_refuses_is_a_502_and_one_line_with_the_request_id_and_no_body() {
    let (_target, builder) = direct();
    let environment = builder.env("TS_PORT", "8001").start().expect("starts");
    let answer = invoke(&environment, &Call::post(SECRET_BODY).header("authorization", "Bearer hidden").v2());
    assert_eq!(answer["statusCode"], 502);
    assert!(!answer["body"].as_str().expect("text").contains("127.0.0.1"), "{answer}");
    let reason = reason(&environment);
    assert_eq!((&reason["request_id"], &reason["status"]), (&json!("JKJaXmPLvHcESHA="), &json!(502)));
    assert!(reason["reason"].as_str().expect("text").contains("refused"), "{reason}");
    let log = environment.log();
    assert!(!log.contains("4242424242424242") && !log.contains("hidden"), "{log}");
}

#[test]
fn without_the_layer_the_log_says_that_it_is_missing() {
    netns::enter_new().expect("a network namespace");
    let environment = function().env("TS_TARGET", "web").start().expect("starts");
    assert_eq!(invoke(&environment, &Call::post(b"{}").v2())["statusCode"], 502);
    assert!(reason(&environment)["reason"].as_str().expect("text").contains("layer attached"));
}

#[test]
fn a_slow_target_is_a_504_before_the_function_s_own_timeout() {
    let (target, builder) = direct();
    target.answer_after("HTTP/1.1 200 OK", b"late", Duration::from_secs(20));
    let environment = builder.env("AWS_LAMBDA_FUNCTION_TIMEOUT", "3").start().expect("starts");
    let asked = Instant::now();
    let answer = invoke(&environment, &Call::post(b"{}").v2());
    assert_eq!(answer["statusCode"], 504, "{}", environment.log());
    let taken = asked.elapsed();
    assert!(taken > Duration::from_secs(2) && taken < Duration::from_secs(10), "{taken:?}");
    assert_eq!(reason(&environment)["status"], 504);
}

#[test]
fn an_answer_over_lambda_s_limit_is_a_502_with_the_reason() {
    let (target, builder) = direct();
    let environment = builder.start().expect("starts");
    // Fits as bytes, and not as base64.
    target.answer("HTTP/1.1 200 OK", &vec![0xff; 5_000_000]);
    let answer = invoke(&environment, &Call::post(b"{}").v2());
    assert_eq!(answer["statusCode"], 502);
    assert!(answer["body"].as_str().expect("text").contains("larger than Lambda lets through"), "{answer}");
    assert!(reason(&environment)["reason"].as_str().expect("text").contains("6291556"));
    target.answer("HTTP/1.1 200 OK", &vec![0xff; 4_500_000]);
    assert_eq!(invoke(&environment, &Call::post(b"{}").v2())["statusCode"], 200, "{}", environment.log());
}

#[test]
fn what_is_no_request_is_a_400_and_the_next_one_is_served() {
    let (target, builder) = direct();
    let environment = builder.start().expect("starts");
    assert_eq!(invoke(&environment, &json!({ "key": "value" }))["statusCode"], 400);
    let mut broken = Call::post(b"{}").v2();
    (broken["body"], broken["isBase64Encoded"]) = (json!("???"), json!(true));
    assert_eq!(invoke(&environment, &broken)["statusCode"], 400);
    assert_eq!(target.take().len(), 0);
    assert_eq!(invoke(&environment, &Call::post(b"{}").v2())["statusCode"], 200);
}

#[test]
fn unusable_settings_end_the_start_with_all_of_them_in_the_log() {
    netns::enter_new().expect("a network namespace");
    let environment = function().env("TS_PORT", "http").env("SIGNATURE_SCHEME", "github").start().expect("starts");
    let _ = environment.invoke(&json!({}));
    environment.wait_for_log("TS_TARGET is not set").expect("a line");
    assert!(environment.log().contains("SIGNATURE_SECRET_ARN is not"), "{}", environment.log());
}
