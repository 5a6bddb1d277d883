//! Clients without the password, or that say nothing, keep nobody out.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use testbed::daemon::{Builder, Daemon, SOCKS};
use testbed::http::read_head;
use testbed::server::Server;
use testbed::socks;
use testbed::wait::wait_until;

use crate::scene::{READY, Scene, start_ready};

pub const PASSWORD: &str = "correct horse";
/// `app:correct horse` and `app:wrong`, as Basic has them.
pub const RIGHT: &str = "YXBwOmNvcnJlY3QgaG9yc2U=";
const WRONG: &str = "YXBwOndyb25n";
pub const GREETING: &[u8] = &[5, 1, 2];
pub const WRONG_PASSWORD: &[u8] = b"\x05\x01\x02\x01\x03app\x05wrong";
const RIGHT_PASSWORD: &[u8] = b"\x05\x01\x02\x01\x03app\x0dcorrect horse";
/// For an honest client beside any number of others.
const SOON: Duration = Duration::from_secs(5);

pub fn with_password(scene: &Scene) -> Builder {
    scene.daemon().env("TETHERD_SOCKS_USER", "app").env("TETHERD_SOCKS_PASSWORD", PASSWORD)
}

fn get(credentials: Option<&str>) -> String {
    let header = credentials.map(|credentials| format!("Proxy-Authorization: Basic {credentials}\r\n"));
    format!("GET http://web/ HTTP/1.1\r\nHost: web\r\n{}\r\n", header.unwrap_or_default())
}

pub fn open_connections(daemon: &Daemon) -> u64 {
    let status = daemon.http_get("/status").expect("answers").body;
    let status: serde_json::Value = serde_json::from_slice(&status).expect("JSON");
    status["connections"]["open"].as_u64().expect("a number")
}

/// How long the daemon keeps a client of `proxy` that sends `steps` and then stays there.
pub fn kept(daemon: &Daemon, proxy: SocketAddr, steps: Steps) -> Duration {
    let begun = Instant::now();
    let mut stream = socks::open(proxy).expect("connects");
    for (pause, bytes) in steps {
        thread::sleep(Duration::from_millis(*pause));
        let _ = stream.write_all(bytes);
    }
    wait_until("the client is let go", READY, || (open_connections(daemon) == 0).then_some(())).expect("is let go");
    begun.elapsed()
}

/// What a client sends: pieces, each after a pause in milliseconds.
pub type Steps = &'static [(u64, &'static [u8])];

/// Late, where all of a handshake may take a second.
const LATE: u64 = 800;
const ASKS: &[u8] = b"GET http://web/ HTTP/1.1\r\nHost: web\r\n\r\n";
const GUESSES: &[u8] = b"GET http://web/ HTTP/1.1\r\nHost: web\r\nProxy-Authorization: Basic YXBwOndyb25n\r\n\r\n";

/// Handshakes that come to nothing where there is a password.
const WITH_PASSWORD: &[(&str, Steps)] = &[
    ("nothing", &[]),
    ("a late byte", &[(LATE, &[5])]),
    ("a late greeting", &[(LATE, GREETING)]),
    ("half a password", &[(LATE, b"\x05\x01\x02\x01\x03app\x05wr")]),
    ("a wrong password", &[(LATE, WRONG_PASSWORD)]),
    ("the right password and no request", &[(400, RIGHT_PASSWORD), (400, b"\x05\x01")]),
    ("a method that is not there", &[(LATE, &[5, 1, 9])]),
    ("garbage", &[(LATE, &[4, 1])]),
    ("a late letter", &[(LATE, b"G")]),
    ("half a head", &[(LATE, b"GET http://web/ HTTP/1.1\r\nHost: we")]),
    ("a drip", &[(400, b"GET http://web/ HTTP/1.1\r\nA: "), (200, b"b"), (200, b"b"), (150, b"b")]),
    ("a malformed head", &[(LATE, b"GET \0\r\n\r\n")]),
    ("a request without the password", &[(LATE, ASKS)]),
    ("a request with a wrong one", &[(LATE, GUESSES)]),
    ("two of them", &[(400, GUESSES), (400, GUESSES)]),
];

