//! Tests promise 5: SIGTERM drains connections, logs the node out, exits with 0.
//!
//! The daemon is not ready at once, refuses new connections, and lets running ones finish. A second signal ends it at
//! once. As process 1 it reaps orphans.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::daemon::{Daemon, HEALTH, SOCKS};
use testbed::server::{Server, SlowAnswer, pattern};
use testbed::wait::wait_until;
use testbed::{Ends, descendants};

use crate::scene::{END, READY, Scene, binary, connect, start_ready};

/// An answer that takes two seconds.
const SLOW: SlowAnswer =
    SlowAnswer { after_half_close: false, bytes: 1 << 20, parts: 20, pause: Duration::from_millis(100) };

fn is_gone(scene: &Scene) -> bool {
    scene.tailnet.node("app").expect("nodes").is_none()
}

fn nothing_is_left(daemon: &Daemon) -> bool {
    daemon.temp_dir().read_dir().expect("its TMPDIR").next().is_none()
}

fn assert_refused(stream: Result<TcpStream, std::io::Error>) {
    assert_eq!(stream.expect_err("nobody listens").kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn promise_5_running_connections_finish_and_new_ones_are_refused() {
    let scene = Scene::new();
    let _server = Server::slow_answer(90, SLOW).expect("server");
    let mut daemon = scene.ready();
    let mut running = connect("web", 90).expect("connects");
    running.write_all(b"question\n").expect("sent");
    daemon.terminate().expect("SIGTERM");
    let client = thread::spawn(move || {
        let mut answer = Vec::new();
        running.read_to_end(&mut answer).expect("answers");
        answer
    });
    let (status, body) = wait_until("not ready", Duration::from_millis(500), || {
        daemon.readyz().ok().filter(|(status, _)| *status == 503)
    })
    .expect("is not ready at once");
    assert_eq!((status, body["state"].as_str()), (503, Some("Draining")));
    wait_until("refused", Duration::from_millis(500), || TcpStream::connect(SOCKS).is_err().then_some(()))
        .expect("new connections are refused at once");
    assert_refused(TcpStream::connect(SOCKS));
    assert!(!daemon.has_ended().expect("status"), "the running connection is waited for");
    assert!(client.join().expect("client") == pattern(SLOW.bytes), "the answer is not whole");
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0));
    assert!(is_gone(&scene), "the node is logged out");
    assert!(nothing_is_left(&daemon));
    assert_refused(TcpStream::connect(HEALTH));
}

#[test]
fn promise_5_drain_timeout_bounds_the_waiting() {
    let scene = Scene::new();
    let _server = Server::silent(91).expect("server");
    let mut daemon = start_ready(scene.daemon().env("TETHERD_DRAIN_TIMEOUT", "1s"));
    let _running = connect("web", 91).expect("connects");
    daemon.terminate().expect("SIGTERM");
    let asked = Instant::now();
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0));
    let waited = asked.elapsed();
    assert!(waited >= Duration::from_secs(1) && waited < Duration::from_secs(5), "{waited:?}");
    assert!(is_gone(&scene));
}

#[test]
fn promise_5_a_second_signal_ends_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let scene = Scene::new();
        let _server = Server::silent(91).expect("server");
        let mut daemon = start_ready(scene.daemon().env("TETHERD_DRAIN_TIMEOUT", "60s"));
        let _running = connect("web", 91).expect("connects");
        let tailscaled = daemon.tailscaled_pid().expect("tailscaled runs");
        daemon.signal(signal).expect("signal");
        wait_until("draining", READY, || daemon.readyz().ok().filter(|(status, _)| *status == 503)).expect("drains");
        daemon.signal(signal).expect("signal");
        let asked = Instant::now();
        assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0));
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        // The kernel ends it; that takes a moment.
        wait_until("tailscaled is gone", END, || (!descendants::is_running(tailscaled)).then_some(()))
            .expect("is killed");
        assert!(nothing_is_left(&daemon));
    }
}

#[test]
fn promise_5_a_stop_before_the_tailnet_is_there_is_clean_too() {
    let mut scene = Scene::new();
    let builder = scene.daemon();
    scene.tailnet.stop_control();
    let mut daemon = builder.start().expect("the daemon starts");
    wait_until("health answers", READY, || daemon.readyz().ok()).expect("answers");
    daemon.terminate().expect("SIGTERM");
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0));
    assert!(nothing_is_left(&daemon));
}

#[test]
fn promise_5_tailscaled_dies_with_a_killed_daemon() {
    let scene = Scene::new();
    let mut daemon = scene.ready();
    let tailscaled = daemon.tailscaled_pid().expect("tailscaled runs");
    daemon.signal(Signal::SIGKILL).expect("SIGKILL");
    daemon.wait_exit(END).expect("is killed");
    wait_until("tailscaled is gone", END, || (!descendants::is_running(tailscaled)).then_some(())).expect("dies");
}

#[test]
fn promise_5_as_process_1_it_reaps_orphans_and_heeds_sigterm() {
    let scene = Scene::new();
    let inner = binary();
    let builder = scene.daemon().args(&["--pid", "--fork", "--kill-child", inner.to_str().expect("UTF-8")]);
    let mut daemon = start_ready(builder.program("unshare"));
    let is_tetherd = |entry: &descendants::Entry| entry.name == "tetherd";
    let first = descendants::below(daemon.pid()).into_iter().find(is_tetherd).expect("tetherd runs").pid;
    let orphan = "sleep 0.1 & echo $!";
    let pid_namespace = format!("--target={first}");
    let status = Command::new("nsenter").args([&pid_namespace, "--pid", "sh", "-c", orphan]).output().expect("nsenter");
    assert!(status.status.success(), "{status:?}");
    let children = || descendants::below(first).into_iter().filter(|entry| entry.name != "tailscaled");
    wait_until("the orphan is reaped", END, || children().next().is_none().then_some(())).expect("is reaped");
    kill(Pid::from_raw(first), Signal::SIGTERM).expect("SIGTERM");
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0));
    assert!(is_gone(&scene));
}

#[test]
fn promise_5_what_a_client_sends_until_it_closes_arrives_before_the_daemon_ends() {
    const UPLOAD: usize = 5 << 20;
    let scene = Scene::new();
    let target = Ends::after_half_closing(6379, b"bye").expect("a target");
    let mut daemon = scene.ready();
    let mut client = connect("web", 6379).expect("connects");
    client.read_exact(&mut [0; 3]).expect("the target says so");
    daemon.terminate().expect("SIGTERM");
    client.write_all(&vec![7; UPLOAD]).expect("goes on");
    drop(client);
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0));
    let ends = target.wait(0, 1, Duration::from_secs(1)).expect("sees the end");
    assert_eq!((ends[0].received.len(), ends[0].reset), (UPLOAD, false), "{}", daemon.output());
}

#[test]
fn promise_5_targets_hear_of_connections_that_are_cut_when_drain_timeout_is_over() {
    let scene = Scene::new();
    let target = Ends::answering(6379, b"PING", b"PONG").expect("a target");
    let mut daemon = start_ready(scene.daemon().env("TETHERD_DRAIN_TIMEOUT", "1s"));
    let mut clients: Vec<_> = (0..3).map(|_| connect("web", 6379).expect("connects")).collect();
    for client in &mut clients {
        client.write_all(b"PING").expect("asks");
        client.read_exact(&mut [0; 4]).expect("is answered");
    }
    daemon.terminate().expect("SIGTERM");
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0));
    target
        .wait(0, clients.len(), Duration::from_secs(1))
        .unwrap_or_else(|error| panic!("{error}: {}", daemon.output()));
}
