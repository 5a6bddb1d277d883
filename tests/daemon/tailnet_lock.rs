//! Tests a tailnet with Tailnet Lock: unsigned nodes, and wrapped auth keys.
//!
//! Headscale has none of it: the control server is that of tailscale's own tests. The nodes are real.

use std::fs;

use testbed::daemon::{Builder, Daemon};
use testbed::locked::{AUTH_KEY, Lock, LockedTailnet};
use testbed::server::Server;
use testbed::{Node, netns, wait_until};

use crate::scene::{END, READY, binary, connect, start_ready};

/// A locked tailnet with the node `web`, which signs, in a new namespace.
fn locked() -> (LockedTailnet, Node, Lock) {
    netns::enter_new().expect("a network namespace");
    let tailnet = LockedTailnet::start().expect("a control server");
    let web = tailnet.join("web").expect("a node");
    let lock = Lock::enable(&tailnet, &web);
    let lock = lock.unwrap_or_else(|error| panic!("{error}\n{}\n{}", tailnet.log(), web.log()));
    (tailnet, web, lock)
}

/// The daemon, told to join as `app`.
fn daemon(tailnet: &LockedTailnet, key: &str) -> Builder {
    let builder = Daemon::builder(binary()).env("TETHERD_CONTROL_URL", &tailnet.control_url());
    builder.env("TETHERD_AUTH_KEY", key).env("TETHERD_HOSTNAME", "app").env("TETHERD_LOGOUT", "never")
}

/// The words of the command in quotes in the reason why a locked-out daemon is not ready.
fn command_that_signs(daemon: &Daemon) -> Vec<String> {
    let reason = || {
        let (status, body) = daemon.readyz().ok()?;
        let reason = body["reason"].as_str()?.to_owned();
        (status == 503 && body["state"] == "NeedsLogin" && reason.contains("Tailnet Lock")).then_some(reason)
    };
    let reason = wait_until("the reason is the lock", READY, reason);
    let reason = reason.unwrap_or_else(|error| panic!("{error}: {:?}\n{}", daemon.readyz(), daemon.output()));
    let command = reason.split('"').nth(1).expect("a command in quotes");
    command.strip_prefix("tailscale ").expect(command).split(' ').map(str::to_owned).collect()
}

fn sign(web: &Node, command: &[String]) {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    web.tailscale(&words).expect("is signed");
}

#[test]
fn a_locked_out_node_is_not_ready_says_how_it_is_signed_and_gets_ready_then() {
    let (tailnet, web, _) = locked();
    let _server = Server::echo(9100).expect("server");
    let state = tempfile::tempdir().expect("directory");
    let builder = daemon(&tailnet, AUTH_KEY).env("TETHERD_STATE_DIR", state.path().to_str().expect("UTF-8"));
    let mut daemon = builder.start().expect("starts");
    let command = command_that_signs(&daemon);
    assert!(command[..2] == ["lock", "sign"] && command[2].starts_with("nodekey:"), "{command:?}");
    assert!(command[3].starts_with("tlpub:"), "{command:?}");
    // It was never ready before, either.
    assert_eq!(daemon.http_get("/startupz").expect("answers").head.status, 503);
    assert!(!daemon.output().contains("phase=Ready"), "{}", daemon.output());
    sign(&web, &command);
    daemon.wait_ready(READY).expect("gets ready");
    connect("web", 9100).expect("is connected");
}

#[test]
fn a_node_that_is_started_again_before_it_is_signed_says_so_again() {
    let (tailnet, web, _) = locked();
    let state = tempfile::tempdir().expect("directory");
    let path = state.path().to_str().expect("UTF-8");
    let first = daemon(&tailnet, AUTH_KEY).env("TETHERD_STATE_DIR", path).start().expect("starts");
    let command = command_that_signs(&first);
    drop(first);
    let mut second = daemon(&tailnet, AUTH_KEY).env("TETHERD_STATE_DIR", path).start().expect("starts");
    assert_eq!(command_that_signs(&second), command, "the same node");
    sign(&web, &command);
    second.wait_ready(READY).expect("gets ready");
}

#[test]
fn a_tailnet_that_is_locked_later_keeps_the_node_ready_and_start_timeout_names_the_lock() {
    netns::enter_new().expect("a network namespace");
    let tailnet = LockedTailnet::start().expect("a control server");
    let web = tailnet.join("web").expect("a node");
    let signed = start_ready(daemon(&tailnet, AUTH_KEY));
    Lock::enable(&tailnet, &web).expect("is locked");
    let late = daemon(&tailnet, AUTH_KEY).env("TETHERD_SOCKS_LISTEN", "127.0.0.1:0");
    let late = late.env("TETHERD_HEALTH_LISTEN", "127.0.0.1:0").env("TETHERD_START_TIMEOUT", "5s");
    let mut late = late.start().expect("starts");
    assert_eq!(late.wait_exit(END).expect("ends").code(), Some(69));
    let last = late.stderr().lines().last().unwrap_or_default().to_owned();
    assert!(last.contains("not ready within start_timeout") && last.contains("lock sign nodekey:"), "{last}");
    assert_eq!(signed.readyz().expect("answers").0, 200);
}

#[test]
fn a_wrapped_key_joins_as_a_signed_node_and_is_told_nowhere() {
    let (tailnet, web, lock) = locked();
    let wrapped = lock.wrap(&web, AUTH_KEY).expect("is wrapped");
    let _server = Server::echo(9100).expect("server");
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("key");
    fs::write(&file, format!("{wrapped}\r\n")).expect("written");
    for key in [wrapped.clone(), format!("file:{}", file.display())] {
        let daemon = start_ready(daemon(&tailnet, &key).env("TETHERD_LOG_LEVEL", "trace"));
        connect("web", 9100).expect("is connected");
        let (_, secret) = wrapped.split_once("--TL").expect("two parts");
        for part in secret.split('-').chain([wrapped.as_str(), AUTH_KEY]) {
            assert!(!daemon.output().contains(part), "{part} in {}", daemon.output());
        }
    }
    // The control server has got what comes before it, twice, and nothing of it.
    assert!(tailnet.log().contains(AUTH_KEY) && !tailnet.log().contains("--TL"), "{}", tailnet.log());
}
