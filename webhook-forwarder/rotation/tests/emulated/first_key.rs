//! Tests what happens around the first key, as the stack does it.
//!
//! The secret is there before the credentials are, and its days are counted.

use serde_json::{Value, json};
use testbed::lambda::Environment;

use crate::control_api::{CLIENT_ID, CLIENT_SECRET, ControlApi};
use crate::scene::{SECRET, STEPS, Scene, step};
use crate::tailscale::{current_id, scene, start};

/// What the template puts into the secret, so that there is a version to rotate.
const EMPTY: &str = "{}";

fn days_left(function: &Environment) -> Value {
    let before = function.log().matches("AuthKeyDaysLeft").count();
    let event = json!({ "Step": "checkKey", "SecretId": SECRET });
    assert_eq!(function.invoke(&event).expect("an answer"), Value::Null, "{}", function.log());
    function.wait_for_log("the days that are left are written").expect("a line");
    let log = function.log();
    assert!(log.matches("AuthKeyDaysLeft").count() > before, "{log}");
    let line = log.lines().rfind(|line| line.contains("CloudWatchMetrics")).expect("a line");
    let metric: Value = serde_json::from_str(&line[line.find('{').expect("JSON")..]).expect("JSON");
    assert_eq!(metric["FunctionName"], "my_function");
    metric["AuthKeyDaysLeft"].clone()
}

#[test]
fn the_first_rotation_fills_the_secret_of_a_new_stack() {
    let credentials = json!({ "id": CLIENT_ID, "key": CLIENT_SECRET });
    let (mut scene, api) = (Scene::new().holding(EMPTY, credentials, "Cattle"), ControlApi::start());
    let function = start(&scene, &api);
    let tried = scene.try_out();
    step(&function, "testSecret", &tried).expect("there is nothing to test yet");
    step(&function, "finishSecret", &tried).expect_err("there is no key");
    assert_eq!((api.keys().len(), scene.current().as_str()), (0, EMPTY));
    let version = scene.begin();
    for name in STEPS {
        step(&function, name, &version).unwrap_or_else(|error| panic!("{name}: {error}\n{}", function.log()));
    }
    assert_eq!((current_id(&scene).as_str(), api.keys()), ("k1CNTRL", vec!["k1CNTRL".to_owned()]));
}

#[test]
fn an_old_key_is_no_reason_to_refuse_another_schedule_and_never_becomes_current_again() {
    let (mut scene, api) = scene("Cattle");
    let function = start(&scene, &api);
    let version = scene.rotate(&function);
    api.change("k1CNTRL", "/expires", json!("2026-01-01T00:00:00Z"));
    let tried = scene.try_out();
    step(&function, "testSecret", &tried).expect("it is the current one");
    let error = step(&function, "finishSecret", &tried).expect_err("nothing new");
    assert!(error.contains("current already"), "{error}");
    assert_eq!(scene.stages()[&version], json!(["AWSCURRENT"]));
}

#[test]
fn the_days_that_the_current_key_has_left_are_a_metric() {
    let (mut scene, api) = scene("Cattle");
    let function = start(&scene, &api);
    assert_eq!(days_left(&function), 0, "somebody's own text is no key");
    scene.rotate(&function);
    assert_eq!(days_left(&function), 89, "ninety, less the moments since");
    api.change("k1CNTRL", "/revoked", json!("2026-11-24T00:00:00Z"));
    assert_eq!(days_left(&function), 0, "a revoked key");
    assert!(!function.log().contains("TOPSECRET"), "{}", function.log());
}
