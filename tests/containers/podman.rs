//! Tests hosts/podman/pod.yaml by `podman kube play` against a real tailnet.
//!
//! It is used as it is, but for the network and where the key lies.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;
use testbed::image::{BUSYBOX, IMAGE, build_busybox, repository};
use testbed::server::{PAGE, Server};
use testbed::wait_until;

use crate::scene::{READY, Scene};

const POD: &str = "app-in-a-tailnet";
const HUB: &str = "docker.io/library";

/// podman with images and containers of its own; what runs ends when it is dropped.
struct Podman(TempDir);

impl Podman {
    /// With the images of the scene's engine, by the names that the pod gives them.
    fn new(scene: &Scene) -> Self {
        let podman = Self(tempfile::Builder::new().prefix("tb-podman-").tempdir().expect("a directory"));
        let archive = podman.place("images.tar");
        scene.engine.docker(&["save", "--output", &archive, IMAGE, BUSYBOX]).expect("saved");
        let loaded = podman.run(&["load", "--input", &archive]).expect("loaded");
        for (image, name) in [(IMAGE, format!("localhost/{IMAGE}:latest")), (BUSYBOX, format!("{HUB}/{BUSYBOX}"))] {
            let mut names = loaded.lines().filter_map(|line| line.strip_prefix("Loaded image: "));
            let found = names.find(|name| name.contains(image)).expect("a name that podman gave it");
            podman.run(&["tag", found, &name]).expect("tagged");
        }
        podman
    }

    fn place(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("podman")
            .args(["--root", &self.place("root"), "--runroot", &self.place("run"), "--tmpdir", &self.place("tmp")])
            .args(["--cgroup-manager=cgroupfs", "--events-backend=file", "--log-level=error", "--runtime"])
            .arg(repository("tests/containers/runc-without-limits.py").canonicalize().expect("is there"))
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.0.path())
            .output()
            .expect("apt-get install podman");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn logs(&self, container: &str) -> String {
        self.run(&["logs", &format!("{POD}-{container}")]).unwrap_or_default()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.run(&["pod", "rm", "--all", "--force"]);
        // A mount of its own, which it leaves.
        let _ = Command::new("umount").arg(self.0.path().join("root/overlay")).output();
    }
}

/// The pod in the test's network, with the test's control server, authority and key.
fn pod(scene: &Scene, directory: &Path) -> String {
    let key = directory.join("auth_key");
    fs::write(&key, scene.key()).expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).expect("set");
    chown(&key, Some(65532), Some(0)).expect("given");
    let text = fs::read_to_string(repository("hosts/podman/pod.yaml")).expect("reads");
    let text = text.replace("/etc/tetherd/auth_key", &key.display().to_string());
    let text = text.replace("spec:\n", "spec:\n  hostNetwork: true\n");
    let control = json!([
        { "name": "TETHERD_CONTROL_URL", "value": scene.tailnet.control_url() },
        { "name": "TETHERD_CA_FILE", "value": "/ca.pem" },
    ]);
    let settings: String = control.as_array().into_iter().flatten().map(|one| format!("        - {one}\n")).collect();
    let text = text.replacen("      env:\n", &format!("      env:\n{settings}"), 1);
    let mount = "        - { name: ca, mountPath: /ca.pem, readOnly: true }\n";
    let text = text.replacen("      volumeMounts:\n", &format!("      volumeMounts:\n{mount}"), 1);
    let ca = scene.tailnet.ca_file().display().to_string();
    text + &format!("    - {}\n", json!({ "name": "ca", "hostPath": { "path": ca, "type": "File" } }))
}

#[test]
fn podman_plays_the_pod_whose_application_reaches_the_tailnet_by_name() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    build_busybox(&scene.engine).expect("builds");
    let podman = Podman::new(&scene);
    let manifest = podman.place("pod.yaml");
    fs::write(&manifest, pod(&scene, podman.0.path())).expect("written");
    podman.run(&["kube", "play", &manifest]).expect("plays");
    let fetched = wait_until("the application has the page", READY, || podman.logs("app").contains(PAGE).then_some(()));
    fetched.unwrap_or_else(|error| panic!("{error}\n{}\n{}", podman.logs("app"), podman.logs("tetherd")));
    assert!(scene.tailnet.node(POD).expect("nodes").is_some());
    // Taken down at once, the pod is killed.
    podman.run(&["pod", "stop", "--time=20", POD]).expect("stops");
    let code = podman.run(&["inspect", "--format={{.State.ExitCode}}", &format!("{POD}-tetherd")]).expect("is there");
    assert_eq!(code, "0\n");
    podman.run(&["kube", "down", &manifest]).expect("stops");
    assert!(scene.tailnet.node(POD).expect("nodes").is_none(), "it has left the tailnet");
}
