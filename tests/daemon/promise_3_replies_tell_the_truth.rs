//! Tests promise 3: SOCKS replies tell the truth.
//!
//! 2 policy, 3 network, 4 host or name, 5 refused, 6 timed out, 7 command, 8 address type. And what can be reached is
//! reached, by every kind of address.

use std::io::{Read, Write};
use std::net::TcpStream;

use testbed::daemon::SOCKS;
use testbed::names::NoNames;
use testbed::netns::{HOST_UNREACHABLE, NETWORK_UNREACHABLE, OWN_ADDRESS, SILENT};
use testbed::server::Server;
use testbed::{http, socks};

use crate::scene::{Scene, connect, reply_code, start_ready};

#[test]
fn promise_3_targets_are_reached_by_name_short_name_ipv4_and_ipv6() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let _daemon = scene.ready();
    let (v4, v6) = scene.web.addresses();
    for host in ["web", "web.tail.test", "WEB", &v4.to_string(), &v6.to_string(), "127.0.0.1", "::1", "localhost"] {
        let stream = connect(host, 80).unwrap_or_else(|error| panic!("{host}: {error}"));
        assert_eq!(http::get(stream, host, "/").expect("answers").head.status, 200, "{host}");
    }
}

#[test]
fn promise_3_each_failure_has_its_own_reply() {
    let scene = Scene::new();
    let _hole = Server::black_hole(82).expect("black hole");
    let _names = NoNames::start().expect("a name server");
    let _daemon = start_ready(scene.daemon().env("TETHERD_CONNECT_TIMEOUT", "2s"));
    let (v4, _) = scene.web.addresses();
    for (what, host, port, code) in [
        ("the metadata address", "169.254.169.254", 80, 2),
        ("the metadata address, mapped", "::ffff:169.254.169.254", 80, 2),
        ("a link-local address", "fe80::1", 80, 2),
        ("an unknown tailnet address", "100.127.1.2", 80, 2),
        ("an unknown IPv6 tailnet address", "fd7a:115c:a1e0::dead", 80, 2),
        ("no route to the network", NETWORK_UNREACHABLE, 80, 3),
        ("no route to the host", HOST_UNREACHABLE, 80, 4),
        ("a name nobody has", "nobody.tail.test", 80, 4),
        ("a name nobody has outside", "nobody.example.com", 80, 4),
        ("a name that cannot be one", "no\r\nsuch", 80, 4),
        ("a closed port in the tailnet", &v4.to_string(), 9, 5),
        ("a closed port outside", OWN_ADDRESS, 9, 5),
        ("a silent host outside", SILENT, 80, 6),
        ("a silent port in the tailnet", &v4.to_string(), 82, 6),
    ] {
        assert_eq!(reply_code(host, port), code, "{what}");
    }
}

#[test]
fn promise_3_targets_outside_are_refused_where_the_policy_says_so() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let _daemon = start_ready(scene.daemon().env("TETHERD_DIRECT", "deny"));
    assert_eq!(reply_code(OWN_ADDRESS, 80), 2);
    assert_eq!(reply_code("127.0.0.1", 80), 2);
    connect("web", 80).expect("the tailnet is reached");
}

/// The reply to the request `message` after a good greeting.
fn reply_to(message: &[u8]) -> Option<u8> {
    let mut stream = socks::open(SOCKS).expect("connects");
    socks::authenticate(&mut stream, None).expect("greets");
    stream.write_all(message).expect("sent");
    socks::read_reply(&mut stream).expect_err("is refused").reply()
}

/// Everything the daemon says to `message` until it closes.
fn answer_to(message: &[u8]) -> Vec<u8> {
    let mut stream: TcpStream = socks::open(SOCKS).expect("connects");
    stream.write_all(message).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("closes in order");
    answer
}

#[test]
fn promise_3_commands_and_address_types_that_are_not_served_are_named() {
    let scene = Scene::new();
    let daemon = scene.ready();
    assert_eq!(reply_to(&socks::request(2, "web", 80)), Some(7), "BIND");
    assert_eq!(reply_to(&socks::request(9, "web", 80)), Some(7), "an unknown command");
    assert_eq!(reply_to(&[5, 1, 0, 9, 1, 2, 3, 4, 0, 80]), Some(8), "an unknown address type");
    assert_eq!(answer_to(&[5, 1, 1]), [5, 0xff], "no method in common");
    assert_eq!(answer_to(&[4, 1, 0, 80, 127, 0, 0, 1, 0]), [0, 0x5b, 0, 0, 0, 0, 0, 0], "SOCKS4");
    assert_eq!(daemon.readyz().expect("health answers").0, 200);
}

#[test]
fn promise_3_user_and_password_are_asked_for_where_they_are_set() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let listen = format!("{OWN_ADDRESS}:1055");
    let daemon = scene.daemon().env("TETHERD_SOCKS_LISTEN", &listen).env("TETHERD_SOCKS_USER", "app");
    let _daemon = start_ready(daemon.env("TETHERD_SOCKS_PASSWORD", "correct horse"));
    let proxy = listen.parse().expect("address");
    let try_with = |credentials| socks::connect(proxy, "web", 80, credentials);
    try_with(Some(("app", "correct horse"))).expect("is let in");
    for wrong in [("app", "wrong"), ("other", "correct horse"), ("app", "correct hors")] {
        assert!(matches!(try_with(Some(wrong)), Err(socks::Error::Credentials)), "{wrong:?}");
    }
    assert!(matches!(try_with(None), Err(socks::Error::NoMethod)));
}

#[test]
fn promise_3_several_listeners_serve_alike() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let _daemon = start_ready(scene.daemon().env("TETHERD_SOCKS_LISTEN", "127.0.0.1:1055,[::1]:1056"));
    for proxy in ["127.0.0.1:1055", "[::1]:1056"] {
        socks::connect(proxy.parse().expect("address"), "web", 80, None).expect("serves");
    }
}
