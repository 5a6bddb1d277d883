//! Tests that the variables of Tailscale's image alone make a working daemon.

use std::path::Path;
use std::process::Command;

use testbed::daemon::Daemon;
use testbed::server::Server;
use testbed::wait::wait_until;
use testbed::{KeyOptions, http, parts, socks};

use crate::scene::{END, READY, Scene, binary, command, inherited, start_ready};

/// What the real command finds at the socket.
fn tailscale_status(socket: &Path) -> String {
    let tailscale = parts::find("tailscale").expect("tailscale");
    let output = Command::new(tailscale).arg("--socket").arg(socket).arg("status").output().expect("runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn an_environment_made_for_tailscales_image_works_as_it_is() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let key = scene.tailnet.auth_key(KeyOptions { reusable: false, ephemeral: true }).expect("key");
    let directory = tempfile::tempdir().expect("directory");
    let (socket, state) = (directory.path().join("run/tailscaled.sock"), directory.path().join("state"));
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let login = format!("--login-server={} --accept-routes --authkey {key}", scene.tailnet.control_url());
    let mut daemon = start_ready(
        Daemon::builder(binary())
            .env("SSL_CERT_FILE", &text(&scene.tailnet.ca_file()))
            .env("TS_EXTRA_ARGS", &login)
            .env("TS_HOSTNAME", "ts-app")
            .env("TS_SOCKET", &text(&socket))
            .env("TS_STATE_DIR", &text(&state))
            .env("TS_ROUTES", "10.9.0.0/16")
            .env("TS_SOCKS5_SERVER", "localhost:1080")
            .env("TS_OUTBOUND_HTTP_PROXY_LISTEN", "localhost:1080")
            .env("TS_ACCEPT_DNS", "false")
            .env("TS_USERSPACE", "true")
            .env("TS_AUTH_ONCE", "true")
            .env("TS_KUBE_SECRET", "")
            .env("TS_ENABLE_HEALTH_CHECK", "true")
            .env("TS_TAILSCALED_EXTRA_ARGS", "--verbose=1"),
    );
    let stream = socks::connect("127.0.0.1:1080".parse().expect("address"), "web", 80, None).expect("connects");
    assert_eq!(http::get(stream, "web", "/").expect("answers").head.status, 200);
    let offered = || (scene.tailnet.node("ts-app").ok()??.routes == ["10.9.0.0/16"]).then_some(());
    wait_until("the route is offered", READY, offered).expect("is offered");
    assert!(!daemon.output().contains(&key), "the key is shown");
    assert!(!inherited(&daemon).contains(&key), "tailscaled inherits the key");

    let status = tailscale_status(&socket);
    assert!(status.contains("ts-app") && status.contains("web"), "{status}");

    daemon.terminate().expect("SIGTERM");
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0));
    assert!(!socket.exists(), "the socket goes with the daemon");
    assert!(state.join("tailscaled.state").exists(), "the state stays");
}

#[test]
fn what_only_kernel_mode_can_do_ends_with_78_the_reason_and_the_way_out() {
    let variables = [("TS_USERSPACE", "false"), ("TS_DEST_IP", "10.0.0.1"), ("TS_EXTRA_ARGS", "--ssh")];
    let output = command(&["run"]).envs(variables).output().expect("runs");
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in ["TS_USERSPACE", "leave it out", "TS_DEST_IP", "serve_config", "TS_EXTRA_ARGS", "--ssh"] {
        assert!(text.contains(part), "{part:?} is missing in {text:?}");
    }
}

#[test]
fn a_socket_path_that_holds_a_file_is_refused_and_the_file_left_alone() {
    let file = tempfile::NamedTempFile::new().expect("file");
    let listen = [("TETHERD_SOCKS_LISTEN", "127.0.0.1:0"), ("TETHERD_HEALTH_LISTEN", "127.0.0.1:0")];
    let output = command(&["run"]).envs(listen).env("TS_SOCKET", file.path()).output().expect("runs");
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("tailscaled_socket") && text.contains("is no socket"), "{text}");
    assert!(file.path().is_file());
}
