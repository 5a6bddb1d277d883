//! Tests malformed SOCKS5 input, by mistake or on purpose.
//!
//! Each gets the one correct reply or a close, is counted, and harms nobody.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt::Linger};
use testbed::daemon::{Daemon, SOCKS};
use testbed::server::Server;
use testbed::wait::wait_until;
use testbed::{http, socks};

use crate::scene::{READY, Scene, connect, start_ready};

const GREETING: &[u8] = &[5, 1, 0];
const WITH_PASSWORD: &[u8] = &[5, 1, 2];

/// Connections accepted and failed so far.
pub fn counts(daemon: &Daemon) -> (u64, u64) {
    let status: serde_json::Value =
        serde_json::from_slice(&daemon.http_get("/status").expect("answers").body).expect("JSON");
    let count = |name: &str| status["connections"][name].as_u64().expect("a number");
    (count("accepted"), count("failed"))
}

/// Runs `client`, which the daemon is to count as one connection that failed.
pub fn counted<T>(daemon: &Daemon, what: &str, client: impl FnOnce() -> T) -> T {
    let (accepted, failed) = counts(daemon);
    let result = client();
    let wanted = (accepted + 1, failed + 1);
    wait_until(what, READY, || (counts(daemon) == wanted).then_some(()))
        .unwrap_or_else(|error| panic!("{error}: {:?} is not {wanted:?}\n{}", counts(daemon), daemon.output()));
    result
}

/// A normal connection works, and nothing panicked.
pub fn unharmed(daemon: &Daemon) {
    let stream = connect("web", 80).expect("connects");
    assert_eq!(http::get(stream, "web", "/").expect("answers").head.status, 200);
    assert!(!daemon.output().contains("panicked"), "{}", daemon.output());
}

/// Everything the daemon says to a client that sends `message` and ends its side.
pub fn answer_to(message: &[u8]) -> Vec<u8> {
    let mut stream = socks::open(SOCKS).expect("connects");
    stream.write_all(message).expect("sent");
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("closes in order");
    answer
}

/// A request for a name of any bytes.
fn named(name: &[u8], port: u16) -> Vec<u8> {
    let length = u8::try_from(name.len()).expect("at most 255 bytes");
    [&[5, 1, 0, 3, length], name, &port.to_be_bytes()].concat()
}

/// The choice of no authentication, and a reply.
fn reply(code: u8) -> Vec<u8> {
    vec![5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

#[test]
fn malformed_socks_gets_the_one_correct_reply_and_is_counted() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let _names = testbed::names::NoNames::start().expect("a name server");
    let daemon = scene.ready();
    let all_methods: Vec<u8> = [5, 255].into_iter().chain((0..255).rev()).collect();
    let asked = |request: &[u8]| [GREETING, request].concat();
    let cases: &[(&str, Vec<u8>, Vec<u8>)] = &[
        ("SOCKS4", vec![4, 1, 0, 80, 127, 0, 0, 1, 0], vec![0, 0x5b, 0, 0, 0, 0, 0, 0]),
        ("a TLS hello", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], vec![]),
        ("a version alone", vec![5], vec![]),
        ("half a greeting", vec![5, 3, 0], vec![]),
        ("no method", vec![5, 0], vec![5, 0xff]),
        ("only methods nobody has", vec![5, 2, 1, 0x80], vec![5, 0xff]),
        ("255 methods", [all_methods, named(b"web", 9)].concat(), reply(5)),
        ("a request of another version", asked(&[4, 1, 0, 1, 127, 0, 0, 1, 0, 80]), vec![5, 0]),
        ("BIND", asked(&socks::request(2, "web", 80)), reply(7)),
        ("an unknown command", asked(&socks::request(9, "web", 80)), reply(7)),
        ("an unknown address type", asked(&[5, 1, 0, 9, 1, 2, 3, 4, 0, 80]), reply(8)),
        ("half a request", asked(&[5, 1, 0]), vec![5, 0]),
        ("a name cut short", asked(&[5, 1, 0, 3, 200, b'w', b'e', b'b']), vec![5, 0]),
        ("a name without its port", asked(&[5, 1, 0, 3, 3, b'w', b'e', b'b', 0]), vec![5, 0]),
        ("an empty name", asked(&named(b"", 80)), reply(4)),
        ("a name that is not UTF-8", asked(&named(b"w\xffb", 80)), reply(4)),
        ("a name with NUL", asked(&named(b"web\0", 80)), reply(4)),
        ("a name with a newline", asked(&named(b"web\r\nDial-Host: web", 80)), reply(4)),
        ("a name of 255 bytes", asked(&named(&[b'a'; 255], 80)), reply(4)),
        ("port 0 in the tailnet", asked(&named(b"web", 0)), reply(5)),
        ("port 0 outside", asked(&socks::request(1, "127.0.0.1", 0)), reply(5)),
    ];
    for (what, message, answer) in cases {
        assert_eq!(&counted(&daemon, what, || answer_to(message)), answer, "{what}: {}", daemon.output());
    }
    unharmed(&daemon);
}

