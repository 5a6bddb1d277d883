//! The scene of kubelet tests: a tailnet with a node `web`, and a kubelet.
//!
//! The server of `web` keeps what it is asked, and the kubelet has the images.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use testbed::api::Api;
use testbed::docker::Engine;
use testbed::image::{BUSYBOX, IMAGE, build, build_busybox, layer};
use testbed::kubernetes::Kubelet;
use testbed::{KeyOptions, Node, Tailnet};

use crate::manifest::{APP, POD, TETHERD, pod};

/// Starts and ends of containers, on a machine with other work.
pub const SOON: Duration = Duration::from_secs(60);

pub struct Scene {
    // Before the tailnet: fields drop in order.
    pub kubelet: Kubelet,
    pub web: Api,
    _node: Node,
    pub tailnet: Tailnet,
    secrets: TempDir,
}

impl Scene {
    pub fn new() -> Self {
        testbed::netns::enter_new().expect("a network namespace");
        let kubelet = {
            let engine = Engine::start().expect("an engine");
            build(&engine, &layer().expect("a layer"), IMAGE).expect("builds");
            build_busybox(&engine).expect("builds");
            Kubelet::start(&engine, &[IMAGE, BUSYBOX]).expect("a kubelet")
        };
        let tailnet = Tailnet::start().expect("a tailnet");
        let web = Api::start(|_| (200, "yes\n".to_owned())).expect("a server");
        let scene = Self {
            kubelet,
            web,
            _node: Node::join(&tailnet, "web").expect("a second node"),
            secrets: TempDir::new().expect("a directory"),
            tailnet,
        };
        // The containers' user is another one.
        scene.set_mode("", 0o755);
        let ca = fs::read_to_string(scene.tailnet.ca_file()).expect("reads");
        scene.keep("ca.pem", &ca);
        let key = scene.tailnet.auth_key(KeyOptions { reusable: true, ephemeral: true }).expect("a key");
        scene.keep("auth_key", &key);
        scene
    }

    /// A file where the pod has its secrets.
    pub fn keep(&self, name: &str, text: &str) {
        fs::write(self.secrets.path().join(name), text).expect("written");
        self.set_mode(name, 0o444);
    }

    fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.secrets.path().join(name), fs::Permissions::from_mode(mode)).expect("set");
    }

    pub fn apply(&self) {
        let (_, port) = self.web.url().rsplit_once(':').map(|(_, port)| ((), port.to_owned())).expect("a port");
        let manifest = pod(&self.tailnet, &format!("http://web:{port}"), self.secrets.path());
        self.kubelet.apply(POD, &manifest).expect("applied");
    }

    /// Applied, and the application's first request has been answered.
    pub fn running(&self) {
        self.apply();
        self.wait("the application runs", |pod| state(pod, APP)["state"]["running"].is_object().then_some(()));
        self.wait("the first request", |_| (self.asked("/first") == 1).then_some(()));
    }

    pub fn wait<T>(&self, what: &str, mut condition: impl FnMut(&Value) -> Option<T>) -> T {
        let waited = self.kubelet.wait_pod(what, POD, SOON, |pod| pod.and_then(&mut condition));
        waited.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// How often the application has asked for this.
    pub fn asked(&self, path: &str) -> usize {
        self.web.seen().iter().filter(|request| request.path == path).count()
    }

    /// How many of this pod's startup probes have failed.
    pub fn failed_startup_probes(&self) -> f64 {
        let metrics = self.kubelet.metrics("probes").expect("metrics");
        let ours = |line: &&str| {
            [r#"probe_type="Startup""#, r#"result="failed""#, &format!(r#"container="{TETHERD}""#)]
                .iter()
                .all(|label| line.contains(label))
        };
        let counts = metrics.lines().filter(ours).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        counts.sum()
    }
}

/// What the kubelet says of a container, or null.
pub fn state(pod: &Value, container: &str) -> Value {
    let lists = ["initContainerStatuses", "containerStatuses"].map(|list| pod["status"][list].as_array());
    let mut found = lists.into_iter().flatten().flatten().filter(|status| status["name"] == container);
    found.next().cloned().unwrap_or_default()
}
