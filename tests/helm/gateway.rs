//! Tests the gateway of the chart: password, replacement of pods, time to end.
//!
//! It is never without a password, has never fewer pods than asked for while others are replaced, and time to end in
//! order.

use serde_json::{Value, json};
use tetherd::config::table;

use crate::chart::{forbidden, gateway, only, refusal, render, render_example, tetherd, with};

fn variable(workload: &Value, name: &str) -> Value {
    let found = tetherd(workload)["env"].as_array().expect("env").iter().find(|variable| variable["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not set")).clone()
}

#[test]
fn its_environment_names_no_setting_that_does_not_exist() {
    let persistent = json!({ "gateway": { "kind": "StatefulSet", "persistence": { "enabled": true } } });
    for (kind, values) in [("Deployment", gateway()), ("StatefulSet", with(gateway(), persistent))] {
        let objects = render(&values);
        let env = tetherd(only(&objects, kind))["env"].as_array().expect("env").clone();
        let names: Vec<&str> = env.iter().filter_map(|one| one["name"].as_str()?.strip_prefix("TETHERD_")).collect();
        assert!(names.len() > 6, "{names:?}");
        for name in names {
            assert!(table::find_key(&name.to_lowercase()).is_some(), "{name}");
        }
    }
}

#[test]
fn it_is_not_rendered_without_a_password() {
    let open = json!({ "auth": { "existingSecret": "tailscale" }, "gateway": { "enabled": true } });
    assert!(refusal(&open).contains("gateway: needs a user and a password"));
    let half = with(open.clone(), json!({ "config": { "socks_user": "app" } }));
    assert!(refusal(&half).contains("gateway: needs a user and a password"));
    let wide_open = with(gateway(), json!({ "config": { "allow_open_proxy": true } }));
    assert!(refusal(&wide_open).contains("config.allow_open_proxy"));
    let both = with(gateway(), json!({ "config": { "socks_user": "app" } }));
    assert!(refusal(&both).contains("the password comes from one place"));
    let objects = render(&with(open, json!({ "config": { "socks_user": "app", "socks_password": "word" } })));
    let workload = only(&objects, "Deployment");
    assert_eq!(variable(workload, "TETHERD_SOCKS_PASSWORD_FILE")["value"], "/etc/tetherd/socks_password");
}

#[test]
fn its_users_may_be_those_of_a_secret_that_only_its_pods_have() {
    let users = json!({ "gateway": { "usersSecret": "people", "usersSecretKey": "all" } });
    let alone = json!({ "auth": { "existingSecret": "tailscale" }, "gateway": { "enabled": true } });
    for values in [with(alone.clone(), users.clone()), with(gateway(), users.clone())] {
        let objects = render(&values);
        let workload = only(&objects, "Deployment");
        assert_eq!(variable(workload, "TETHERD_USERS")["value"], "/etc/tetherd/users.toml");
        let volumes = workload["spec"]["template"]["spec"]["volumes"].to_string();
        let source = json!({ "name": "people", "items": [{ "key": "all", "path": "users.toml" }] });
        assert!(volumes.contains(&source["items"].to_string()) && volumes.contains("people"), "{volumes}");
    }
    let twice = with(with(alone.clone(), users.clone()), json!({ "config": { "users": "/etc/users.toml" } }));
    assert!(refusal(&twice).contains("the users come from one place"));
    let half = with(with(alone.clone(), users.clone()), json!({ "config": { "socks_user": "app" } }));
    assert!(refusal(&half).contains("gateway: needs a user and a password"));
    let tested = with(with(alone, users.clone()), json!({ "test": { "url": "http://web/" } }));
    assert!(refusal(&tested).contains("test.url"));
    let sidecar = render_example(&with(users, json!({ "auth": { "existingSecret": "tailscale" } })));
    assert!(!sidecar.iter().any(|object| object.to_string().contains("people")), "{sidecar:?}");
}

