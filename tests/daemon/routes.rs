//! Tests targets outside the tailnet, before and after a route to them exists.
//!
//! It is about where connections to them go until a route comes.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::daemon::{Daemon, SOCKS};
use testbed::socks;
use testbed::wait::wait_until;

use crate::metrics::metrics;
use crate::scene::{OUTSIDE, READY, Scene, connect, outside, start_ready};

/// Longer than a connection takes on a busy machine, shorter than tailscaled's word counts.
const SOON: Duration = Duration::from_millis(700);

/// Connections so far through the tailnet, or past it.
fn dialled(daemon: &Daemon, path: &str) -> f64 {
    let name = format!("tetherd_dial_duration_seconds_count{{path=\"{path}\"}}");
    metrics(daemon).get(&name).copied().unwrap_or_default()
}

#[test]
fn a_route_that_comes_is_taken_by_targets_that_lay_outside_before() {
    let scene = Scene::new();
    let port = outside();
    let daemon = start_ready(scene.daemon().env("TETHERD_ACCEPT_ROUTES", "true"));
    let routes = r#"{"AdvertiseRoutesSet": true, "AdvertiseRoutes": ["203.0.113.0/24"]}"#;
    scene.web.local_api("PATCH", "/localapi/v0/prefs", routes).expect("answers");
    connect(OUTSIDE, port).expect("goes past the tailnet");
    assert_eq!((dialled(&daemon, "direct"), dialled(&daemon, "tailnet")), (1.0, 0.0));

    scene.tailnet.approve_routes("web", "203.0.113.0/24").expect("approved");
    let taken = || {
        connect(OUTSIDE, port).ok()?;
        (dialled(&daemon, "tailnet") > 0.0).then_some(())
    };
    wait_until("the route is taken", READY, taken).expect("is taken");
    let before = dialled(&daemon, "direct");
    for _ in 0..5 {
        connect(OUTSIDE, port).expect("goes through the tailnet");
    }
    assert_eq!(dialled(&daemon, "direct"), before);
}

/// Whether there is a connection before tailscaled, which stands still, could answer.
fn served_at_once(port: u16) -> bool {
    let mut client = socks::open(SOCKS).expect("connected");
    client.set_read_timeout(Some(SOON)).expect("set");
    socks::handshake(&mut client, OUTSIDE, port, None).is_ok()
}

#[test]
fn for_a_moment_a_target_outside_needs_no_word_of_tailscaled() {
    let scene = Scene::new();
    let port = outside();
    let daemon = start_ready(scene.daemon());
    connect(OUTSIDE, port).expect("tailscaled says that it lies outside");
    let tailscaled = Pid::from_raw(daemon.tailscaled_pid().expect("runs"));
    kill(tailscaled, Signal::SIGSTOP).expect("stands still");
    let known = served_at_once(port);
    let unknown = wait_until("tailscaled is asked again", READY, || (!served_at_once(port)).then_some(()));
    kill(tailscaled, Signal::SIGCONT).expect("goes on");
    assert!(known, "it was not known a moment after tailscaled had said it");
    unknown.expect("its word counts for a moment only");
}
