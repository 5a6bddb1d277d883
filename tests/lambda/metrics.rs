//! Metrics in the function's log.

use serde_json::{Value, json};
use testbed::lambda::Environment;

use crate::scene::{Scene, URL};

fn metrics_in(environment: &Environment) -> Vec<Value> {
    let lines: Vec<Value> = environment.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    lines.into_iter().filter(|line| line.get("_aws").is_some()).collect()
}

#[test]
fn at_shutdown_the_functions_log_gets_one_line_of_metrics() {
    let scene = Scene::new();
    let environment = scene.python().start().expect("starts");
    environment.invoke(&json!({ "get": URL })).expect("answers");
    environment.invoke(&json!({ "get": "http://nobody:1/" })).expect("answers");
    environment.shut_down().expect("ends");
    let lines = metrics_in(&environment);
    let [line] = lines.as_slice() else { panic!("{} lines in {}", lines.len(), environment.log()) };
    assert_eq!(line["FunctionName"], "my_function");
    assert_eq!((&line["Connections"], &line["FailedConnections"]), (&json!(2), &json!(1)), "{line}");
    assert!(line["ReceivedBytes"].as_u64() > Some(60) && line["JoinTime"].as_u64() > Some(0), "{line}");
    assert!(line["DialLatency"]["Counts"][0].as_u64() > Some(0), "{line}");
}

#[test]
fn they_can_be_switched_off() {
    let scene = Scene::new();
    let environment = scene.python().env("TETHERD_LAMBDA_METRICS", "false").start().expect("starts");
    environment.invoke(&json!({ "get": URL })).expect("answers");
    environment.shut_down().expect("ends");
    assert!(metrics_in(&environment).is_empty(), "{}", environment.log());
}
