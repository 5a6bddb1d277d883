//! Request lines as programs send them, though no grammar allows them.
//!
//! Bytes that a URI must not have reach the target as sent or percent-encoded; `OPTIONS *` can be asked for.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use testbed::daemon::SOCKS;
use testbed::http::read_head;
use testbed::server::Server;

use crate::http_conformance::{Row, assert_rows_with, row};
use crate::malformed::{answer_to, unharmed};
use crate::scene::Scene;

const OK: &[&str] = &["200 OK"];
const QUOTED: &str = "GET http://web:90/q?query=up{job=\"a\"} HTTP/1.1\r\nHost: web:90\r\n\r\n";
const ARRIVES: &str = "GET /q?query=up{job=%22a%22} HTTP/1.1\r\n";

fn line(what: &'static str, line: &str, sees: &'static [&'static str], hears: &'static [&'static str]) -> Row {
    row(what, &format!("{line} HTTP/1.1\r\nHost: web:90\r\n\r\n"), sees, hears)
}

#[test]
fn http_conformance_of_request_lines() {
    assert_rows_with(
        &[],
        &[
            line(
                "quotes of PromQL",
                "GET http://web:90/q?query=up{job=\"a\"}",
                &["query=up{job=%22a%22} HTTP/1.1"],
                OK,
            ),
            line("angles in a query", "GET http://web:90/?a<b>c", &["GET /?a%3Cb%3Ec HTTP/1.1"], OK),
            line("angles in a path", "GET http://web:90/a<b>c", &["GET /a%3Cb%3Ec HTTP/1.1"], OK),
            line("a backtick in a path", "GET http://web:90/a`b", &["GET /a%60b HTTP/1.1"], OK),
            line("a quote in a path", "GET http://web:90/a\"b", &["GET /a%22b HTTP/1.1"], OK),
            line("UTF-8 in a path", "GET http://web:90/\u{fc}", &["GET /%C3%BC HTTP/1.1"], OK),
            line("UTF-8 in a query", "GET http://web:90?\u{20ac}", &["GET /?%E2%82%AC HTTP/1.1"], OK),
            line("what is encoded already", "GET http://web:90/%22%zz", &["GET /%22%zz HTTP/1.1"], OK),
            line(
                "braces, pipes, carets, backslashes",
                "GET http://web:90/{a|b^c\\d}[e]?{a|b^c\\d}",
                &["GET /{a|b^c\\d}[e]?{a|b^c\\d} HTTP/1.1"],
                OK,
            ),
            line("a fragment", "GET http://web:90/a#b", &["GET /a HTTP/1.1"], OK),
            line("a quote in a password", "GET http://a:\"@web:90/a", &["GET /a HTTP/1.1", "!%22"], OK),
            line("a quote in a host", "GET http://w\"eb:90/", &[], &["400 "]),
            line("UTF-8 in a host", "GET http://w\u{fc}b:90/", &[], &["400 "]),
            line("a blank in a path", "GET http://web:90/a b", &[], &["400 "]),
            line(
                "OPTIONS of a whole server",
                "OPTIONS http://web:90",
                &["OPTIONS * HTTP/1.1\r\n", "ost: web:90\r\n"],
                OK,
            ),
            line("OPTIONS of a path", "OPTIONS http://web:90/", &["OPTIONS / HTTP/1.1\r\n"], OK),
            line("OPTIONS of a query", "OPTIONS http://web:90?a", &["OPTIONS /?a HTTP/1.1\r\n"], OK),
            line("GET of an empty path", "GET http://web:90", &["GET / HTTP/1.1\r\n"], OK),
            line("OPTIONS of the proxy itself", "OPTIONS *", &[], &["400 "]),
            line("the scheme of a WebSocket", "GET ws://web:90/a", &["GET /a HTTP/1.1\r\n"], OK),
            line("the scheme of a secure WebSocket", "GET wss://web:90/a", &[], &["400 ", "CONNECT"]),
            row("empty lines first", &format!("\r\n\r\n\n{QUOTED}"), &["%22a%22}"], OK),
            row("bare line feeds", &QUOTED.replace("\r\n", "\n"), &["%22a%22}"], OK),
        ],
    );
}

#[test]
fn http_without_via() {
    let get = "GET http://web:90/ HTTP/1.1\r\nHost: web:90\r\n";
    assert_rows_with(
        &[("TETHERD_VIA", "false")],
        &[
            row("no Via", &format!("{get}\r\n"), &["GET / HTTP/1.1", "!ia: "], &["200 OK", "!ia: "]),
            row("another's Via", &format!("{get}Via: 1.1 first\r\n\r\n"), &["ia: 1.1 first\r\n", "!tetherd"], OK),
        ],
    );
}

/// A target on port 90 that answers each request, and keeps all of them.
fn recorder() -> Arc<Mutex<Vec<String>>> {
    let listener = TcpListener::bind(("127.0.0.1", 90)).expect("a port");
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let record = Arc::clone(&seen);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let record = Arc::clone(&record);
            thread::spawn(move || {
                while let Some(request) = read_request(&mut stream) {
                    record.lock().expect("not poisoned").push(request);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                }
            });
        }
    });
    seen
}

/// Reads one request, whole.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length: Option<usize> =
            head.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
        let is_whole = match length {
            Some(length) => bytes.len() == head.len() + 4 + length,
            None => !head.contains("chunked") || body.ends_with("0\r\n\r\n"),
        };
        if is_whole {
            return Some(text);
        }
    }
}

/// How a client sends its bytes.
#[derive(Clone, Copy, Debug)]
enum Pace {
    AtOnce,
    ByteByByte,
}