/// Handshakes that come to nothing where there is none.
const WITHOUT: &[(&str, Steps)] = &[
    ("a late byte", &[(LATE, &[5])]),
    ("a late greeting", &[(LATE, &[5, 1, 0])]),
    ("half a request", &[(400, &[5, 1, 0]), (400, &[5, 1, 0, 3, 9, b'w'])]),
    ("a request of another version", &[(LATE, &[5, 1, 0, 4, 1, 0, 1])]),
    ("garbage", &[(LATE, &[4, 1])]),
    ("half a head", &[(LATE, b"GET http://web/ HTTP/1.1\r\nHost: we")]),
];

#[test]
fn all_of_a_handshake_has_one_deadline_whatever_a_client_sends_and_when() {
    let scene = Scene::new();
    let open = scene.daemon().env("TETHERD_SOCKS_LISTEN", "0.0.0.0:1055").env("TETHERD_ALLOW_OPEN_PROXY", "true");
    let mut longer = Vec::new();
    for (builder, rows) in [(with_password(&scene), WITH_PASSWORD), (scene.daemon(), WITHOUT), (open, WITHOUT)] {
        let daemon = start_ready(builder.env("TETHERD_HANDSHAKE_TIMEOUT", "1s"));
        for (what, steps) in rows {
            let kept = kept(&daemon, SOCKS, steps);
            if kept > Duration::from_millis(1_700) {
                longer.push((what, kept));
            }
        }
    }
    assert!(longer.is_empty(), "kept for longer than 1 s: {longer:?}");
}

#[test]
fn a_connection_ends_with_its_second_407() {
    let scene = Scene::new();
    let _daemon = start_ready(with_password(&scene));
    for credentials in [Some(WRONG), None] {
        let mut stream = socks::open(SOCKS).expect("connects");
        let mut answered = 0;
        for _ in 0..400 {
            if stream.write_all(get(credentials).as_bytes()).is_err() {
                break;
            }
            let Ok(head) = read_head(&mut stream) else { break };
            assert_eq!(head.status, 407);
            answered += 1;
            let length = head.header("content-length").expect("has a length").parse().expect("a number");
            stream.read_exact(&mut vec![0; length]).expect("the reason");
        }
        assert_eq!(answered, 2, "{credentials:?}");
    }
    let _server = Server::http(80).expect("server");
    let mut stream = socks::open(SOCKS).expect("connects");
    for (credentials, status) in [(None, 407), (Some(RIGHT), 200), (Some(RIGHT), 200), (Some(WRONG), 407)] {
        stream.write_all(get(credentials).as_bytes()).expect("sent");
        let head = read_head(&mut stream).expect("answers");
        assert_eq!(head.status, status, "{credentials:?}");
        let length = head.header("content-length").expect("has a length").parse().expect("a number");
        stream.read_exact(&mut vec![0; length]).expect("a body");
    }
}

/// How long it takes until a guess is answered.
fn guess(message: &[u8]) -> Duration {
    let begun = Instant::now();
    let mut stream = socks::open(SOCKS).expect("connects");
    stream.write_all(message).expect("sent");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("answers");
    let refused: &[&[u8]] = &[&[5, 2, 1, 0xff], b"HTTP"];
    assert!(refused.contains(&&answer[..]), "{answer:?}");
    begun.elapsed()
}

#[test]
fn guesses_are_answered_after_a_growing_pause_and_the_right_password_at_once() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let _daemon = start_ready(with_password(&scene));
    let wrong = get(Some(WRONG));
    let guesses = [WRONG_PASSWORD, wrong.as_bytes(), WRONG_PASSWORD, wrong.as_bytes(), WRONG_PASSWORD];
    let took: Vec<_> = guesses.iter().map(|message| guess(message).as_millis()).collect();
    assert!(took[0] < 300 && took[4] >= 1_500 && took.is_sorted(), "{took:?}");
    let begun = Instant::now();
    socks::connect(SOCKS, "web", 80, Some(("app", PASSWORD))).expect("is let in");
    // The first request without a password asks for the method, and is no guess.
    assert!(guess(get(None).as_bytes()) < Duration::from_millis(500));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

