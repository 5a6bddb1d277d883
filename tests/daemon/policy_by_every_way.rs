//! What is judged is what is reached, by SOCKS5, HTTP and datagrams.
//!
//! Each row holds with an exit node and without, for both forms of HTTP.

use std::net::IpAddr;
use std::process::Command;

use testbed::daemon::{Builder, Daemon, HEALTH, SOCKS};
use testbed::names::NoNames;
use testbed::node::Node;

use crate::node_settings::gateway;
use crate::scene::{END, OUTSIDE, Scene, connect, start_ready};
use crate::ways::{Servers, Verdict, assert_all};

use Verdict::{NoHost, Reached, Refused};

const PORT: u16 = 4242;

/// Gives `networks` to loopback, so that servers can have their addresses.
pub fn at_loopback(networks: &[&str]) {
    for network in networks {
        let arguments = ["route", "add", "local", network, "dev", "lo"];
        assert!(Command::new("ip").args(arguments).status().expect("ip").success(), "{network}");
    }
}

/// The names and addresses of the node that the daemon is.
pub fn own_hosts(scene: &Scene) -> Vec<String> {
    let node = scene.tailnet.node("app").expect("nodes").expect("is there");
    let names = ["app", "app.tail.test"].map(str::to_owned);
    names.into_iter().chain(node.addresses.iter().map(IpAddr::to_string)).collect()
}

/// Ends the daemon in order: its node leaves the tailnet, and the next one gets the name.
pub fn end(mut daemon: Daemon) {
    daemon.terminate().expect("told");
    daemon.wait_exit(END).expect("ends");
}

#[test]
fn a_denied_name_is_reached_in_no_spelling() {
    let scene = Scene::new();
    let _servers = Servers::at(PORT, &[]);
    let _daemon = start_ready(scene.daemon().env("TETHERD_DENY", "web"));
    for name in ["web", "WEB", "web.", "WEB.Tail.Test", "web.tail.test."] {
        assert_all(name, PORT, Refused);
    }
    // Go trims blanks, drops brackets and folds case by Unicode: it would take these for the name that is denied.
    for text in
        ["web ", " web", "web\t", "[web]", "web..", ".web", "web%20", "web%lo", "\u{ff57}eb", "we\u{212a}", "web\0"]
    {
        assert_all(text, PORT, NoHost);
    }
}

#[test]
fn the_nodes_own_names_and_addresses_are_loopback() {
    for shields_up in ["false", "true"] {
        let scene = Scene::new();
        let _servers = Servers::at(PORT, &[]);
        let daemon = || scene.daemon().env("TETHERD_SHIELDS_UP", shields_up);
        for (rule, value) in [("TETHERD_DIRECT", "deny"), ("TETHERD_DENY", "127.0.0.0/8,::1")] {
            let daemon = start_ready(daemon().env(rule, value));
            for host in own_hosts(&scene) {
                assert_all(&host, PORT, Refused);
            }
            assert_all("127.0.0.1", PORT, Refused);
            assert_all("web", PORT, Reached);
            end(daemon);
        }
        let _daemon =
            start_ready(daemon().env("TETHERD_DIRECT", "deny").env("TETHERD_ALLOW", "app:4242,web,127.0.0.1:4242"));
        assert_all("127.0.0.1", PORT, Reached);
        assert_all("app", PORT, Reached);
        assert_all("app", PORT + 1, Refused);
    }
}

#[test]
fn the_daemons_own_listeners_are_reached_by_no_way() {
    let scene = Scene::new();
    let (socks, health) = (SOCKS.port(), HEALTH.port());
    let forward = 4243;
    let daemon = |allow: &str| {
        let builder = scene.daemon().env("TETHERD_FORWARDS", &format!("0.0.0.0:{forward}=web:80"));
        let builder = builder.env("TETHERD_ALLOW_OPEN_PROXY", "true");
        start_ready(if allow.is_empty() { builder } else { builder.env("TETHERD_ALLOW", allow) })
    };
    for allow in ["", "0.0.0.0/0,::/0,app,localhost", "127.0.0.1:1-65535"] {
        let daemon = daemon(allow);
        let other_ways = ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "localhost"].map(str::to_owned);
        for host in own_hosts(&scene).into_iter().chain(other_ways) {
            for port in [socks, health, forward] {
                assert_all(&host, port, Refused);
            }
        }
        assert_all("127.0.0.77", forward, Refused);
        end(daemon);
    }
    let _daemon = daemon(&format!("127.0.0.1:{health}"));
    connect("127.0.0.1", health).expect("is named");
}

/// Metadata and credentials of clouds, and forms of their addresses.
const METADATA: [&str; 12] = [
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fd00:42::42",
    "fd00:c1::a9fe:a9fe",
    "fe80::1",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "2001:db8::5efe:169.254.169.254",
];

