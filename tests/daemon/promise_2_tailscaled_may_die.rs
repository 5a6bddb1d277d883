//! Tests promise 2: tailscaled may crash, be killed or hang.
//!
//! It is restarted as the same node, and the daemon stays. And where the control server has removed or expired the
//! node, the daemon notices and joins anew.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::admin::KeyOptions;
use testbed::daemon::{Daemon, SOCKS};
use testbed::server::Server;
use testbed::wait::wait_until;
use testbed::{http, socks};

use crate::scene::{END, READY, Scene, connect, start_ready};

/// Tetherd's own node at the control server.
fn own_nodes(scene: &Scene) -> Vec<testbed::admin::MachineInfo> {
    scene.tailnet.nodes().expect("nodes").into_iter().filter(|node| node.name.starts_with("app")).collect()
}

fn signal_tailscaled(daemon: &Daemon, signal: Signal) -> i32 {
    let pid = daemon.tailscaled_pid().expect("tailscaled runs");
    kill(Pid::from_raw(pid), signal).expect("signal");
    pid
}

#[test]
fn promise_2_three_kills_under_twenty_connections_a_second_fail_none() {
    const RATE: Duration = Duration::from_millis(50);
    const LENGTH: Duration = Duration::from_secs(12);
    let scene = Scene::new();
    let _server = Server::echo(7).expect("server");
    let daemon = start_ready(scene.daemon());
    let before = own_nodes(&scene);
    let started = Instant::now();
    let killer = thread::scope(|scope| {
        let mut clients = Vec::new();
        let mut kills = [2, 5, 8].map(Duration::from_secs).into_iter().peekable();
        for number in 0..(LENGTH.as_millis() / RATE.as_millis()) as u32 {
            // The rate is what is tested: each client comes at its time, however long others wait.
            thread::sleep((RATE * number).saturating_sub(started.elapsed()));
            if kills.next_if(|at| started.elapsed() >= *at).is_some() {
                signal_tailscaled(&daemon, Signal::SIGKILL);
            }
            clients.push(scope.spawn(|| {
                let begun = Instant::now();
                connect("web", 7).map(|_| begun.elapsed())
            }));
        }
        assert!(kills.next().is_none(), "all kills were done");
        clients.into_iter().map(|client| client.join().expect("client")).collect::<Vec<_>>()
    });
    let waits: Vec<Duration> = killer.into_iter().map(|wait| wait.expect("no connection fails")).collect();
    let longest = waits.iter().max().expect("clients");
    println!("{} connections, the longest took {longest:?}", waits.len());
    assert!(*longest < Duration::from_secs(1), "the longest took {longest:?}");
    let after = own_nodes(&scene);
    assert_eq!(after.len(), 1);
    assert_eq!((after[0].id, &after[0].addresses), (before[0].id, &before[0].addresses));
}

#[test]
fn promise_2_a_tailscaled_that_hangs_is_restarted_as_the_same_node() {
    let scene = Scene::new();
    let mut daemon = start_ready(scene.daemon());
    let before = own_nodes(&scene);
    let hung = signal_tailscaled(&daemon, Signal::SIGSTOP);
    let restarted = || daemon.tailscaled_pid().filter(|pid| *pid != hung);
    wait_until("tailscaled is replaced", Duration::from_secs(15), restarted).expect("is replaced");
    daemon.wait_ready(READY).expect("gets ready again");
    assert_eq!(own_nodes(&scene)[0].addresses, before[0].addresses);
    assert!(daemon.stderr().contains("tailscaled hangs"), "{}", daemon.stderr());
}

#[test]
fn promise_2_a_node_that_is_kept_comes_back_without_a_key() {
    let scene = Scene::new();
    let state = tempfile::tempdir().expect("directory");
    let state_dir = state.path().to_str().expect("UTF-8");
    let key = scene.tailnet.auth_key(KeyOptions { reusable: false, ephemeral: false }).expect("key");
    let builder = || scene.daemon().env("TETHERD_STATE_DIR", state_dir);
    let mut daemon = start_ready(builder().env("TETHERD_AUTH_KEY", &key));
    let before = own_nodes(&scene);
    daemon.terminate().expect("SIGTERM");
    assert!(daemon.wait_exit(END).expect("ends").success());
    start_ready(builder().env_remove("TETHERD_AUTH_KEY"));
    let after = own_nodes(&scene);
    assert_eq!(after.len(), 1);
    assert_eq!((after[0].id, &after[0].addresses), (before[0].id, &before[0].addresses));
}

