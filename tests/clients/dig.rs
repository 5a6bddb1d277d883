//! Tests DNS queries of dig to dnsmasq on the second node.
//!
//! dig speaks no SOCKS: over TCP it goes through a forward, over UDP through the small relay of docs/clients.md, whose
//! SOCKS side is PySocks. So a client that others wrote makes the association, and tetherd is not tested with our own
//! reading of RFC 1928.

use std::process::Command;

use crate::documented;
use crate::scene::Scene;

/// With the rest of the message within the 1 232 bytes that dig offers to take over UDP.
fn notes() -> Vec<String> {
    (0..4).map(|part| format!("{part}").repeat(250)).collect()
}

fn dnsmasq() -> Command {
    let mut server = Command::new("/usr/sbin/dnsmasq");
    server.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"]);
    server.args(["--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file", "--log-facility=-"]);
    server.args(["--host-record=printer.corp.example,192.0.2.7", "--edns-packet-max=1232"]);
    server.arg(format!("--txt-record=notes.corp.example,{}", notes().join(",")));
    server
}

#[test]
fn dig_asks_a_name_server_over_udp_and_over_tcp() {
    let mut scene = Scene::node("db");
    scene.serve(dnsmasq(), 53);
    let (name, value) = documented::setting("forwards-setting");
    let mut scene = scene.set(&name, &value).ready();
    assert_eq!(scene.run("dig-tcp"), "192.0.2.7\n");
    scene.start("udp-forward", 2053);
    let strings: Vec<_> = notes().iter().map(|part| format!("\"{part}\"")).collect();
    assert_eq!(scene.run("dig-udp"), format!("192.0.2.7\n{}\n", strings.join(" ")));
}
