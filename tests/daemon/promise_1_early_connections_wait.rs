//! Tests promise 1: early connections wait and are not refused.
//!
//! Listeners open in the first milliseconds; early is a connection that comes before the tailnet is ready, or while
//! tailscaled restarts.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::daemon::SOCKS;
use testbed::server::Server;
use testbed::wait::wait_until;
use testbed::{http, socks};

use crate::scene::{READY, Scene, connect, start_ready};

#[test]
fn promise_1_a_connection_that_comes_before_the_tailnet_waits_and_works() {
    let mut scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let builder = scene.daemon().env("TETHERD_CONNECT_TIMEOUT", "30s");
    scene.tailnet.stop_control();
    let daemon = builder.start().expect("the daemon starts");
    let stream = wait_until("the listener is open", READY, || socks::open(SOCKS).ok()).expect("opens");
    let client = thread::spawn(move || {
        let mut stream = stream;
        socks::handshake(&mut stream, "web", 80, None).expect("is not refused");
        http::get(stream, "web", "/").expect("answers")
    });
    let (status, body) = wait_until("health answers", READY, || daemon.readyz().ok()).expect("answers");
    assert_eq!(status, 503, "{body}");
    scene.tailnet.start_control().expect("the control server is back");
    assert_eq!(client.join().expect("client").head.status, 200);
}

#[test]
fn promise_1_waiting_ends_with_connect_timeout_and_reply_6() {
    let mut scene = Scene::new();
    let builder = scene.daemon().env("TETHERD_CONNECT_TIMEOUT", "1s");
    scene.tailnet.stop_control();
    let daemon = builder.start().expect("the daemon starts");
    wait_until("the listener is open", READY, || socks::open(SOCKS).ok()).expect("opens");
    let started = Instant::now();
    let error = connect("web", 80).expect_err("there is no tailnet");
    assert_eq!(error.reply(), Some(6), "{error}");
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(1) && waited < Duration::from_secs(5), "{waited:?}");
    let told = || daemon.stderr().contains("the tailnet is not ready").then_some(());
    wait_until("the log tells why", READY, told).expect("is told");
}

#[test]
fn promise_1_a_connection_made_while_tailscaled_restarts_waits_and_works() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let daemon = start_ready(scene.daemon());
    let first = daemon.tailscaled_pid().expect("tailscaled runs");
    kill(Pid::from_raw(first), Signal::SIGKILL).expect("killed");
    let stream = connect("web", 80).unwrap_or_else(|error| panic!("{error}: {}", daemon.output()));
    assert_eq!(http::get(stream, "web", "/").expect("answers").head.status, 200);
    assert_ne!(daemon.tailscaled_pid().expect("tailscaled runs again"), first);
}
