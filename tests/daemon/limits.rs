//! Tests many connections at once, and peers that go away or stall.
//!
//! The peers are clients, targets and readers: nobody else pays for them.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::O_NONBLOCK;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use testbed::daemon::{Daemon, SOCKS};
use testbed::netns::Handle;
use testbed::server::Server;
use testbed::wait::wait_until;
use testbed::{http, socks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::malformed::{answer_to, counts, unharmed};
use crate::scene::{END, READY, Scene, binary, connect, start_ready};
use crate::without_the_password::with_password;

const MANY: usize = 3_000;
/// So many clients open connections at the same time. The receiving tailscaled handles 8 192 attempts that are not
/// connected yet, two thirds of them from one node, and drops further ones (tailscale.com v1.102.5,
/// wgengine/netstack/netstack.go, maxInFlightConnectionAttempts and …PerClient): 5 461, more than are wanted here
/// altogether. Established connections are not limited.
const OPENING: usize = 16;
/// As long as they are to live.
const HELD: Duration = Duration::from_secs(10);
/// For a connection that must not come.
const SILENCE: Duration = Duration::from_millis(500);

/// An echo server on one thread: 3 000 threads would be a test of the machine.
fn echo(port: u16) {
    thread::spawn(move || {
        let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
        event_loop.block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = [0; 64];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        let _ = stream.write_all(&buffer[..read]).await;
                    }
                });
            }
        });
    });
}

/// Opens `number` connections to the echo server, by several clients.
fn open_many(number: usize) -> Vec<TcpStream> {
    let namespace = Handle::current().expect("a namespace");
    let clients: Vec<_> = (0..OPENING)
        .map(|client| {
            let namespace = namespace.clone();
            thread::spawn(move || {
                namespace.enter().expect("entered");
                let own = (client..number).step_by(OPENING);
                own.map(|_| connect("web", 7).expect("connects")).collect::<Vec<_>>()
            })
        })
        .collect();
    clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
}

/// A byte there and back on each.
fn all_alive(streams: &mut [TcpStream], byte: u8) {
    for stream in &mut *streams {
        stream.write_all(&[byte]).expect("sent");
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        let mut back = [0];
        stream.read_exact(&mut back).unwrap_or_else(|error| panic!("connection {number} is lost: {error}"));
        assert_eq!(back, [byte], "connection {number}");
    }
}

fn rss_kib(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn three_thousand_connections_stay_alive_and_the_next_one_waits_and_then_works() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit of open files");
    // The children have it from here; tetherd needs four for each connection.
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("raised");
    assert!(hard > 4 * MANY as u64 + 100, "ulimit -Hn is {hard}: this test needs 12 100 open files");
    let scene = Scene::new();
    echo(7);
    let builder = scene.daemon().env("TETHERD_MAX_CONNECTIONS", &MANY.to_string());
    let daemon = start_ready(builder.env("TETHERD_HALF_CLOSE_TIMEOUT", "1s").env("TETHERD_CONNECT_TIMEOUT", "60s"));
    let before = rss_kib(&daemon);
    let mut streams = open_many(MANY);
    all_alive(&mut streams, 1);
    let during = rss_kib(&daemon);
    thread::sleep(HELD);
    all_alive(&mut streams, 2);
    let each = (rss_kib(&daemon) - before) as f64 / MANY as f64;
    println!("RSS {before} KiB idle, {during} KiB with {MANY} connections: {each:.1} KiB each");
    let mut next = socks::open(SOCKS).expect("waits in the backlog");
    next.write_all(&[&[5, 1, 0][..], &socks::request(1, "web", 7)].concat()).expect("sent");
    next.set_read_timeout(Some(SILENCE)).expect("a timeout");
    next.read(&mut [0; 2]).expect_err("no reply while all are taken");
    streams.pop();
    next.set_read_timeout(Some(READY)).expect("a timeout");
    next.read_exact(&mut [0; 2]).expect("is served now");
    socks::read_reply(&mut next).expect("connects");
    streams.push(next);
    all_alive(&mut streams, 3);
    assert_eq!(counts(&daemon).1, 0, "none failed");
}

#[test]
fn a_listener_without_clients_keeps_no_other_from_its_own() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let builder = scene.daemon().env("TETHERD_FORWARDS", "127.0.0.1:8080=web:80,127.0.0.1:8081=web:80");
    let builder = builder.env("TETHERD_MAX_CONNECTIONS", "1").env("TETHERD_HALF_CLOSE_TIMEOUT", "1s");
    let _daemon = start_ready(builder.env("TETHERD_SOCKS_LISTEN", "127.0.0.1:1055,127.0.0.1:1056"));
    for port in [8081, 8080, 8081] {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("connects");
        stream.set_read_timeout(Some(READY)).expect("a timeout");
        assert_eq!(http::get(stream, "web", "/").expect("answers").head.status, 200, "{port}");
    }
    for proxy in [1056, 1055] {
        socks::connect(([127, 0, 0, 1], proxy).into(), "web", 80, None).expect("serves");
    }
}

