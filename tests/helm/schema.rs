//! Tests the schema of the chart's values: it knows every setting and nothing else.
//!
//! What it does not know it refuses.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use tetherd::config::table::KEYS;

use crate::chart::{gateway, refusal, repository, with};

#[test]
fn config_has_every_setting_and_no_other() {
    let schema = fs::read_to_string(repository("helm/tetherd/values.schema.json")).expect("the schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let config = &schema["properties"]["config"];
    let known: BTreeSet<&str> =
        config["properties"].as_object().expect("properties").keys().map(String::as_str).collect();
    assert_eq!(known, KEYS.iter().map(|key| key.name).collect());
    assert_eq!(config["additionalProperties"], false);
}

#[test]
fn every_object_of_the_schema_is_closed() {
    fn open(schema: &Value, path: &str, found: &mut Vec<String>) {
        if let Some(properties) = schema["properties"].as_object() {
            if schema["additionalProperties"] != false {
                found.push(path.to_owned());
            }
            for (name, inner) in properties {
                open(inner, &format!("{path}/{name}"), found);
            }
        }
    }
    let schema = fs::read_to_string(repository("helm/tetherd/values.schema.json")).expect("the schema");
    let mut found = Vec::new();
    open(&serde_json::from_str(&schema).expect("JSON"), "", &mut found);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_misspelt_value_is_refused_with_its_path() {
    for (more, path, name) in [
        (json!({ "config": { "soks_listen": "127.0.0.1:1055" } }), "/config", "soks_listen"),
        (json!({ "gatewey": {} }), "''", "gatewey"),
        (json!({ "gateway": { "replica": 3 } }), "/gateway", "replica"),
        (json!({ "gateway": { "autoscaling": { "maxReplica": 3 } } }), "/gateway/autoscaling", "maxReplica"),
        (json!({ "auth": { "existingSecrets": "x" } }), "/auth", "existingSecrets"),
        (json!({ "probes": { "startup": { "waitForTailNet": true } } }), "/probes/startup", "waitForTailNet"),
    ] {
        let text = refusal(&with(gateway(), more));
        assert!(text.contains(path) && text.contains(name), "{path} and {name} are not in {text}");
    }
}

#[test]
fn a_value_of_another_type_is_refused_with_its_path() {
    for (key, value) in [
        ("udp", json!("maybe")),
        ("connect_timeout", json!(15)),
        ("idle_timeout", json!("never")),
        ("max_connections", json!("many")),
        ("direct", json!("sometimes")),
        ("loopback", json!("no")),
        ("private", json!(true)),
        ("control_url", json!("headscale.example.com")),
        ("hostname", json!("web.example")),
        ("memory_limit", json!("100")),
        ("tags", json!({ "tag": "web" })),
        ("log_level", json!("loud")),
    ] {
        let text = refusal(&with(gateway(), json!({ "config": { key: value } })));
        assert!(text.contains(&format!("/config/{key}")), "{key} is not in {text}");
    }
}
