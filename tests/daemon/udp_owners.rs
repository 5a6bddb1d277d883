//! An association belongs to whoever opened it, also before its first datagram.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::Command;

use testbed::daemon::SOCKS;

use crate::associations::{ARRIVES, Association, Echo, SILENCE};
use crate::scene::{Scene, start_ready};
use crate::strangers::STRANGER;

/// Finds all ports for datagrams by /proc/net, and sends to each what an association forwards to port 53 of `web`.
const TAKE: &str = r#"
import socket
for family, table, address in ((socket.AF_INET, "udp", "127.0.0.1"), (socket.AF_INET6, "udp6", "::1")):
    socket_ = socket.socket(family, socket.SOCK_DGRAM)
    socket_.bind((address, 0))
    socket_.settimeout(0.3)
    for line in open("/proc/net/" + table).read().splitlines()[1:]:
        port = int(line.split()[1].split(":")[1], 16)
        socket_.sendto(b"\0\0\0\3\3web\0\x35" + b"not mine", (address, port))
    try:
        while True:
            if b"not mine" in (got := socket_.recv(999)) and got[:3] == b"\0\0\0" and got[3] in (1, 4) and got[-8:] == b"not mine":
                print("taken")
    except TimeoutError:
        pass
"#;

/// Whether another user takes an association by its port.
fn is_taken_by_another_user() -> bool {
    let mut python = Command::new("python3");
    let output = python.args(["-c", TAKE]).uid(STRANGER).gid(STRANGER).output().expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    !output.stdout.is_empty()
}

#[test]
fn udp_another_user_cannot_take_an_association_before_its_first_datagram() {
    let scene = Scene::new();
    let _echo = Echo::on(&["127.0.0.1:53"]);
    let _daemon = start_ready(scene.daemon().env("TETHERD_SOCKS_LISTEN", "127.0.0.1:1055,[::1]:1055"));
    for (address, unspecified) in [
        (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::UNSPECIFIED.into()),
        (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::UNSPECIFIED.into()),
    ] {
        let socket = UdpSocket::bind(SocketAddr::new(address, 0)).expect("a port");
        let proxy = SocketAddr::new(address, SOCKS.port());
        let association = Association::announced(proxy, socket, SocketAddr::new(unspecified, 0));
        assert!(!is_taken_by_another_user(), "{address}");
        // The other user has sent to the client's own socket as well.
        while association.receive(SILENCE).is_some() {}
        association.send("web", 53, b"mine");
        assert_eq!(association.receive(ARRIVES).as_deref(), Some(&b"mine"[..]), "{address}: the owner is kept out");
    }
}

#[test]
fn udp_an_association_is_no_target_of_another_one() {
    let scene = Scene::new();
    let _echo = Echo::on(&["127.0.0.1:53"]);
    let _daemon = start_ready(scene.daemon().env("TETHERD_ALLOW", "0.0.0.0/0,::/0,web,app,localhost"));
    let (association, other) = (Association::open(), Association::open());
    let inner = [&[0, 0, 0, 3, 3][..], b"web\0\x35not mine"].concat();
    let own = scene.tailnet.node("app").expect("nodes").expect("is there").addresses[0].to_string();
    for host in ["127.0.0.1", "::ffff:127.0.0.1", "localhost", "app", &own] {
        other.send(host, association.relay().port(), &inner);
        assert_eq!(other.receive(SILENCE), None, "by {host}");
    }
    association.send("web", 53, b"mine");
    assert_eq!(association.receive(ARRIVES).as_deref(), Some(&b"mine"[..]), "the owner is kept out");
    // The other one works.
    other.send("web", 53, b"other");
    assert_eq!(other.receive(ARRIVES).as_deref(), Some(&b"other"[..]));
}
