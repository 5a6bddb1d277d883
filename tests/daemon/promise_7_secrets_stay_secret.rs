//! Tests promise 7: no secret is ever shown.
//!
//! A secret is in no log, no error, no page, no argument list, no environment of a child.

use std::fs;

use testbed::admin::KeyOptions;
use testbed::daemon::{Daemon, SOCKS};
use testbed::server::Server;
use testbed::wait::wait_until;
use testbed::{http, socks};

use crate::scene::{END, Scene, command, inherited, start_ready};

const PASSWORD: &str = "correct-horse-battery";
/// The password of a user of the file, and its hash.
const OF_ALICE: &str = "secret-of-alice";
const HASH_OF_ALICE: &str = "$2y$05$9Ax3TBdYrVsrxPCOkegWFuy0LNb33RcwQWvEciAbO6l2xvlpiwlki";

/// Everything that others can see of the running daemon and of its tailscaled.
fn visible(daemon: &Daemon) -> String {
    let tailscaled = daemon.tailscaled_pid().expect("tailscaled runs");
    let file = |path: String| fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let mut seen = vec![daemon.output()];
    for path in ["/", "/status", "/readyz", "/livez", "/startupz", "/nowhere"] {
        seen.push(daemon.http_get(path).expect("answers").text());
    }
    seen.push(file(format!("/proc/{}/cmdline", daemon.pid())).expect("arguments"));
    seen.push(file(format!("/proc/{tailscaled}/cmdline")).expect("arguments"));
    seen.push(inherited(daemon));
    seen.join("\n")
}

#[test]
fn promise_7_no_output_at_any_level_holds_a_secret() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let key = scene.tailnet.auth_key(KeyOptions { reusable: true, ephemeral: true }).expect("key");
    let users = tempfile::NamedTempFile::new().expect("a file");
    fs::write(users.path(), format!("[alice]\npassword = \"{HASH_OF_ALICE}\"\n")).expect("written");
    for (variable, value) in [("TETHERD_AUTH_KEY", key.clone()), ("TS_AUTHKEY", key.clone())] {
        let builder = scene.daemon().env_remove("TETHERD_AUTH_KEY").env(variable, &value);
        let builder = builder.env("TETHERD_LOG_LEVEL", "trace").env("TETHERD_TAILSCALED_ARGS", "--verbose=2");
        let builder = builder.env("TETHERD_SOCKS_USER", "app").env("TETHERD_SOCKS_PASSWORD", PASSWORD);
        let builder = builder.env("TETHERD_USERS", users.path().to_str().expect("UTF-8"));
        let builder = builder.env("TETHERD_ACCESS_LOG", "all");
        let mut daemon = start_ready(builder.env("A_COPY_OF_THE_KEY", &value));
        let stream = socks::connect(SOCKS, "web", 80, Some(("app", PASSWORD))).expect("connects");
        http::get(stream, "web", "/").expect("answers");
        let of_alice = socks::connect(SOCKS, "web", 80, Some(("alice", OF_ALICE))).expect("connects");
        http::get(of_alice, "web", "/").expect("answers");
        for user in ["app", "alice", "nobody"] {
            socks::connect(SOCKS, "web", 80, Some((user, "wrong-password"))).expect_err("is not let in");
        }
        let mut seen = visible(&daemon);
        daemon.terminate().expect("SIGTERM");
        daemon.wait_exit(END).expect("ends");
        seen.push_str(&daemon.output());
        assert!(seen.contains("DEBUG tailscaled"), "tailscaled's own lines are shown: {seen}");
        assert!(!seen.contains(&key), "the auth key is in:\n{seen}");
        for secret in [PASSWORD, OF_ALICE, "wrong-password", &HASH_OF_ALICE[7..29], &HASH_OF_ALICE[29..]] {
            assert!(!seen.contains(secret), "{secret} is in:\n{seen}");
            let bytes = format!("{:?}", secret.as_bytes());
            assert!(!seen.contains(bytes.trim_matches(['[', ']'])), "{secret} is there as bytes:\n{seen}");
        }
    }
}

/// tailscaled writes the address of its proxy whole.
#[test]
fn promise_7_the_password_of_a_proxy_is_in_no_output() {
    let scene = Scene::new();
    let builder =
        scene.daemon().env("TETHERD_LOG_LEVEL", "trace").env("TETHERD_CONTROL_URL", "https://control.example");
    let daemon = builder.env("HTTPS_PROXY", &format!("http://corp:{PASSWORD}@127.0.0.1:9")).start().expect("starts");
    let masked = || daemon.output().contains("http://***@127.0.0.1:9").then_some(());
    wait_until("tailscaled names its proxy", END, masked)
        .unwrap_or_else(|error| panic!("{error}: {}", daemon.output()));
    assert!(!daemon.output().contains(PASSWORD), "{}", daemon.output());
    assert!(inherited(&daemon).contains(PASSWORD), "tailscaled needs it");
}

#[test]
fn promise_7_a_refused_key_and_faulty_settings_are_reported_without_it() {
    let scene = Scene::new();
    let key = "hskey-auth-0123456789ab-0123456789abcdef0123456789abcdef";
    let builder = scene.daemon().env("TETHERD_AUTH_KEY", key).env("TETHERD_LOG_LEVEL", "trace");
    let mut daemon = builder.start().expect("starts");
    daemon.wait_exit(END).expect("ends");
    assert!(!daemon.output().contains(key), "{}", daemon.output());

    let file = tempfile::NamedTempFile::new().expect("file");
    fs::write(file.path(), format!("auth_key = [\"{key}\n")).expect("written");
    let output = command(&["check", "--config", file.path().to_str().expect("UTF-8"), "--socks-password", PASSWORD])
        .env("TETHERD_AUTH_KEY", key)
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(78));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("auth_key") && text.contains("***"), "{text}");
    assert!(!text.contains(key) && !text.contains("0123456789abcdef") && !text.contains(PASSWORD), "{text}");
}

#[test]
fn promise_7_neither_process_can_dump_core() {
    let scene = Scene::new();
    let daemon = scene.ready();
    for pid in [daemon.pid(), daemon.tailscaled_pid().expect("tailscaled runs")] {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
        assert_eq!(core.split_whitespace().nth(4), Some("1"), "{core}");
    }
}
