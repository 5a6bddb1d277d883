//! `loopback` and `private`: targets of this machine and its networks.
//!
//! What is refused depends on the listener that a client came by, and on nothing that the client says.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use testbed::names::NoNames;
use testbed::server::Server;
use testbed::socks;

use crate::policy_by_every_way::{at_loopback, end, own_hosts};
use crate::scene::{OUTSIDE, Scene, start_ready};
use crate::tls_listeners;
use crate::ways::Verdict::{Reached, Refused};
use crate::ways::{Servers, assert_all};
use crate::without_the_password::{PASSWORD, with_password};

const PORT: u16 = 4242;
const LOOPBACK: [&str; 4] = ["127.0.0.1", "::1", "localhost", "127-0-0-1.example.com"];
const PRIVATE: [&str; 2] = ["10.0.0.1", "10-0-0-1.example.com"];
const PUBLIC: [&str; 3] = [OUTSIDE, "203-0-113-7.example.com", "web"];

#[test]
fn clients_of_the_network_reach_neither_loopback_nor_private_targets_unless_it_is_said() {
    let scene = Scene::new();
    at_loopback(&["10.0.0.0/8", "203.0.113.0/24"]);
    let _names = NoNames::start().expect("a name server");
    let _servers = Servers::at(PORT, &["10.0.0.1", OUTSIDE]);
    type Settings = &'static [(&'static str, &'static str)];
    let rows: [(&str, Settings, bool, bool); 6] = [
        ("127.0.0.1:1055", &[], true, true),
        ("127.0.0.1:1055", &[("TETHERD_LOOPBACK", "deny"), ("TETHERD_PRIVATE", "deny")], false, false),
        ("0.0.0.0:1055", &[], false, false),
        ("0.0.0.0:1055", &[("TETHERD_LOOPBACK", "allow")], true, false),
        ("0.0.0.0:1055", &[("TETHERD_PRIVATE", "allow")], false, true),
        ("0.0.0.0:1055", &[("TETHERD_ALLOW", "0.0.0.0/0,::/0,*.example.com,web,10.0.0.0/8,127.0.0.1,::1")], true, true),
    ];
    for (listen, settings, loopback, private) in rows {
        let open = scene.daemon().env("TETHERD_SOCKS_LISTEN", listen).env("TETHERD_ALLOW_OPEN_PROXY", "true");
        let daemon = start_ready(settings.iter().fold(open, |daemon, (name, value)| daemon.env(name, value)));
        let own = own_hosts(&scene);
        let verdict = |reached| if reached { Reached } else { Refused };
        for host in LOOPBACK.into_iter().chain(own.iter().map(String::as_str)) {
            eprintln!("{listen} {settings:?} {host}");
            assert_all(host, PORT, verdict(loopback));
        }
        for host in PRIVATE {
            assert_all(host, PORT, verdict(private));
        }
        for host in PUBLIC {
            assert_all(host, PORT, Reached);
        }
        end(daemon);
    }
}

