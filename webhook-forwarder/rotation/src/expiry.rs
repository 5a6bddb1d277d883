//! Writes as a metric for how long the current key is still valid.
//!
//! It is one line in CloudWatch's embedded metric format.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::key::KeyState;

const NAMESPACE: &str = "tetherd";
const METRIC: &str = "AuthKeyDaysLeft";
const DAY: Duration = Duration::from_secs(86_400);

/// Whole days. None for a key that the control server does not know, or has revoked: nobody joins with it.
pub fn days_left(state: Option<&KeyState>, now: SystemTime) -> u64 {
    let expires = state.filter(|state| !state.revoked).map(|state| state.expires);
    let left = expires.and_then(|expires| expires.duration_since(now).ok()).unwrap_or_default();
    left.as_secs() / DAY.as_secs()
}

pub fn line(function: &str, days: u64, now: SystemTime) -> Value {
    let millis = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    json!({
        "_aws": {
            "Timestamp": u64::try_from(millis).unwrap_or(u64::MAX),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [["FunctionName"]],
                "Metrics": [{ "Name": METRIC, "Unit": "None" }],
            }],
        },
        "FunctionName": function,
        METRIC: days,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(expires: SystemTime) -> KeyState {
        KeyState { expires, revoked: false, used: false, reusable: true, ephemeral: true, tags: Vec::new() }
    }

    #[test]
    fn a_key_that_nobody_can_join_with_has_no_days_left() {
        let now = SystemTime::now();
        assert_eq!(days_left(Some(&state(now + 30 * DAY)), now), 30);
        assert_eq!(days_left(Some(&state(now + DAY / 2)), now), 0);
        assert_eq!(days_left(Some(&state(now - DAY)), now), 0);
        assert_eq!(days_left(Some(&KeyState { revoked: true, ..state(now + 30 * DAY) }), now), 0);
        assert_eq!(days_left(None, now), 0);
    }

    #[test]
    fn the_metric_s_name_and_dimension_have_their_values_beside_it() {
        let line = line("rotation", 30, UNIX_EPOCH + Duration::from_secs(1));
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!((&line["_aws"]["Timestamp"], &directive["Namespace"]), (&json!(1000), &json!("tetherd")));
        assert_eq!(line[directive["Metrics"][0]["Name"].as_str().expect("a name")], 30);
        assert_eq!(line[directive["Dimensions"][0][0].as_str().expect("a name")], "rotation");
    }
}
