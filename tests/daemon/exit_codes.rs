//! Tests the exit codes of the README.
//!
//! Each comes with one last line that says why and what to do.

use std::net::TcpListener;
use std::process::Output;

use testbed::admin::KeyOptions;
use testbed::daemon::Daemon;

use crate::scene::{END, Scene, binary, command};

/// The exit code and the last line on stderr.
fn end_of(output: &Output) -> (Option<i32>, String) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), stderr.lines().last().unwrap_or_default().to_owned())
}

fn assert_end(output: &Output, code: i32, parts: &[&str]) {
    let (status, line) = end_of(output);
    assert_eq!(status, Some(code), "{line}");
    for part in parts {
        assert!(line.contains(part), "{part:?} is missing in {line:?}");
    }
}

/// Runs the daemon in an empty environment with these settings until it ends.
fn run_with(settings: &[(&str, &str)]) -> Output {
    command(&["run"]).envs(settings.iter().copied()).output().expect("runs")
}

#[test]
fn a_refused_key_ends_with_77() {
    let scene = Scene::new();
    let used = scene.tailnet.create_key(KeyOptions { reusable: false, ephemeral: true }).expect("key");
    scene.tailnet.expire_key(used.id).expect("expired");
    for key in ["no-such-key", "hskey-auth-0123456789ab-0123456789abcdef0123456789abcdef", &used.key] {
        let mut daemon = scene.daemon().env("TETHERD_AUTH_KEY", key).start().expect("starts");
        let status = daemon.wait_exit(END).expect("ends");
        let line = daemon.stderr().lines().last().unwrap_or_default().to_owned();
        assert_eq!(status.code(), Some(77), "{line}");
        assert!(line.starts_with("tetherd: the control server refused the auth key"), "{line}");
        assert!(line.contains("create a new key"), "{line}");
        assert!(!daemon.output().contains(key), "{}", daemon.output());
        assert!(daemon.temp_dir().read_dir().expect("its TMPDIR").next().is_none(), "nothing is left");
    }
}

#[test]
fn an_invalid_configuration_ends_with_78_and_names_every_fault() {
    let output = run_with(&[("TETHERD_SOKS_LISTEN", "127.0.0.1:1055"), ("TETHERD_CONNECT_TIMEOUT", "soon")]);
    assert_end(&output, 78, &["TETHERD_SOKS_LISTEN", "socks_listen", "connect_timeout", "soon", "15s"]);
}

#[test]
fn a_listener_that_others_can_reach_needs_credentials_or_ends_with_78() {
    let output = run_with(&[("TETHERD_SOCKS_LISTEN", "0.0.0.0:1055")]);
    assert_end(&output, 78, &["socks_listen", "socks_user", "allow_open_proxy"]);
}

#[test]
fn a_port_that_is_taken_ends_with_78() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("address").to_string();
    let output = run_with(&[("TETHERD_SOCKS_LISTEN", &address), ("TETHERD_HEALTH_LISTEN", "127.0.0.1:0")]);
    assert_end(&output, 78, &["socks_listen", &address, "another program listens there"]);
}

#[test]
fn a_missing_tailscaled_ends_with_70() {
    let free =
        [("TETHERD_SOCKS_LISTEN", "127.0.0.1:0"), ("TETHERD_HEALTH_LISTEN", "127.0.0.1:0"), ("PATH", "/nowhere")];
    assert_end(&run_with(&free), 70, &["tailscaled was found neither", "tailscaled_path"]);
    let named = [&free[..], &[("TETHERD_TAILSCALED_PATH", "/nowhere/tailscaled")]].concat();
    assert_end(&run_with(&named), 70, &["/nowhere/tailscaled", "tailscaled_path"]);
}

#[test]
fn a_tailscaled_that_cannot_run_ends_with_70() {
    let free = [("TETHERD_SOCKS_LISTEN", "127.0.0.1:0"), ("TETHERD_HEALTH_LISTEN", "127.0.0.1:0")];
    let ending = [&free[..], &[("TETHERD_TAILSCALED_PATH", "/bin/false")]].concat();
    assert_end(&run_with(&ending), 70, &["again and again", "exit status: 1"]);
}

#[test]
fn an_argument_that_tailscaled_does_not_take_ends_with_78_at_once() {
    for name in ["TS_TAILSCALED_EXTRA_ARGS", "TETHERD_TAILSCALED_ARGS"] {
        let scene = Scene::new();
        let began = std::time::Instant::now();
        let mut daemon = scene.daemon().env(name, "--experiments=widgets").start().expect("starts");
        assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(78), "{}", daemon.stderr());
        let line = daemon.stderr().lines().last().unwrap_or_default().to_owned();
        assert!(line.contains("tailscaled_args") && line.contains("-experiments"), "{line}");
        assert!(!daemon.stderr().contains("started again") && began.elapsed() < END / 4, "{}", daemon.stderr());
    }
}

#[test]
fn a_wrong_usage_ends_with_64() {
    let output = command(&["--soks-listen", "x"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--socks-listen"), "the right flag is named");
    assert_eq!(command(&["dance"]).output().expect("runs").status.code(), Some(64));
}

#[test]
fn not_being_ready_within_start_timeout_ends_with_69() {
    let mut scene = Scene::new();
    let builder = scene.daemon().env("TETHERD_START_TIMEOUT", "2s");
    scene.tailnet.stop_control();
    let mut daemon = builder.start().expect("starts");
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(69));
    let line = daemon.stderr().lines().last().unwrap_or_default().to_owned();
    assert!(line.contains("not ready within start_timeout (2s)"), "{line}");
}

#[test]
fn in_json_the_last_line_is_json_too() {
    let output = run_with(&[
        ("TETHERD_LOG_FORMAT", "json"),
        ("PATH", "/nowhere"),
        ("TETHERD_SOCKS_LISTEN", "127.0.0.1:0"),
        ("TETHERD_HEALTH_LISTEN", "127.0.0.1:0"),
    ]);
    let (code, line) = end_of(&output);
    assert_eq!(code, Some(70));
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["level"], "ERROR");
    assert!(line["message"].as_str().expect("text").contains("tailscaled was found neither"));
}

#[test]
fn a_state_dir_in_use_ends_with_78() {
    let scene = Scene::new();
    let state = tempfile::tempdir().expect("directory");
    let state_dir = state.path().to_str().expect("UTF-8");
    let _first = crate::scene::start_ready(scene.daemon().env("TETHERD_STATE_DIR", state_dir));
    let mut second: Daemon = Daemon::builder(binary())
        .env("TETHERD_STATE_DIR", state_dir)
        .env("TETHERD_SOCKS_LISTEN", "127.0.0.1:0")
        .env("TETHERD_HEALTH_LISTEN", "127.0.0.1:0")
        .start()
        .expect("starts");
    assert_eq!(second.wait_exit(END).expect("ends").code(), Some(78));
    assert!(second.stderr().contains("in use by another tetherd"), "{}", second.stderr());
}
