//! Tests the functions of lambda-layer/examples.
//!
//! Each is run as its runtime in Lambda runs it, with the layer as `make layer` built it and the variables that the
//! template sets, and reaches a host of the tailnet by name.

use std::path::{Path, PathBuf};

use serde_json::json;
use testbed::lambda::Builder;
use testbed::parts;
use testbed::server::PAGE;

use crate::layer;
use crate::scene::{Scene, URL};

const TEMPLATE: &str = include_str!("../../lambda-layer/template.yaml");
const WRAPPER: (&str, &str) = ("AWS_LAMBDA_EXEC_WRAPPER", "/opt/bin/tetherd");

fn of_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A function whose handler `runtime` calls by means of `client`.
fn handled(runtime: &str, client: &str, function: &str, handler: &str) -> Builder {
    assert!(TEMPLATE.contains(&format!("Handler: {handler}\n")), "{handler}");
    let functions = of_repository("tests/lambda/functions");
    let runtime = parts::find(runtime).expect("make lambda-examples");
    Builder::new(&runtime.to_string_lossy(), &functions.join(client), &functions.join("bootstrap"))
        .and_then(|builder| builder.file(&of_repository("lambda-layer/examples").join(function)))
        .expect("a function")
        .env("_HANDLER", handler)
}

/// `variables` are those that the template sets for this function.
fn assert_fetches_by_name(function: Builder, variables: &[(&str, &str)]) {
    let scene = Scene::new();
    let layer = layer::unpacked();
    let mut builder = function.layer_of(layer.path()).and_then(|it| it.joining(&scene.tailnet)).expect("a layer");
    for (name, value) in variables {
        let lines = [format!("{name}: {value}\n"), format!("{name}: \"{value}\"\n")];
        assert!(lines.iter().any(|line| TEMPLATE.contains(line)), "{name}");
        builder = builder.env(name, value);
    }
    let environment = builder.env("TARGET_URL", URL).start().expect("starts");
    let answer = environment.invoke(&json!({})).expect("answers");
    assert_eq!(answer, json!({ "status": 200, "body": PAGE }), "{}", environment.log());
}

#[test]
fn the_python_example_fetches_by_name() {
    let function = handled("lambda-runtimes/python/bin/python3", "runtime.py", "python/app.py", "app.handler");
    assert_fetches_by_name(function, &[WRAPPER]);
}

#[test]
fn the_node_js_example_fetches_by_name() {
    let function = handled("lambda-runtimes/node/bin/node", "runtime.mjs", "nodejs/index.mjs", "index.handler");
    assert_fetches_by_name(function, &[WRAPPER, ("NODE_USE_ENV_PROXY", "1")]);
}

/// OS-only runtimes know no wrapper.
#[test]
fn the_rust_example_fetches_by_name() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
    let function = Builder::program(&target.join("example-function/debug/bootstrap")).expect("make lambda-examples");
    assert_fetches_by_name(function, &[("HTTP_PROXY", "http://127.0.0.1:1055")]);
}