/// Connects with the right password, by SOCKS5 and by HTTP; how long each takes.
pub fn honest() -> [Duration; 2] {
    let begun = Instant::now();
    socks::connect(SOCKS, "web", 80, Some(("app", PASSWORD))).expect("is let in by SOCKS5");
    let by_socks = begun.elapsed();
    let mut stream = socks::open(SOCKS).expect("connects");
    stream.write_all(get(Some(RIGHT)).as_bytes()).expect("sent");
    assert_eq!(read_head(&mut stream).expect("is let in by HTTP").status, 200);
    [by_socks, begun.elapsed() - by_socks]
}

#[test]
fn strangers_without_the_password_keep_nobody_out() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let builder = with_password(&scene).env("TETHERD_MAX_CONNECTIONS", "24").env("TETHERD_HALF_CLOSE_TIMEOUT", "1s");
    let _daemon = start_ready(builder.env("TETHERD_HANDSHAKE_TIMEOUT", "30s"));
    let (no_password, wrong) = (get(None), get(Some(WRONG)));
    let rows: &[(&str, usize, &[u8])] = &[
        ("silent", 24, b""),
        ("half a greeting", 24, &[5]),
        ("no password after the method", 24, GREETING),
        ("half a head", 24, b"GET http://web/ HTTP/1.1\r\nHost: we"),
        ("told the method, and waiting", 24, no_password.as_bytes()),
        ("guessing by SOCKS5", 24, WRONG_PASSWORD),
        ("guessing by HTTP", 24, wrong.as_bytes()),
        ("silent, and many", 400, b""),
        ("guessing, and many", 400, WRONG_PASSWORD),
    ];
    for (what, number, message) in rows {
        let strangers: Vec<TcpStream> = (0..*number)
            .map(|_| {
                let mut stream = socks::open(SOCKS).expect("connects");
                stream.write_all(message).expect("sent");
                stream
            })
            .collect();
        let waited = honest();
        println!("{what}: {waited:?}");
        assert!(waited.iter().all(|waited| *waited < SOON), "{what}: {waited:?}");
        drop(strangers);
    }
}

#[test]
fn strangers_end_nobody_who_was_let_in_and_who_is_let_in_waits_for_his_turn() {
    let scene = Scene::new();
    let _echo = Server::echo(7).expect("server");
    let builder = with_password(&scene).env("TETHERD_MAX_CONNECTIONS", "3").env("TETHERD_HALF_CLOSE_TIMEOUT", "1s");
    let _daemon = start_ready(builder);
    let connect = || socks::connect(SOCKS, "web", 7, Some(("app", PASSWORD)));
    let mut let_in: Vec<_> = (0..3).map(|_| connect().expect("is let in")).collect();
    let _strangers: Vec<_> = (0..100).map(|_| socks::open(SOCKS).expect("connects")).collect();
    let next = thread::scope(|scope| {
        let next = scope.spawn(|| connect().expect("is let in in the end"));
        thread::sleep(Duration::from_secs(2));
        assert!(!next.is_finished(), "there were three");
        for stream in &mut let_in {
            stream.write_all(b"here").expect("sent");
            stream.read_exact(&mut [0; 4]).expect("lives on");
        }
        drop(let_in.pop());
        next.join().expect("a client")
    });
    drop(next);
}

#[test]
fn a_source_that_guesses_gets_one_line_a_minute_in_the_log_and_each_guess_is_counted() {
    let scene = Scene::new();
    let daemon = start_ready(with_password(&scene));
    let guessers: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = socks::open(SOCKS).expect("connects");
            stream.write_all(WRONG_PASSWORD).expect("sent");
            stream
        })
        .collect();
    let refused = || {
        let metrics = daemon.http_get("/metrics").expect("answers").text();
        let line = metrics.lines().find_map(|line| line.strip_prefix("tetherd_refusals_total{by=\"authentication\"} "));
        line.expect("is there").parse::<u64>().expect("a number")
    };
    wait_until("all are counted", READY, || (refused() == 50).then_some(())).expect("are counted");
    drop(guessers);
    let lines: Vec<_> = daemon.stderr().lines().filter(|line| line.contains("127.0.0.1:")).map(str::to_owned).collect();
    let lines: Vec<_> = lines.iter().filter(|line| line.contains("connection not made")).collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
}
