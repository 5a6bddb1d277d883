//! Users of a file: passwords, rules, limits, and a file that changes.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use tempfile::NamedTempFile;
use testbed::daemon::{Builder, Daemon, SOCKS};
use testbed::http::read_head;
use testbed::server::Server;
use testbed::socks;
use testbed::wait::wait_until;

use crate::associations::{ARRIVES, Association, SILENCE};
use crate::scene::{READY, Scene, start_ready};
use crate::ways::Servers;

/// Made by `htpasswd -nbB` of Debian's apache2-utils, of [`ALICE`]'s and [`BOB`]'s passwords.
pub const HASH_OF_ALICE: &str = "$2y$05$9Ax3TBdYrVsrxPCOkegWFuy0LNb33RcwQWvEciAbO6l2xvlpiwlki";
pub const HASH_OF_BOB: &str = "$2y$05$mOfCI1jRRkCi1IfkNkTCeeKhluBhnKwRnykXT9R6OPjAuWMauyYhy";
pub const ALICE: (&str, &str) = ("alice", "secret-of-alice");
pub const BOB: (&str, &str) = ("bob", "p\u{e4}ssw\u{f6}rd: x");
/// The user of `socks_user`.
pub const APP: (&str, &str) = ("app", "correct horse");

pub type Credentials = (&'static str, &'static str);

/// A file of users.
pub struct UsersFile(NamedTempFile);

impl UsersFile {
    pub fn new(text: &str) -> Self {
        let file = Self(NamedTempFile::new().expect("a file"));
        file.write(text);
        file
    }

    pub fn path(&self) -> &str {
        self.0.path().to_str().expect("UTF-8")
    }

    /// Replaces the file as a whole, as Kubernetes does.
    pub fn write(&self, text: &str) {
        let next = self.0.path().with_extension("next");
        fs::write(&next, text).expect("written");
        fs::rename(next, self.0.path()).expect("renamed");
    }

    pub fn given_to(&self, scene: &Scene) -> Builder {
        scene.daemon().env("TETHERD_USERS", self.path())
    }
}

pub fn user(name: &str, hash: &str, more: &str) -> String {
    format!("[{name}]\npassword = \"{hash}\"\n{more}\n")
}

pub fn alice_and(more: &str) -> String {
    format!("{}{more}", user("alice", HASH_OF_ALICE, ""))
}

fn basic((user, password): Credentials) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
}

/// What a client is told: `Ok`, or the reply of SOCKS5 or status of HTTP; 0 where user and password are refused.
type Told = Result<(), u16>;

pub fn by_socks(credentials: Credentials, host: &str, port: u16) -> Told {
    match socks::connect(SOCKS, host, port, Some(credentials)) {
        Ok(_) => Ok(()),
        Err(socks::Error::Reply(code)) => Err(code.into()),
        Err(socks::Error::Credentials) => Err(0),
        Err(error) => panic!("{credentials:?} {host}: {error}"),
    }
}

fn asked(stream: &mut TcpStream, credentials: Credentials, request: &str) -> Told {
    let header = format!("Proxy-Authorization: Basic {}\r\n\r\n", basic(credentials));
    stream.write_all(format!("{request}{header}").as_bytes()).expect("sent");
    let head = read_head(stream).expect("answers");
    if let Some(length) = head.header("content-length") {
        stream.read_exact(&mut vec![0; length.parse().expect("a number")]).expect("a body");
    }
    match head.status {
        200 => Ok(()),
        407 => Err(0),
        status => Err(status),
    }
}

fn connect_request(host: &str, port: u16) -> String {
    format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n")
}

fn get_request(host: &str, port: u16) -> String {
    format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\n")
}

fn by_http(credentials: Credentials, request: &str) -> Told {
    asked(&mut socks::open(SOCKS).expect("connects"), credentials, request)
}

/// An association of a user.
fn association(credentials: Credentials) -> Association {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    Association::of_user(SOCKS, socket, Some(credentials))
}

/// What SOCKS5, CONNECT, a request in absolute form and a datagram come to.
pub fn by_every_way(credentials: Credentials, host: &str, port: u16) -> [Told; 4] {
    let by_socks = by_socks(credentials, host, port);
    let by_udp = if by_socks == Err(0) {
        Err(0)
    } else {
        let association = association(credentials);
        association.send(host, port, b"datagram");
        let within = if by_socks.is_ok() { ARRIVES } else { SILENCE };
        association.receive(within).map(drop).ok_or(2)
    };
    let [by_connect, by_get] = [connect_request(host, port), get_request(host, port)]
        .map(|request| by_http(credentials, &request).map_err(|told| if told == 403 { 2 } else { told }));
    [by_socks, by_connect, by_get, by_udp]
}

