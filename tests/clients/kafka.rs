//! Tests kcat through forwards, against a broker on the second node.
//!
//! A broker tells its clients where to go on: to the forward, or to its own name, which hosts(5) leads to the forward.

use std::process::Command;

use crate::documented;
use crate::scene::{Scene, assert_printed, client, report};

/// The broker, which gives itself out for `advertised`.
fn broker(advertised: &str) -> Command {
    let mut server = Command::new(client("bin/kafka"));
    server.arg(advertised);
    server
}

fn scene(advertised: &str, setting: &str) -> Scene {
    let mut scene = Scene::node("kafka");
    scene.serve(broker(advertised), 9092);
    let (name, value) = documented::setting(setting);
    scene.set(&name, &value).ready()
}

#[test]
fn kcat_through_a_forward_that_the_broker_names() {
    let scene = scene("127.0.0.1:19092", "kcat-setting");
    assert_printed("kcat", &scene.run("kcat"), &[report()]);
}

#[test]
fn kcat_through_a_forward_at_the_brokers_own_name() {
    let scene = scene("kafka:9092", "kcat-hosts-setting");
    std::fs::write(scene.path("hosts"), documented::block("kcat-hosts").1).expect("written");
    let (_, program) = documented::block("kcat-by-name");
    let inside = format!(
        "export PROGRAM='{}'\nunshare --mount sh -euc 'mount --bind hosts /etc/hosts; eval \"$PROGRAM\"'",
        program.trim()
    );
    assert_printed("kcat-by-name", &scene.run_text("kcat-by-name", "sh", &inside), &[report()]);
    let complaint = scene.fails(&program, "sh");
    assert!(complaint.contains("brokers are down"), "without the line nobody knows the name: {complaint}");
}
