//! Promise 4: the last word of a target that closes arrives.
//!
//! Promise 4: what a target says before it closes reaches the client, also where the target has not taken in all that was
//! sent ahead. Its kernel answers that with a reset, which without a proxy comes after the word.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

use anyhow::{Result, ensure};
use testbed::Server;
use testbed::node::{Node, NodeOptions};

use crate::door_client::Client;
use crate::doors::{Door, Doors, Way, each_holds};
use crate::scene::{Scene, start_ready};

/// Of a target that reads nothing, and of one that reads a byte first.
const PORTS: [u16; 2] = [6380, 6381];
const HOSTS: [&str; 3] = ["127.0.0.1", "web", "kernel"];
/// For HTTP it is an answer, too.
const WORD: &[u8] = b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge";
/// Of each way with each amount: the word was lost in a third of them.
const TRIES: usize = 3;
/// What a client sends without waiting: a command, more than a segment, and more than the kernel's buffers hold.
const AHEAD: [usize; 3] = [20, 40_000, 8_000_000];

/// What of it is sent before the daemon's answer.
const MOST_EARLY: usize = 100_000;
/// Whether the client ends its side after that.
const ENDS: [bool; 2] = [false, true];

#[test]
fn promise_4_the_last_word_of_a_target_is_delivered_whatever_was_sent_ahead() {
    let scene = Scene::new();
    let options = NodeOptions { interface: Some("tailscale0".to_owned()), ..NodeOptions::default() };
    let _node = Node::join_with(&scene.tailnet, "kernel", options).expect("a node with an interface");
    for (reads, port) in PORTS.into_iter().enumerate() {
        let _target = Server::saying(port, reads, WORD).expect("server");
        let doors = Doors::to(&HOSTS, port);
        let _daemon = start_ready(doors.settings(scene.daemon()));
        each_holds(&doors.ways(), |way| tried(|ahead, end| word_after(doors.enter(way)?, vec![b'a'; ahead], end)));
        // The same before the daemon's own answer.
        each_holds(&doors.ways(), |way| {
            tried(|ahead, end| {
                word_after(doors.enter_and_send(way, &vec![b'a'; ahead.min(MOST_EARLY)])?, Vec::new(), end)
            })
        });
        let once: Vec<_> = doors.ways().into_iter().filter(|way| way.door == Door::Socks).collect();
        each_holds(&once, |way| tried(|ahead, end| word_to_http(&doors, way, ahead, end)));
    }
}

/// A request in absolute form whose body is sent ahead, over TCP, over the unix socket and over TLS.
fn word_to_http(doors: &Doors, Way { host, port, .. }: Way, ahead: usize, end: bool) -> Result<()> {
    let head = format!("POST http://{host}:{port}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    let head = format!("{head}Content-Length: {ahead}\r\n\r\n").into_bytes();
    for (client, _) in doors.for_http()? {
        word_after(client, [head.clone(), vec![b'a'; ahead]].concat(), end)?;
    }
    Ok(())
}

fn tried(attempt: impl Fn(usize, bool) -> Result<()>) -> Result<()> {
    let mut lost = Vec::new();
    for ahead in AHEAD {
        for end in ENDS {
            let failed: Vec<_> = (0..TRIES).filter_map(|_| attempt(ahead, end).err()).collect();
            if let Some(first) = failed.first() {
                lost.push(format!("{ahead} bytes, end {end}: {} of {TRIES} lost: {first:#}", failed.len()));
            }
        }
    }
    ensure!(lost.is_empty(), "{}", lost.join("; "));
    Ok(())
}

/// A client that sends, and hears meanwhile.
fn word_after(client: Client, ahead: Vec<u8>, end: bool) -> Result<()> {
    let mut sends = client.try_clone()?;
    let sending = thread::spawn(move || {
        let sent = sends.write_all(&ahead);
        if end {
            let _ = sends.shutdown(Shutdown::Write);
        }
        sent
    });
    let mut heard = Vec::new();
    let mut reads = &client;
    let over = reads.read_to_end(&mut heard);
    let _ = client.shutdown(Shutdown::Both);
    let sent = sending.join().expect("sends");
    let said = String::from_utf8_lossy(&heard);
    ensure!(said.contains("413") && said.ends_with("large"), "{said:?} came, then {over:?}; {sent:?}");
    Ok(())
}
