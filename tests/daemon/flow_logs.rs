//! Tests a tailnet with network flow logs, which takes no node without them.

use std::thread;
use std::time::Duration;

use testbed::daemon::{Builder, Daemon};
use testbed::locked::{AUTH_KEY, LockedTailnet};
use testbed::{netns, wait_until};

use crate::scene::{END, READY, binary, start_ready};

fn daemon(tailnet: &LockedTailnet) -> Builder {
    let builder = Daemon::builder(binary()).env("TETHERD_CONTROL_URL", &tailnet.control_url());
    builder.env("TETHERD_AUTH_KEY", AUTH_KEY).env("TETHERD_HOSTNAME", "app").env("TETHERD_LOGOUT", "never")
}

/// How often the log says that `phase` has begun.
fn times(daemon: &Daemon, phase: &str) -> usize {
    daemon.output().matches(&format!("phase={phase}")).count()
}

#[test]
fn a_tailnet_that_wants_flow_logs_ends_a_start_without_them_with_78() {
    netns::enter_new().expect("a network namespace");
    let tailnet = LockedTailnet::start_with_flow_logs().expect("a control server");
    let mut daemon = daemon(&tailnet).start().expect("starts");
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(78), "{}", daemon.output());
    let last = daemon.stderr().lines().last().unwrap_or_default().to_owned();
    assert!(last.contains("network flow logs") && last.contains("log_upload = true"), "{last}");
    assert_eq!(times(&daemon, "Ready"), 0, "{}", daemon.output());
}

#[test]
fn with_log_upload_the_node_joins_and_makes_flow_logs() {
    netns::enter_new().expect("a network namespace");
    let tailnet = LockedTailnet::start_with_flow_logs().expect("a control server");
    let daemon = daemon(&tailnet).env("TETHERD_LOG_UPLOAD", "true").env("TETHERD_LOG_LEVEL", "debug");
    let daemon = start_ready(daemon);
    let begun = || daemon.output().contains("starting up network logger").then_some(());
    wait_until("flow logs are made", READY, begun).unwrap_or_else(|error| panic!("{error}: {}", daemon.output()));
}

#[test]
fn flow_logs_that_are_switched_on_later_make_the_daemon_unready_until_they_are_off_again() {
    netns::enter_new().expect("a network namespace");
    let tailnet = LockedTailnet::start().expect("a control server");
    let mut daemon = start_ready(daemon(&tailnet));
    tailnet.set_flow_logs(true).expect("is set");
    let told = || {
        let (status, body) = daemon.readyz().ok()?;
        (status == 503 && body["reason"].as_str()?.contains("network flow logs")).then_some(())
    };
    wait_until("the reason is named", READY, told).unwrap_or_else(|error| panic!("{error}: {}", daemon.output()));
    // Two tries to go on come within it.
    thread::sleep(Duration::from_secs(30));
    assert_eq!(times(&daemon, "Ready"), 1, "{}", daemon.output());
    assert!(told().is_some(), "{:?}", daemon.readyz());
    tailnet.set_flow_logs(false).expect("is set");
    daemon.wait_ready(Duration::from_secs(90)).expect("gets ready");
}