/// A client that tries once a second until told to stop, and never gives up.
fn try_once_a_second(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let _ = connect("web", 80);
        thread::sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
    }
}

fn works() -> Option<()> {
    let stream = socks::connect(SOCKS, "web", 80, None).ok()?;
    http::get(stream, "web", "/").ok().filter(|answer| answer.head.status == 200).map(drop)
}

/// Lets `harm` befall the node and returns how long `/readyz` took to say so, and the connection to work again.
fn recovery(scene: &Scene, daemon: &Daemon, limits: [Duration; 2], harm: impl FnOnce()) -> [Duration; 2] {
    let stop = AtomicBool::new(false);
    let client = connect("web", 80).expect("works before");
    drop(client);
    thread::scope(|scope| {
        scope.spawn(|| try_once_a_second(&stop));
        scope.spawn(|| {
            // Several at once: the one that meets the harm waits long for its answer.
            thread::sleep(Duration::from_millis(500));
            try_once_a_second(&stop);
        });
        harm();
        let harmed = Instant::now();
        let noticed =
            wait_until("/readyz says no", limits[0], || (daemon.readyz().ok()?.0 == 503).then(|| harmed.elapsed()));
        let works = noticed.and_then(|noticed| {
            let works = wait_until("connections work again", limits[1].saturating_sub(harmed.elapsed()), works);
            works.map(|()| [noticed, harmed.elapsed()])
        });
        stop.store(true, Ordering::Relaxed);
        let log = || format!("{}\n{}", daemon.output(), scene.tailnet.log());
        works.unwrap_or_else(|error| panic!("{error}: {}", log()))
    })
}

#[test]
fn promise_2_a_node_deleted_at_the_control_server_joins_anew_by_itself() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let key = scene.tailnet.auth_key(KeyOptions { reusable: true, ephemeral: true }).expect("key");
    let daemon = start_ready(scene.daemon().env("TETHERD_AUTH_KEY", &key));
    let before = own_nodes(&scene)[0].id;
    let limits = [15, 30].map(Duration::from_secs);
    let [noticed, works] = recovery(&scene, &daemon, limits, || scene.tailnet.delete_node("app").expect("deleted"));
    println!("deleted: noticed after {noticed:?}, works again after {works:?}");
    let after = own_nodes(&scene);
    assert_eq!(after.len(), 1);
    assert_ne!(after[0].id, before);
}

#[test]
fn promise_2_an_expired_node_logs_in_anew_by_itself() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let key = scene.tailnet.auth_key(KeyOptions { reusable: true, ephemeral: true }).expect("key");
    let daemon = start_ready(scene.daemon().env("TETHERD_AUTH_KEY", &key));
    let limits = [5, 5].map(Duration::from_secs);
    let [noticed, works] = recovery(&scene, &daemon, limits, || scene.tailnet.expire_node("app").expect("expired"));
    println!("expired: noticed after {noticed:?}, works again after {works:?}");
}

#[test]
fn promise_2_a_target_that_never_answers_does_not_cost_the_node_its_place() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let _echo = Server::echo(7).expect("server");
    let _hole = Server::black_hole(81).expect("black hole");
    let daemon = start_ready(scene.daemon().env("TETHERD_CONNECT_TIMEOUT", "1s").env("TETHERD_LOG_LEVEL", "debug"));
    let before = own_nodes(&scene)[0].id;
    let mut open = connect("web", 7).expect("connects");
    for _ in 0..6 {
        assert_eq!(connect("web", 81).expect_err("never answers").reply(), Some(6));
        assert_eq!(daemon.readyz().expect("health answers").0, 200, "{}", daemon.output());
    }
    let asked = daemon.output().contains("asking the control server where this node stands");
    assert!(asked, "the path was suspect: {}", daemon.output());
    works().expect("others are reached");
    open.write_all(b"still here").expect("an open connection lives on");
    let mut echo = [0; 10];
    open.read_exact(&mut echo).expect("an open connection lives on");
    assert_eq!(own_nodes(&scene)[0].id, before);
}
