//! Tests the phases of Lambda: init, invocation, shutdown.

use std::time::Duration;

use serde_json::json;
use testbed::black_hole;
use testbed::server::PAGE;

use crate::scene::{Scene, URL};

#[test]
fn a_python_function_reaches_the_tailnet_by_name_from_its_first_invocation() {
    let scene = Scene::new();
    let environment = scene.python().start().expect("starts");
    let answer = environment.invoke(&json!({ "get": URL })).expect("answers");
    assert_eq!((&answer["status"], &answer["body"]), (&json!(200), &json!(PAGE)), "{}", environment.log());
    let node = scene.tailnet.node("my-function").expect("headscale answers");
    assert!(node.expect("named after the function").is_ephemeral());
}

#[test]
fn a_node_js_function_reaches_the_tailnet_by_name_from_its_first_invocation() {
    let scene = Scene::new();
    let environment = scene.node().start().expect("starts");
    let answer = environment.invoke(&json!({ "get": URL })).expect("answers");
    assert_eq!((&answer["status"], &answer["body"]), (&json!(200), &json!(PAGE)), "{}", environment.log());
}

#[test]
fn it_registers_for_shutdown_alone_and_the_function_starts_beside_the_join() {
    let mut scene = Scene::new();
    let builder = scene.python().env("TETHERD_START_TIMEOUT", "3s").env("TETHERD_LAMBDA_ON_FAILURE", "continue");
    scene.tailnet.stop_control();
    let environment = builder.start().expect("starts");
    environment.invoke(&json!({})).expect("answers");
    let log = environment.log();
    assert!(log.contains("registered, subscribed to [SHUTDOWN]"), "{log}");
    let runtime = log.find("Starting runtime").expect("the runtime starts");
    let settled = log.find("INVOKE START").expect("the invocation starts");
    assert!(runtime < settled && log.find("subscribed to").expect("registered") < runtime, "{log}");
}

/// Every copy of the snapshot is a node of its own: nothing has joined before, and no key was fetched.
#[test]
fn with_snap_start_the_function_is_served_from_its_first_invocation_and_joins_no_earlier() {
    let scene = Scene::new();
    let environment = scene.python().env("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start").start().expect("starts");
    let answer = environment.invoke(&json!({ "get": URL })).expect("answers");
    let log = environment.log();
    assert_eq!((&answer["status"], &answer["body"]), (&json!(200), &json!(PAGE)), "{log}");
    assert!(log.contains("registered, subscribed to [INVOKE SHUTDOWN]"), "{log}");
    let place = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text} is missing in {log}"));
    assert!(place("INVOKE START") < place("the first invocation: this environment is restored"), "{log}");
    let ready = log.find(r#""phase":"Ready""#).unwrap_or_else(|| panic!("{log}"));
    assert!(place("the first invocation") < ready, "{log}");
    assert_eq!(environment.invoke(&json!({ "get": URL })).expect("answers")["status"], 200);
    environment.shut_down().expect("ends");
    assert!(scene.tailnet.node("my-function").expect("headscale answers").is_none(), "{}", environment.log());
}

#[test]
fn the_wrapper_keeps_lambdas_own_addresses_direct_and_what_is_set_already() {
    let scene = Scene::new();
    let environment = scene.python().env("HTTPS_PROXY", "http://mine:1").start().expect("starts");
    let answer = environment.invoke(&json!({ "environment": true })).expect("answers");
    assert_eq!(answer["HTTP_PROXY"], "http://127.0.0.1:1055");
    assert_eq!(answer["all_proxy"], "http://127.0.0.1:1055");
    assert_eq!(answer["HTTPS_PROXY"], "http://mine:1");
    let direct = answer["NO_PROXY"].as_str().expect("NO_PROXY").to_owned();
    let api = answer["AWS_LAMBDA_RUNTIME_API"].as_str().expect("the API's address").to_owned();
    assert!(direct.split(',').any(|host| api.starts_with(host)), "{direct} {api}");
}

#[test]
fn at_shutdown_the_node_leaves_the_tailnet_and_nothing_stays() {
    let scene = Scene::new();
    let environment = scene.python().start().expect("starts");
    environment.invoke(&json!({ "get": URL })).expect("answers");
    let took = environment.shut_down().expect("ends");
    assert!(scene.tailnet.node("my-function").expect("headscale answers").is_none(), "{}", environment.log());
    // Lambda's own limit; half a second is what an idle machine takes.
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(environment.log().contains("Lambda shuts the execution environment down"), "{}", environment.log());
    environment.wait_gone().expect("nothing outlives it");
    eprintln!("SHUTDOWN to gone: {took:?}");
}

#[test]
fn a_shutdown_without_control_server_ends_in_time() {
    let scene = Scene::new();
    let environment = scene.python().start().expect("starts");
    environment.invoke(&json!({ "get": URL })).expect("answers");
    black_hole::swallow_control().expect("packets vanish");
    let took = environment.shut_down().expect("ends");
    let log = environment.log();
    assert!(log.contains("the node stays"), "{log}");
    assert_ended_by_itself(took, &log);
}

#[test]
fn a_long_drain_timeout_does_not_cost_the_logout() {
    let scene = Scene::new();
    let environment = scene.python().env("TETHERD_DRAIN_TIMEOUT", "30s").start().expect("starts");
    environment.invoke(&json!({ "get": URL })).expect("answers");
    let _open = testbed::socks::connect(testbed::daemon::SOCKS, "web", 8000, None).expect("connects");
    let took = environment.shut_down().expect("ends");
    assert!(scene.tailnet.node("my-function").expect("headscale answers").is_none(), "{}", environment.log());
    assert!(environment.log().contains("connections are cut"), "{}", environment.log());
    assert_ended_by_itself(took, &environment.log());
}

/// Not by the platform, which kills at its deadline.
fn assert_ended_by_itself(took: Duration, log: &str) {
    assert!(!log.contains("signal: killed"), "{log}");
    assert!(took < Duration::from_secs(2), "{took:?} {log}");
}
