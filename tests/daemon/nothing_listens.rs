//! Tests that nothing listens but what the settings name and WireGuard's UDP port.
//!
//! A port on loopback would be reached by everyone in the pod, past password and policy.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;

use testbed::server::Server;
use testbed::wait::wait_until;
use testbed::{Daemon, descendants, socks};

use crate::associations::{ARRIVES, Association, Echo};
use crate::scene::{READY, Scene, connect, start_ready};

const WIREGUARD: [&str; 2] = ["udp 0.0.0.0:41641 tailscaled", "udp [::]:41641 tailscaled"];

/// One line for each listening socket of the daemon and what it has started: protocol, address, program.
fn listening(daemon: &Daemon) -> BTreeSet<String> {
    let below = descendants::below(daemon.pid()).into_iter().map(|entry| entry.pid);
    let mine: Vec<_> = below.chain([daemon.pid()]).map(|pid| format!("pid={pid},")).collect();
    let output = Command::new("ss").arg("-Hltnup").output().expect("ss");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let of_mine = text.lines().filter(|line| mine.iter().any(|pid| line.contains(pid)));
    of_mine.map(shortened).collect()
}

/// Protocol, state, two queues, local address, peer, `users:(("program",pid=1,fd=2))`.
fn shortened(line: &str) -> String {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    let program = line.split('"').nth(1).unwrap_or_default();
    // A socket of IPv6 that serves IPv4 as well has a star for its address.
    format!("{} {} {program}", fields[0], fields[4].replace('*', "[::]"))
}

fn assert_listening(daemon: &Daemon, expected: &[&str]) {
    let expected: BTreeSet<_> = expected.iter().map(|&line| line.to_owned()).collect();
    // Tailscaled opens sockets for a moment, to look at its network.
    let same =
        wait_until("only what the settings name listens", READY / 3, || (listening(daemon) == expected).then_some(()));
    same.unwrap_or_else(|error| panic!("{error}: {:#?}\ninstead of {expected:#?}", listening(daemon)));
}

#[test]
fn nothing_listens_but_what_the_settings_name_and_wireguard() {
    let scene = Scene::new();
    let (_echo, _server) = (Echo::on(&["127.0.0.1:53"]), Server::echo(7).expect("server"));
    let builder = scene.daemon().env("TETHERD_FORWARDS", "127.0.0.1:8080=web:80");
    let daemon = start_ready(builder.env("TETHERD_TAILSCALED_ARGS", "--port=41641"));
    let ours = ["tcp 127.0.0.1:1055 tetherd", "tcp 127.0.0.1:8080 tetherd", "tcp 127.0.0.1:9002 tetherd"];
    let named = [&ours[..], &WIREGUARD].concat();
    assert_listening(&daemon, &named);

    let _streams = ["web", "127.0.0.1"].map(|host| connect(host, 7).expect("connects"));
    let association = Association::open();
    for host in ["web", "127.0.0.1"] {
        association.send(host, 53, b"there and back");
        assert_eq!(association.receive(ARRIVES).as_deref(), Some(&b"there and back"[..]));
    }
    let facing = format!("udp {} tetherd", association.relay());
    assert_listening(&daemon, &[&named[..], &[&facing]].concat());
    drop(association);
    assert_listening(&daemon, &named);
}

#[test]
fn no_port_of_the_daemon_is_a_way_around_the_password() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let builder = scene.daemon().env("TETHERD_SOCKS_USER", "app").env("TETHERD_SOCKS_PASSWORD", "correct horse");
    let daemon = start_ready(builder);
    for line in listening(&daemon).iter().filter(|line| line.starts_with("tcp")) {
        let address: SocketAddr = line.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("an address");
        assert!(socks::connect(address, "web", 80, None).is_err(), "{line} needs no password");
    }
}
