//! Tests where the proxy listens, how many it serves at once, and for how long.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::{Duration, Instant};
use std::{fs, thread};

use testbed::server::Server;
use testbed::{http, socks};

use crate::scene::{END, Scene, connect, start_ready};

#[test]
fn a_unix_socket_serves_owner_and_group_and_goes_with_the_daemon() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("proxy.sock");
    // What a killed daemon leaves behind.
    drop(UnixListener::bind(&path).expect("a stale socket"));
    let listen = format!("unix:{},127.0.0.1:1055", path.display());
    let mut daemon = start_ready(scene.daemon().env("TETHERD_SOCKS_LISTEN", &listen));
    assert_eq!(fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o660);
    let mut stream = UnixStream::connect(&path).expect("connects");
    socks::handshake(&mut stream, "web", 80, None).expect("SOCKS5 is served");
    assert_eq!(http::get(stream, "web", "/").expect("answers").head.status, 200);
    let mut stream = UnixStream::connect(&path).expect("connects");
    stream.write_all(b"GET http://web/ HTTP/1.0\r\n\r\n").expect("sent");
    assert_eq!(http::read_head(&mut stream).expect("HTTP is served").status, 200);
    connect("web", 80).expect("the other listener serves too");
    daemon.terminate().expect("SIGTERM");
    assert!(daemon.wait_exit(END).expect("ends").success());
    assert!(!path.exists(), "the socket is gone");
}

#[test]
fn a_file_or_a_socket_of_others_is_never_replaced() {
    let scene = Scene::new();
    let directory = tempfile::tempdir().expect("directory");
    let (file, taken) = (directory.path().join("file"), directory.path().join("taken.sock"));
    fs::write(&file, "precious").expect("written");
    let _other = UnixListener::bind(&taken).expect("a socket that is listened on");
    let datagrams = directory.path().join("log.sock");
    let _datagrams = UnixDatagram::bind(&datagrams).expect("a socket for datagrams");
    let lives = "another program listens there";
    for (path, reason) in [(&file, "not a socket"), (&taken, lives), (&datagrams, lives)] {
        let listen = format!("unix:{}", path.display());
        let mut daemon = scene.daemon().env("TETHERD_SOCKS_LISTEN", &listen).start().expect("starts");
        assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(78));
        assert!(daemon.stderr().contains(reason), "{}", daemon.stderr());
    }
    assert_eq!(fs::read_to_string(&file).expect("is there"), "precious");
    UnixStream::connect(&taken).expect("is listened on still");
    UnixDatagram::unbound().and_then(|socket| socket.connect(&datagrams)).expect("is there still");
}

#[test]
fn a_forward_leads_programs_that_know_no_proxy_to_its_target() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("web.sock");
    let forwards = format!("127.0.0.1:8080=web:80,unix:{}=web:80,127.0.0.1:8081=web:9", path.display());
    let _daemon = start_ready(scene.daemon().env("TETHERD_FORWARDS", &forwards));
    let stream = TcpStream::connect("127.0.0.1:8080").expect("connects");
    assert_eq!(http::get(stream, "web", "/").expect("answers").head.status, 200);
    let stream = UnixStream::connect(&path).expect("connects");
    assert_eq!(http::get(stream, "web", "/").expect("answers").head.status, 200);
    let mut refused = TcpStream::connect("127.0.0.1:8081").expect("connects");
    assert_eq!(refused.read_to_end(&mut Vec::new()).expect("ends"), 0);
}

#[test]
fn a_forward_that_others_can_reach_must_be_wanted() {
    let output =
        crate::scene::command(&["check"]).env("TETHERD_FORWARDS", "0.0.0.0:5432=db:5432").output().expect("runs");
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("forwards") && text.contains("allow_open_proxy"), "{text}");
}

#[test]
fn beyond_max_connections_the_next_one_waits_and_then_works() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let _echo = Server::echo(7).expect("server");
    // A client's end may be a half-close: the daemon lets go of such a connection once it has been silent.
    let builder = scene.daemon().env("TETHERD_HALF_CLOSE_TIMEOUT", "1s");
    let _daemon = start_ready(builder.env("TETHERD_MAX_CONNECTIONS", "2"));
    let first = connect("web", 7).expect("connects");
    let _second = connect("web", 7).expect("connects");
    let begun = Instant::now();
    let third = thread::spawn(move || {
        let stream = connect("web", 80).expect("is served in the end");
        (http::get(stream, "web", "/").expect("answers").head.status, begun.elapsed())
    });
    let held = Duration::from_millis(500);
    thread::sleep(held);
    assert!(!third.is_finished(), "it waits");
    drop(first);
    let (status, waited) = third.join().expect("client");
    assert_eq!(status, 200);
    assert!(waited >= held, "{waited:?}");
}

#[test]
fn an_idle_connection_ends_after_idle_timeout() {
    let scene = Scene::new();
    let _echo = Server::echo(7).expect("server");
    let _daemon = start_ready(scene.daemon().env("TETHERD_IDLE_TIMEOUT", "1s"));
    let mut stream = connect("web", 7).expect("connects");
    let begun = Instant::now();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(5), "{took:?}");
}
