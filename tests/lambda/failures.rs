//! Tests starts that fail: the function's log names cause and fix; Lambda is told.
//!
//! The emulator does not show the error type; `src/platform/lambda/lifecycle.rs` has a test of it.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use testbed::lambda::{Builder, Environment};
use testbed::wait::wait_until;

use crate::scene::{Scene, URL, function, with_extension};

/// A tailscaled that does not start any more is tried again for half a minute.
const GIVEN_UP: Duration = Duration::from_secs(60);

/// tailscaled asks a control server that was away again within this.
const BACK: Duration = Duration::from_secs(60);

/// A service of AWS; here this machine.
const AWS: &str = "sqs.eu-west-1.amazonaws.com";

/// Runs to the failure of the init, and returns the log.
fn failed(builder: Builder) -> String {
    let environment = builder.start().expect("starts");
    // The emulator answers an init that fails with nothing, or with its own error.
    let _ = environment.invoke(&json!({}));
    environment.wait_for_log("Init failed").expect("the init fails");
    let log = environment.log();
    // Reported, and not just ended: that would be Extension.Crash alone.
    assert!(log.contains("Extension.InitError"), "{log}");
    log
}

fn assert_says(log: &str, parts: &[&str]) {
    for part in parts {
        assert!(log.contains(part), "{part:?} is missing in {log}");
    }
}

#[test]
fn a_refused_key_is_named() {
    let scene = Scene::new();
    let log = failed(scene.python().env("TETHERD_AUTH_KEY", "hskey-auth-wrong"));
    assert_says(&log, &["the control server refused the auth key", "create a new key"]);
    assert!(!log.contains("hskey-auth-wrong"), "{log}");
}

#[test]
fn an_unreachable_control_server_is_named_before_lambdas_own_limit() {
    let mut scene = Scene::new();
    let builder = scene.python();
    scene.tailnet.stop_control();
    let log = failed(builder);
    assert_says(&log, &["not ready within start_timeout (8s)", "check control_url"]);
}

#[test]
fn a_missing_tailscaled_is_named() {
    let scene = Scene::new();
    let builder = scene.python();
    std::fs::remove_file(builder.layer().join("bin/tailscaled")).expect("removed");
    let builder = builder.env("PATH", "/usr/bin:/bin:/opt/bin");
    assert_says(&failed(builder), &["tailscaled was found neither beside tetherd nor on PATH", "tailscaled_path"]);
}

#[test]
fn a_setting_that_is_wrong_is_named() {
    testbed::netns::enter_new().expect("a network namespace");
    let builder = with_extension(function("python3", "function.py")).env("TETHERD_SOKS_LISTEN", "x");
    assert_says(&failed(builder), &["TETHERD_SOKS_LISTEN", "did you mean socks_listen?"]);
}

#[test]
fn a_failure_after_the_init_is_named_and_ends_the_extension() {
    let scene = Scene::new();
    let builder = scene.python();
    let tailscaled = builder.layer().join("bin/tailscaled");
    let environment = builder.start().expect("starts");
    assert_eq!(environment.invoke(&json!({ "get": URL })).expect("answers")["status"], 200);
    std::fs::remove_file(tailscaled).expect("removed");
    let pid = environment.pid_of("tailscaled").expect("runs");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("killed");
    wait_until("the extension ends", GIVEN_UP, || environment.pid_of("tetherd").is_none().then_some(()))
        .unwrap_or_else(|error| panic!("{error}\n{}", environment.log()));
    assert_says(&environment.log(), &["tailscaled ends again and again", "Extension.ExitError"]);
}

/// What SDKs of AWS ask leads nowhere but out, and needs no tailnet.
fn assert_reaches_aws(environment: &Environment) {
    let answer = environment.invoke(&json!({ "get": format!("http://{AWS}:8000/") })).expect("answers");
    assert_eq!(answer["status"], 200, "{answer} {}", environment.log());
    assert!(answer["seconds"].as_f64().is_some_and(|seconds| seconds < 1.0), "{answer}");
}

#[test]
fn with_continue_the_function_starts_and_each_connection_is_told_why() {
    let scene = Scene::new();
    let builder = scene.python().env("TETHERD_LAMBDA_ON_FAILURE", "continue").env("TETHERD_AUTH_KEY", "wrong-key");
    let environment = builder.host(AWS).start().expect("starts");
    assert_reaches_aws(&environment);
    let answer = environment.invoke(&json!({ "get": URL })).expect("answers");
    assert_eq!(answer["status"], 502, "{answer}");
    assert!(answer["body"].as_str().expect("text").contains("refused the auth key"), "{answer}");
    assert_says(&environment.log(), &["create a new key"]);
    environment.shut_down().expect("ends");
}

#[test]
fn with_continue_the_function_starts_without_a_control_server_and_is_served_once_there_is_one() {
    let mut scene = Scene::new();
    let builder = scene
        .python()
        .env("TETHERD_LAMBDA_ON_FAILURE", "continue")
        .env("TETHERD_START_TIMEOUT", "2s")
        .env("TETHERD_CONNECT_TIMEOUT", "2s")
        .host(AWS);
    scene.tailnet.stop_control();
    let environment = builder.start().expect("starts");
    let answer = environment.invoke(&json!({ "get": URL })).expect("answers");
    assert_eq!(answer["status"], 504, "{answer}");
    assert_says(answer["body"].as_str().expect("text"), &["check control_url"]);
    assert_reaches_aws(&environment);
    scene.tailnet.start_control().expect("starts again");
    let served = || environment.invoke(&json!({ "get": URL })).is_ok_and(|answer| answer["status"] == 200);
    wait_until("the function is served", BACK, || served().then_some(())).expect("joins");
    environment.shut_down().expect("ends");
}

#[test]
fn with_continue_a_missing_tailscaled_does_not_keep_the_function_from_starting() {
    let scene = Scene::new();
    let builder = scene.python().env("TETHERD_LAMBDA_ON_FAILURE", "continue");
    std::fs::remove_file(builder.layer().join("bin/tailscaled")).expect("removed");
    let environment = builder.env("PATH", "/usr/bin:/bin:/opt/bin").start().expect("starts");
    assert_eq!(environment.invoke(&json!({})).expect("answers")["hello"], "world");
    assert_says(&environment.log(), &["tailscaled was found neither beside tetherd nor on PATH", "tailscaled_path"]);
}

#[test]
fn with_continue_a_wrong_setting_does_not_keep_the_function_from_starting() {
    testbed::netns::enter_new().expect("a network namespace");
    let builder = with_extension(function("python3", "function.py"))
        .env("TETHERD_LAMBDA_ON_FAILURE", "continue")
        .env("TETHERD_SOKS_LISTEN", "x");
    let environment = builder.start().expect("starts");
    assert_eq!(environment.invoke(&json!({})).expect("answers")["hello"], "world");
    assert_says(&environment.log(), &["did you mean socks_listen?"]);
}
