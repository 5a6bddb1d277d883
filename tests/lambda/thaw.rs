//! Tests the first connection after a freeze between invocations.
//!
//! It works whatever the pause did to the flows of before.

use std::thread::sleep;
use std::time::Duration;

use serde_json::json;
use testbed::lambda::Environment;
use testbed::{black_hole, flows};

use crate::scene::{Scene, URL};

/// Where headscale and its embedded relay listen.
const CONTROL_PORT: u16 = 8443;

/// A function that has reached the tailnet once, over the relay alone.
fn joined(scene: &Scene) -> Environment {
    black_hole::relay_only().expect("UDP is blocked");
    let environment = scene.python().start().expect("starts");
    assert_eq!(environment.invoke(&json!({ "get": URL })).expect("answers")["status"], 200);
    environment
}

/// The first request after `pause`, in which the flows of before were lost.
fn first_after(pause: Duration) {
    let scene = Scene::new();
    let environment = joined(&scene);
    freeze(&environment, pause);
    let answer = environment.invoke(&json!({ "get": URL })).expect("answers");
    assert_eq!(answer["status"], 200, "{answer} {}", environment.log());
    let seconds = answer["seconds"].as_f64().expect("a time");
    eprintln!("first request after {pause:?}: {seconds:.3} s");
    // An idle machine takes some milliseconds; a path that was not re-established takes 5 s, or fails.
    assert!(seconds < 1.0, "{seconds} s; {}", environment.log());
}

/// The pause is what is tested.
fn freeze(environment: &Environment, pause: Duration) {
    let tailscaled = environment.pid_of("tailscaled").expect("runs");
    environment.freeze().expect("freezes");
    flows::black_hole(tailscaled, CONTROL_PORT).expect("flows are lost");
    sleep(pause);
    environment.thaw().expect("thaws");
}

#[test]
fn the_first_connection_after_20_s_works_at_once() {
    first_after(Duration::from_secs(20));
}

#[test]
fn the_first_connection_after_120_s_works_at_once() {
    first_after(Duration::from_secs(120));
}

#[test]
fn a_shutdown_right_after_a_thaw_takes_the_node_out_in_time() {
    let scene = Scene::new();
    let environment = joined(&scene);
    freeze(&environment, Duration::from_secs(20));
    let took = environment.shut_down().expect("ends");
    assert!(took < Duration::from_millis(2500), "{took:?}");
    let node = scene.tailnet.node("my-function").expect("headscale answers");
    assert!(node.is_none(), "{took:?} {}", environment.log());
}
