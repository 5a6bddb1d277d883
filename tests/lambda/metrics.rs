//! Tests metrics in the function's log.

use std::time::SystemTime;

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
    assert!(line["DialLatency"][0].as_f64() > Some(0.0), "{line}");
    assert_follows_the_specification(line);
}

/// What CloudWatch asks of such a line, rule by rule.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
fn assert_follows_the_specification(line: &Value) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis();
    let age = now - u128::from(line["_aws"]["Timestamp"].as_u64().expect("an integer of milliseconds"));
    assert!(age < 60_000, "{age} ms");
    let directives = line["_aws"]["CloudWatchMetrics"].as_array().expect("an array");
    assert!(!directives.is_empty());
    for directive in directives {
        let namespace = directive["Namespace"].as_str().expect("text");
        assert!((1..=255).contains(&namespace.len()) && !namespace.starts_with("AWS/"), "{namespace}");
        let sets = directive["Dimensions"].as_array().expect("an array");
        assert!(!sets.is_empty());
        for dimensions in sets.iter().map(|set| set.as_array().expect("an array")) {
            assert!(dimensions.len() <= 9, "{dimensions:?}");
            let target = |name: &Value| line[name.as_str().expect("a name")].as_str().expect("text").len();
            assert!(dimensions.iter().all(|name| (1..=255).contains(&target(name))), "{dimensions:?}");
        }
        let metrics = directive["Metrics"].as_array().expect("an array");
        assert!((1..=100).contains(&metrics.len()), "{metrics:?}");
        metrics.iter().for_each(|metric| assert_is_a_metric(metric, line));
    }
}

fn assert_is_a_metric(metric: &Value, line: &Value) {
    assert!(["Count", "Bytes", "Milliseconds"].contains(&metric["Unit"].as_str().expect("a unit")), "{metric}");
    let target = &line[metric["Name"].as_str().expect("a name")];
    let numbers =
        target.as_array().is_some_and(|array| (1..=100).contains(&array.len()) && array.iter().all(Value::is_number));
    assert!(target.is_number() || numbers, "{metric} {target}");
}

#[test]
fn they_can_be_switched_off() {
    let scene = Scene::new();
    let environment = scene.python().env("TETHERD_LAMBDA_METRICS", "false").start().expect("starts");
    environment.invoke(&json!({ "get": URL })).expect("answers");
    environment.shut_down().expect("ends");
    assert!(metrics_in(&environment).is_empty(), "{}", environment.log());
}
