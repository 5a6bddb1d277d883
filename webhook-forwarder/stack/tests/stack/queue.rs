//! Tests how many environments forward at once, and who is told when requests wait.
//!
//! Each environment of the forwarder is a node of the tailnet, and a connection at the target.

use serde_json::{Value, json};
use webhook_stack::template::Template;

use crate::expanded::template;

/// Environments of the forwarder, and of those that take from the queue.
fn bounds(template: &Template) -> (Value, Value) {
    let mut function = template.resource("ForwarderFunction");
    let mut delivery = template.resources().remove("Delivery").unwrap_or_default();
    let scaling = delivery["Properties"]["ScalingConfig"]["MaximumConcurrency"].take();
    (function["Properties"]["ReservedConcurrentExecutions"].take(), scaling)
}

#[test]
fn the_forwarder_has_a_bound_and_the_queue_does_not_ask_for_more() {
    let sync = bounds(&template(&[]));
    assert!(sync.0.as_u64().is_some_and(|bound| (2..=50).contains(&bound)) && sync.1.is_null(), "{sync:?}");
    let queued = bounds(&template(&[("Mode", "async")]));
    assert_eq!(queued, (sync.0.clone(), sync.0));
    let given = ("MaxConcurrency", "7");
    assert_eq!(bounds(&template(&[("Mode", "async"), given])), (json!("7"), json!("7")));
}

/// An account with a quota of ten can reserve none.
#[test]
fn without_a_reservation_the_queue_alone_is_bounded() {
    let unbounded = ("MaxConcurrency", "0");
    assert_eq!(bounds(&template(&[unbounded])), (Value::Null, Value::Null));
    assert_eq!(bounds(&template(&[unbounded, ("Mode", "async")])), (Value::Null, json!(2)));
}

#[test]
fn requests_that_wait_are_told_while_there_is_time_to_help() {
    let template = template(&[("Mode", "async"), ("AlarmTopicArn", "arn:aws:sns:eu-central-1:123456789012:alarms")]);
    let alarm = template.resource("RequestsWait")["Properties"].take();
    assert_eq!(
        (&alarm["Namespace"], &alarm["MetricName"]),
        (&json!("AWS/SQS"), &json!("ApproximateAgeOfOldestMessage"))
    );
    assert_eq!(alarm["Dimensions"], json!([{ "Name": "QueueName", "Value": "Queue.QueueName" }]));
    assert_eq!((&alarm["Statistic"], &alarm["AlarmActions"].as_array().map(Vec::len)), (&json!("Maximum"), &Some(1)));
    let threshold = alarm["Threshold"].as_u64().expect("seconds");
    let of = |name: &str, field: &str| template.resource(name)["Properties"][field].as_u64().expect("seconds");
    // Later than five attempts, and days before a request is lost.
    let attempts = 5 * of("Queue", "VisibilityTimeout");
    assert!(threshold > attempts && threshold < of("DeadLetterQueue", "MessageRetentionPeriod") / 24, "{threshold}");
}
