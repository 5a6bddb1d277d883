//! tailscaled gets less than the daemon's user has, and the status says by what.

use std::fs;

use testbed::daemon::Daemon;
use testbed::server::Server;

use crate::scene::{Scene, connect, start_ready};

/// The lines of tailscaled's /proc/PID/status that tell.
fn flags(daemon: &Daemon) -> [String; 3] {
    let tailscaled = daemon.tailscaled_pid().expect("runs");
    let status = fs::read_to_string(format!("/proc/{tailscaled}/status")).expect("readable");
    ["NoNewPrivs:", "Seccomp:", "CapBnd:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        line.trim().to_owned()
    })
}

fn said(daemon: &Daemon) -> serde_json::Value {
    let answer = daemon.http_get("/status").expect("answers");
    serde_json::from_str::<serde_json::Value>(&answer.text()).expect("JSON")["confinement"].clone()
}

#[test]
fn tailscaled_is_confined_and_the_status_says_so() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let daemon = scene.ready();
    // CAP_CHOWN, CAP_DAC_OVERRIDE and CAP_FOWNER are left.
    assert_eq!(flags(&daemon), ["1", "2", "000000000000000b"]);
    assert_eq!(said(&daemon), serde_json::json!(["no_new_privs", "landlock", "landlock_scope", "seccomp"]));
    let tailscaled = daemon.tailscaled_pid().expect("runs");
    let score = fs::read_to_string(format!("/proc/{tailscaled}/oom_score_adj")).expect("readable");
    assert!(score.trim().parse::<i32>().expect("a number") >= 500, "{score}");
    connect("web", 80).expect("works as before");
}

#[test]
fn confine_false_leaves_tailscaled_as_it_is() {
    let scene = Scene::new();
    let own = fs::read_to_string("/proc/self/status").expect("readable");
    let bounding = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("a line").trim().to_owned();
    for (name, value) in [("TETHERD_CONFINE", "false"), ("TETHERD_TAILSCALED_ARGS", "--verbose=1")] {
        let daemon = start_ready(scene.daemon().env(name, value));
        assert_eq!(flags(&daemon), ["0", "0", bounding.as_str()], "{name}");
        assert_eq!(said(&daemon), serde_json::json!([]), "{name}");
    }
}
