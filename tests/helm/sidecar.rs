//! Tests the templates for other charts: a native sidecar and proxy variables.
//!
//! The sidecar is within the restricted standard, and the variables are those that `tetherd env` gives.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::chart::{forbidden, only, refusal, render_example, stdout, tetherd};

fn example(more: Value) -> Value {
    only(&render_example(&more), "Deployment").clone()
}

fn key() -> Value {
    json!({ "auth": { "existingSecret": "tailscale" } })
}

fn variables(workload: &Value) -> BTreeMap<String, String> {
    let app = &workload["spec"]["template"]["spec"]["containers"][0];
    let pair = |variable: &Value| {
        Some((variable["name"].as_str()?.to_owned(), variable["value"].as_str().unwrap_or_default().to_owned()))
    };
    app["env"].as_array().expect("env").iter().filter_map(pair).collect()
}

/// What `tetherd env` says in the same place.
fn env_command(settings: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tetherd"));
    command.args(["env", "--shell", "json"]).env_clear().envs(settings.iter().copied());
    // The kubelet puts the address in the place of the reference.
    command.env("TETHERD_RUNTIME", "kubernetes").env("KUBERNETES_SERVICE_HOST", "$(KUBERNETES_SERVICE_HOST)");
    serde_json::from_str(&stdout(command.output().expect("runs"))).expect("JSON")
}

#[test]
fn it_starts_first_and_is_restarted_alone() {
    let workload = example(key());
    let sidecar = &workload["spec"]["template"]["spec"]["initContainers"][0];
    assert_eq!((&sidecar["name"], &sidecar["restartPolicy"]), (&"tetherd".into(), &"Always".into()));
    for (probe, path) in [("startupProbe", "/startupz"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        assert_eq!(sidecar[probe]["httpGet"], json!({ "path": path, "port": 9002 }), "{probe}");
    }
    let other = example(json!({
        "auth": { "existingSecret": "tailscale" }, "config": { "health_listen": "0.0.0.0:9100" },
        "probes": { "startup": { "waitForTailnet": false }, "readiness": { "enabled": false } },
    }));
    let sidecar = tetherd(&other);
    assert_eq!(sidecar["startupProbe"]["httpGet"], json!({ "path": "/livez", "port": 9100 }));
    assert_eq!(sidecar["readinessProbe"], Value::Null);
}

#[test]
fn the_restricted_standard_forbids_nothing_of_it() {
    let workload = example(key());
    let template = &workload["spec"]["template"];
    // Of the example's own container this test says nothing.
    let mut spec = template["spec"].clone();
    spec["containers"] = json!([tetherd(&workload).clone()]);
    spec["containers"][0].as_object_mut().expect("a container").remove("restartPolicy");
    assert_eq!(forbidden(&template["metadata"], &spec), "");
    let context = &tetherd(&workload)["securityContext"];
    assert_eq!((&context["readOnlyRootFilesystem"], &context["runAsUser"]), (&true.into(), &65532.into()));
    assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
    spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into();
    assert!(forbidden(&template["metadata"], &spec).contains("allowPrivilegeEscalation"));
}

#[test]
fn the_application_gets_what_tetherd_env_says() {
    assert_eq!(variables(&example(key())), env_command(&[]));
    for listen in ["127.0.0.1:1060", "unix:/tmp/s.sock,[::]:1060", "0.0.0.0:1060"] {
        let more = json!({
            "auth": { "existingSecret": "tailscale" }, "noProxy": ["db.example"],
            "config": { "socks_listen": listen, "allow_open_proxy": true },
        });
        let settings =
            [("TETHERD_SOCKS_LISTEN", listen), ("TETHERD_ALLOW_OPEN_PROXY", "true"), ("NO_PROXY", "db.example")];
        assert_eq!(variables(&example(more)), env_command(&settings), "{listen}");
    }
    for form in ["http", "socks5h", "off"] {
        let more = json!({ "auth": { "existingSecret": "tailscale" }, "config": { "env_all_proxy": form } });
        assert_eq!(variables(&example(more)), env_command(&[("TETHERD_ENV_ALL_PROXY", form)]), "{form}");
    }
}

#[test]
fn a_password_reaches_the_application_from_its_secret() {
    let workload = example(json!({
        "auth": { "existingSecret": "tailscale" }, "proxyAuth": { "existingSecret": "proxy" },
    }));
    assert_eq!(variables(&workload)["ALL_PROXY"], "http://$(PROXY_USER):$(PROXY_PASSWORD)@127.0.0.1:1055");
    let app = &workload["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(app[1]["valueFrom"]["secretKeyRef"], json!({ "name": "proxy", "key": "password" }));
}

#[test]
fn it_is_told_which_pod_it_is_in() {
    let workload = example(key());
    let env = tetherd(&workload)["env"].as_array().expect("env");
    for (name, field) in
        [("POD_NAME", "metadata.name"), ("POD_NAMESPACE", "metadata.namespace"), ("NODE_NAME", "spec.nodeName")]
    {
        let expected = json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": field } } });
        assert!(env.contains(&expected), "{name} in {env:?}");
    }
}

/// tetherd reads it from the container's control group, and knows better than a chart.
#[test]
fn the_memory_limit_is_left_to_tetherd_unless_it_is_set() {
    let limit = |values: Value| {
        let workload = example(values);
        let found = tetherd(&workload)["env"].as_array().expect("env").clone();
        let found = found.into_iter().find(|variable| variable["name"] == "TETHERD_MEMORY_LIMIT");
        found.and_then(|variable| Some(variable["value"].as_str()?.to_owned()))
    };
    assert_eq!(limit(key()), None);
    let auth = key()["auth"].clone();
    let set = json!({ "auth": auth, "config": { "memory_limit": "90MiB" } });
    assert_eq!(limit(set).as_deref(), Some("90MiB"));
}

#[test]
fn a_health_page_that_the_kubelet_cannot_reach_is_refused() {
    let text = refusal(&json!({
        "auth": { "existingSecret": "tailscale" }, "injection": { "enabled": true },
        "config": { "health_listen": "127.0.0.1:9002" },
    }));
    assert!(text.contains("config.health_listen: 127.0.0.1:9002 cannot be reached"), "{text}");
}