#[test]
fn user_and_password_come_from_the_secret_and_it_leads_to_the_tailnet_alone() {
    let objects = render(&gateway());
    let workload = only(&objects, "Deployment");
    let user = json!({ "secretKeyRef": { "name": "proxy", "key": "username" } });
    assert_eq!(variable(workload, "TETHERD_SOCKS_USER")["valueFrom"], user);
    assert_eq!(variable(workload, "TETHERD_SOCKS_LISTEN")["value"], "[::]:1055");
    assert_eq!(variable(workload, "TETHERD_DIRECT")["value"], "deny");
    assert_eq!(variable(workload, "TETHERD_UDP")["value"], "false");
}

#[test]
fn its_port_is_the_first_that_other_pods_reach() {
    let listening = |places: Value| with(gateway(), json!({ "config": { "socks_listen": places } }));
    let objects = render(&listening(json!(["unix:/tmp/proxy.sock", "127.0.0.1:1054", "[::]:1080"])));
    let container = tetherd(only(&objects, "Deployment"));
    assert_eq!(container["ports"][0], json!({ "name": "proxy", "containerPort": 1080 }));
    for unreachable in [json!("127.0.0.1:1055"), json!(["unix:/tmp/proxy.sock", "[::1]:1055"])] {
        let text = refusal(&listening(unreachable));
        assert!(text.contains("config.socks_listen: a gateway needs an address"), "{text}");
    }
}

#[test]
fn its_names_are_names_of_services_whatever_the_release_is_called() {
    for (overrides, name) in [
        (json!({ "nameOverride": "way.in" }), "t-way-in".to_owned()),
        (json!({ "fullnameOverride": "prod.eu.tailnet" }), "prod-eu-tailnet".to_owned()),
        (json!({ "fullnameOverride": format!("{}.-b", "a".repeat(46)) }), "a".repeat(46)),
    ] {
        let objects = render(&with(gateway(), overrides));
        let services: Vec<&Value> = objects.iter().filter(|object| object["kind"] == "Service").collect();
        let names: Vec<&Value> = services.iter().map(|one| &one["metadata"]["name"]).collect();
        assert_eq!(names, [&json!(name), &json!(format!("{name}-pods"))]);
    }
}

