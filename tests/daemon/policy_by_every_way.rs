//! What is judged is what is reached, by SOCKS5, HTTP and datagrams.
//!
//! Each row holds with an exit node and without, with shields up and down, for both forms of HTTP.

use std::net::IpAddr;
use std::process::Command;

use testbed::daemon::{Daemon, HEALTH, SOCKS};
use testbed::names::NoNames;
use testbed::node::Node;
use tetherd::target::metadata;

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

/// A tailnet, with an exit node or without, and how the daemon's shields are. At [`PORT`] servers listen on loopback, at a
/// metadata address and outside.
struct Place {
    scene: Scene,
    exit_node: bool,
    shields_up: bool,
    _gateway: Option<Node>,
    _servers: Servers,
}

impl Place {
    fn new(exit_node: bool, shields_up: bool) -> Self {
        let scene = Scene::new();
        at_loopback(&["169.254.0.0/16", "203.0.113.0/24"]);
        let servers = Servers::at(PORT, &["169.254.169.254", OUTSIDE]);
        let gateway = exit_node.then(|| {
            let gateway = gateway(&scene);
            scene.tailnet.approve_routes("gw", "0.0.0.0/0,::/0").expect("approved");
            gateway
        });
        Self { scene, exit_node, shields_up, _gateway: gateway, _servers: servers }
    }

    /// The daemon with these settings, ready.
    fn daemon(&self, settings: &[(&str, &str)]) -> Daemon {
        let mut builder = self.scene.daemon().env("TETHERD_SHIELDS_UP", &self.shields_up.to_string());
        if self.exit_node {
            builder = builder.env("TETHERD_EXIT_NODE", "gw").env("TETHERD_EXIT_NODE_REQUIRED", "true");
        }
        start_ready(settings.iter().fold(builder, |builder, (name, value)| builder.env(name, value)))
    }
}

/// Checks in all four places.
fn in_every_place(check: impl Fn(&Place)) {
    for (exit_node, shields_up) in [(false, false), (false, true), (true, false), (true, true)] {
        println!("exit node {exit_node}, shields up {shields_up}");
        check(&Place::new(exit_node, shields_up));
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
    in_every_place(|place| {
        let _daemon = place.daemon(&[("TETHERD_DENY", "web")]);
        for name in ["web", "WEB", "web.", "WEB.Tail.Test", "web.tail.test."] {
            assert_all(name, PORT, Refused);
        }
        // Go trims blanks, drops brackets and folds case by Unicode: it would take these for the name that is denied.
        for text in
            ["web ", " web", "web\t", "[web]", "web..", ".web", "web%20", "web%lo", "\u{ff57}eb", "we\u{212a}", "web\0"]
        {
            assert_all(text, PORT, NoHost);
        }
    });
}

#[test]
fn the_nodes_own_names_and_addresses_are_loopback() {
    in_every_place(|place| {
        for rule in [("TETHERD_DIRECT", "deny"), ("TETHERD_DENY", "127.0.0.0/8,::1")] {
            let daemon = place.daemon(&[rule]);
            for host in own_hosts(&place.scene) {
                assert_all(&host, PORT, Refused);
            }
            assert_all("127.0.0.1", PORT, Refused);
            assert_all("web", PORT, Reached);
            end(daemon);
        }
        let _daemon = place.daemon(&[("TETHERD_DIRECT", "deny"), ("TETHERD_ALLOW", "app:4242,web,127.0.0.1:4242")]);
        assert_all("127.0.0.1", PORT, Reached);
        assert_all("app", PORT, Reached);
        assert_all("app", PORT + 1, Refused);
    });
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

/// Further forms of metadata addresses, and a link-local one.
const FORMS: [&str; 4] = ["fe80::1", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "2001:db8::5efe:169.254.169.254"];

#[test]
fn a_wide_rule_opens_no_metadata() {
    in_every_place(|place| {
        let _names = NoNames::start().expect("a name server");
        for allow in ["", "0.0.0.0/0:4242,::/0", "169-254-169-254.example.com,0.0.0.0/0,::/0"] {
            let rule = [("TETHERD_ALLOW", allow)];
            let _daemon = place.daemon(if allow.is_empty() { &[] } else { &rule });
            for address in metadata::addresses().chain(FORMS) {
                assert_all(address, PORT, Refused);
            }
            assert_all("169-254-169-254.example.com", PORT, Refused);
            assert_all(OUTSIDE, PORT, Reached);
        }
        let _daemon = place.daemon(&[("TETHERD_ALLOW", "169.254.169.254:4242")]);
        assert_all("169.254.170.2", PORT, Refused);
        if !place.exit_node {
            // tailscaled does not forward to link-local addresses.
            assert_all("169.254.169.254", PORT, Reached);
        }
    });
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
    in_every_place(|place| {
        let _daemon = place.daemon(&[("TETHERD_DENY", "10.0.0.0/8")]);
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
    });
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