#[test]
fn a_wide_rule_opens_no_metadata() {
    for exit_node in [false, true] {
        let scene = Scene::new();
        at_loopback(&["169.254.0.0/16", "203.0.113.0/24"]);
        let _names = NoNames::start().expect("a name server");
        let _servers = Servers::at(PORT, &["169.254.169.254", OUTSIDE]);
        let _gateway: Option<Node> = exit_node.then(|| gateway(&scene));
        let with_exit_node = |builder: Builder| match exit_node {
            true => {
                scene.tailnet.approve_routes("gw", "0.0.0.0/0,::/0").expect("approved");
                builder.env("TETHERD_EXIT_NODE", "gw").env("TETHERD_EXIT_NODE_REQUIRED", "true")
            }
            false => builder,
        };
        for allow in ["", "0.0.0.0/0:4242,::/0", "169-254-169-254.example.com,0.0.0.0/0,::/0"] {
            let builder = if allow.is_empty() { scene.daemon() } else { scene.daemon().env("TETHERD_ALLOW", allow) };
            let _daemon = start_ready(with_exit_node(builder));
            for address in METADATA {
                assert_all(address, PORT, Refused);
            }
            assert_all("169-254-169-254.example.com", PORT, Refused);
            assert_all(OUTSIDE, PORT, Reached);
        }
        let _daemon = start_ready(with_exit_node(scene.daemon().env("TETHERD_ALLOW", "169.254.169.254:4242")));
        assert_all("169.254.170.2", PORT, Refused);
        if !exit_node {
            // tailscaled does not forward to link-local addresses.
            assert_all("169.254.169.254", PORT, Reached);
        }
    }
}

/// Multicast, broadcast and what is reserved for no use.
const NO_HOSTS: [&str; 7] = [
    "255.255.255.255",
    "224.0.0.251",
    "239.255.255.250",
    "240.0.0.1",
    "ff02::fb",
    "::ffff:224.0.0.1",
    "64:ff9b::ffff:ffff",
];

#[test]
fn multicast_and_broadcast_are_reached_by_no_name_and_no_wide_rule() {
    let scene = Scene::new();
    at_loopback(&["224.0.0.0/4", "240.0.0.0/4"]);
    let _names = NoNames::start().expect("a name server");
    let _servers = Servers::at(PORT, &["240.0.0.1"]);
    for allow in ["", "*.example.com", "0.0.0.0/0,::/0"] {
        let builder = if allow.is_empty() { scene.daemon() } else { scene.daemon().env("TETHERD_ALLOW", allow) };
        let _daemon = start_ready(builder);
        for address in NO_HOSTS {
            assert_all(address, PORT, Refused);
        }
        for name in ["255-255-255-255.example.com", "224-0-0-251.example.com", "240-0-0-1.example.com"] {
            assert_all(name, PORT, Refused);
        }
    }
    let _daemon = start_ready(scene.daemon().env("TETHERD_ALLOW", "240.0.0.1:4242"));
    assert_all("240.0.0.1", PORT, Reached);
    assert_all("240.0.0.2", PORT, Refused);
}

#[test]
fn an_address_inside_an_address_is_denied_too() {
    let scene = Scene::new();
    let _daemon = start_ready(scene.daemon().env("TETHERD_DENY", "10.0.0.0/8"));
    for address in [
        "10.1.2.3",
        "::ffff:10.1.2.3",
        "::10.1.2.3",
        "::ffff:0:10.1.2.3",
        "64:ff9b::10.1.2.3",
        "64:ff9b:1::10.1.2.3",
        "2002:a01:203::1",
        "fd7a:115c:a1e0:b1a:0:7:a01:203",
        "2001:db8::5efe:10.1.2.3",
    ] {
        assert_all(address, PORT, Refused);
    }
}

#[test]
fn a_name_in_allow_opens_no_private_address() {
    let scene = Scene::new();
    at_loopback(&["10.0.0.0/8", "203.0.113.0/24"]);
    let _names = NoNames::start().expect("a name server");
    let _servers = Servers::at(PORT, &["10.0.0.1", OUTSIDE]);
    for direct in ["allow", "deny"] {
        let by_name = scene.daemon().env("TETHERD_DIRECT", direct).env("TETHERD_ALLOW", "*.example.com");
        let _daemon = start_ready(by_name);
        for name in ["127-0-0-1.example.com", "10-0-0-1.example.com"] {
            assert_all(name, PORT, Refused);
        }
        assert_all("203-0-113-7.example.com", PORT, Reached);
        drop(_daemon);
        let with_address = scene.daemon().env("TETHERD_DIRECT", direct).env("TETHERD_ALLOW", "*.example.com,10.0.0.1");
        let _daemon = start_ready(with_address);
        assert_all("10-0-0-1.example.com", PORT, Reached);
    }
}
