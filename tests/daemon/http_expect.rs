//! Tests `Expect: 100-continue`, and what is said before a body was read.
//!
//! It is the target's to answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use testbed::daemon::SOCKS;
use testbed::delay;
use testbed::http::read_head;
use testbed::reset::reset_at_close;
use testbed::server::Server;

use crate::malformed::unharmed;
use crate::scene::{Scene, start_ready};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const NO: &[u8] = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";
const LARGE: &[u8] = b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge";
const BODY: &[u8] = b"body";

/// A target that reads each request's head and does `then` with the connection.
fn target(then: impl Fn(&mut TcpStream) + Send + Sync + Clone + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let then = then.clone();
            thread::spawn(move || {
                while read_head_of_request(&mut stream) {
                    then(&mut stream);
                }
            });
        }
    });
    port
}

fn read_head_of_request(stream: &mut TcpStream) -> bool {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_exact(&mut byte).is_err() {
            return false;
        }
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).to_ascii_lowercase().contains("expect: 100-continue")
}

fn ask(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(SOCKS).expect("connects");
    let head =
        format!("POST http://web:{port}/ HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream
}

fn silent_for(stream: &mut TcpStream, time: Duration) -> bool {
    stream.set_read_timeout(Some(time)).expect("a timeout");
    let read = stream.peek(&mut [0]);
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    matches!(read, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

#[test]
fn http_expect_is_the_targets_to_answer() {
    const THINKS: Duration = Duration::from_millis(600);
    let scene = Scene::new();
    let _web = Server::http(80).expect("server");
    let willing = target(|stream| {
        thread::sleep(THINKS);
        let _ = stream.write_all(CONTINUE);
        let _ = stream.read_exact(&mut [0; 4]);
        let _ = stream.write_all(OK);
    });
    let unwilling = target(|stream| {
        thread::sleep(THINKS);
        let _ = stream.write_all(NO);
    });
    let unaware = target(|stream| {
        let _ = stream.read_exact(&mut [0; 4]);
        let _ = stream.write_all(OK);
    });
    let daemon = scene.ready();
    let mut stream = ask(willing);
    assert!(silent_for(&mut stream, THINKS / 2), "the target has said nothing yet");
    assert_eq!(read_head(&mut stream).expect("answers").status, 100);
    stream.write_all(BODY).expect("sent");
    assert_eq!(read_head(&mut stream).expect("answers").status, 200);

    let mut stream = ask(unwilling);
    let head = read_head(&mut stream).expect("answers");
    assert_eq!((head.status, head.header("connection")), (401, Some("close")), "and no 100 before");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("closes in order");
    assert_eq!(rest, "no");

    // A client gives up waiting after a second, as curl and Go do; this one waits for ever, and is told by then.
    let mut stream = ask(unaware);
    let asked = Instant::now();
    assert_eq!(read_head(&mut stream).expect("answers").status, 100);
    assert!(asked.elapsed() < Duration::from_secs(5));
    stream.write_all(BODY).expect("sent");
    assert_eq!(read_head(&mut stream).expect("answers").status, 200);
    let mut stream = ask(unaware);
    stream.write_all(BODY).expect("sent without waiting");
    let first = read_head(&mut stream).expect("answers").status;
    assert!(first == 200 || (first == 100 && read_head(&mut stream).expect("answers").status == 200), "{first}");
    unharmed(&daemon);
}

/// A target that answers a head, and closes or resets.
fn early(resets: bool) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                read_head_of_request(&mut stream);
                let _ = stream.write_all(LARGE);
                if resets {
                    thread::sleep(Duration::from_millis(20));
                    let _ = reset_at_close(&stream);
                }
            });
        }
    });
    address
}

#[test]
fn http_early_answers_get_through_from_near_and_far() {
    let scene = Scene::new();
    let _web = Server::http(80).expect("server");
    let mut targets = Vec::new();
    for round_trip in [0, 50, 300] {
        for resets in [false, true] {
            let server = early(resets);
            let round = Duration::from_millis(round_trip);
            let address = if round_trip == 0 { server } else { delay::start(server, round).expect("relays") };
            targets.push((round_trip, resets, address.port()));
        }
    }
    let daemon = scene.ready();
    let mut lost = Vec::new();
    for (round_trip, resets, port) in targets {
        for (host, size) in [("web", 100), ("web", 3_000_000), ("127.0.0.1", 100), ("127.0.0.1", 3_000_000)] {
            let heard: Vec<_> = (0..3).map(|_| upload(host, port, size)).collect();
            let bad = heard.iter().filter(|heard| !(heard.contains(" 413 ") && heard.ends_with("large"))).count();
            if bad > 0 {
                lost.push(format!("{round_trip} ms, resets {resets}, {host}, {size} bytes: {bad} of 3: {heard:?}"));
            }
        }
    }
    assert!(lost.is_empty(), "{}", lost.join("\n"));
    unharmed(&daemon);
}

/// Sends a request with a body of this size while it reads; returns all it heard.
fn upload(host: &str, port: u16, size: usize) -> String {
    let mut stream = TcpStream::connect(SOCKS).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut sends = stream.try_clone().expect("a second handle");
    let head = format!(
        "POST http://{host}:{port}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
    );
    let sending = thread::spawn(move || sends.write_all(&[head.as_bytes(), &vec![b'a'; size]].concat()));
    let mut heard = Vec::new();
    let over = stream.read_to_end(&mut heard);
    let _ = stream.shutdown(std::net::Shutdown::Both);
    let sent = sending.join().expect("sends");
    let heard = String::from_utf8_lossy(&heard).into_owned();
    if over.is_err() { format!("{heard} then {over:?} {sent:?}") } else { heard }
}

#[test]
fn http_refusals_of_requests_with_a_body_close_in_order() {
    let scene = Scene::new();
    let _web = Server::http(80).expect("server");
    let builder = scene.daemon().env("TETHERD_SOCKS_USER", "app").env("TETHERD_SOCKS_PASSWORD", "correct horse");
    let daemon = start_ready(builder);
    let auth = "Proxy-Authorization: Basic YXBwOmNvcnJlY3QgaG9yc2U=\r\n";
    for size in [10, 3_000_000] {
        for (what, target, headers, status) in [
            ("no password", "web", "", 407),
            ("metadata", "169.254.169.254", auth, 403),
            ("nobody listens", "web:9", auth, 502),
        ] {
            let head =
                format!("POST http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{headers}Content-Length: {size}\r\n\r\n");
            let mut stream = TcpStream::connect(SOCKS).expect("connects");
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
            // All of it before the answer is read, as many programs do.
            let sent = stream.write_all(&[head.as_bytes(), &vec![b'a'; size]].concat());
            assert!(sent.is_ok(), "{what}, {size} bytes: {sent:?}");
            let head = read_head(&mut stream).unwrap_or_else(|error| panic!("{what}, {size} bytes: {error:#}"));
            assert_eq!((head.status, head.header("connection")), (status, Some("close")), "{what}, {size} bytes");
            stream.read_to_end(&mut Vec::new()).expect("closes in order");
        }
    }
    assert!(!daemon.output().contains("panicked"));
}