const PORT: u16 = 4242;

#[test]
fn each_user_has_a_password_and_reaches_what_its_own_rules_and_those_for_all_allow() {
    let scene = Scene::new();
    let _servers = Servers::at(PORT, &[]);
    let rules = [
        user("alice", HASH_OF_ALICE, ""),
        user("bob", HASH_OF_BOB, "allow = [\"web\"]\ndeny = [\"127.0.0.0/8\"]"),
        user("carol", HASH_OF_ALICE, "deny = [\"web\"]"),
        user("dora", HASH_OF_ALICE, "disabled = true"),
        user("eve", HASH_OF_ALICE, "allow = [\"127.0.0.1:1-99\", \"web:4242\"]"),
        user("\"frank.x@example\"", HASH_OF_ALICE, "allow = [\"100.64.0.0/10\"]"),
    ];
    let file = UsersFile::new(&rules.concat());
    let builder = file.given_to(&scene).env("TETHERD_SOCKS_USER", APP.0).env("TETHERD_SOCKS_PASSWORD", APP.1);
    let _daemon = start_ready(builder.env("TETHERD_DENY", "localhost").env("TETHERD_HANDSHAKE_TIMEOUT", "60s"));
    let (right, refused, wrong) = (Ok(()), Err(2), Err(0));
    for (credentials, web, loopback, localhost) in [
        (ALICE, right, right, refused),
        (APP, right, right, refused),
        (BOB, right, refused, refused),
        (("carol", ALICE.1), refused, right, refused),
        (("eve", ALICE.1), right, refused, refused),
        (("frank.x@example", ALICE.1), right, refused, refused),
    ] {
        for (host, told) in [("web", web), ("127.0.0.1", loopback), ("localhost", localhost)] {
            assert_eq!(by_every_way(credentials, host, PORT), [told; 4], "{credentials:?} {host}");
        }
    }
    // All at once, each of them answered after those before it and a pause that grows.
    thread::scope(|scope| {
        for credentials in [
            ("dora", ALICE.1),
            ("alice", "secret-of-alic"),
            ("alice", "secret-of-alice "),
            ("alice", BOB.1),
            ("alice", HASH_OF_ALICE),
            ("bob", APP.1),
            ("app", ALICE.1),
            ("nobody", ALICE.1),
            ("Alice", ALICE.1),
        ] {
            scope.spawn(move || assert_eq!(by_socks(credentials, "web", PORT), wrong, "{credentials:?}"));
        }
        for credentials in [("dora", ALICE.1), ("alice", BOB.1)] {
            for request in [connect_request("web", PORT), get_request("web", PORT)] {
                scope.spawn(move || assert_eq!(by_http(credentials, &request), wrong, "{credentials:?} {request}"));
            }
        }
    });
}

#[test]
fn a_request_over_a_kept_connection_is_its_own_users() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let file = UsersFile::new(&alice_and(&user("bob", HASH_OF_BOB, "deny = [\"web\"]\nmax_connections = 1")));
    let daemon = start_ready(file.given_to(&scene));
    let mut stream = socks::open(SOCKS).expect("connects");
    let get = get_request("web", 80);
    for (credentials, told) in [(ALICE, Ok(())), (BOB, Err(403)), (ALICE, Ok(())), (BOB, Err(403)), (ALICE, Ok(()))] {
        assert_eq!(asked(&mut stream, credentials, &get), told, "{credentials:?}");
    }
    assert_eq!(metric(&daemon, "user_connections_total{user=\"alice\"}"), Some(3));
    assert_eq!(metric(&daemon, "user_connections_total{user=\"bob\"}"), Some(0));
    assert_eq!(metric(&daemon, "user_refusals_total{user=\"bob\",by=\"policy\"}"), Some(2));
    assert_eq!(metric(&daemon, "user_connections_open{user=\"alice\"}"), Some(1));
    assert_eq!(metric(&daemon, "user_connections_open{user=\"bob\"}"), Some(0));
    // Gone from the file, it is asked for a password again.
    file.write(&user("bob", HASH_OF_BOB, ""));
    wait_until("the connection of alice is refused", READY, || (by_socks(ALICE, "web", 80) == Err(0)).then_some(()))
        .expect("is refused");
    assert_eq!(asked(&mut stream, BOB, &get), Ok(()));
    assert_eq!(asked(&mut stream, ALICE, &get), Err(0));
}

