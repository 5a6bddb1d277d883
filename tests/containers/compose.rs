//! Tests docker/compose.yaml as it is, but for the network.
//!
//! It shows an application beside tetherd, and a command and its tailnet in one container.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;
use testbed::KeyOptions;
use testbed::image::{build_busybox, repository};
use testbed::server::{PAGE, Server};

use crate::scene::Scene;

/// The engine has no bridge, and the tailnet is in the test's namespace with a certificate of its own authority.
fn overrides(directory: &Path, ca_file: &Path) -> String {
    let service = || {
        json!({
            "network_mode": "host",
            "environment": { "TETHERD_CA_FILE": "/ca.pem" },
            "volumes": [format!("{}:/ca.pem:ro", ca_file.display())],
        })
    };
    let path = directory.join("override.json");
    let text = json!({ "version": "3.9", "services": { "tetherd": service(), "job": service() } });
    fs::write(&path, text.to_string()).expect("written");
    path.display().to_string()
}

struct Compose<'a> {
    scene: &'a Scene,
    directory: TempDir,
}

impl<'a> Compose<'a> {
    fn new(scene: &'a Scene) -> Self {
        let directory = TempDir::new().expect("a directory");
        build_busybox(&scene.engine).expect("builds");
        let key = scene.tailnet.auth_key(KeyOptions { reusable: true, ephemeral: true }).expect("a key");
        let file = directory.path().join("auth_key");
        fs::write(&file, key).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).expect("set");
        chown(&file, Some(65532), Some(0)).expect("given");
        Self { scene, directory }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.scene.engine.command("docker-compose");
        let place = self.directory.path();
        command
            .args(["--project-name=test", "--file"])
            .arg(repository("docker/compose.yaml"))
            .args(["--file", &overrides(place, &self.scene.tailnet.ca_file())])
            .args(arguments)
            .env("AUTH_KEY_FILE", place.join("auth_key"))
            .env("CONTROL_URL", self.scene.tailnet.control_url())
            .env("URL", "http://web:8000/");
        command
    }

    /// Exit code and output.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = self.command(arguments).output().expect("apt-get install docker-compose");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }
}

#[test]
fn an_application_beside_tetherd_starts_when_the_tailnet_is_there_and_reaches_it_by_name() {
    let scene = Scene::new();
    let _server = Server::http(8000).expect("server");
    let compose = Compose::new(&scene);
    let (code, stdout, stderr) = compose.run(&["run", "--rm", "-T", "app"]);
    assert_eq!((code, stdout.as_str()), (Some(0), PAGE), "{stderr}\n{}", compose.run(&["logs"]).1);
    assert!(scene.tailnet.node("compose").expect("nodes").is_some());
    let (code, _, stderr) = compose.run(&["down"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(scene.tailnet.node("compose").expect("nodes").is_none(), "it has left the tailnet");
}

#[test]
fn a_command_and_its_tailnet_in_one_container_end_with_the_commands_code() {
    let scene = Scene::new();
    let _server = Server::http(8000).expect("server");
    let compose = Compose::new(&scene);
    let (code, _, stderr) = compose.run(&["build", "job"]);
    assert_eq!(code, Some(0), "{stderr}");
    let (code, stdout, stderr) = compose.run(&["run", "--rm", "-T", "job"]);
    assert_eq!((code, stdout.as_str()), (Some(0), PAGE), "{stderr}");
    assert!(scene.tailnet.node("compose-job").expect("nodes").is_none(), "it has left the tailnet");
    let (code, _, stderr) = compose.run(&["run", "--rm", "-T", "job", "false"]);
    assert_eq!(code, Some(1), "{stderr}");
}
