//! Tests that tetherd and tailscaled get less than their user has.
//!
//! The status says by what.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use testbed::daemon::Daemon;
use testbed::server::Server;
use testbed::wait::wait_until;

use crate::exec_and_env::{end_of, exec};
use crate::scene::{END, READY, Scene, binary, command, connect, start_ready};

/// What this kernel has.
const ALL: [&str; 4] = ["no_new_privs", "landlock", "landlock_scope", "seccomp"];

/// The lines of a thread's status that tell, such as /proc/PID/status of a process's first one.
fn flags(status: &Path) -> [String; 3] {
    let status = fs::read_to_string(status).expect("readable");
    ["NoNewPrivs:", "Seccomp:", "CapBnd:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        line.trim().to_owned()
    })
}

fn flags_of(pid: i32) -> [String; 3] {
    flags(Path::new(&format!("/proc/{pid}/status")))
}

fn said(daemon: &Daemon) -> Value {
    let answer = daemon.http_get("/status").expect("answers");
    serde_json::from_str::<Value>(&answer.text()).expect("JSON")["confinement"].clone()
}

#[test]
fn tailscaled_is_confined_and_the_status_says_so() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let daemon = scene.ready();
    let tailscaled = daemon.tailscaled_pid().expect("runs");
    // CAP_CHOWN, CAP_DAC_OVERRIDE and CAP_FOWNER are left.
    assert_eq!(flags_of(tailscaled), ["1", "2", "000000000000000b"]);
    assert_eq!(said(&daemon)["tailscaled"], json!(ALL));
    let score = |pid: i32| {
        let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("readable");
        score.trim().parse::<i32>().expect("a number")
    };
    assert!(score(tailscaled) >= 500, "{}", score(tailscaled));
    assert_eq!(score(daemon.pid()), score(nix::unistd::getpid().as_raw()), "tetherd's own is as it was");
    connect("web", 80).expect("works as before");
}

#[test]
fn tetherd_is_confined_with_all_its_threads_and_the_status_says_so() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let directory = tempfile::tempdir().expect("a directory");
    let (socket, state) = (directory.path().join("in/proxy.sock"), directory.path().join("state"));
    fs::create_dir(directory.path().join("in")).expect("made");
    let listen = format!("127.0.0.1:1055,unix:{}", socket.display());
    let builder = scene.daemon().env("TETHERD_SOCKS_LISTEN", &listen);
    let mut daemon = start_ready(builder.env("TETHERD_STATE_DIR", state.to_str().expect("UTF-8")));
    // Names, which a pool of threads resolves, and the thread of the log.
    connect("web", 80).expect("works as before");
    connect("localhost", 80).expect("works as before");
    let threads: Vec<_> = fs::read_dir(format!("/proc/{}/task", daemon.pid()))
        .expect("runs")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert!(threads.len() >= 2, "{threads:?}");
    for thread in threads {
        assert_eq!(flags(&thread.join("status")), ["1", "2", "000000000000000b"], "{}", thread.display());
    }
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("runs");
    assert!(status.contains("Umask:\t0077"), "{status}");
    assert_eq!(said(&daemon), json!({ "tetherd": ALL, "tailscaled": ALL }));
    let shown = command(&["status"]).output().expect("runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("tetherd confined by") && shown.contains("no_new_privs, landlock"), "{shown}");
    // A new tailscaled is started by the confined daemon, and at the end nothing is left where that could be.
    let first = daemon.tailscaled_pid().expect("runs");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(first), nix::sys::signal::Signal::SIGKILL).expect("killed");
    wait_until("another runs", READY, || daemon.tailscaled_pid().filter(|pid| *pid != first)).expect("is started");
    daemon.wait_ready(READY).expect("is ready again");
    connect("web", 80).expect("works as before");
    daemon.terminate().expect("SIGTERM");
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0), "{}", daemon.output());
    assert!(!socket.exists(), "{}", daemon.output());
    assert_eq!(fs::read_dir(daemon.temp_dir()).expect("is there").count(), 0, "{}", daemon.output());
    assert!(!daemon.output().contains("could not be removed"), "{}", daemon.output());
}

#[test]
fn the_command_of_exec_has_what_it_would_have_without_tetherd() {
    let scene = Scene::new();
    let elsewhere = tempfile::tempdir().expect("a directory");
    let file = elsewhere.path().join("file");
    let inner = r#"grep -E '^(NoNewPrivs|Seccomp|CapBnd):' /proc/self/status; umask; cat /proc/self/oom_score_adj
        echo text > "$0" && kill -0 "$1""#;
    let outer = r#"umask 027; exec "$0" exec -- sh -c "$@""#;
    let (tetherd, file) = (binary(), file.to_str().expect("UTF-8"));
    let builder = scene.daemon().program("sh").args(&["-c", outer, tetherd.to_str().expect("UTF-8"), inner, file, "1"]);
    let mut daemon = builder.start().expect("starts");
    assert_eq!(end_of(&mut daemon).0, Some(0), "{}", daemon.output());
    let [privileges, filter, bounding] = flags_of(nix::unistd::getpid().as_raw());
    let score = fs::read_to_string("/proc/self/oom_score_adj").expect("readable");
    assert_eq!(
        daemon.stdout(),
        format!("CapBnd:\t{bounding}\nNoNewPrivs:\t{privileges}\nSeccomp:\t{filter}\n0027\n{score}")
    );
    let daemon = exec(&scene, &["sleep", "1000"]).start().expect("starts");
    let answers = || daemon.readyz().is_ok_and(|(status, _)| status == 200).then_some(());
    wait_until("ready", READY, answers).expect("is ready");
    assert_eq!(said(&daemon), json!({ "tetherd": [], "tailscaled": ALL }));
}

#[test]
fn confine_false_leaves_both_as_they_are() {
    let scene = Scene::new();
    let own = flags_of(nix::unistd::getpid().as_raw());
    for (name, value) in [("TETHERD_CONFINE", "false"), ("TETHERD_TAILSCALED_ARGS", "--verbose=1")] {
        let daemon = start_ready(scene.daemon().env(name, value));
        for pid in [daemon.tailscaled_pid().expect("runs"), daemon.pid()] {
            assert_eq!(flags_of(pid), own, "{name}");
        }
        assert_eq!(said(&daemon), json!({ "tetherd": [], "tailscaled": [] }), "{name}");
    }
}
