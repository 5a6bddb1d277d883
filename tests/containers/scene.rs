//! A tailnet with a node `web`, and an engine that has the image, in one namespace.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use testbed::docker::Engine;
use testbed::{KeyOptions, Node, Tailnet};

/// Health checks and starts of containers, on a machine with other work.
pub const READY: Duration = Duration::from_secs(90);
pub const IMAGE: &str = "tetherd";

/// What the docs tell users to run it with, and the network of the test.
const HARDENED: [&str; 9] = [
    "--network=host",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=256m",
    // The default interval of 10 s is for machines that have something else to do.
    "--health-interval=1s",
    "--env=TETHERD_HOSTNAME=app",
    "--env=TETHERD_CA_FILE=/ca.pem",
    "--env=TETHERD_MEMORY_LIMIT=100MiB",
];

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The layer that `make image-layer` has packed.
pub fn layer() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let layer = target.join(format!("docker/{architecture}/rootfs.tar"));
    assert!(layer.is_file(), "{} is missing: run `make image-layer`", layer.display());
    layer
}

/// An engine that has the image.
pub fn engine() -> Engine {
    let engine = Engine::start().expect("an engine");
    build(&engine, &layer(), IMAGE);
    engine
}

/// Builds docker/Dockerfile.local around `layer`.
pub fn build(engine: &Engine, layer: &Path, tag: &str) {
    let context = TempDir::new().expect("a directory");
    fs::copy(layer, context.path().join("rootfs.tar")).expect("copied");
    let dockerfile = repository("docker/Dockerfile.local").display().to_string();
    let directory = context.path().display().to_string();
    engine.docker(&["build", "--file", &dockerfile, "--tag", tag, "--network=none", &directory]).expect("builds");
}

pub struct Scene {
    // Before the tailnet: fields drop in order.
    pub engine: Engine,
    pub web: Node,
    pub tailnet: Tailnet,
}

impl Scene {
    pub fn new() -> Self {
        testbed::netns::enter_new().expect("a network namespace");
        let tailnet = Tailnet::start().expect("a tailnet");
        let web = Node::join(&tailnet, "web").expect("a second node");
        Self { engine: engine(), web, tailnet }
    }

    /// A new key for an ephemeral node.
    pub fn key(&self) -> String {
        self.tailnet.auth_key(KeyOptions { reusable: false, ephemeral: true }).expect("an auth key")
    }

    /// `docker run` in the background, hardened, as container `app`.
    pub fn run(&self, options: &[&str]) {
        let key = format!("--env=TETHERD_AUTH_KEY={}", self.key());
        self.run_with_key(&key, options);
    }

    pub fn run_with_key(&self, key: &str, options: &[&str]) {
        let control = format!("--env=TETHERD_CONTROL_URL={}", self.tailnet.control_url());
        let ca = format!("--volume={}:/ca.pem:ro", self.tailnet.ca_file().display());
        let mut arguments = vec!["run", "--detach", "--name=app", &control, &ca, key];
        arguments.extend(HARDENED);
        arguments.extend(options);
        arguments.push(IMAGE);
        self.engine.docker(&arguments).expect("runs");
    }

    pub fn run_healthy(&self, options: &[&str]) {
        self.run(options);
        self.engine.wait_healthy("app", READY).expect("is healthy");
    }

    pub fn exit_code(&self) -> i64 {
        let state = &self.engine.inspect("app").expect("is there")["State"];
        assert_eq!(state["Status"], "exited", "{}", self.engine.logs("app"));
        state["ExitCode"].as_i64().expect("a code")
    }
}
