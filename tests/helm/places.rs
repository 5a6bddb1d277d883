//! Tests the chart in clusters that people have, and what replaces the gateway.
//!
//! OpenShift, old versions, versions with a suffix; a changed password, and not a label of a new version of the chart.

use serde_json::{Value, json};

use crate::chart::{
    forbidden, gateway, only, pods, render, render_as, render_example, render_for, render_version, with,
};

const OPENSHIFT: [&str; 2] = ["--api-versions", "security.openshift.io/v1/SecurityContextConstraints"];

fn pod_template(objects: &[Value]) -> Value {
    only(objects, "Deployment")["spec"]["template"].clone()
}

/// Fields of these names, anywhere within.
fn named<'a>(value: &'a Value, names: &[&str], found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, inner)| {
            if names.contains(&name.as_str()) {
                found.push(inner);
            }
            named(inner, names, found);
        }),
        Value::Array(list) => list.iter().for_each(|inner| named(inner, names, found)),
        _ => {}
    }
}

fn ids(objects: &[Value]) -> usize {
    let (all, mut found) = (Value::from(objects.to_vec()), Vec::new());
    named(&all, &["runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy"], &mut found);
    found.len() + all.to_string().matches("runAsUser").count()
}

/// Its constraints give each namespace a range of its own, and refuse what is not in it.
#[test]
fn on_openshift_no_pod_asks_for_a_user_or_a_group() {
    let injected = || json!({ "auth": { "existingSecret": "tailscale" }, "injection": { "enabled": true } });
    let tested = with(gateway(), json!({ "test": { "url": "http://web/" } }));
    for values in [tested.clone(), with(tested, json!({ "gateway": { "kind": "StatefulSet" } })), injected()] {
        assert!(ids(&render(&values)) > 0);
        let by_value = render(&with(values.clone(), json!({ "openshift": true })));
        for objects in [&by_value, &render_as(&OPENSHIFT, &values)] {
            assert_eq!(ids(objects), 0, "{objects:?}");
            for pod in pods(objects) {
                assert_eq!(forbidden(&pod["metadata"], &pod["spec"]), "");
            }
        }
        let elsewhere = render_as(&OPENSHIFT, &with(values, json!({ "openshift": false })));
        assert!(ids(&elsewhere) > 0);
    }
    let sidecar = json!({ "auth": { "existingSecret": "tailscale" }, "openshift": true });
    let pods = pods(&render_example(&sidecar));
    assert_eq!(ids(&[pods[0]["spec"]["initContainers"][0].clone()]), 0);
}

#[test]
fn the_hook_that_sleeps_is_asked_for_where_it_is_known_and_the_time_to_end_follows() {
    for (version, sleeps) in [
        ("1.29", false),
        ("v1.29.15", false),
        ("v1.29.3-eks-036c24b", false),
        ("v1.29.3+k3s1", false),
        ("v1.29+", false),
        ("1.30", true),
        ("1.30+", true),
        ("v1.30.0-gke.1587003", true),
        ("v1.30.2-eks-1552ad0", true),
        ("v1.31.4+6216ea1", true),
        ("v1.35.0-rc.1", true),
    ] {
        let pod = pod_template(&render_for(version, &gateway()));
        let lifecycle = &pod["spec"]["containers"][0]["lifecycle"];
        assert_eq!(lifecycle["preStop"]["sleep"]["seconds"] == 5, sleeps, "{version}: {lifecycle}");
        assert_eq!(lifecycle.is_null(), !sleeps, "{version}: an empty hook is refused");
        assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], if sleeps { 40 } else { 35 }, "{version}");
    }
}

#[test]
fn injection_is_of_the_version_that_a_cluster_with_a_suffix_has() {
    let values = json!({ "auth": { "existingSecret": "tailscale" }, "injection": { "enabled": true } });
    for (version, api) in [("v1.32.9-eks-3025e55", "v1alpha1"), ("1.34+", "v1beta1"), ("v1.36.1+k3s1", "v1")] {
        let policy = render_for(version, &values);
        let expected = format!("admissionregistration.k8s.io/{api}");
        assert_eq!(only(&policy, "MutatingAdmissionPolicy")["apiVersion"], expected, "{version}");
    }
}

