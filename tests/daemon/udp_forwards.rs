//! Tests `forwards` over UDP: a plain port that leads datagrams to one target.

use std::net::UdpSocket;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::server::pattern;
use testbed::wait::wait_until;

use crate::associations::{ARRIVES, Association, Echo, SILENCE};
use crate::metrics::metrics;
use crate::scene::{READY, Scene, start_ready};

const PORT: &str = "127.0.0.1:5353";
const FORWARD: (&str, &str) = ("TETHERD_FORWARDS", "udp:127.0.0.1:5353=web:53");
/// Flows of one port at the same time.
const MOST: usize = 256;

pub fn source() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(PORT).expect("connects");
    socket
}

/// What comes back for `payload`; `None` where nothing does.
pub fn answer(socket: &UdpSocket, payload: &[u8], within: Duration) -> Option<Vec<u8>> {
    socket.set_read_timeout(Some(within)).expect("set");
    socket.send(payload).expect("sent");
    let mut buffer = [0; 65_535];
    socket.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec())
}

pub fn open(daemon: &testbed::Daemon) -> f64 {
    metrics(daemon).get("tetherd_udp_associations_open").copied().unwrap_or(-1.0)
}

#[test]
fn udp_forward_carries_each_source_by_itself() {
    let scene = Scene::new();
    let _echo = Echo::on(&["127.0.0.1:53"]);
    let daemon = scene.daemon().env(FORWARD.0, FORWARD.1).start().expect("starts");
    let (early, one, other) = (source(), source(), source());
    let first = || answer(&early, b"before it is ready", SILENCE);
    wait_until("the first datagram comes back", READY, first).expect("comes back");
    for number in 0..50 {
        let (a, b) = (pattern(1 + number * 27), pattern(1400 - number));
        assert_eq!(answer(&one, &a, ARRIVES).as_ref(), Some(&a), "{number}");
        assert_eq!(answer(&other, &b, ARRIVES).as_ref(), Some(&b), "{number}");
    }
    kill(Pid::from_raw(daemon.tailscaled_pid().expect("runs")), Signal::SIGKILL).expect("killed");
    let after = || answer(&one, b"after", SILENCE).filter(|payload| payload == b"after");
    wait_until("datagrams come back again", READY, after).expect("come back");
}

#[test]
fn udp_forward_keeps_to_the_policy_and_is_no_target() {
    let scene = Scene::new();
    let _echo = Echo::on(&["127.0.0.1:53"]);
    let _other = Echo::on(&["127.0.0.1:54"]);
    let forwards = "udp:127.0.0.1:5353=web:53,udp:127.0.0.1:5354=169.254.169.254:53,udp:127.0.0.1:5355=web:54";
    let denying = scene.daemon().env("TETHERD_FORWARDS", forwards).env("TETHERD_DENY", "web:53");
    let daemon = start_ready(denying);
    let socket = source();
    assert_eq!(answer(&socket, b"no", SILENCE), None);
    socket.connect("127.0.0.1:5354").expect("connects");
    assert_eq!(answer(&socket, b"no", SILENCE), None);
    let said = daemon.stderr();
    assert!(said.contains("target=web:53") && said.contains("target=169.254.169.254:53"), "{said}");
    socket.connect("127.0.0.1:5355").expect("connects");
    assert_eq!(answer(&socket, b"yes", ARRIVES).as_deref(), Some(&b"yes"[..]));
    for host in ["127.0.0.1", "localhost", "::ffff:127.0.0.1"] {
        let association = Association::open();
        association.send(host, 5355, b"by the proxy");
        assert_eq!(association.receive(SILENCE), None, "{host}");
    }
}

#[test]
fn udp_forward_is_bounded_and_ends_flows_that_are_idle() {
    let scene = Scene::new();
    let _echo = Echo::on(&["127.0.0.1:53"]);
    let daemon = start_ready(scene.daemon().env(FORWARD.0, FORWARD.1).env("TETHERD_IDLE_TIMEOUT", "6s"));
    let sources: Vec<_> = (0..MOST + 44).map(|_| source()).collect();
    for (number, socket) in sources.iter().enumerate() {
        let payload = number.to_le_bytes();
        assert_eq!(answer(socket, &payload, ARRIVES).as_deref(), Some(&payload[..]), "{number}");
    }
    // The flow that was ended last may be counted still.
    let bounded = || (open(&daemon) <= MOST as f64).then_some(());
    wait_until("those beyond the most have ended", Duration::from_secs(2), bounded).expect("have ended");
    assert_eq!(answer(&sources[0], b"anew", ARRIVES).as_deref(), Some(&b"anew"[..]), "one that was ended");
    wait_until("all flows have ended", READY, || (open(&daemon) == 0.0).then_some(())).expect("have ended");
    assert_eq!(answer(&sources[0], b"again", ARRIVES).as_deref(), Some(&b"again"[..]));
}
