//! The health port among many who ask, or who say nothing, and what it tells whom.

use std::fs::{self, File};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use testbed::daemon::{Daemon, HEALTH};
use testbed::http::{self, Answer};
use testbed::wait::wait_until;

use crate::local_api_gone::socket;
use crate::scene::{READY, Scene, command, start_ready};

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

/// Hands on to tailscaled what is asked for at its socket, and writes a line for each question. A process of its own, of
/// tailscaled's group: another one is not trusted.
const COUNTING: &str = r#"
import os, socket, sys, threading
path = sys.argv[1]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path + ".new")
listener.listen(512)
os.rename(path, path + ".behind")
os.rename(path + ".new", path)
def carry(source, sink):
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)
def serve(client):
    question = client.recv(65536)
    print(question.split(b"\r")[0].decode(), flush=True)
    behind = socket.socket(socket.AF_UNIX)
    behind.connect(path + ".behind")
    behind.sendall(question)
    threading.Thread(target=carry, args=(client, behind), daemon=True).start()
    carry(behind, client)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

fn counting(daemon: &Daemon, questions: &Path) -> Child {
    let tailscaled = daemon.tailscaled_pid().expect("runs");
    let output = File::create(questions).expect("a file");
    let mut python = Command::new("python3");
    python.args(["-c", COUNTING]).arg(socket(daemon)).stdout(output).process_group(tailscaled);
    let child = python.spawn().expect("python3");
    let behind = PathBuf::from(format!("{}.behind", socket(daemon).display()));
    wait_until("it listens", READY, || behind.exists().then_some(())).expect("listens");
    child
}

#[test]
fn health_port_many_who_ask_for_the_status_at_once_are_one_question_to_tailscaled() {
    let scene = Scene::new();
    let daemon = scene.ready();
    let directory = tempfile::tempdir().expect("directory");
    let questions = directory.path().join("questions");
    let mut counting = counting(&daemon, &questions);
    for (path, what, shown) in [
        ("/status", "/localapi/v0/status?peers=true", "web.tail.test"),
        ("/", "/localapi/v0/status?peers=true", "web.tail.test"),
        ("/metrics", "/localapi/v0/usermetrics", "tailscaled_"),
    ] {
        // What was kept is too old.
        thread::sleep(Duration::from_millis(1100));
        let asked = || fs::read_to_string(&questions).expect("is read").matches(what).count();
        let before = asked();
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
        assert_eq!(asked() - before, 1, "{path}");
    }
    counting.kill().and_then(|()| counting.wait()).expect("ends");
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
