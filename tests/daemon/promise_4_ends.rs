//! Tests promise 4: an end (EOF) passes through the proxy within a round trip.
//!
//! A client's end reaches the target, and the target's the client, through every door.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testbed::http::read_head;
use testbed::server::{Server, SlowAnswer, pattern};
use testbed::{Daemon, Ends};

use crate::door_client::Client;
use crate::doors::{ANSWER, Doors, HOSTS, Way, each_holds};
use crate::scene::{Scene, start_ready};

pub const PORT: u16 = 6379;
const CLIENTS: usize = 25;
/// From the last close to the last end at the target. A round trip takes a few ms; this is far below every time limit
/// that could end a connection instead.
pub const SOON: Duration = Duration::from_secs(1);
/// The same where the daemon has to look whether its client is there still, as it does four times a second.
const AFTER_A_LOOK: Duration = Duration::from_secs(2);
const UPLOAD: usize = 1 << 20;

/// Doors to a server on [`PORT`], and the daemon that has them, ready.
pub fn open_doors(scene: &Scene) -> (Doors, Daemon) {
    let doors = Doors::to(&HOSTS, PORT);
    let daemon = start_ready(doors.settings(scene.daemon()));
    (doors, daemon)
}

pub fn answering_pings() -> Ends {
    Ends::answering(PORT, b"PING", b"PONG").expect("server")
}

/// 20 clients say PING, read PONG and close, as clients of Redis and memcached do; 5 say PING and close.
pub fn clients_that_close_first(doors: &Doors, target: &Ends, way: Way) -> Result<()> {
    let before = target.seen().len();
    let mut clients = (0..CLIENTS).map(|_| doors.enter(way)).collect::<Result<Vec<_>>>()?;
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(b"PING")?;
        if number % 5 != 4 {
            client.read_exact(&mut [0; 4])?;
        }
    }
    closed_soon(target, before, clients)
}

/// Closes the clients; the target sees all their ends soon.
fn closed_soon(target: &Ends, before: usize, clients: Vec<Client>) -> Result<()> {
    let number = clients.len();
    drop(clients);
    let closed = Instant::now();
    let ends = target.wait(before, number, SOON)?;
    let last = ends.iter().map(|end| end.at.saturating_duration_since(closed)).max().unwrap_or_default();
    ensure!(last < SOON, "the last end came after {last:?}");
    Ok(())
}

#[test]
fn promise_4_the_target_sees_the_ends_of_25_clients_that_close_first() {
    let scene = Scene::new();
    let target = answering_pings();
    let (doors, _daemon) = open_doors(&scene);
    each_holds(&doors.ways(), |way| clients_that_close_first(&doors, &target, way));
}

#[test]
fn promise_4_the_target_sees_the_end_of_an_http_client_that_keeps_its_connection() {
    let scene = Scene::new();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let target = Ends::answering(PORT, b"\r\n\r\n", answer).expect("server");
    let (doors, _daemon) = open_doors(&scene);
    for host in HOSTS {
        for (client, kind) in doors.for_http().expect("connects") {
            let ended = asked_and_closed(client, &target, host);
            ended.unwrap_or_else(|error| panic!("over {kind} to {host}: {error:#}"));
        }
    }
}

#[test]
fn promise_4_the_target_sees_the_end_of_an_http_client_that_does_not_wait_for_its_answer() {
    let scene = Scene::new();
    let target = Ends::answering(PORT, b"never asked for", b"").expect("server");
    let (doors, _daemon) = open_doors(&scene);
    for host in HOSTS {
        for (mut client, kind) in doors.for_http().expect("connects") {
            let before = target.seen().len();
            write!(client, "GET http://{host}:{PORT}/ HTTP/1.1\r\nHost: {host}:{PORT}\r\n\r\n").expect("asked");
            drop(client);
            let ends = target.wait(before, 1, AFTER_A_LOOK);
            let ends = ends.unwrap_or_else(|error| panic!("over {kind} to {host}: {error:#}"));
            assert!(ends[0].received.starts_with(b"GET / "), "over {kind}: the request was sent on");
        }
    }
}

/// Two requests in absolute form over one connection, which the client then closes.
fn asked_and_closed(mut client: Client, target: &Ends, host: &str) -> Result<()> {
    let before = target.seen().len();
    for _ in 0..2 {
        write!(client, "GET http://{host}:{PORT}/ HTTP/1.1\r\nHost: {host}:{PORT}\r\n\r\n")?;
        ensure!(read_head(&mut client)?.status == 200, "it is not answered");
        client.read_exact(&mut [0; 2])?;
    }
    ensure!(target.seen().len() == before, "the connection to the target is kept");
    closed_soon(target, before, vec![client])
}

#[test]
fn promise_4_an_answer_comes_whole_where_the_target_waits_for_the_end() {
    let scene = Scene::new();
    let how = SlowAnswer { after_half_close: true, bytes: UPLOAD, parts: 8, pause: Duration::from_millis(20) };
    let _target = Server::slow_answer(PORT, how).expect("server");
    let (doors, _daemon) = open_doors(&scene);
    each_holds(&doors.ways(), |way| answered_after_half_close(&doors, way));
}

/// A client asks, half-closes and gets its whole answer.
pub fn answered_after_half_close(doors: &Doors, way: Way) -> Result<()> {
    let mut client = doors.enter(way)?;
    client.write_all(b"question\n")?;
    client.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer)?;
    ensure!(answer == pattern(UPLOAD), "{} of {UPLOAD} bytes came", answer.len());
    Ok(())
}

#[test]
fn promise_4_a_client_sends_on_after_the_target_has_half_closed() {
    let scene = Scene::new();
    let target = Ends::after_half_closing(PORT, b"bye").expect("server");
    let (doors, _daemon) = open_doors(&scene);
    each_holds(&doors.ways(), |way| sends_on(&doors, &target, way));
}

fn sends_on(doors: &Doors, target: &Ends, way: Way) -> Result<()> {
    let before = target.seen().len();
    let mut client = doors.enter(way)?;
    let mut greeting = Vec::new();
    client.read_to_end(&mut greeting)?;
    ensure!(greeting == b"bye", "the greeting is {greeting:?}");
    client.socket.set_write_timeout(Some(ANSWER))?;
    client.write_all(&pattern(UPLOAD))?;
    drop(client);
    let end = &target.wait(before, 1, ANSWER)?[0];
    ensure!(end.received == pattern(UPLOAD), "{} of {UPLOAD} bytes arrived", end.received.len());
    ensure!(!end.reset, "the end is a reset");
    Ok(())
}