#[test]
fn a_roll_out_replaces_pods_without_missing_one() {
    let objects = render(&gateway());
    let spec = &only(&objects, "Deployment")["spec"];
    assert_eq!(spec["replicas"], 2);
    assert_eq!(spec["strategy"]["rollingUpdate"], json!({ "maxUnavailable": 0, "maxSurge": 1 }));
    assert_eq!(only(&objects, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1);
    let spread = spec["template"]["spec"]["topologySpreadConstraints"].as_array().expect("constraints");
    assert_eq!(
        spread.iter().map(|one| &one["topologyKey"]).collect::<Vec<_>>(),
        ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    );
}

#[test]
fn it_has_time_to_end_and_its_hook_needs_no_shell() {
    let pod = |more: Value| {
        let objects = render(&with(gateway(), more));
        only(&objects, "Deployment")["spec"]["template"]["spec"].clone()
    };
    let plain = pod(json!({}));
    assert_eq!(plain["containers"][0]["lifecycle"], json!({ "preStop": { "sleep": { "seconds": 5 } } }));
    assert_eq!(plain["terminationGracePeriodSeconds"], 40);
    assert_eq!(pod(json!({ "config": { "drain_timeout": "2m" } }))["terminationGracePeriodSeconds"], 140);
    let short = with(gateway(), json!({ "gateway": { "terminationGracePeriodSeconds": 30 } }));
    assert!(refusal(&short).contains("gateway.terminationGracePeriodSeconds: 30 is too short"));
    let unclear = with(gateway(), json!({ "config": { "drain_timeout": "1m 30s" } }));
    assert!(refusal(&unclear).contains("gateway.terminationGracePeriodSeconds: needed"));
}

#[test]
fn its_pods_are_restricted_and_have_no_token() {
    for values in [gateway(), with(gateway(), json!({ "test": { "url": "http://web/" } }))] {
        let objects = render(&values);
        let mut pods = vec![only(&objects, "Deployment")["spec"]["template"].clone()];
        pods.extend(objects.iter().filter(|object| object["kind"] == "Pod").cloned());
        assert_eq!(pods.len(), 2, "the gateway's and that of `helm test`");
        for pod in pods {
            assert_eq!(forbidden(&pod["metadata"], &pod["spec"]), "");
            assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
            let read_only = pod["spec"]["containers"].as_array().expect("containers").iter();
            assert!(read_only.into_iter().all(|one| one["securityContext"]["readOnlyRootFilesystem"] == true));
        }
        assert_eq!(only(&objects, "ServiceAccount")["automountServiceAccountToken"], false);
    }
    let asked = with(gateway(), json!({ "serviceAccount": { "automountToken": true } }));
    let objects = render(&asked);
    assert_eq!(only(&objects, "Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"], true);
}

#[test]
fn a_stateful_set_keeps_each_pods_node() {
    let persistent = json!({ "gateway": { "kind": "StatefulSet", "persistence": { "enabled": true } } });
    let objects = render(&with(gateway(), persistent));
    let set = only(&objects, "StatefulSet");
    assert_eq!(set["spec"]["volumeClaimTemplates"][0]["metadata"]["name"], "state");
    assert_eq!(variable(set, "TETHERD_STATE_DIR")["value"], "/var/lib/tetherd");
    assert_eq!(variable(set, "TETHERD_LOGOUT")["value"], "never");
    assert_eq!(set["spec"]["template"]["spec"]["securityContext"]["fsGroup"], 65532);
    let services: Vec<&Value> = objects.iter().filter(|object| object["kind"] == "Service").collect();
    assert!(services.iter().any(|one| one["metadata"]["name"] == set["spec"]["serviceName"]));
    let shared = with(gateway(), json!({ "gateway": { "persistence": { "enabled": true } } }));
    assert!(refusal(&shared).contains("gateway.persistence: needs gateway.kind: StatefulSet"));
}

#[test]
fn it_scales_by_connections_or_cpu() {
    let scaled = |metrics: Value| {
        let values =
            with(gateway(), json!({ "gateway": { "autoscaling": with(json!({ "enabled": true }), metrics) } }));
        render(&values)
    };
    let objects = scaled(json!({ "targetConnections": 1000, "targetCPUUtilizationPercentage": null }));
    let metrics = &only(&objects, "HorizontalPodAutoscaler")["spec"]["metrics"];
    assert_eq!(metrics[0]["pods"]["metric"]["name"], "tetherd_connections_open");
    assert_eq!(metrics[0]["pods"]["target"]["averageValue"], "1000");
    assert_eq!(metrics[1], Value::Null);
    assert_eq!(only(&objects, "Deployment")["spec"]["replicas"], Value::Null);
    let by_cpu = scaled(json!({}));
    assert_eq!(only(&by_cpu, "HorizontalPodAutoscaler")["spec"]["metrics"][0]["resource"]["name"], "cpu");
}

#[test]
fn only_pods_of_its_namespace_may_connect_unless_others_are_named() {
    let objects = render(&gateway());
    let rules = &only(&objects, "NetworkPolicy")["spec"]["ingress"];
    assert_eq!(rules[0]["from"][0], json!({ "podSelector": {} }));
    assert_eq!(rules[0]["ports"], json!([{ "port": "proxy" }]));
    let others = json!([{ "namespaceSelector": { "matchLabels": { "team": "shop" } } }]);
    let objects = render(&with(gateway(), json!({ "gateway": { "networkPolicy": { "from": others } } })));
    assert_eq!(only(&objects, "NetworkPolicy")["spec"]["ingress"][0]["from"][0], others[0]);
}