#[test]
fn malformed_credentials_are_refused_as_rfc_1929_says_and_counted() {
    let scene = Scene::new();
    let builder = scene.daemon().env("TETHERD_SOCKS_USER", "app").env("TETHERD_SOCKS_PASSWORD", "correct horse");
    let daemon = start_ready(builder);
    let refused = vec![5, 2, 1, 0xff];
    let given = |credentials: &[u8]| [WITH_PASSWORD, credentials].concat();
    let long = [&[1, 255][..], &[b'a'; 255], &[255], &[b'b'; 255]].concat();
    let cases: &[(&str, Vec<u8>, Vec<u8>)] = &[
        ("no password", GREETING.to_vec(), vec![5, 0xff]),
        ("a wrong password", given(b"\x01\x03app\x05wrong"), refused.clone()),
        ("a password that begins right", given(b"\x01\x03app\x0ccorrect hors"), refused.clone()),
        ("an empty user", given(b"\x01\x00\x0dcorrect horse"), refused.clone()),
        ("an empty password", given(b"\x01\x03app\x00"), refused.clone()),
        ("both of 255 bytes", given(&long), refused.clone()),
        ("a user that is not UTF-8", given(b"\x01\x03a\xffp\x05wrong"), refused.clone()),
        ("another version", given(b"\x05\x03app\x0dcorrect horse"), refused),
        ("half a user", given(b"\x01\x03ap"), vec![5, 2]),
        ("half a password", given(b"\x01\x03app\x0dcorrect"), vec![5, 2]),
        ("a request in their place", given(b"\x05\x01\x00\x03\x03web\x00\x50"), vec![5, 2, 1, 0xff]),
    ];
    for (what, message, answer) in cases {
        assert_eq!(&counted(&daemon, what, || answer_to(message)), answer, "{what}");
    }
    socks::connect(SOCKS, "web", 9, Some(("app", "correct horse"))).expect_err("is refused by the target");
    assert!(!daemon.output().contains("horse") && !daemon.output().contains("panicked"), "{}", daemon.output());
}

#[test]
fn malformed_slow_clients_end_at_handshake_timeout_wherever_they_stop() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let daemon = start_ready(scene.daemon().env("TETHERD_HANDSHAKE_TIMEOUT", "1s"));
    let stages: &[&[u8]] = &[
        b"",
        &[5],
        &[5, 1],
        GREETING,
        &[5, 1, 0, 5, 1, 0],
        &[5, 1, 0, 5, 1, 0, 3, 9, b'w'],
        b"G",
        b"GET http://web/ HTTP/1.1\r\n",
        b"GET http://web/ HTTP/1.1\r\nHost: we",
        b"CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n",
    ];
    for stage in stages {
        let what = format!("{:?}", String::from_utf8_lossy(stage));
        let begun = Instant::now();
        counted(&daemon, &what, || {
            let mut stream = socks::open(SOCKS).expect("connects");
            stream.write_all(stage).expect("sent");
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(15), "{what}: {took:?}");
    }
    // A byte now and then buys no time.
    for stage in [&[5, 255][..], b"GET http://web/ HTTP/1.1\r\nX: "] {
        counted(&daemon, "a slow drip", || {
            let mut stream = socks::open(SOCKS).expect("connects");
            stream.write_all(stage).expect("sent");
            stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
            let begun = Instant::now();
            // Ends by the daemon's close, or by its reset of the drip that comes after that.
            while !stream.read(&mut [0; 64]).is_ok_and(|read| read == 0) && stream.write_all(&[7]).is_ok() {
                assert!(begun.elapsed() < Duration::from_secs(15), "it lives on");
            }
        });
    }
    unharmed(&daemon);
}

#[test]
fn malformed_ends_by_a_reset_at_each_stage_are_counted_and_harm_nobody() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let daemon = scene.ready();
    let stages: &[&[u8]] = &[&[5], GREETING, &[5, 1, 0, 5, 1, 0, 3, 9, b'w'], b"GET http://we"];
    for stage in stages {
        let what = format!("a reset after {:?}", String::from_utf8_lossy(stage));
        counted(&daemon, &what, || {
            let mut stream: TcpStream = socks::open(SOCKS).expect("connects");
            stream.write_all(stage).expect("sent");
            setsockopt(&stream, Linger, &linger { l_onoff: 1, l_linger: 0 }).expect("an end by reset");
        });
    }
    unharmed(&daemon);
}
