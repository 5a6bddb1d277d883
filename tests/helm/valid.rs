//! Tests that all the chart can render is valid for Kubernetes.
//!
//! It is judged by the schemas of its versions, strictly; custom resources by models made of their operators'
//! definitions.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::chart::{feed, gateway, helm, render_example, render_for, repository, stdout, tool, with};

const VERSIONS: [&str; 5] = ["1.31", "1.32", "1.33", "1.34", "1.35"];
const CUSTOM: [&str; 3] = ["ExternalSecret", "PodMonitor", "ServiceMonitor"];

/// Values for every mode, and one with all that can be switched on.
fn modes() -> Vec<(&'static str, Value)> {
    let external = json!({ "store": "aws", "remoteKey": "tailscale" });
    let all = json!({
        "auth": { "existingSecret": "", "externalSecret": external },
        "ca": { "configMap": "roots" },
        "serveConfig": { "TCP": { "80": { "HTTP": true } } },
        "commonLabels": { "team": "platform" },
        "extraEnv": [{ "name": "TS_DEBUG_MTU", "value": "1200" }],
        "extraVolumes": [{ "name": "more", "emptyDir": {} }],
        "extraVolumeMounts": [{ "name": "more", "mountPath": "/more" }],
        "metrics": { "podMonitor": { "enabled": true }, "serviceMonitor": { "enabled": true } },
        "test": { "url": "http://web/" },
        "gateway": {
            "kind": "StatefulSet", "persistence": { "enabled": true, "storageClass": "fast" },
            "autoscaling": { "enabled": true, "targetConnections": 500 },
            "podDisruptionBudget": { "maxUnavailable": "25%" },
            "networkPolicy": { "egress": { "enabled": true, "privateNetworks": ["10.0.0.0/8", "fd12::/16"] } },
            "nodeSelector": { "pool": "edge" }, "tolerations": [{ "key": "edge", "operator": "Exists" }],
            "affinity": { "nodeAffinity": {} }, "priorityClassName": "high", "imagePullSecrets": [{ "name": "pull" }],
            "podAnnotations": { "a": "b" }, "podLabels": { "c": "d" },
            "service": { "type": "LoadBalancer", "annotations": { "e": "f" }, "trafficDistribution": "PreferClose" },
        },
    });
    let given = json!({ "auth": { "existingSecret": "" }, "config": { "auth_key": "k" } });
    vec![
        ("nothing", json!({})),
        ("gateway", gateway()),
        ("gateway with all", with(gateway(), all)),
        ("gateway with a key of its own", with(gateway(), given)),
        ("injection", json!({ "auth": { "existingSecret": "tailscale" }, "injection": { "enabled": true } })),
    ]
}

/// Injection is for clusters that have it.
fn fits(mode: &str, version: &str) -> bool {
    mode != "injection" || version != "1.31"
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn judge(version: &str, objects: &[Value]) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let files = objects.iter().enumerate().map(|(number, object)| {
        let file = directory.path().join(format!("{number}.yaml"));
        std::fs::write(&file, object.to_string()).expect("written");
        file
    });
    let mut command = Command::new(tool("chart/python/bin/kubernetes-validate"));
    command.args(["--strict", "--no-warn", "--kubernetes-version", version]).args(files);
    command.output().expect("runs")
}

#[test]
fn every_mode_is_valid_in_every_version() {
    for version in VERSIONS {
        let mut objects = render_example(&json!({ "auth": { "existingSecret": "tailscale" } }));
        for (mode, values) in modes().into_iter().filter(|(mode, _)| fits(mode, version)) {
            objects.extend(render_for(&format!("{version}.0"), &values));
            assert!(mode == "nothing" || !objects.is_empty());
        }
        objects.retain(|object| !CUSTOM.contains(&object["kind"].as_str().unwrap_or_default()));
        let output = judge(version, &objects);
        assert!(output.status.success(), "{version}: {}", text(&output));
    }
}

#[test]
fn a_field_that_kubernetes_does_not_know_would_be_found() {
    let mut objects = render_for("1.35.0", &gateway());
    objects.retain(|object| object["kind"] == "Deployment");
    objects[0]["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["slumber"] = json!({});
    let output = judge("1.35", &objects);
    assert!(!output.status.success() && text(&output).contains("slumber"), "{}", text(&output));
}

/// Whether the models take these.
fn judge_custom(objects: &[Value]) -> Output {
    let program = std::fs::read_to_string(repository("tests/helm/custom_resources.mjs")).expect("the program");
    let mut command = Command::new("node");
    command.args(["--input-type=module", "--eval", &program]).current_dir(tool("chart/node"));
    feed(&mut command, &Value::from(objects.to_vec()).to_string())
}

#[test]
fn custom_resources_are_what_their_operators_know() {
    let (_, all) = modes().remove(2);
    let mut objects = render_for("1.35.0", &all);
    objects.retain(|object| CUSTOM.contains(&object["kind"].as_str().unwrap_or_default()));
    assert_eq!(objects.len(), CUSTOM.len());
    stdout(judge_custom(&objects));
    objects[0]["spec"]["misspelt"] = json!(1);
    assert!(text(&judge_custom(&objects[..1])).contains("/spec/misspelt is not known"));
}

#[test]
fn helm_finds_nothing_to_complain_of() {
    let chart = repository("helm/tetherd").display().to_string();
    for (mode, values) in modes() {
        let output = feed(&mut helm(&["lint", "--strict", &chart, "--values", "-"]), &values.to_string());
        assert!(output.status.success(), "{mode}: {}", text(&output));
    }
}