#[test]
fn many_more_clients_than_permits_wait_in_the_backlog_and_are_all_served() {
    let scene = Scene::new();
    echo(7);
    let builder = scene.daemon().env("TETHERD_MAX_CONNECTIONS", "2").env("TETHERD_HALF_CLOSE_TIMEOUT", "50ms");
    let _daemon = start_ready(builder);
    let held = open_many(2);
    // Beyond the backlog the kernel drops a SYN, and the client sends it again after a second.
    let waiting: Vec<_> = (0..400)
        .map(|number| {
            TcpStream::connect_timeout(&SOCKS, SILENCE).unwrap_or_else(|error| panic!("client {number}: {error}"))
        })
        .collect();
    drop(held);
    for mut stream in waiting {
        stream.set_read_timeout(Some(READY)).expect("a timeout");
        socks::handshake(&mut stream, "web", 7, None).expect("is served in its turn");
    }
}

#[test]
fn an_http_client_that_has_gone_is_let_go_though_its_target_is_silent() {
    let scene = Scene::new();
    let _servers = (Server::http(80).expect("server"), Server::silent(81).expect("server"));
    let builder = scene.daemon().env("TETHERD_MAX_CONNECTIONS", "1").env("TETHERD_HALF_CLOSE_TIMEOUT", "1s");
    let daemon = start_ready(builder);
    let get = "GET http://web:81/ HTTP/1.1\r\nHost: web:81\r\n\r\n".to_owned();
    let half = "POST http://web:81/ HTTP/1.1\r\nHost: web:81\r\nContent-Length: 100\r\n\r\nhalf".to_owned();
    for request in [get.clone(), get.repeat(2), half] {
        let mut stream = socks::open(SOCKS).expect("connects");
        stream.write_all(request.as_bytes()).expect("sent");
        drop(stream);
        unharmed(&daemon);
    }
}

#[test]
fn an_http_exchange_that_is_idle_ends_after_idle_timeout() {
    let scene = Scene::new();
    let _silent = Server::silent(81).expect("server");
    let _daemon = start_ready(scene.daemon().env("TETHERD_IDLE_TIMEOUT", "1s"));
    let mut stream = socks::open(SOCKS).expect("connects");
    stream.write_all(b"GET http://web:81/ HTTP/1.1\r\nHost: web:81\r\n\r\n").expect("sent");
    assert_eq!(stream.read_to_end(&mut Vec::new()).expect("ends"), 0);
}

#[test]
fn a_reader_of_stderr_that_stalls_stalls_nobody() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let directory = tempfile::tempdir().expect("directory");
    let fifo = directory.path().join("stderr");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    let stalled = File::options().read(true).custom_flags(O_NONBLOCK).open(&fifo).expect("opens");
    let script = format!("exec {} 2> {}", binary().display(), fifo.display());
    let mut daemon = start_ready(scene.daemon().program("bash").args(&["-c", &script]));
    // 64 KiB fit into the pipe: some 500 lines.
    for _ in 0..2_000 {
        assert!(answer_to(&[3, 1]).is_empty());
    }
    unharmed(&daemon);
    daemon.terminate().expect("SIGTERM");
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0));
    let mut text = Vec::new();
    let _ = (&stalled).read_to_end(&mut text);
    assert!(String::from_utf8_lossy(&text).contains("neither SOCKS5 nor HTTP"), "it was the log that stalled");
}

/// Sends what no protocol begins with, what only looks like one, and heads of 60 KiB, for ten seconds.
fn garbage() {
    let head = [&b"GET http://web/ HTTP/1.1\r\nA: "[..], &[b'a'; 60_000]].concat();
    let pieces: [&[u8]; 5] = [&[4, 1, 0, 80], &[0x16; 200], &[5, 255, 7], &head, b"POST \0 HTTP/1.1\r\n\r\n"];
    let namespace = Handle::current().expect("a namespace");
    let begun = Instant::now();
    thread::scope(|scope| {
        for first in 0..4 {
            let namespace = namespace.clone();
            scope.spawn(move || {
                namespace.enter().expect("entered");
                for piece in pieces.iter().cycle().skip(first) {
                    if begun.elapsed() > Duration::from_secs(10) {
                        return;
                    }
                    let mut stream = socks::open(SOCKS).expect("connects");
                    let _ = stream.write_all(piece);
                    let _ = stream.shutdown(Shutdown::Write);
                    let _ = stream.read(&mut [0; 64]);
                }
            });
        }
    });
}

#[test]
fn memory_of_two_thousand_stalled_handshakes_and_of_garbage_is_given_back() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit of open files");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("raised");
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    for builder in [scene.daemon(), with_password(&scene)] {
        let daemon = start_ready(builder.env("TETHERD_HANDSHAKE_TIMEOUT", "5s"));
        thread::sleep(Duration::from_secs(1));
        let base = rss_kib(&daemon);
        let stalled: Vec<_> = (0..2_000)
            .map(|number| {
                let mut stream = socks::open(SOCKS).expect("connects");
                let half: &[u8] = if number % 2 == 0 { &[5] } else { b"GET http://web/ HTTP/1.1\r\nHost: w" };
                let _ = stream.write_all(half);
                stream
            })
            .collect();
        thread::sleep(Duration::from_secs(2));
        let during = rss_kib(&daemon);
        garbage();
        let after = rss_kib(&daemon);
        drop(stalled);
        let given_back = || (rss_kib(&daemon) <= base + 4 * 1024).then(|| rss_kib(&daemon));
        let left = wait_until("memory is given back", Duration::from_secs(10), given_back);
        println!("RSS {base} KiB, {during} stalled, {after} after the garbage, {left:?} left; {}", rss_kib(&daemon));
        left.unwrap_or_else(|error| panic!("{error}: {base} KiB at first, {} now", rss_kib(&daemon)));
    }
}