fn sent(message: &[u8], pace: Pace) -> Vec<u8> {
    let Pace::ByteByByte = pace else { return answer_to(message) };
    let mut stream = TcpStream::connect(SOCKS).expect("connects");
    stream.set_nodelay(true).expect("set");
    for byte in message {
        stream.write_all(&[*byte]).expect("sent");
        thread::sleep(Duration::from_millis(1));
    }
    stream.shutdown(Shutdown::Write).expect("half-closes");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("closes in order");
    answer
}

#[test]
fn http_request_lines_are_encoded_and_bodies_are_not() {
    let scene = Scene::new();
    let _web = Server::http(80).expect("server");
    let seen = recorder();
    let daemon = scene.ready();
    let body = "get http://web:90/\"<>`\u{fc} http/1.1\r\n\r\n";
    let post = |headers: &str| format!("POST http://web:90/p HTTP/1.1\r\nHost: web:90\r\n{headers}\r\n");
    let with_length = format!("{}{body}", post(&format!("Content-Length: {}\r\n", body.len())));
    let chunked = post("Transfer-Encoding: chunked\r\n") + &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let latin = [b"GET http://web:90/\xfc?\xe9 HTTP/1.1\r\nHost: web:90\r\n\r\n".to_vec(), QUOTED.into()].concat();
    for pace in [Pace::AtOnce, Pace::ByteByByte] {
        let cases: [(&[u8], usize, &[&str]); 4] = [
            (&QUOTED.repeat(3).into_bytes(), 3, &[ARRIVES]),
            (&format!("{with_length}{QUOTED}").into_bytes(), 2, &[body, ARRIVES]),
            (chunked.as_bytes(), 1, if matches!(pace, Pace::AtOnce) { &[body] } else { &["chunked"] }),
            (&latin, 2, &["GET /%FC?%E9 HTTP/1.1\r\n", ARRIVES]),
        ];
        for (message, answers, arrives) in cases {
            seen.lock().expect("not poisoned").clear();
            let answer = String::from_utf8_lossy(&sent(message, pace)).into_owned();
            let brought = seen.lock().expect("not poisoned").concat();
            let what = format!("{pace:?} {:?}: {brought} {answer}", String::from_utf8_lossy(message));
            assert!(answer.matches("HTTP/1.1 200 OK").count() >= answers, "{what}");
            assert!(arrives.iter().all(|wanted| brought.contains(wanted)), "{what}");
        }
    }
    unharmed(&daemon);
}

#[test]
fn http_request_lines_of_a_kept_connection_are_all_encoded() {
    let scene = Scene::new();
    let _web = Server::http(80).expect("server");
    let seen = recorder();
    let daemon = scene.ready();
    let mut stream = TcpStream::connect(SOCKS).expect("connects");
    let refused = "GET http://169.254.169.254/\"a\" HTTP/1.1\r\nHost: a\r\n\r\n";
    let no_tunnel = "CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: a\r\n\r\n";
    let chunked =
        "POST http://web:90/ HTTP/1.1\r\nHost: web:90\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\"<\r\n0\r\n\r\n";
    for (request, status) in [
        (QUOTED, 200),
        (refused, 403),
        (QUOTED, 200),
        (&*format!("\r\n{QUOTED}"), 200),
        // Behind it nothing is changed any more.
        (chunked, 200),
        (no_tunnel, 403),
        (refused.replace('"', "%22").as_str(), 403),
    ] {
        stream.write_all(request.as_bytes()).expect("sent");
        let head = read_head(&mut stream).expect("answers");
        assert_eq!(head.status, status, "{request}");
        let length = head.header("content-length").and_then(|length| length.parse().ok()).expect("a length");
        stream.read_exact(&mut vec![0; length]).expect("the body");
    }
    drop(stream);
    assert_eq!(seen.lock().expect("not poisoned").concat().matches(ARRIVES).count(), 3);
    unharmed(&daemon);
}

/// What is sent with the end of a chunked body, the last of it later: hyper has read that it is the middle of a request.
#[test]
fn http_requests_behind_a_chunked_body_arrive_as_they_were_sent() {
    let scene = Scene::new();
    let _web = Server::http(80).expect("server");
    let seen = recorder();
    let daemon = scene.ready();
    let post = "POST http://web:90/ HTTP/1.1\r\nHost: web:90\r\n";
    let first = format!("{post}Transfer-Encoding: chunked\r\n\r\n2\r\n\"<\r\n0\r\n\r\n");
    for (ahead, later) in [
        (format!("{post}Content-Length: 11\r\nIf-None-Match: "), "x /\"abc\" y\r\n\r\nx /\"ab\" \"\"y"),
        (format!("{post}Content-Length: 12\r\nIf-None-Match: x /\"abc\" y\r\n\r\n"), "x /\"ab\" \"\"yz"),
    ] {
        let mut stream = TcpStream::connect(SOCKS).expect("connects");
        stream.write_all(format!("{first}{ahead}").as_bytes()).expect("sent");
        assert_eq!(read_head(&mut stream).expect("answers").status, 200, "{}", daemon.output());
        stream.read_exact(&mut [0; 2]).expect("the body");
        thread::sleep(Duration::from_millis(100));
        stream.write_all(later.as_bytes()).expect("sent");
        assert_eq!(read_head(&mut stream).expect("answers").status, 200, "{}", daemon.output());
        let last = seen.lock().expect("not poisoned").last().expect("a request").to_ascii_lowercase();
        assert!(last.contains("if-none-match: x /\"abc\" y\r\n") && !last.contains("%22"), "{last}");
        assert!(last.ends_with(later.rsplit("\r\n").next().expect("a body")), "{last}");
    }
    unharmed(&daemon);
}
