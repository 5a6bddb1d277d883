//! What other nodes of the tailnet reach by the daemon's node.
//!
//! tailscaled hands what they send to the node on to loopback, and routes on to the container's network.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use testbed::daemon::{Daemon, HEALTH, SOCKS};
use testbed::node::Node;
use testbed::server::Server;
use testbed::wait::wait_until;
use testbed::{http, parts};

use crate::associations::{Echo, SILENCE};
use crate::policy_by_every_way::{at_loopback, end};
use crate::scene::{OUTSIDE, READY, Scene, start_ready};

const PORT: u16 = 4242;
/// Where tailscaled serves its peer API in userspace mode.
const PEER_API: u16 = 1;

/// Metadata and credentials of clouds, and networks that hold them. tailscaled itself refuses 169.254.0.0/16.
const METADATA: [&str; 14] = [
    "169.254.169.254",
    "168.63.129.16",
    "192.0.0.192",
    "100.100.100.200",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fd00:42::42",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "2001:db8::5efe:169.254.169.254",
    "2001:0:a9fe:a9fe::1",
];
const NETWORKS: [&str; 13] = [
    "203.0.113.0/24",
    "169.254.0.0/16",
    "168.63.129.16/32",
    "192.0.0.192/32",
    "100.100.100.200/32",
    "fd00:ec2::/32",
    "fd20:ce::/64",
    "fd00:c1::/32",
    "fd00:42::/64",
    "64:ff9b::/32",
    "2002:a9fe:a9fe::/48",
    "2001:db8::/32",
    "2001::/32",
];

/// What a peer is answered by `host`, by HTTP.
fn asked(peer: &Node, host: &str, port: u16, path: &str) -> Option<u16> {
    let stream = peer.dial(host, port).ok()?;
    stream.set_read_timeout(Some(READY / 3)).ok()?;
    Some(http::get(stream, "localhost", path).ok()?.head.status)
}

/// Whether a datagram comes back.
fn echoed(peer: &Node, host: &str, port: u16, patience: Duration) -> bool {
    let Ok(mut stream) = peer.dial_udp(host, port) else { return false };
    stream.set_read_timeout(Some(patience)).expect("set");
    let mut answer = [0; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut answer).is_ok()
}

fn until_asked(peer: &Node, host: &str, port: u16, path: &str) {
    let got = || (asked(peer, host, port, path) == Some(200)).then_some(());
    wait_until(&format!("{host}:{port} is reached"), READY, got).expect("is reached");
}

