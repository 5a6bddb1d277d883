//! Tests sidecar injection, evaluated by the API server's own code.
//!
//! A pod that asks for it gets the very sidecar that other charts include.

use std::process::Command;

use serde_json::{Value, json};

use crate::chart::{feed, forbidden, only, refusal, render, render_example, render_for, stdout, tetherd, tool, with};

fn values() -> Value {
    json!({ "auth": { "existingSecret": "tailscale" }, "injection": { "enabled": true } })
}

/// The pod as the policy leaves it.
fn mutated(policy: &Value, pod: &Value) -> Value {
    let question = json!({ "policy": policy, "pod": pod }).to_string();
    serde_json::from_str(&stdout(feed(Command::new(tool("admission")).arg("mutate"), &question))).expect("JSON")
}

fn policy(values: &Value) -> Value {
    only(&render(values), "MutatingAdmissionPolicy").clone()
}

fn pod(annotations: Value, spec: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "shop", "annotations": annotations }, "spec": spec })
}

fn asking(spec: Value) -> Value {
    pod(json!({ "tetherd/inject": "true" }), spec)
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().map_or_else(Vec::new, |list| list.iter().filter_map(|item| item["name"].as_str()).collect())
}

#[test]
fn a_pod_that_asks_gets_the_sidecar_of_the_templates_before_all_else() {
    let bare = mutated(&policy(&values()), &asking(json!({ "containers": [{ "name": "app", "image": "app" }] })));
    let example = render_example(&json!({ "auth": { "existingSecret": "tailscale" }, "filesMode": 0o444 }));
    let workload = only(&example, "Deployment");
    let wanted = &workload["spec"]["template"]["spec"];
    assert_eq!(&bare["spec"]["initContainers"], &json!([tetherd(workload)]));
    assert_eq!(bare["spec"]["volumes"], wanted["volumes"]);
    assert_eq!(bare["spec"]["containers"][0]["env"], wanted["containers"][0]["env"]);

    let full = mutated(
        &policy(&values()),
        &asking(json!({
            "initContainers": [{ "name": "migrate", "image": "app" }],
            "containers": [{ "name": "app", "image": "app" }, { "name": "other", "image": "app" }],
            "volumes": [{ "name": "data", "emptyDir": {} }],
        })),
    );
    assert_eq!(names(&full["spec"]["initContainers"]), ["tetherd", "migrate"]);
    assert_eq!(names(&full["spec"]["volumes"]), ["data", "tetherd-tmp", "tetherd-files"]);
    assert_eq!(names(&full["spec"]["containers"][1]["env"]).len(), 8);
}

#[test]
fn what_a_container_has_set_itself_stays() {
    let own = json!([{ "name": "http_proxy", "value": "http://corp:3128" }]);
    let pod = asking(json!({ "containers": [{ "name": "app", "image": "app", "env": own }] }));
    let env = mutated(&policy(&values()), &pod)["spec"]["containers"][0]["env"].clone();
    let of = |name: &str| env.as_array()?.iter().find(|variable| variable["name"] == name).cloned();
    assert_eq!(of("http_proxy").expect("is kept")["value"], "http://corp:3128");
    assert_eq!(of("HTTP_PROXY"), None);
    assert_eq!(of("ALL_PROXY").expect("is added")["value"], "http://127.0.0.1:1055");
    let without = policy(&with(values(), json!({ "injection": { "proxyVariables": false } })));
    assert_eq!(names(&mutated(&without, &pod)["spec"]["containers"][0]["env"]), ["http_proxy"]);
}

#[test]
fn a_pod_that_does_not_ask_or_has_one_already_is_left_alone() {
    let policy = policy(&values());
    let spec = json!({ "containers": [{ "name": "app", "image": "app" }] });
    for annotations in [json!({}), json!({ "tetherd/inject": "false" }), json!({ "other": "true" })] {
        let changed = mutated(&policy, &pod(annotations.clone(), spec.clone()));
        assert_eq!(changed["spec"]["initContainers"], Value::Null, "{annotations}");
    }
    let once = mutated(&policy, &asking(spec));
    assert_eq!(mutated(&policy, &once)["spec"], once["spec"]);
}

#[test]
fn a_restricted_pod_stays_restricted() {
    let restricted = json!({
        "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [{
            "name": "app", "image": "app",
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
        }],
    });
    let pod = mutated(&policy(&values()), &asking(restricted));
    assert_eq!(names(&pod["spec"]["initContainers"]), ["tetherd"]);
    assert_eq!(forbidden(&pod["metadata"], &pod["spec"]), "");
}

#[test]
fn every_source_of_keys_can_be_injected() {
    let identity = json!({
        "auth": { "workloadIdentity": { "clientId": "T1/k" } }, "config": { "tags": ["tag:web"], "max_connections": 5000 },
        "injection": { "enabled": true },
    });
    let pod = asking(json!({ "containers": [{ "name": "app", "image": "app" }] }));
    let injected = mutated(&policy(&identity), &pod);
    let token = &injected["spec"]["volumes"][1]["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(token["audience"], "api.tailscale.com/T1/k");
}

#[test]
fn the_version_of_the_api_is_the_newest_that_the_cluster_has() {
    for (kubernetes, version) in
        [("1.32.0", "v1alpha1"), ("1.33.0", "v1alpha1"), ("1.34.0", "v1beta1"), ("1.36.0", "v1")]
    {
        let objects = render_for(kubernetes, &values());
        for kind in ["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"] {
            let api = format!("admissionregistration.k8s.io/{version}");
            assert_eq!(only(&objects, kind)["apiVersion"], api, "{kubernetes}");
        }
    }
    let password = with(values(), json!({ "proxyAuth": { "existingSecret": "proxy" } }));
    assert!(refusal(&password).contains("injection.proxyVariables"), "variables cannot hold a password");
}
