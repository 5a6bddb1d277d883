//! Tests promise 4: a reset (RST) stays a reset, both ways.
//!
//! A target in userspace mode is told by its own tailscaled, which makes an end of it; one with a network interface
//! sees what the proxy sends.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::node::{Node, NodeOptions};
use testbed::wait::wait_until;
use testbed::{Ends, Server};

use crate::doors::{Door, Doors, Way, each_holds};
use crate::promise_4_ends::{PORT, SOON, answering_pings};
use crate::scene::{Scene, start_ready};
use crate::without_the_password::open_connections;

/// A node with a network interface; see [`WEB`].
const KERNEL: &str = "kernel";
/// A node in userspace mode.
const WEB: &str = "web";
const DIRECT: &str = "127.0.0.1";
/// What a target says before it resets; it fits into one packet.
const LAST_WORDS: &[u8] = &[b'x'; 1000];

/// More than all buffers on the way hold.
const UNTAKEN: usize = 64 << 20;
/// A write that has found no room for so long finds none any more.
const NO_ROOM: Duration = Duration::from_millis(500);
/// tailscaled looks once a second.
const NOTICED: Duration = Duration::from_secs(4);

/// A tailnet with one more node, which has a network interface.
fn with_interface() -> (Scene, Node) {
    let scene = Scene::new();
    let options = NodeOptions { interface: Some("tailscale0".to_owned()), ..NodeOptions::default() };
    let node = Node::join_with(&scene.tailnet, KERNEL, options).expect("a node with an interface");
    (scene, node)
}

#[test]
fn promise_4_a_reset_by_the_client_is_one_for_the_target() {
    let (scene, _node) = with_interface();
    let target = answering_pings();
    let doors = Doors::to(&[DIRECT, KERNEL, WEB], PORT);
    let _daemon = start_ready(doors.settings(scene.daemon()));
    let can = |way: &Way| way.door.is_tcp() || way.door == Door::Tls;
    let ways: Vec<_> = doors.ways().into_iter().filter(can).collect();
    each_holds(&ways, |way| reset_by_the_client(&doors, &target, way));
}

fn reset_by_the_client(doors: &Doors, target: &Ends, way: Way) -> Result<()> {
    let before = target.seen().len();
    let mut client = doors.enter(way)?;
    client.write_all(b"PING")?;
    client.read_exact(&mut [0; 4])?;
    client.reset()?;
    let end = &target.wait(before, 1, SOON)?[0];
    ensure!(end.reset || way.host == WEB || way.door == Door::Tls, "the target sees an end without an error");
    Ok(())
}

#[test]
fn promise_4_a_reset_by_the_target_reaches_the_client_after_what_came_before() {
    let (scene, _node) = with_interface();
    let _target = Server::resetting(PORT, LAST_WORDS).expect("server");
    let doors = Doors::to(&[DIRECT, KERNEL, WEB], PORT);
    let _daemon = start_ready(doors.settings(scene.daemon()));
    each_holds(&doors.ways(), |way| reset_by_the_target(&doors, way));
}

fn reset_by_the_target(doors: &Doors, way: Way) -> Result<()> {
    let mut client = doors.enter(way)?;
    client.write_all(b"question")?;
    let mut heard = Vec::new();
    let end = client.read_to_end(&mut heard).map_err(|error| error.kind());
    ensure!(heard == LAST_WORDS, "{} bytes of {} came", heard.len(), LAST_WORDS.len());
    if way.host == WEB || !way.door.is_tcp() {
        ensure!(matches!(end, Ok(_) | Err(ErrorKind::ConnectionReset)), "the client hears nothing of it: {end:?}");
    } else {
        ensure!(end == Err(ErrorKind::ConnectionReset), "the client sees {end:?}");
    }
    Ok(())
}

#[test]
fn promise_4_a_reset_behind_an_upload_that_the_target_does_not_take_ends_the_connection() {
    let scene = Scene::new();
    let _target = Server::silent(PORT).expect("server");
    let doors = Doors::to(&[DIRECT, WEB], PORT);
    let daemon = start_ready(doors.settings(scene.daemon()));
    let can = |way: &Way| way.door.is_tcp() || way.door == Door::Tls;
    let ways: Vec<_> = doors.ways().into_iter().filter(can).collect();
    each_holds(&ways, |way| {
        let mut client = doors.enter(way)?;
        client.socket.set_write_timeout(Some(NO_ROOM))?;
        client.write_all(&vec![0; UNTAKEN]).expect_err("the target takes it all");
        client.reset()?;
        wait_until("it has ended", NOTICED, || (open_connections(&daemon) == 0).then_some(()))
    });
}
