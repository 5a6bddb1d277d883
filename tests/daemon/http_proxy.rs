//! Tests the HTTP proxy on the listener of SOCKS5: CONNECT, absolute-form requests.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Output};

use testbed::daemon::SOCKS;
use testbed::http::read_head;
use testbed::names::NoNames;
use testbed::server::{PAGE, Server, SlowAnswer, pattern};

use crate::scene::{Scene, start_ready};

fn curl(arguments: &[&str]) -> Output {
    Command::new("curl").args(["--silent", "--show-error", "--max-time", "30"]).args(arguments).output().expect("curl")
}

/// Sends `request` as it stands and returns everything that comes back.
fn exchange(request: &str) -> String {
    let mut stream = TcpStream::connect(SOCKS).expect("connects");
    stream.write_all(request.as_bytes()).expect("sent");
    stream.shutdown(Shutdown::Write).expect("half-closed");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answers");
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(answer)
}

#[test]
fn http_connect_and_absolute_form_reach_the_tailnet_by_name() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let _daemon = scene.ready();
    for how in [&["--proxytunnel"][..], &[]] {
        let output = curl(&[how, &["--proxy", "http://127.0.0.1:1055", "http://web/"]].concat());
        assert_eq!(String::from_utf8_lossy(&output.stdout), PAGE, "{how:?} {output:?}");
    }
}

#[test]
fn http_bodies_stream_whole_in_both_directions() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let _daemon = scene.ready();
    let output = curl(&["--proxy", "http://127.0.0.1:1055", "http://web/bytes/3000000", "http://web/bytes/5"]);
    assert!(output.stdout == [pattern(3_000_000), pattern(5)].concat(), "{} bytes", output.stdout.len());
    let mut stream = TcpStream::connect(SOCKS).expect("connects");
    stream.write_all(b"CONNECT web:7 HTTP/1.1\r\nHost: web:7\r\n\r\n").expect("sent");
    assert_eq!(read_head(&mut stream).expect("answers").status, 502, "nobody listens there yet");
    let _echo = Server::echo(7).expect("server");
    stream.write_all(b"CONNECT web:7 HTTP/1.1\r\nHost: web:7\r\n\r\nearly").expect("sent on the same connection");
    let mut answer = Vec::new();
    while !answer.ends_with(b"early") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("answers");
        answer.push(byte[0]);
    }
    assert!(String::from_utf8_lossy(&answer).contains("200 Connection established"));
}

#[test]
fn http_failures_have_honest_statuses_and_a_line_that_says_why() {
    let scene = Scene::new();
    let _hole = Server::black_hole(82).expect("black hole");
    let _names = NoNames::start().expect("a name server");
    let _daemon = start_ready(scene.daemon().env("TETHERD_CONNECT_TIMEOUT", "2s"));
    for (target, code, reason) in [
        ("169.254.169.254:80", "403", "metadata"),
        ("web:9", "502", "refused"),
        ("nobody.tail.test:80", "502", "unknown"),
        ("web:82", "504", "timed out"),
    ] {
        for request in [
            format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"),
            format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n"),
        ] {
            let answer = exchange(&request);
            assert_eq!(status(&answer), code, "{request}{answer}");
            assert!(answer.lines().last().is_some_and(|line| line.contains(reason)), "{request}{answer}");
        }
    }
    for request in
        ["GET / HTTP/1.1\r\nHost: web\r\n\r\n", "GET https://web/ HTTP/1.1\r\n\r\n", "CONNECT web HTTP/1.1\r\n\r\n"]
    {
        assert_eq!(status(&exchange(request)), "400", "{request}");
    }
}

#[test]
fn http_asks_for_user_and_password_where_they_are_set() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let builder = scene.daemon().env("TETHERD_SOCKS_USER", "app").env("TETHERD_SOCKS_PASSWORD", "correct horse");
    let _daemon = start_ready(builder);
    let try_as = |user: &str| {
        let proxy = ["--proxy", "http://127.0.0.1:1055", "--proxy-user", user, "--output", "/dev/null"];
        let output = curl(&[&proxy[..], &["--write-out", "%{http_code}", "http://web/"]].concat());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(try_as("app:correct horse"), "200");
    assert_eq!(try_as("app:wrong"), "407");
    let answer = exchange("CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n");
    assert_eq!(status(&answer), "407");
    assert!(answer.to_ascii_lowercase().contains("proxy-authenticate: basic"), "{answer}");
}

#[test]
fn http_a_client_that_half_closes_gets_its_whole_answer() {
    let scene = Scene::new();
    let pause = std::time::Duration::from_millis(100);
    let slow = SlowAnswer { after_half_close: false, bytes: 1 << 20, parts: 8, pause };
    let _server = Server::slow_answer(90, slow).expect("server");
    let _http = Server::http(80).expect("server");
    let _daemon = scene.ready();
    let answer = exchange("GET http://web/bytes/100000 HTTP/1.1\r\nHost: web\r\n\r\n");
    assert_eq!(status(&answer), "200", "{answer}");
    let mut stream = TcpStream::connect(SOCKS).expect("connects");
    stream.write_all(b"CONNECT web:90 HTTP/1.1\r\nHost: web:90\r\n\r\n").expect("sent");
    assert_eq!(read_head(&mut stream).expect("answers").status, 200);
    stream.write_all(b"question\n").expect("sent");
    stream.shutdown(Shutdown::Write).expect("half-closed");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answers");
    assert!(answer == pattern(1 << 20), "{} bytes", answer.len());
}

#[test]
fn http_half_a_request_and_garbage_end_without_harm() {
    let scene = Scene::new();
    let daemon = start_ready(scene.daemon().env("TETHERD_HANDSHAKE_TIMEOUT", "1s"));
    for garbage in [&b"GET http://we"[..], b"\x16\x03\x01\x02\x00", b"\x04\x01\x00\x50", b"", b"A\0B\r\n\r\n"] {
        let mut stream = TcpStream::connect(SOCKS).expect("connects");
        stream.write_all(garbage).expect("sent");
        let mut answer = Vec::new();
        // The daemon is the one who ends it: after handshake_timeout where the client goes on saying nothing.
        let _ = stream.read_to_end(&mut answer);
        assert!(
            answer.is_empty()
                || answer.starts_with(b"HTTP/1.1 400")
                || answer.starts_with(b"HTTP/1.1 408")
                || answer.starts_with(b"\x00\x5b"),
            "{answer:?}"
        );
    }
    assert_eq!(daemon.readyz().expect("health answers").0, 200);
}

#[test]
fn an_address_with_a_query_and_no_path_is_made_right() {
    let scene = Scene::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = listener.local_addr().expect("an address");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut line = [0; 19];
        stream.read_exact(&mut line).expect("a request");
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("answered");
        String::from_utf8_lossy(&line).into_owned()
    });
    let _daemon = scene.ready();
    let answer = exchange(&format!("GET http://{target}?x=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    assert_eq!(status(&answer), "204");
    assert_eq!(server.join().expect("answers"), "GET /?x=1 HTTP/1.1\r");
}
