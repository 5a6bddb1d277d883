//! Tests UDP ASSOCIATE as clients use it: large datagrams, many targets.
//!
//! It covers both address families, and a request that says where the datagrams will come from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::Duration;

use testbed::daemon::{Daemon, SOCKS};
use testbed::server::pattern;
use testbed::wait::wait_until;

use crate::associations::{ARRIVES, Association, Echo, SILENCE};
use crate::scene::{READY, Scene, start_ready};

const LARGE: usize = 60_000;
/// More than an association has open at once (256).
const TARGETS: u16 = 300;
const FIRST_TARGET: u16 = 10_000;

#[test]
fn udp_a_datagram_of_60000_bytes_comes_back_whole() {
    let scene = Scene::new();
    let _echo = Echo::on(&["127.0.0.1:53"]);
    let _daemon = scene.ready();
    let association = Association::open();
    for host in ["127.0.0.1", "web"] {
        association.send(host, 53, &pattern(LARGE));
        let back = association.receive(ARRIVES).unwrap_or_else(|| panic!("nothing comes back from {host}"));
        assert!(back == pattern(LARGE), "{} of {LARGE} bytes come back from {host}", back.len());
    }
}

#[test]
fn udp_three_hundred_targets_of_one_association_all_answer() {
    let scene = Scene::new();
    let addresses: Vec<_> = (0..TARGETS).map(|number| format!("127.0.0.1:{}", FIRST_TARGET + number)).collect();
    let _echo = Echo::on(&addresses.iter().map(String::as_str).collect::<Vec<_>>());
    let _daemon = scene.ready();
    let association = Association::open();
    // Once more the first ones, whose place others have taken.
    for number in (0..TARGETS).chain(0..10) {
        let payload = format!("to {number}");
        association.send("web", FIRST_TARGET + number, payload.as_bytes());
        let back = association.receive(ARRIVES).map(|back| String::from_utf8_lossy(&back).into_owned());
        assert_eq!(back.as_deref(), Some(&*payload));
    }
}

/// Files and resident memory of tailscaled, in KiB, and files of the daemon.
fn held(daemon: &Daemon) -> (usize, u64, usize) {
    let files = |pid: i32| std::fs::read_dir(format!("/proc/{pid}/fd")).expect("runs").count();
    let tailscaled = daemon.tailscaled_pid().expect("runs");
    let status = std::fs::read_to_string(format!("/proc/{tailscaled}/status")).expect("runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let resident = line.trim().trim_end_matches(" kB").parse().expect("a number");
    (files(tailscaled), resident, files(daemon.pid()))
}

#[test]
fn udp_two_thousand_targets_of_one_association_hold_no_more_than_256_and_nothing_stays() {
    let scene = Scene::new();
    let daemon = scene.ready();
    let before = held(&daemon);
    let association = Association::open();
    // Directly, where each target is a file of tailscaled's, and through the tailnet, where it is memory.
    for host in ["127.0.0.1", "web"] {
        for number in 0..2_000 {
            association.send(host, 20_000 + number, b"x");
            if number % 100 == 0 {
                sleep(Duration::from_millis(20));
            }
        }
    }
    let during = held(&daemon);
    assert!(during.0 <= before.0 + 300 && during.2 <= before.2 + 10, "{before:?} {during:?}");
    assert!(during.1 <= before.1 + (32 << 10), "{before:?} {during:?}");
    drop(association);
    let gone = || (held(&daemon).0 <= before.0 + 10).then_some(());
    wait_until("the files are closed", READY, gone).unwrap_or_else(|error| panic!("{error}: {:?}", held(&daemon)));
}

#[test]
fn udp_the_reply_names_an_address_of_the_clients_family() {
    let scene = Scene::new();
    let _echo = Echo::on(&["127.0.0.1:53"]);
    let builder = scene.daemon().env("TETHERD_ALLOW_OPEN_PROXY", "true");
    let both = start_ready(builder.env("TETHERD_SOCKS_LISTEN", "[::]:1055"));
    assert_own_family();
    drop(both);
    let _each = start_ready(scene.daemon().env("TETHERD_SOCKS_LISTEN", "127.0.0.1:1055,[::1]:1055"));
    assert_own_family();
}

fn assert_own_family() {
    let own: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::UNSPECIFIED.into()),
        (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::UNSPECIFIED.into()),
    ];
    for (address, unspecified) in own {
        let socket = UdpSocket::bind((address, 0)).expect("a port");
        let association = Association::announced((address, SOCKS.port()).into(), socket, (unspecified, 0).into());
        assert_eq!(association.relay().ip(), address);
        association.send("web", 53, b"from either family");
        assert_eq!(association.receive(ARRIVES).as_deref(), Some(&b"from either family"[..]), "{address}");
    }
}

#[test]
fn udp_a_client_that_names_its_socket_is_served_from_there_alone() {
    let scene = Scene::new();
    let _echo = Echo::on(&["127.0.0.1:53"]);
    let _daemon = scene.ready();
    for address in [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED] {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let source = SocketAddr::from((address, socket.local_addr().expect("an address").port()));
        let association = Association::announced(SOCKS, socket, source);
        let intruder = association.intruder();
        // Before the client: the first one to come would be served otherwise.
        intruder.send("web", 53, b"not mine");
        assert_eq!(intruder.receive(SILENCE), None, "{source} was named");
        assert_eq!(association.receive(SILENCE), None, "{source} gets an answer to another's datagram");
        association.send("web", 53, b"mine");
        assert_eq!(association.receive(ARRIVES).as_deref(), Some(&b"mine"[..]));
    }
}

#[test]
fn udp_a_client_that_names_no_socket_is_known_by_its_first_datagram() {
    let scene = Scene::new();
    let _echo = Echo::on(&["127.0.0.1:53"]);
    let _daemon = scene.ready();
    let association = Association::open();
    association.send("web", 53, b"first");
    assert_eq!(association.receive(ARRIVES).as_deref(), Some(&b"first"[..]));
    let late = association.intruder();
    late.send("web", 53, b"second");
    assert_eq!(late.receive(SILENCE), None);
    association.send("web", 53, b"third");
    assert_eq!(association.receive(ARRIVES).as_deref(), Some(&b"third"[..]));
}
