//! The scene of container tests: a tailnet with a node `web`, and a Docker engine.
//!
//! The engine has the image, and both are in one network namespace.

use std::path::PathBuf;
use std::time::Duration;

use testbed::docker::Engine;
use testbed::image::{self, IMAGE};
use testbed::{KeyOptions, Node, Tailnet};

/// Health checks and starts of containers, on a machine with other work.
pub const READY: Duration = Duration::from_secs(90);

/// What the docs tell users to run it with, and the network of the test.
const HARDENED: [&str; 8] = [
    "--network=host",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=256m",
    // The default interval of 10 s is for machines that have something else to do.
    "--health-interval=1s",
    "--env=TETHERD_HOSTNAME=app",
    "--env=TETHERD_CA_FILE=/ca.pem",
];

/// The layer that `make image-layer` has packed.
pub fn layer() -> PathBuf {
    image::layer().expect("a layer")
}

/// An engine that has the image.
pub fn engine() -> Engine {
    let engine = Engine::start().expect("an engine");
    image::build(&engine, &layer(), IMAGE).expect("builds");
    engine
}

pub struct Scene {
    // Before the tailnet: fields drop in order.
    pub engine: Engine,
    pub web: Node,
    pub tailnet: Tailnet,
}

impl Scene {
    pub fn new() -> Self {
        let tailnet = Tailnet::apart().expect("a tailnet");
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
        self.run_as("app", key, options);
    }

    pub fn run_as(&self, name: &str, key: &str, options: &[&str]) {
        self.run_with_words(name, key, options, &[]);
    }

    /// `words` follow the image: a command of tetherd's.
    pub fn run_with_words(&self, name: &str, key: &str, options: &[&str], words: &[&str]) {
        let name = format!("--name={name}");
        let control = format!("--env=TETHERD_CONTROL_URL={}", self.tailnet.control_url());
        let ca = format!("--volume={}:/ca.pem:ro", self.tailnet.ca_file().display());
        let mut arguments = vec!["run", "--detach", &name, &control, &ca, key];
        arguments.extend(HARDENED);
        arguments.extend(options);
        arguments.push(IMAGE);
        arguments.extend(words);
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
