//! Clients and targets that vanish without a word are noticed.
//!
//! A machine that loses its power does so. The kernel finds out, and their
//! connections end. Those that just take nothing in for a while stay.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, id};
use std::thread;
use std::time::{Duration, Instant};

use testbed::daemon::SOCKS;
use testbed::flows::black_hole;
use testbed::http::read_head;
use testbed::netns::OWN_ADDRESS;
use testbed::server::Server;
use testbed::socks;
use testbed::wait::wait_until;

use crate::scene::{READY, Scene, connect, start_ready};
use crate::without_the_password::{PASSWORD, open_connections, with_password};

/// Much more than the kernel holds for a reader.
const MUCH: usize = 50_000_000;
/// A minute and a half, and as long again as the kernel's timers may be late.
const NOTICED: Duration = Duration::from_secs(180);

/// A client that comes over the network.
fn client(host: &str, port: u16) -> TcpStream {
    let proxy = SocketAddr::new(OWN_ADDRESS.parse().expect("an address"), SOCKS.port());
    socks::connect(proxy, host, port, Some(("app", PASSWORD))).expect("connects")
}

/// A client that is sent much, and has taken none of it in yet.
fn paused(host: &str) -> TcpStream {
    let mut stream = client(host, 80);
    stream.write_all(format!("GET /bytes/{MUCH} HTTP/1.0\r\nHost: web\r\n\r\n").as_bytes()).expect("sent");
    stream
}

#[test]
fn who_vanishes_is_noticed_within_two_minutes_and_who_pauses_is_not_cut_off() {
    let scene = Scene::new();
    let _servers = (Server::http(80).expect("server"), Server::echo(7).expect("server"));
    let far = Server::echo_everywhere(77).expect("server");
    let builder = with_password(&scene).env("TETHERD_SOCKS_LISTEN", "0.0.0.0:1055");
    let daemon = start_ready(builder.env("TETHERD_LOOPBACK", "allow").env("TETHERD_PRIVATE", "allow"));
    let _clients = (client("web", 7), client("127.0.0.1", 7), paused("web"), paused("127.0.0.1"));
    thread::sleep(Duration::from_secs(1));
    assert_eq!(black_hole(id() as i32, SOCKS.port()).expect("vanish"), 4);
    let mut waiting = client(OWN_ADDRESS, 77);
    waiting.write_all(b"x").expect("sent");
    waiting.read_exact(&mut [0]).expect("comes back");
    assert_eq!(black_hole(daemon.pid(), far.port()).expect("vanish"), 1);
    let begun = Instant::now();
    let mut readers = [paused("web"), paused("127.0.0.1")];
    assert_eq!(open_connections(&daemon), 7);
    wait_until("all that have vanished are noticed", NOTICED, || (open_connections(&daemon) == 2).then_some(()))
        .unwrap_or_else(|error| panic!("{error}: {} are left of 5", open_connections(&daemon) - 2));
    println!("noticed after {:?}", begun.elapsed());
    assert_eq!(waiting.read(&mut [0]).unwrap_or(0), 0, "its client is told");
    for reader in &mut readers {
        assert_eq!(read_head(reader).expect("answers").status, 200);
        let mut body = Vec::new();
        reader.read_to_end(&mut body).expect("lives on");
        assert_eq!(body.len(), MUCH);
    }
}

#[test]
fn accepted_and_dialled_sockets_have_keepalive() {
    let scene = Scene::new();
    let _echo = Server::echo(7).expect("server");
    let _daemon = start_ready(scene.daemon().env("TETHERD_FORWARDS", "127.0.0.1:1077=web:7"));
    let mut open = [
        connect("web", 7).expect("connects"),
        connect("127.0.0.1", 7).expect("connects"),
        TcpStream::connect("127.0.0.1:1077").expect("connects"),
    ];
    for stream in &mut open {
        stream.write_all(b"x").expect("sent");
        stream.read_exact(&mut [0]).expect("comes back");
    }
    let listed = |filter: &str| {
        let output = Command::new("ss").args(["-Htno", "state", "established", filter]).output().expect("ss");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    // What is on its way has a timer of its own, until it is acknowledged.
    let has_timer = |socket: &String| {
        let seconds = socket.split_once("timer:(keepalive,").and_then(|(_, rest)| rest.split_once("sec"));
        seconds.is_some_and(|(seconds, _)| seconds.parse().is_ok_and(|seconds: u32| (40..=60).contains(&seconds)))
    };
    let accepted = || [listed("sport = :1055"), listed("sport = :1077")].concat();
    let asks = || (accepted().len() == 3 && accepted().iter().all(has_timer)).then_some(());
    wait_until("accepted sockets have the timer", READY, asks)
        .unwrap_or_else(|error| panic!("{error}: {:#?}", accepted()));
    // Two of them are dialled by the node `web`, which asks more often.
    let dialled = || listed("dport = :7");
    let asks = || dialled().iter().any(has_timer).then_some(());
    wait_until("dialled sockets have the timer", READY, asks)
        .unwrap_or_else(|error| panic!("{error}: {:#?}", dialled()));
}
