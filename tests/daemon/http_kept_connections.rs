//! Tests requests over kept (keep-alive) connections to HTTP targets.
//!
//! It is about what becomes of a request when such a connection ends.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use testbed::daemon::SOCKS;
use testbed::http::read_head;

use crate::scene::Scene;

/// Answers each connection's first request and closes it without a word, as servers do with idle ones.
fn closes_after_each_answer() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = read_head(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    port
}

#[test]
fn a_target_that_closes_a_kept_connection_costs_no_request() {
    let scene = Scene::new();
    let port = closes_after_each_answer();
    let _daemon = scene.ready();
    let mut stream = TcpStream::connect(SOCKS).expect("connects");
    for number in 0..100 {
        let request = format!("GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        assert_eq!(read_head(&mut stream).expect("answers").status, 200, "request {number}");
        stream.read_exact(&mut [0; 2]).expect("the body");
    }
}

/// The first lines of all requests so far.
type Asked = Arc<Mutex<Vec<String>>>;

/// Answers the first request of each connection and reads the head of the second, to which it says `last` and ends.
fn ends_at_the_second_request(last: &'static [u8]) -> (u16, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked = Asked::default();
    let heard = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            for answer in [&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..], last] {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read_exact(&mut byte).is_err() {
                        break;
                    }
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                heard.lock().expect("unpoisoned").extend(head.lines().next().map(str::to_owned));
                let _ = stream.write_all(answer);
            }
        }
    });
    (port, asked)
}

/// What becomes of a second request, and how often its target saw it.
fn second(method: &str, body: &str, last: &'static [u8]) -> (u16, usize) {
    let (port, asked) = ends_at_the_second_request(last);
    let mut stream = TcpStream::connect(SOCKS).expect("connects");
    write!(stream, "GET http://127.0.0.1:{port}/1 HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    assert_eq!(read_head(&mut stream).expect("answers").status, 200);
    stream.read_exact(&mut [0; 2]).expect("the body");
    let length = body.len();
    write!(stream, "{method} http://127.0.0.1:{port}/2 HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
        .expect("sent");
    let status = read_head(&mut stream).expect("answers").status;
    let asked = asked.lock().expect("unpoisoned");
    (status, asked.iter().filter(|line| **line == format!("{method} /2 HTTP/1.1")).count())
}

#[test]
fn a_request_goes_out_again_only_where_that_does_no_harm() {
    let scene = Scene::new();
    let _daemon = scene.ready();
    assert_eq!(second("GET", "", b""), (200, 2));
    assert_eq!(second("DELETE", "", b""), (200, 2));
    assert_eq!(second("POST", "", b""), (502, 1), "it may have been done");
    assert_eq!(second("PUT", "body", b""), (502, 1), "its body is gone");
    assert_eq!(second("GET", "", b"nonsense\r\n\r\n"), (502, 1), "it was answered");
}
