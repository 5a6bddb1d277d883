//! Tests malformed HTTP requests, by mistake or on purpose.
//!
//! Each gets an honest status or a close, is counted, harms nobody, and smuggles nothing past the proxy.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use testbed::daemon::SOCKS;
use testbed::names::NoNames;
use testbed::server::Server;
use testbed::socks;

use crate::malformed::{answer_to, counted, counts, unharmed};
use crate::scene::Scene;

/// Status of the only answer; 0 for a close without one.
fn status_of(answer: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(answer);
    assert!(text.matches("HTTP/1.1 ").count() <= 1, "one answer at most: {text}");
    text.split(' ').nth(1).map_or(0, |code| code.parse().expect("a status"))
}

#[test]
fn malformed_http_gets_an_honest_status_and_is_counted() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let _names = NoNames::start().expect("a name server");
    let daemon = scene.ready();
    let get = |headers: &str| format!("GET http://web/ HTTP/1.1\r\nHost: web\r\n{headers}\r\n");
    let post = |version: &str, headers: &str| format!("POST http://web/ HTTP/{version}\r\nHost: web\r\n{headers}\r\n");
    let many: String = (0..200).map(|number| format!("X-{number}: 1\r\n")).collect();
    let long_name = format!("{}.tail.test", "a".repeat(290));
    let cases: &[(&str, String, u16)] = &[
        ("CONNECT without a port", "CONNECT web HTTP/1.1\r\n\r\n".into(), 400),
        ("CONNECT to port 99999", "CONNECT web:99999 HTTP/1.1\r\n\r\n".into(), 400),
        ("CONNECT to a path", "CONNECT /x HTTP/1.1\r\n\r\n".into(), 400),
        ("CONNECT to port 0", "CONNECT web:0 HTTP/1.1\r\nHost: web:0\r\n\r\n".into(), 502),
        ("CONNECT to a name of 300 bytes", format!("CONNECT {long_name}:80 HTTP/1.1\r\n\r\n"), 400),
        ("a request to a name of 300 bytes", format!("GET http://{long_name}/ HTTP/1.1\r\n\r\n"), 400),
        ("origin-form", "GET / HTTP/1.1\r\nHost: web\r\n\r\n".into(), 400),
        ("asterisk-form", "OPTIONS * HTTP/1.1\r\nHost: web\r\n\r\n".into(), 400),
        ("https in absolute-form", "GET https://web/ HTTP/1.1\r\nHost: web\r\n\r\n".into(), 400),
        ("no host", "GET http:///x HTTP/1.1\r\n\r\n".into(), 400),
        ("no port after the colon's letters", "GET http://web:x/ HTTP/1.1\r\n\r\n".into(), 400),
        ("no version", "GET http://web/\r\n\r\n".into(), 400),
        ("another version", "GET http://web/ HTTP/3.0\r\n\r\n".into(), 400),
        ("NUL in the request line", "GET http://web/\0 HTTP/1.1\r\n\r\n".into(), 400),
        ("no colon in a header", get("Nonsense\r\n"), 400),
        ("a space before the colon", get("Content-Length : 4\r\n"), 400),
        ("a header that is too large", get(&format!("X: {}\r\n", "x".repeat(100_000))), 431),
        ("too many headers", get(&many), 431),
        ("a length that is none", post("1.1", "Content-Length: four\r\n"), 400),
        ("a negative length", post("1.1", "Content-Length: -4\r\n"), 400),
        ("two lengths", post("1.1", "Content-Length: 4\r\nContent-Length: 5\r\n"), 400),
        ("a length twice in one header", post("1.1", "Content-Length: 4, 5\r\n"), 400),
        ("chunks that do not end it", post("1.1", "Transfer-Encoding: chunked, gzip\r\n"), 400),
        ("chunks in HTTP/1.0", post("1.0", "Transfer-Encoding: chunked\r\n"), 400),
        ("half a request line", "GET http://we".into(), 0),
        ("half a head", "GET http://web/ HTTP/1.1\r\nHost".into(), 0),
    ];
    for (what, message, code) in cases {
        let answer = counted(&daemon, what, || answer_to(message.as_bytes()));
        assert_eq!(status_of(&answer), *code, "{what}: {}", String::from_utf8_lossy(&answer));
    }
    unharmed(&daemon);
}

/// A target that keeps what each connection brings, and answers once a request's last line is in.
fn recorder(port: u16) -> Arc<Mutex<Vec<String>>> {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let record = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let index = {
                let mut seen = record.lock().expect("not poisoned");
                seen.push(String::new());
                seen.len() - 1
            };
            let record = Arc::clone(&record);
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    let text = String::from_utf8_lossy(&buffer[..read]).to_ascii_lowercase();
                    record.lock().expect("not poisoned")[index].push_str(&text);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                }
            });
        }
    });
    seen
}

#[test]
fn malformed_http_smuggles_no_request_past_the_proxy() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let seen = recorder(90);
    let daemon = scene.ready();
    let hidden = "GET http://web:90/hidden HTTP/1.1\r\nHost: web:90\r\n\r\n";
    for headers in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}", 5 + hidden.len()),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n\r\n0\r\n\r\n{hidden}", 5 + hidden.len()),
        format!("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n{hidden}"),
        format!("Content-Length: 3\r\nConnection: Content-Length\r\n\r\nabc{hidden}"),
    ] {
        answer_to(format!("POST http://web:90/seen HTTP/1.1\r\nHost: other\r\n{headers}").as_bytes());
    }
    let seen = seen.lock().expect("not poisoned");
    assert!(!seen.is_empty());
    for brought in seen.iter() {
        for request in brought.split("post /seen").skip(1) {
            let head = request.split("\r\n\r\n").next().unwrap_or_default();
            let lengths = head.matches("content-length:").count() + head.matches("transfer-encoding:").count();
            assert!(lengths == 1, "one length and no other: {brought}");
            assert!(head.contains("host: web:90") && !head.contains("other"), "{brought}");
        }
        // What came behind the body is a request of its own, which the proxy has read as such.
        assert_eq!(brought.matches("/hidden").count(), brought.matches("via: 1.1 tetherd").count() / 2, "{brought}");
    }
    unharmed(&daemon);
}

#[test]
fn malformed_http_bytes_behind_connect_reach_the_target_in_order() {
    let scene = Scene::new();
    let _servers = (Server::http(80).expect("server"), Server::echo(7).expect("server"));
    let daemon = scene.ready();
    let failed = counts(&daemon).1;
    let mut stream: TcpStream = socks::open(SOCKS).expect("connects");
    let early: Vec<u8> = (0..50_000_u32).map(|number| (number % 251) as u8).collect();
    stream.write_all(&[b"CONNECT web:7 HTTP/1.1\r\nHost: web:7\r\n\r\n", &early[..]].concat()).expect("sent");
    assert_eq!(testbed::http::read_head(&mut stream).expect("answers").status, 200);
    let mut back = vec![0; early.len()];
    stream.read_exact(&mut back).expect("comes back");
    assert!(back == early);
    drop(stream);
    // A body for CONNECT has no meaning (RFC 9110, section 9.3.6): it is what the tunnel carries first.
    let answer =
        answer_to(b"CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\nContent-Length: 5\r\n\r\nGET / HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(counts(&daemon).1, failed);
    unharmed(&daemon);
}
