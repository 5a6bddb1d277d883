//! The health port among many who ask, or who say nothing, and what it tells whom.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testbed::daemon::HEALTH;
use testbed::http::{self, Answer};

use crate::local_api_gone::socket;
use crate::scene::{Scene, command, start_ready};

/// Connections without a word, in one second.
const SILENT: u32 = 1000;
/// Who ask for the status at once.
const CURIOUS: usize = 40;
/// An address of this machine that is not loopback, as that of a pod.
const POD: &str = "10.9.8.7";

#[test]
fn health_port_silent_clients_make_room_for_a_probe() {
    let scene = Scene::new();
    let daemon = scene.ready();
    let mut silent = Vec::new();
    let (began, mut slowest) = (Instant::now(), Duration::ZERO);
    for number in 1..=3 * SILENT {
        silent.push(TcpStream::connect(HEALTH).expect("connects"));
        if number % 100 == 0 {
            let asked = Instant::now();
            assert_eq!(daemon.readyz().expect("is answered").0, 200);
            slowest = slowest.max(asked.elapsed());
        }
        let due = Duration::from_secs(1) * number / SILENT;
        thread::sleep(due.saturating_sub(began.elapsed()));
    }
    println!("the slowest probe took {slowest:?}");
    assert!(slowest < Duration::from_millis(500), "a probe took {slowest:?}");
    silent[0].set_read_timeout(Some(Duration::from_secs(1))).expect("set");
    assert!(matches!(silent[0].read(&mut [0]), Ok(0)), "the oldest is given up");
}

/// Hands on to tailscaled what is asked for at its socket, and counts the questions for `what`. Runs as long as the program.
fn count_questions(socket: &Path, what: &'static str) -> Arc<AtomicUsize> {
    let behind = socket.with_extension("behind");
    fs::rename(socket, &behind).expect("renamed");
    let listener = UnixListener::bind(socket).expect("listens");
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let (behind, counted) = (behind.clone(), Arc::clone(&counted));
            thread::spawn(move || {
                let mut question = [0; 4096];
                let length = client.read(&mut question)?;
                counted.fetch_add(
                    usize::from(String::from_utf8_lossy(&question[..length]).contains(what)),
                    Ordering::Relaxed,
                );
                let mut tailscaled = UnixStream::connect(behind)?;
                tailscaled.write_all(&question[..length])?;
                let (mut more, mut on) = (client.try_clone()?, tailscaled.try_clone()?);
                thread::spawn(move || io::copy(&mut more, &mut on));
                io::copy(&mut tailscaled, &mut client)?;
                client.shutdown(Shutdown::Both)
            });
        }
    });
    count
}

#[test]
fn health_port_many_who_ask_for_the_status_at_once_are_one_question_to_tailscaled() {
    let scene = Scene::new();
    let daemon = scene.ready();
    for (path, what, shown) in [
        ("/status", "/localapi/v0/status?peers=true", "web.tail.test"),
        ("/", "/localapi/v0/status?peers=true", "web.tail.test"),
        ("/metrics", "/localapi/v0/usermetrics", "tailscaled_"),
    ] {
        // What was kept is too old.
        thread::sleep(Duration::from_millis(1100));
        let count = count_questions(&socket(&daemon), what);
        let ask = || {
            thread::spawn(move || {
                let stream = TcpStream::connect(HEALTH).expect("connects");
                http::get(stream, "localhost", path).expect("is answered").text()
            })
        };
        let curious: Vec<_> = (0..CURIOUS).map(|_| ask()).collect();
        for answer in curious {
            let text = answer.join().expect("answers");
            assert!(text.contains(shown), "{path}: {text}");
        }
        assert_eq!(count.load(Ordering::Relaxed), 1, "{path}");
        // The next one has the socket to itself.
        let socket = socket(&daemon);
        fs::rename(socket.with_extension("behind"), &socket).expect("renamed");
    }
}

fn ask(address: SocketAddr, host: &str, path: &str) -> Answer {
    http::get(TcpStream::connect(address).expect("connects"), host, path).expect("is answered")
}

#[test]
fn health_port_tells_who_is_not_on_loopback_phase_and_reason_alone() {
    let scene = Scene::new();
    let added = Command::new("ip").args(["addr", "add", POD, "dev", "lo"]).status().expect("ip");
    assert!(added.success());
    let _daemon = start_ready(scene.daemon().env("TETHERD_HEALTH_LISTEN", "0.0.0.0:9002"));
    let pod: SocketAddr = format!("{POD}:9002").parse().expect("an address");
    for host in ["localhost", POD, "app.example:9002"] {
        for path in ["/", "/status"] {
            let answer = ask(pod, host, path);
            let text = answer.text();
            assert!(answer.head.status == 200 && text.contains("joined the tailnet"), "{host}{path}: {text}");
            for secret in ["tail.test", "100.64.", "peers", "connections"] {
                assert!(!text.contains(secret), "{host}{path}: {text}");
            }
        }
        for path in ["/livez", "/startupz", "/readyz", "/healthz", "/metrics"] {
            assert_eq!(ask(pod, host, path).head.status, 200, "{host}{path}");
        }
    }
    for host in ["localhost:9002", "127.0.0.1", "[::1]"] {
        assert!(ask(HEALTH, host, "/status").text().contains("web.tail.test"), "{host}");
    }
    // A page of the web whose name leads here.
    for path in ["/", "/status"] {
        let answer = ask(HEALTH, "rebound.example:9002", path);
        assert!(answer.head.status == 421 && !answer.text().contains("tail"), "{path}: {}", answer.text());
    }
    for path in ["/readyz", "/metrics"] {
        assert_eq!(ask(HEALTH, "rebound.example", path).head.status, 200, "{path}");
    }
    for (listen, shown) in [("0.0.0.0:9002", "web.tail.test"), (&*pod.to_string(), "Ready: joined the tailnet")] {
        let output = command(&["status"]).env("TETHERD_HEALTH_LISTEN", listen).output().expect("runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains(shown), "{listen}: {output:?}");
    }
}
