//! Tests UDP ASSOCIATE: boundaries of datagrams, who is served, and the policy.
//!
//! Datagrams keep their boundaries, only the associating client is served, and no datagram goes where no connection
//! may.

use std::io::Write;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::daemon::SOCKS;
use testbed::server::pattern;
use testbed::socks;
use testbed::wait::wait_until;

use crate::associations::{ARRIVES, Association, Echo, SILENCE};
use crate::scene::{READY, Scene, reply_code, start_ready};

#[test]
fn udp_two_hundred_datagrams_of_1_to_1400_bytes_come_back_whole() {
    let scene = Scene::new();
    let _echo = Echo::on(&["127.0.0.1:53"]);
    let _daemon = scene.ready();
    let association = Association::open();
    for number in 0..200 {
        let payload = pattern(1 + number * 1399 / 199);
        association.send(if number % 2 == 0 { "web" } else { "web.tail.test" }, 53, &payload);
        assert!(association.receive(ARRIVES).expect("comes back") == payload, "datagram {number}");
    }
    let (v4, _) = scene.web.addresses();
    association.send(&v4.to_string(), 53, b"by address");
    assert_eq!(association.receive(ARRIVES).as_deref(), Some(&b"by address"[..]));
    association.send("127.0.0.1", 53, b"outside");
    assert_eq!(association.receive(ARRIVES).as_deref(), Some(&b"outside"[..]));
}

#[test]
fn udp_no_datagram_goes_where_no_connection_may() {
    let scene = Scene::new();
    let _echo = Echo::on(&["127.0.0.1:53"]);
    let daemon = start_ready(scene.daemon().env("TETHERD_DENY", "127.0.0.0/8,::1"));
    let association = Association::open();
    for host in ["127.0.0.1", "localhost", "169.254.169.254", "100.127.1.2"] {
        association.send(host, 53, b"no");
        assert_eq!(association.receive(SILENCE), None, "{host}");
    }
    association.send("web", 53, b"yes");
    assert_eq!(association.receive(ARRIVES).as_deref(), Some(&b"yes"[..]));
    let said = daemon.stderr();
    let refused = |line: &str| line.contains("datagram not sent on") && line.contains("target=169.254.169.254:53");
    assert!(said.lines().any(|line| refused(line) && line.contains("not allowed")), "{said}");
}

#[test]
fn udp_fragments_and_datagrams_of_others_are_dropped() {
    let scene = Scene::new();
    let _echo = Echo::on(&["127.0.0.1:53"]);
    let _daemon = scene.ready();
    let association = Association::open();
    association.send_as(1, "web", 53, b"a fragment");
    assert_eq!(association.receive(SILENCE), None);
    association.send("web", 53, b"mine");
    assert_eq!(association.receive(ARRIVES).as_deref(), Some(&b"mine"[..]));
    let other = association.intruder();
    other.send("web", 53, b"not mine");
    assert_eq!(other.receive(SILENCE), None);
    assert_eq!(association.receive(SILENCE), None);
}

#[test]
fn udp_an_association_survives_a_restart_of_tailscaled() {
    let scene = Scene::new();
    let _echo = Echo::on(&["127.0.0.1:53"]);
    let daemon = scene.ready();
    let association = Association::open();
    association.send("web", 53, b"before");
    assert_eq!(association.receive(ARRIVES).as_deref(), Some(&b"before"[..]));
    kill(Pid::from_raw(daemon.tailscaled_pid().expect("tailscaled runs")), Signal::SIGKILL).expect("killed");
    wait_until("datagrams come back again", READY, || {
        association.send("web", 53, b"after");
        association.receive(SILENCE).filter(|payload| payload == b"after")
    })
    .expect("survives");
}

#[test]
fn udp_is_refused_where_it_is_off() {
    let scene = Scene::new();
    let _daemon = start_ready(scene.daemon().env("TETHERD_UDP", "false"));
    let mut control = socks::open(SOCKS).expect("connects");
    socks::authenticate(&mut control, None).expect("greets");
    control.write_all(&socks::request(3, "0.0.0.0", 0)).expect("asks");
    assert_eq!(socks::read_reply(&mut control).expect_err("is refused").reply(), Some(7));
    assert_eq!(reply_code("web", 9), 5, "TCP is served all the same");
}
