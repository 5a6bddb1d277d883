//! Tests promise 10: names resolve as on a machine that has Tailscale.
//!
//! Names are those of the tailnet: zones with a name server of their own, search domains, and names that say another
//! thing in the container.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::json;
use testbed::daemon::SOCKS;
use testbed::dnsmasq;
use testbed::process::Process;
use testbed::tailnet::Tailnet;
use testbed::wait::wait_until;
use testbed::{Daemon, Node, Server, netns};

use crate::scene::{READY, binary, connect, reply_code, start_ready};

/// Where the name server of the zone `corp.test` is, which the tailnet alone knows.
const PRIVATE: &str = "127.0.0.9";
/// Where no name server is, though the tailnet says so for the zone `silent.test`.
const NOBODY: &str = "127.0.0.10";
const PORT: u16 = 80;
const OF_WEB: &str = "the page of web";
const OUTSIDE: &str = "203.0.113.7";

/// A name server that knows these names and no other.
fn name_server(address: &str, names: &[(&str, &str)]) -> Process {
    let names = names.iter().map(|(name, address)| format!("--address=/{name}/{address}"));
    dnsmasq::start(address, ["--local=/corp.test/".to_owned()].into_iter().chain(names)).expect("dnsmasq starts")
}

/// The addresses that this machine's resolver asks.
pub fn resolvers() -> Vec<String> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let named = text.lines().filter_map(|line| Some(line.strip_prefix("nameserver")?.trim().to_owned()));
    let servers: Vec<String> = named.collect();
    if servers.is_empty() { vec!["127.0.0.1".to_owned()] } else { servers }
}

/// The addresses that this machine's resolver asks, added to the namespace's loopback.
pub fn container_resolvers() -> Vec<String> {
    let servers = resolvers();
    for server in servers.iter().filter(|server| !server.starts_with("127.")) {
        let added = Command::new("ip").args(["addr", "add", server, "dev", "lo"]).status().expect("ip");
        assert!(added.success(), "{server} cannot be added");
    }
    servers
}

struct Names {
    daemon: Daemon,
    _servers: Vec<Process>,
    _page: Server,
    _web: Node,
    _tailnet: Tailnet,
}

/// A tailnet with a zone and a search domain, and the daemon, ready.
fn names(settings: &[(&str, &str)]) -> Names {
    netns::enter_new().expect("a namespace");
    let dns = json!({
        "nameservers": { "global": [], "split": { "corp.test": [PRIVATE], "silent.test": [NOBODY] } },
        "search_domains": ["corp.test"],
    });
    let tailnet = Tailnet::start_with_dns(dns).expect("a tailnet");
    let web = Node::join(&tailnet, "web").expect("a node");
    let page = Server::page(PORT, OF_WEB).expect("a server");
    let address = web.addresses().0.to_string();
    let mut servers = vec![name_server(
        PRIVATE,
        &[
            ("db.corp.test", &address),
            ("both.corp.test", &address),
            ("twice.corp.test", "100.127.0.1"),
            ("twice.corp.test", &address),
        ],
    )];
    for resolver in container_resolvers() {
        servers.push(name_server(&resolver, &[("both.corp.test", OUTSIDE), ("secret.corp.test", OUTSIDE)]));
    }
    let mut builder = Daemon::builder(binary()).joining(&tailnet, "app").expect("a key");
    for (name, value) in settings {
        builder = builder.env(name, value);
    }
    Names { daemon: start_ready(builder), _servers: servers, _page: page, _web: web, _tailnet: tailnet }
}

/// Whether the page of web comes by this name, through SOCKS5, CONNECT and a request in absolute form.
fn leads_to_web(name: &str) -> bool {
    let page = |stream: Option<TcpStream>, request: &str| {
        let mut stream = stream?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    };
    let by_http = || TcpStream::connect(SOCKS).ok();
    let ask = "GET / HTTP/1.0\r\n\r\n";
    let tunnel = format!("CONNECT {name}:{PORT} HTTP/1.1\r\nHost: {name}:{PORT}\r\n\r\n{ask}");
    let absolute = format!("GET http://{name}:{PORT}/ HTTP/1.1\r\nHost: {name}:{PORT}\r\nConnection: close\r\n\r\n");
    [(connect(name, PORT).ok(), ask), (by_http(), &tunnel), (by_http(), &absolute)]
        .into_iter()
        .all(|(stream, request)| page(stream, request).is_some_and(|text| text.ends_with(OF_WEB)))
}

#[test]
fn names_of_split_dns_and_search_domains_resolve_and_the_private_answer_counts() {
    let names = names(&[]);
    for name in
        ["web", "web.tail.test", "WEB.Tail.Test.", "db.corp.test", "DB.corp.test.", "db", "both.corp.test", "both"]
    {
        let answered = wait_until("the name leads to web", READY, || leads_to_web(name).then_some(()));
        answered.unwrap_or_else(|error| panic!("{name}: {error}: {}", names.daemon.output()));
    }
}

#[test]
fn a_name_that_a_zone_of_the_tailnet_does_not_know_is_not_asked_of_others() {
    let _names = names(&[]);
    assert!(leads_to_web("db.corp.test"));
    assert_eq!(reply_code("secret.corp.test", PORT), 4);
}

#[test]
fn a_name_whose_name_server_does_not_answer_is_unknown_and_the_path_is_not_doubted() {
    let names = names(&[]);
    for _ in 0..3 {
        assert_eq!(reply_code("db.silent.test", PORT), 4, "{}", names.daemon.output());
    }
    assert_eq!(names.daemon.readyz().expect("answers").0, 200);
}

#[test]
fn a_rule_about_the_address_of_a_private_name_counts() {
    let names = names(&[("TETHERD_DENY", "100.64.0.0/10")]);
    for name in ["db.corp.test", "db", "web", "both.corp.test"] {
        assert_eq!(reply_code(name, PORT), 2, "{name}: {}", names.daemon.output());
    }
}

#[test]
fn a_rule_about_the_whole_name_counts_for_one_that_is_searched_for() {
    let names = names(&[("TETHERD_DENY", "db.corp.test")]);
    for name in ["db", "db.corp.test", "DB", "db.corp.test."] {
        assert_eq!(reply_code(name, PORT), 2, "{name}: {}", names.daemon.output());
    }
    for name in ["both", "web"] {
        assert!(leads_to_web(name), "{name}: {}", names.daemon.output());
    }
}

#[test]
fn where_the_tailnets_dns_is_not_accepted_its_zones_are_the_containers_matter() {
    let names = names(&[("TETHERD_ACCEPT_DNS", "false")]);
    assert!(leads_to_web("web"), "{}", names.daemon.output());
    assert_eq!(reply_code("db.corp.test", PORT), 4);
}
