//! Tests `prewarm`: its targets are dialled once, at the start.
//!
//! They are dialled through the tailnet and by its rules, and no client is counted.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use testbed::wait_until;

use crate::malformed::counts;
use crate::scene::{READY, Scene, connect, start_ready};

#[test]
fn a_target_of_prewarm_is_dialled_once_at_the_start() {
    let scene = Scene::new();
    let listener = TcpListener::bind("127.0.0.1:5432").expect("a port");
    let (sender, heard) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let said = (&stream).read(&mut [0; 1]);
            let _ = sender.send(said.is_ok_and(|read| read == 0));
        }
    });
    let builder = scene.daemon().env("TETHERD_PREWARM", "web:5432,web:1").env("TETHERD_DENY", "web:1");
    let daemon = start_ready(builder);
    assert!(heard.recv_timeout(READY).expect("is dialled by itself"), "it is let go without a word");
    wait_until("both are reported", READY, || {
        let output = daemon.output();
        (output.contains("the path is warm") && output.contains("prewarm: no connection")).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", daemon.output()));
    assert_eq!(counts(&daemon), (0, 0), "nobody asked for it");
    heard.try_recv().expect_err("once is enough");
    connect("web", 5432).expect("connects").write_all(b"x").expect("sent");
    assert!(!heard.recv_timeout(READY).expect("the client's own"), "a client says something");
}
