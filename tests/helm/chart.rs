//! Renders the chart and the example that depends on it, and validates both.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use testbed::parts;

/// The version of Kubernetes that is rendered for where nothing else is said.
pub const KUBERNETES: &str = "1.35.0";

pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A part that `make chart-tools` builds.
pub fn tool(name: &str) -> PathBuf {
    let path = parts::directory().expect("parts").join(name);
    assert!(path.exists(), "{} is missing: run `make chart-tools`", path.display());
    path
}

/// Runs `command` with `input` on its stdin.
pub fn feed(command: &mut Command, input: &str) -> Output {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    child.stdin.take().expect("is piped").write_all(input.as_bytes()).expect("is read");
    child.wait_with_output().expect("ends")
}

pub fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// `helm` with directories of its own.
pub fn helm(arguments: &[&str]) -> Command {
    let mut helm = Command::new(tool("helm"));
    for (name, place) in [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")] {
        helm.env(name, Path::new(env!("CARGO_TARGET_TMPDIR")).join("helm").join(place));
    }
    helm.args(arguments);
    helm
}

fn template(chart: &Path, kubernetes: &str, values: &Value) -> Output {
    feed(&mut command(chart, kubernetes), &values.to_string())
}

fn command(chart: &Path, kubernetes: &str) -> Command {
    let chart = chart.display().to_string();
    helm(&["template", "t", &chart, "--namespace=tailnet", "--kube-version", kubernetes, "--values", "-"])
}

fn documents(output: Output) -> Vec<Value> {
    let yaml = stdout(output);
    let json = stdout(feed(Command::new(tool("admission")).arg("json"), &yaml));
    serde_json::from_str(&json).expect("a list")
}

/// What the chart makes of `values`.
pub fn render(values: &Value) -> Vec<Value> {
    render_for(KUBERNETES, values)
}

pub fn render_for(kubernetes: &str, values: &Value) -> Vec<Value> {
    documents(template(&repository("helm/tetherd"), kubernetes, values))
}

/// The same with more arguments for helm.
pub fn render_as(arguments: &[&str], values: &Value) -> Vec<Value> {
    let mut command = command(&repository("helm/tetherd"), KUBERNETES);
    documents(feed(command.args(arguments), &values.to_string()))
}

/// What another version of the chart and of its image makes of `values`.
pub fn render_version(version: &str, values: &Value) -> Vec<Value> {
    let directory = tempfile::tempdir().expect("a directory");
    copy(&repository("helm/tetherd"), directory.path());
    let file = directory.path().join("Chart.yaml");
    let text = fs::read_to_string(&file).expect("reads");
    let edited = text.replace("ersion: 0.1.0", &format!("ersion: {version}"));
    assert_ne!(edited, text);
    fs::write(file, edited).expect("written");
    documents(template(directory.path(), KUBERNETES, values))
}

/// The pods that `objects` are or make, as metadata and spec.
pub fn pods(objects: &[Value]) -> Vec<Value> {
    let own = objects.iter().filter(|object| object["kind"] == "Pod").cloned();
    let made = objects.iter().filter(|object| object["spec"]["template"].is_object());
    made.map(|object| object["spec"]["template"].clone()).chain(own).collect()
}

/// Why the chart refuses `values`.
pub fn refusal(values: &Value) -> String {
    let output = template(&repository("helm/tetherd"), KUBERNETES, values);
    assert!(!output.status.success(), "{values} is rendered");
    String::from_utf8(output.stderr).expect("UTF-8")
}

/// What the example application makes of the values of tetherd.
pub fn render_example(tetherd: &Value) -> Vec<Value> {
    let directory = tempfile::tempdir().expect("a directory");
    let app = directory.path().join("app");
    copy(&repository("helm/examples/app"), &app);
    let charts = app.join("charts");
    let _ = fs::remove_dir_all(&charts);
    copy(&repository("helm/tetherd"), &charts.join("tetherd"));
    // Without the example's own source of keys.
    let tetherd = with(json!({ "auth": { "existingSecret": "" } }), tetherd.clone());
    documents(template(&app, KUBERNETES, &json!({ "tetherd": tetherd })))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("is made");
    for entry in fs::read_dir(from).expect("reads") {
        let entry = entry.expect("reads");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("is copied");
        }
    }
}

/// The only object of this kind.
pub fn only<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<&Value> = objects.iter().filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind} in {:?}", objects.iter().map(|object| &object["kind"]).collect::<Vec<_>>());
    found[0]
}

/// tetherd's container in what makes pods.
pub fn tetherd(workload: &Value) -> &Value {
    let spec = &workload["spec"]["template"]["spec"];
    let containers = ["initContainers", "containers"].into_iter().filter_map(|list| spec[list].as_array());
    containers.flatten().find(|container| container["name"] == "tetherd").expect("tetherd")
}

/// What the API server's restricted pod security standard forbids of a pod.
pub fn forbidden(metadata: &Value, spec: &Value) -> String {
    let question = json!({ "pod": { "metadata": metadata, "spec": spec } }).to_string();
    stdout(feed(Command::new(tool("admission")).arg("restricted"), &question))
}

/// Values with which a gateway can be rendered.
pub fn gateway() -> Value {
    json!({
        "auth": { "existingSecret": "tailscale" },
        "proxyAuth": { "existingSecret": "proxy" },
        "gateway": { "enabled": true },
    })
}

/// `base` with `more` merged in, as helm merges values.
pub fn with(mut base: Value, more: Value) -> Value {
    merge(&mut base, more);
    base
}

fn merge(base: &mut Value, more: Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, more) => *base = more,
    }
}