/// A number of the metrics, without the prefix of their names.
pub fn metric(daemon: &Daemon, name: &str) -> Option<u64> {
    let text = daemon.http_get("/metrics").expect("answers").text();
    let name = format!("tetherd_{name} ");
    text.lines().find_map(|line| line.strip_prefix(&name)).map(|number| number.parse().expect("a number"))
}

fn echoes(stream: &mut TcpStream) {
    stream.write_all(b"here").expect("sent");
    stream.read_exact(&mut [0; 4]).expect("comes back");
}

#[test]
fn the_file_is_read_again_when_it_changes_and_connections_run_on() {
    let scene = Scene::new();
    let _echo = Server::echo(7).expect("server");
    let file = UsersFile::new(&alice_and(""));
    let daemon = start_ready(file.given_to(&scene));
    let mut running = socks::connect(SOCKS, "web", 7, Some(ALICE)).expect("is let in");
    assert_eq!(by_socks(BOB, "web", 7), Err(0));
    let told = |what: &str, credentials: Credentials, wanted: Told| {
        wait_until(what, READY, || (by_socks(credentials, "web", 7) == wanted).then_some(())).expect(what);
    };
    file.write(&alice_and(&user("bob", HASH_OF_BOB, "")));
    told("bob is there", BOB, Ok(()));
    file.write(&alice_and(&user("bob", HASH_OF_BOB, "allow = [\"other\"]")));
    told("bob has a rule", BOB, Err(2));
    file.write(&alice_and(&user("bob", HASH_OF_BOB, "disabled = true")));
    told("bob is disabled", BOB, Err(0));
    file.write(&user("alice", HASH_OF_BOB, ""));
    told("alice has another password", ("alice", BOB.1), Ok(()));
    assert_eq!(by_socks(ALICE, "web", 7), Err(0), "the old one is forgotten");
    assert_eq!(metric(&daemon, "user_connections_total{user=\"bob\"}"), None, "who is gone has no metrics");
    for broken in ["[alice]\npassword = \"hunter2hunter2\"\n", "[alice", "", "[bob]\n"] {
        file.write(broken);
        let logged = || daemon.stderr().matches("the users stay who they were").count();
        let before = logged();
        wait_until("the fault is logged", READY, || (logged() > before).then_some(())).expect("is logged");
        assert_eq!(by_socks(("alice", BOB.1), "web", 7), Ok(()), "{broken:?}");
    }
    fs::remove_file(file.path()).expect("removed");
    file.write(&user("bob", HASH_OF_BOB, ""));
    told("bob is back", BOB, Ok(()));
    assert_eq!(by_socks(("alice", BOB.1), "web", 7), Err(0));
    echoes(&mut running);
    assert!(!daemon.stderr().contains("hunter2"), "{}", daemon.stderr());
}

#[test]
fn a_user_has_at_most_its_max_connections_and_is_told_so() {
    let scene = Scene::new();
    let _echo = Server::echo(7).expect("server");
    let file = UsersFile::new(&alice_and(&user("bob", HASH_OF_BOB, "max_connections = 3")));
    let daemon = start_ready(file.given_to(&scene).env("TETHERD_HALF_CLOSE_TIMEOUT", "1s"));
    let connect = || socks::connect(SOCKS, "web", 7, Some(BOB));
    let mut by_connect = socks::open(SOCKS).expect("connects");
    assert_eq!(asked(&mut by_connect, BOB, &connect_request("web", 7)), Ok(()));
    let by_udp = association(BOB);
    let mut by_tcp = connect().expect("is the third");
    assert_eq!(metric(&daemon, "user_connections_open{user=\"bob\"}"), Some(3));
    assert_eq!(by_socks(BOB, "web", 7), Err(2));
    for request in [connect_request("web", 7), get_request("web", 7)] {
        let mut stream = socks::open(SOCKS).expect("connects");
        let authorization = format!("Proxy-Authorization: Basic {}\r\n\r\n", basic(BOB));
        stream.write_all(format!("{request}{authorization}").as_bytes()).expect("sent");
        let head = read_head(&mut stream).expect("answers");
        assert_eq!(head.status, 429);
        let mut text = vec![0; head.header("content-length").expect("a length").parse().expect("a number")];
        stream.read_exact(&mut text).expect("the reason");
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(text.contains("3 connections") && text.contains("max_connections"), "{text}");
    }
    assert_eq!(by_socks(ALICE, "web", 7), Ok(()), "others have their own");
    assert_eq!(metric(&daemon, "user_refusals_total{user=\"bob\",by=\"limit\"}"), Some(3));
    echoes(&mut by_connect);
    // What has ended makes room, whatever it was; the file's limit counts from now on.
    drop(by_udp);
    wait_until("there is room", READY, || connect().ok()).expect("is let in");
    file.write(&alice_and(&user("bob", HASH_OF_BOB, "max_connections = 9")));
    let mut more = Vec::new();
    wait_until("there is more room", READY, || {
        more.extend(connect().ok());
        (more.len() >= 4).then_some(())
    })
    .expect("are let in");
    echoes(&mut by_tcp);
}