/// A version of the chart or of the image may have build metadata, which labels and tags cannot hold.
#[test]
fn versions_with_a_plus_make_labels_and_tags_that_are_valid() {
    let long = "1".repeat(70);
    for version in
        ["0.1.0+build.5", "0.1.0-rc.1+git.0a1b2c3", &format!("0.1.0+{long}"), &format!("0.1.0+{}-", "1".repeat(40))]
    {
        let objects = render_version(version, &gateway());
        let mut found = Vec::new();
        let all = Value::from(objects);
        named(&all, &["labels", "matchLabels"], &mut found);
        let values = found.into_iter().flat_map(|labels| labels.as_object().expect("labels").values());
        for label in values.map(|label| label.as_str().expect("a text")) {
            let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let is_valid = label.len() <= 63 && label.chars().all(inner) && !label.ends_with(['-', '_', '.']);
            assert!(is_valid, "{label}");
        }
        let mut images = Vec::new();
        named(&all, &["image"], &mut images);
        for image in images.into_iter().map(|image| image.as_str().expect("a text")) {
            let (_, tag) = image.rsplit_once(':').expect("a tag");
            assert!(tag.len() <= 128 && tag.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)), "{image}");
        }
    }
}

#[test]
fn a_new_version_of_the_chart_labels_and_served_files_replace_no_pod() {
    for kind in ["Deployment", "StatefulSet"] {
        let served = json!({ "serveConfig": { "TCP": { "80": { "HTTP": true } } } });
        let base = with(with(gateway(), served), json!({ "gateway": { "kind": kind }, "image": { "tag": "1" } }));
        let template = |objects: Vec<Value>| only(&objects, kind)["spec"]["template"].clone();
        let before = template(render(&base));
        assert_eq!(template(render_version("0.2.0", &base)), before);
        for change in [
            json!({ "commonLabels": { "release": "2026-12-01" } }),
            json!({ "serveConfig": { "TCP": { "81": { "HTTP": true } } } }),
            json!({ "gateway": { "replicas": 3 }, "metrics": { "podMonitor": { "enabled": true } } }),
        ] {
            assert_eq!(template(render(&with(base.clone(), change.clone()))), before, "{change}");
        }
        let labelled = render(&with(base.clone(), json!({ "gateway": { "podLabels": { "team": "edge" } } })));
        assert_eq!(template(labelled)["metadata"]["labels"]["team"], "edge");
    }
}

/// It is a file that tetherd reads at its start; a key is read again for each login.
#[test]
fn a_changed_password_replaces_the_pods_and_is_not_told() {
    let values = |key: &str, password: Value| {
        json!({
            "gateway": { "enabled": true }, "auth": { "existingSecret": "" },
            "config": { "socks_user": "app", "socks_password": password, "auth_key": key },
        })
    };
    let annotations = |values: Value| pod_template(&render(&values))["metadata"]["annotations"].clone();
    let first = annotations(values("a", json!("word")));
    assert_eq!(annotations(values("b", json!("word"))), first);
    assert_ne!(annotations(values("a", json!("other word"))), first);
    // Everybody who sees pods sees it: no plain hash, in which a word of a dictionary is found.
    let plain = "98c1eb4ee93476743763878fcb96a25fbc9a175074d64004779ecb5242f645e6";
    let told = first.to_string();
    assert!(!told.contains(plain) && !told.contains(&plain[..16]), "{told}");
}

#[test]
fn files_of_secrets_are_for_the_user_of_the_container() {
    let mode = |pod: &Value| {
        let volumes = pod["spec"]["volumes"].as_array().expect("volumes");
        let files = volumes.iter().find(|volume| volume["name"] == "tetherd-files").expect("files");
        files["projected"]["defaultMode"].as_u64().expect("a mode")
    };
    let of_gateway = pod_template(&render(&gateway()));
    // Kubernetes lets the group of the pod read them, too.
    assert_eq!((mode(&of_gateway), &of_gateway["spec"]["securityContext"]["fsGroup"]), (0o400, &json!(65532)));
    let sidecar = |more: Value| {
        let values = with(json!({ "auth": { "existingSecret": "tailscale" } }), more);
        pods(&render_example(&values))[0].clone()
    };
    let example = sidecar(json!({}));
    assert_eq!((mode(&example), &example["spec"]["securityContext"]["fsGroup"]), (0o400, &json!(65532)));
    // Pods of others may have no group.
    assert_eq!(mode(&sidecar(json!({ "filesMode": 0o444 }))), 0o444);
}