fn own_addresses(scene: &Scene) -> Vec<String> {
    let node = scene.tailnet.node("app").expect("nodes").expect("is there");
    node.addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn peers_reach_the_daemons_own_ports_only_where_they_are_meant_for_others() {
    let scene = Scene::new();
    let _server = Server::http(PORT).expect("server");
    let open = |listen: &str| {
        let builder = scene.daemon().env("TETHERD_SHIELDS_UP", "false").env("TETHERD_ALLOW_OPEN_PROXY", "true");
        start_ready(
            builder.env("TETHERD_SOCKS_LISTEN", listen).env("TETHERD_FORWARDS", "127.0.0.1:8080=127.0.0.1:4242"),
        )
    };
    let daemon = open("127.0.0.1:1055");
    until_asked(&scene.web, "app", PORT, "/");
    for host in own_addresses(&scene) {
        for port in [SOCKS.port(), HEALTH.port(), 8080] {
            assert!(scene.web.dial(&host, port).is_err(), "{host} {port}");
        }
    }
    assert_eq!(daemon.readyz().expect("loopback is asked").0, 200);
    end(daemon);

    let _daemon = open("0.0.0.0:1055");
    until_asked(&scene.web, "app", PORT, "/");
    let through = |target: &str| asked(&scene.web, "app", SOCKS.port(), target);
    assert_eq!(through("http://127.0.0.1:4242/"), Some(403), "as a client of the network");
    assert_eq!(through("http://web:4242/"), Some(200));
}

#[test]
fn peers_at_a_health_port_for_others_learn_no_more_than_others() {
    let scene = Scene::new();
    let daemon = start_ready(
        scene
            .daemon()
            .env("TETHERD_SHIELDS_UP", "false")
            .env("TETHERD_HEALTH_LISTEN", &format!("[::]:{}", HEALTH.port())),
    );
    for host in own_addresses(&scene) {
        until_asked(&scene.web, &host, HEALTH.port(), "/livez");
        for (path, of_all) in [("/status", "\"peers\""), ("/", "Nodes")] {
            let stream = scene.web.dial(&host, HEALTH.port()).expect("connects");
            let answer = http::get(stream, "localhost", path).expect("is answered");
            assert_eq!(answer.head.status, 200, "{host}{path}");
            let text = answer.text();
            assert!(!text.contains(of_all) && !text.contains("100.64."), "{host}{path}: {text}");
        }
    }
    for at in ["127.0.0.1", "[::1]"] {
        let stream = TcpStream::connect(format!("{at}:{}", HEALTH.port())).expect("connects");
        let answer = http::get(stream, "localhost", "/status").expect("is answered");
        assert!(answer.text().contains("\"peers\""), "{at}");
    }
    end(daemon);
}

#[test]
fn an_exit_node_leads_peers_to_no_metadata() {
    let scene = Scene::new();
    at_loopback(&NETWORKS);
    // Addresses of a route to loopback are bound by nobody under IPv6, and served by who listens on all.
    let everywhere = format!("[::]:{PORT}");
    let _servers = (Server::http_everywhere(PORT).expect("server"), Echo::on(&[&everywhere]));
    let daemon = start_ready(scene.daemon().env("TETHERD_ADVERTISE_ROUTES", "0.0.0.0/0,::/0"));
    scene.tailnet.approve_routes("app", "0.0.0.0/0,::/0").expect("approved");
    use_exit_node(&scene);
    until_asked(&scene.web, OUTSIDE, PORT, "/");
    assert!(echoed(&scene.web, OUTSIDE, PORT, READY / 3), "{}", daemon.output());
    let reached: Vec<_> = METADATA
        .into_iter()
        .flat_map(|host| {
            let stream = scene.web.dial(host, PORT).is_ok();
            let datagram = echoed(&scene.web, host, PORT, SILENCE);
            [(host, "TCP", stream), (host, "UDP", datagram)]
        })
        .filter(|(_, _, reached)| *reached)
        .collect();
    assert!(reached.is_empty(), "{reached:?}");
}

fn use_exit_node(scene: &Scene) {
    let wanted = format!(r#"{{"ExitNodeIPSet": true, "ExitNodeIP": "{}"}}"#, own_addresses(scene)[0]);
    let (status, text) = scene.web.local_api("PATCH", "/localapi/v0/prefs", &wanted).expect("answers");
    assert_eq!(status, 200, "{text}");
    let used = || {
        let (_, text) = scene.web.local_api("GET", "/localapi/v0/status", "").ok()?;
        let status: serde_json::Value = serde_json::from_str(&text).ok()?;
        status["ExitNodeStatus"]["Online"].as_bool()?.then_some(())
    };
    wait_until("the exit node is used", READY, used).expect("is used");
}

/// What a peer is answered when it wants to leave a file.
fn left_a_file(scene: &Scene) -> Option<u16> {
    let host = &own_addresses(scene)[0];
    let stream = scene.web.dial(host, PEER_API).ok()?;
    let answer = http::request(stream, "PUT", &format!("{host}:{PEER_API}"), "/v0/put/file", b"a file").ok()?;
    Some(answer.head.status)
}

fn files_in(daemon: &Daemon) -> String {
    let output = std::process::Command::new("find").arg(daemon.temp_dir()).args(["-path", "*files*"]).output();
    String::from_utf8_lossy(&output.expect("find").stdout).into_owned()
}

#[test]
fn peers_leave_no_files_and_with_shields_up_there_is_no_peer_api() {
    let scene = Scene::new();
    let _server = Server::http(PORT).expect("server");
    let daemon = scene.ready();
    assert_eq!(left_a_file(&scene), None, "{}", files_in(&daemon));
    end(daemon);

    let daemon = start_ready(scene.daemon().env("TETHERD_SHIELDS_UP", "false"));
    until_asked(&scene.web, "app", PORT, "/");
    let status = left_a_file(&scene);
    assert!(status.is_some_and(|status| status >= 400), "{status:?} {}", files_in(&daemon));
}

#[test]
fn stock_tailscaled_keeps_no_peers_off_and_the_log_says_so() {
    let stock = parts::find(parts::STOCK_TAILSCALED).expect("parts");
    let scene = Scene::new();
    for (routes, metadata) in [("0.0.0.0/0,::/0", true), ("10.0.0.0/8", false)] {
        let builder = scene.daemon().env("TETHERD_TAILSCALED_PATH", stock.to_str().expect("UTF-8"));
        let daemon = start_ready(builder.env("TETHERD_ADVERTISE_ROUTES", routes));
        let said = || daemon.stderr().lines().find(|line| line.contains("shields are down")).map(str::to_owned);
        let line = wait_until("it is said", READY, said).expect("is said");
        assert_eq!(line.contains("metadata"), metadata, "{line}");
        end(daemon);
    }
}