#[test]
fn who_is_taken_from_the_file_or_gets_other_rules_makes_no_connection_by_the_old_ones() {
    let scene = Scene::new();
    let _servers = Servers::at(PORT, &[]);
    let (bob, denied) = (user("bob", HASH_OF_BOB, ""), user("bob", HASH_OF_BOB, "deny = [\"web\"]"));
    let (disabled, other) = (user("bob", HASH_OF_BOB, "disabled = true"), user("bob", HASH_OF_ALICE, ""));
    let file = UsersFile::new(&alice_and(&bob));
    let _daemon = start_ready(file.given_to(&scene));
    for (after, by_new_logins) in [(String::new(), Err(0)), (disabled, Err(0)), (other, Err(0)), (denied, Err(2))] {
        let authenticated = || {
            let mut stream = socks::open(SOCKS).expect("connects");
            socks::authenticate(&mut stream, Some(BOB)).expect("is let in");
            stream
        };
        let (mut waits, association) = (authenticated(), association(BOB));
        association.send("web", PORT, b"datagram");
        assert!(association.receive(ARRIVES).is_some(), "before: {after}");
        file.write(&alice_and(&after));
        let told = || (by_socks(BOB, "web", PORT) == by_new_logins).then_some(());
        wait_until("the file counts", READY, told).unwrap_or_else(|error| panic!("{error}: {after}"));
        waits.write_all(&socks::request(1, "web", PORT)).expect("sent");
        let reply = socks::read_reply(&mut waits).err().and_then(|error| error.reply());
        assert_eq!(reply, Some(2), "a request behind a password of before: {after}");
        association.send("web", PORT, b"datagram");
        assert_eq!(association.receive(SILENCE), None, "a datagram to a target of before: {after}");
        association.send("127.0.0.1", PORT, b"datagram");
        let is_there = association.receive(ARRIVES).is_some();
        assert_eq!(is_there, by_new_logins == Err(2), "a datagram to another target: {after}");
        file.write(&alice_and(&bob));
        let told = || (by_socks(BOB, "web", PORT) == Ok(())).then_some(());
        wait_until("bob is back", READY, told).expect("is let in");
    }
}

#[test]
fn who_is_taken_from_the_file_while_he_waits_makes_no_connection() {
    let scene = Scene::new();
    let _servers = Servers::at(PORT, &[]);
    let file = UsersFile::new(&alice_and(&user("bob", HASH_OF_BOB, "")));
    let _daemon = start_ready(file.given_to(&scene).env("TETHERD_MAX_CONNECTIONS", "1"));
    for after in [String::new(), user("bob", HASH_OF_BOB, "deny = [\"web\"]")] {
        file.write(&alice_and(&user("bob", HASH_OF_BOB, "")));
        let told = || (by_socks(BOB, "web", PORT) == Ok(())).then_some(());
        wait_until("bob is let in", READY, told).expect("is let in");
        let place = socks::connect(SOCKS, "web", PORT, Some(ALICE)).expect("connects");
        let waiting = [connect_request("web", PORT), get_request("web", PORT)].map(|request| {
            let mut stream = socks::open(SOCKS).expect("connects");
            let header = format!("Proxy-Authorization: Basic {}\r\n\r\n", basic(BOB));
            stream.write_all(format!("{request}{header}").as_bytes()).expect("sent");
            stream
        });
        let mut by_socks_waits = socks::open(SOCKS).expect("connects");
        socks::authenticate(&mut by_socks_waits, Some(BOB)).expect("is let in");
        by_socks_waits.write_all(&socks::request(1, "web", PORT)).expect("sent");
        thread::sleep(Duration::from_millis(500));
        file.write(&alice_and(&after));
        // Two looks at the file.
        thread::sleep(Duration::from_millis(2500));
        drop(place);
        let reply = socks::read_reply(&mut by_socks_waits).err().and_then(|error| error.reply());
        assert_eq!(reply, Some(2), "SOCKS5: {after}");
        drop(by_socks_waits);
        for mut stream in waiting {
            let status = read_head(&mut stream).expect("answers").status;
            assert!(matches!(status, 403 | 407), "{status}: {after}");
        }
    }
}
