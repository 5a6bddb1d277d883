//! Tests where the chart takes the auth key from.
//!
//! Each source gives the daemon one, and two are refused.

use serde_json::{Value, json};

use crate::chart::{only, refusal, render, render_example, tetherd};

fn variable(workload: &Value, name: &str) -> Value {
    let found = tetherd(workload)["env"].as_array().expect("env").iter().find(|variable| variable["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not set"))["value"].clone()
}

/// Sources of the projected volume of files.
fn sources(workload: &Value) -> Value {
    let volumes = workload["spec"]["template"]["spec"]["volumes"].as_array().expect("volumes");
    let files = volumes.iter().find(|volume| volume["name"] == "tetherd-files");
    files.map_or(Value::Null, |volume| volume["projected"]["sources"].clone())
}

fn example(values: Value) -> Value {
    only(&render_example(&values), "Deployment").clone()
}

#[test]
fn a_secret_that_is_there() {
    let workload = example(json!({ "auth": { "existingSecret": "tailscale", "existingSecretKey": "authkey" } }));
    let item = json!([{ "secret": { "name": "tailscale", "items": [{ "key": "authkey", "path": "auth_key" }] } }]);
    assert_eq!(sources(&workload), item);
    assert_eq!(variable(&workload, "TETHERD_AUTH_KEY_FILE"), "/etc/tetherd/auth_key");
}

#[test]
fn external_secrets() {
    let external = json!({ "store": "aws", "remoteKey": "tailscale", "remoteProperty": "key" });
    let objects = render_example(&json!({ "auth": { "externalSecret": external } }));
    let (secret, workload) = (only(&objects, "ExternalSecret"), only(&objects, "Deployment"));
    assert_eq!(secret["spec"]["data"][0]["remoteRef"], json!({ "key": "tailscale", "property": "key" }));
    assert_eq!(sources(workload)[0]["secret"]["name"], secret["spec"]["target"]["name"]);
    assert_eq!(variable(workload, "TETHERD_AUTH_KEY_FILE"), "/etc/tetherd/auth_key");
}

#[test]
fn workload_identity_by_a_projected_token() {
    let identity = json!({ "auth": { "workloadIdentity": { "clientId": "T1/k" } }, "config": { "tags": ["tag:web"] } });
    let workload = example(identity);
    let token = json!([{
        "serviceAccountToken": { "path": "id_token", "audience": "api.tailscale.com/T1/k", "expirationSeconds": 3600 }
    }]);
    assert_eq!(sources(&workload), token);
    assert_eq!(variable(&workload, "TETHERD_ID_TOKEN_FILE"), "/etc/tetherd/id_token");
    let text = refusal(&json!({
        "auth": { "workloadIdentity": { "clientId": "T1/k" } }, "injection": { "enabled": true },
    }));
    assert!(text.contains("needs config.tags"), "{text}");
}

#[test]
fn secrets_manager_with_the_role_of_the_service_account() {
    let role = "arn:aws:iam::123456789012:role/tetherd";
    let objects = render(&json!({
        "auth": { "secretsManager": { "secret": "tailscale", "region": "eu-west-1" } },
        "proxyAuth": { "existingSecret": "proxy" }, "gateway": { "enabled": true },
        "serviceAccount": { "annotations": { "eks.amazonaws.com/role-arn": role } },
    }));
    let workload = only(&objects, "Deployment");
    assert_eq!(variable(workload, "TETHERD_AUTH_SECRET"), "tailscale");
    assert_eq!(variable(workload, "AWS_REGION"), "eu-west-1");
    let account = only(&objects, "ServiceAccount");
    assert_eq!(account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"], role);
    assert_eq!(account["metadata"]["name"], workload["spec"]["template"]["spec"]["serviceAccountName"]);
}

#[test]
fn two_sources_and_none_are_refused() {
    let both = json!({
        "auth": { "existingSecret": "a", "secretsManager": { "secret": "b" } }, "injection": { "enabled": true },
    });
    assert!(refusal(&both).contains("auth.existingSecret and auth.secretsManager are given"));
    assert!(refusal(&json!({ "injection": { "enabled": true } })).contains("no auth key: set auth.existingSecret"));
}

#[test]
fn roots_and_what_is_served_are_files_of_the_same_volume() {
    let objects = render_example(&json!({
        "auth": { "existingSecret": "tailscale" }, "ca": { "configMap": "roots" },
        "serveConfig": { "TCP": { "80": { "HTTP": true } } },
    }));
    let (workload, served) = (only(&objects, "Deployment"), only(&objects, "ConfigMap"));
    assert_eq!(variable(workload, "TETHERD_CA_FILE"), "/etc/tetherd/ca.pem");
    assert_eq!(variable(workload, "TETHERD_SERVE_CONFIG"), "/etc/tetherd/serve.json");
    assert_eq!(sources(workload)[2]["configMap"]["name"], served["metadata"]["name"]);
    let text = served["data"]["serve.json"].as_str().expect("a text");
    assert_eq!(serde_json::from_str::<Value>(text).expect("JSON"), json!({ "TCP": { "80": { "HTTP": true } } }));
}