#[test]
fn an_address_of_this_machines_interfaces_is_loopback_for_clients_of_the_network() {
    const OWN: [&str; 4] = ["198.51.100.7", "198-51-100-7.example.com", "::ffff:198.51.100.7", "64:ff9b::198.51.100.7"];
    let scene = Scene::new();
    for own in ["198.51.100.7/32", "10.9.0.7/32"] {
        let arguments = ["address", "add", own, "dev", "lo"];
        assert!(Command::new("ip").args(arguments).status().expect("ip").success(), "{own}");
    }
    let _names = NoNames::start().expect("a name server");
    let _servers = Servers::at(PORT, &["198.51.100.7", "10.9.0.7"]);
    type Settings = &'static [(&'static str, &'static str)];
    let rows: [(&str, Settings, bool, bool); 6] = [
        ("127.0.0.1:1055", &[], true, true),
        ("127.0.0.1:1055", &[("TETHERD_LOOPBACK", "deny")], false, false),
        ("0.0.0.0:1055", &[("TETHERD_PRIVATE", "allow")], false, false),
        ("0.0.0.0:1055", &[("TETHERD_PRIVATE", "allow"), ("TETHERD_LOOPBACK", "allow")], true, true),
        (
            "0.0.0.0:1055",
            &[("TETHERD_PRIVATE", "allow"), ("TETHERD_ALLOW", "0.0.0.0/0,*.example.com,10.0.0.0/8")],
            false,
            false,
        ),
        ("0.0.0.0:1055", &[("TETHERD_ALLOW", "198.51.100.7,10.9.0.7")], true, true),
    ];
    for (listen, settings, public, private) in rows {
        let open = scene.daemon().env("TETHERD_SOCKS_LISTEN", listen).env("TETHERD_ALLOW_OPEN_PROXY", "true");
        let daemon = start_ready(settings.iter().fold(open, |daemon, (name, value)| daemon.env(name, value)));
        let verdict = |reached| if reached { Reached } else { Refused };
        // What is inside NAT64 is not dialled at all where this machine has no IPv6 outside.
        for host in OWN.into_iter().take(if public { 3 } else { OWN.len() }) {
            eprintln!("{listen} {settings:?} {host}");
            assert_all(host, PORT, verdict(public));
        }
        for host in ["10.9.0.7", "10-9-0-7.example.com"] {
            eprintln!("{listen} {settings:?} {host}");
            assert_all(host, PORT, verdict(private));
        }
        end(daemon);
    }
}

#[test]
fn each_listener_has_its_own_default_and_a_forward_leads_where_the_setting_says() {
    let scene = Scene::new();
    let _servers = Servers::at(PORT, &[]);
    let daemon = start_ready(
        scene
            .daemon()
            .env("TETHERD_SOCKS_LISTEN", "127.0.0.1:1055,0.0.0.0:1056")
            .env("TETHERD_FORWARDS", "0.0.0.0:4300=127.0.0.1:4242")
            .env("TETHERD_ALLOW_OPEN_PROXY", "true"),
    );
    assert_all("127.0.0.1", PORT, Reached);
    for (port, reply) in [(1055, 0), (1056, 2)] {
        let at = format!("127.0.0.1:{port}").parse().expect("an address");
        let refused = testbed::socks::connect(at, "127.0.0.1", PORT, None).err().and_then(|error| error.reply());
        assert_eq!(refused.unwrap_or(0), reply, "{port}");
    }
    let mut forwarded = TcpStream::connect("127.0.0.1:4300").expect("connects");
    forwarded.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    forwarded.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("sent");
    let mut page = String::new();
    forwarded.read_to_string(&mut page).expect("answers");
    assert!(page.starts_with("HTTP/1."), "{page}");
    let log = daemon.output();
    assert!(log.contains("refused by loopback for clients of the network"), "the log says which setting: {log}");
}

#[test]
fn clients_over_tls_are_of_the_network_and_those_of_a_unix_socket_are_not() {
    let scene = Scene::new();
    let directory = tls_listeners::authority();
    let _servers = (Server::echo(PORT).expect("server"), Server::http(80).expect("server"));
    let socket = directory.path().join("proxy.sock");
    for (setting, tls, unix) in [("auto", "reply 2", 0), ("allow", "reply 0, same 256", 0), ("deny", "reply 2", 2)] {
        let builder = tls_listeners::with_tls(with_password(&scene), directory.path());
        let listen = format!("0.0.0.0:1055,unix:{}", socket.display());
        let daemon = start_ready(builder.env("TETHERD_SOCKS_LISTEN", &listen).env("TETHERD_LOOPBACK", setting));
        let port = PORT.to_string();
        let over_tls = |host| tls_listeners::client(directory.path(), "-", ["1", PASSWORD, host, &port, "256"]);
        assert_eq!(over_tls("127.0.0.1"), tls, "{setting}: {}", daemon.output());
        assert_eq!(over_tls("web"), "reply 0, same 256", "{setting}: {}", daemon.output());
        let mut stream = UnixStream::connect(&socket).expect("connects");
        let refused = socks::handshake(&mut stream, "127.0.0.1", PORT, Some(("app", PASSWORD))).err();
        assert_eq!(refused.and_then(|error| error.reply()).unwrap_or(0), unix, "{setting}: {}", daemon.output());
        end(daemon);
    }
}
