//! The forwarder with and without a tailnet around it.

use std::fs;
use std::path::Path;

use serde_json::Value;
use testbed::lambda::{Builder, Environment};
use testbed::netns;
use testbed::{Node, Tailnet};

use crate::target::Target;

pub const PORT: u16 = 8000;

/// The function alone, which takes unsigned requests.
pub fn function() -> Builder {
    let program = Path::new(env!("CARGO_BIN_EXE_forwarder"));
    let builder = Builder::new("sh", program, program).expect("a function").env("AWS_LAMBDA_FUNCTION_TIMEOUT", "60");
    builder.env("SIGNATURE_SCHEME", "none")
}

/// The function, dialling a target on loopback directly.
pub fn direct() -> (Target, Builder) {
    netns::enter_new().expect("a network namespace");
    let target = Target::start(PORT).expect("a target");
    let port = PORT.to_string();
    let builder = function().env("TS_TARGET", "127.0.0.1").env("TS_PORT", &port).env("TS_SOCKS_PROXY", "none");
    (target, builder.env("PROXY_RESPONSE", "FULL"))
}

/// The function with the layer, in a tailnet with the target on the node `web`.
pub struct Scene {
    pub target: Target,
    _web: Node,
    pub tailnet: Tailnet,
}

impl Scene {
    pub fn new() -> Self {
        netns::enter_new().expect("a network namespace");
        let tailnet = Tailnet::start().expect("a tailnet");
        let web = Node::join(&tailnet, "web").expect("a second node");
        Self { target: Target::start(PORT).expect("a target"), _web: web, tailnet }
    }

    pub fn forwarder(&self, mode: &str) -> Builder {
        let layer = unpacked_layer();
        let builder = function().layer_of(layer.path()).and_then(|builder| builder.joining(&self.tailnet));
        let builder = builder.expect("a layer").env("TS_TARGET", "web").env("TS_PORT", &PORT.to_string());
        builder.env("PROXY_RESPONSE", mode)
    }
}

/// The layer as `make layer` has built it.
fn unpacked_layer() -> tempfile::TempDir {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
    let zip = target.join("layer/tetherd-layer-x86_64.zip");
    assert!(zip.is_file(), "{} is missing: run `make layer`", zip.display());
    let directory = tempfile::tempdir().expect("a directory");
    let mut unzip = std::process::Command::new("python3");
    unzip.args(["-m", "zipfile", "-e"]).arg(zip).arg(directory.path());
    assert!(unzip.status().expect("python3 runs").success());
    for program in ["extensions/tetherd", "bin/tailscaled"] {
        // Python's module forgets the modes.
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(directory.path().join(program), mode).expect("a mode");
    }
    directory
}

pub fn invoke(environment: &Environment, event: &Value) -> Value {
    environment.invoke(event).unwrap_or_else(|error| panic!("{error:#}"))
}

/// The one line of the log that says why a request was not forwarded.
pub fn reason(environment: &Environment) -> Value {
    environment.wait_for_log("not forwarded").expect("a line");
    let log = environment.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("not forwarded")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    let json = lines[0].find('{').map(|start| &lines[0][start..]).expect("JSON");
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}
