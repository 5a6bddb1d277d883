//! Tests the image as users are told to run it.
//!
//! That is read-only, without capabilities, as an ordinary user, in 256 MB.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use testbed::daemon::{HEALTH, SOCKS};
use testbed::image::IMAGE;
use testbed::netns::Handle;
use testbed::server::{PAGE, Server, SlowAnswer, pattern};
use testbed::{http, socks, wait_until};

use crate::scene::{READY, Scene};

const STREAMS: usize = 32;
const EACH: usize = 20_000_000;

fn page(host: &str, port: u16) -> String {
    let stream = socks::connect(SOCKS, host, port, None).expect("connects");
    http::get(stream, host, "/").expect("answers").text()
}

fn status() -> serde_json::Value {
    let stream = TcpStream::connect(HEALTH).expect("health listens");
    serde_json::from_slice(&http::get(stream, "localhost", "/status").expect("answers").body).expect("JSON")
}

/// Lines of /proc/PID/status of the container's first process.
fn process(scene: &Scene) -> String {
    let pid = &scene.engine.inspect("app").expect("is there")["State"]["Pid"];
    fs::read_to_string(format!("/proc/{pid}/status")).expect("runs")
}

#[test]
fn it_runs_with_no_right_that_it_could_lose_and_writes_nothing() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    scene.run_healthy(&[]);
    assert_eq!(page("web", 80), PAGE);
    let status = process(&scene);
    for line in ["Uid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"] {
        assert!(status.contains(line), "{line} is missing in {status}");
    }
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    // The place where the test has mounted the authority.
    assert_eq!(scene.engine.docker(&["diff", "app"]).expect("differences"), "A /ca.pem", "files changed");
    assert!(scene.engine.docker(&["exec", "app", "/tetherd", "status"]).expect("answers").contains("app.tail.test"));
    // No shell for who gets in.
    scene.engine.docker(&["exec", "app", "sh", "-c", "true"]).expect_err("has no shell");
}

/// What a process of this user and group finds it can do with process `pid`: trace it, and read its memory and its environment.
fn within_reach_of(user: &str, pid: u64) -> Vec<String> {
    const TRIES: &str = "
import ctypes, os, sys
pid = int(sys.argv[1])
libc = ctypes.CDLL(None)
libc.ptrace.argtypes = [ctypes.c_long] * 4
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
if libc.ptrace(PTRACE_ATTACH, pid, 0, 0) == 0:
    print('trace')
    os.waitpid(pid, 0)
    libc.ptrace(PTRACE_DETACH, pid, 0, 0)
for name in 'mem', 'environ', 'status':
    try:
        open(f'/proc/{pid}/{name}').close()
        print(name)
    except PermissionError:
        pass
";
    let identity = [format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()];
    // One that others than its owner may run.
    let mut command = Command::new("setpriv");
    let command = command.args(identity).args(["python3", "-c", TRIES, &pid.to_string()]).env("PATH", "/usr/bin:/bin");
    let output = command.output().expect("setpriv runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn neither_process_is_within_reach_of_its_own_user() {
    const USER: &str = "65532";
    let scene = Scene::new();
    scene.run_healthy(&[]);
    let first = scene.engine.inspect("app").expect("is there")["State"]["Pid"].as_u64().expect("a process id");
    let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).expect("readable");
    let tailscaled = children.trim().parse().expect("one child");
    for pid in [first, tailscaled] {
        assert_eq!(within_reach_of(USER, pid), ["status"], "{}", scene.engine.logs("app"));
    }
    // The key that it was started with is masked all the same: root may look.
    let environment = fs::read(format!("/proc/{first}/environ")).expect("root may");
    let environment = String::from_utf8_lossy(&environment).into_owned();
    assert!(environment.contains("TETHERD_AUTH_KEY=***"), "the key stands in the environment");
    let named = status()["confinement"].clone();
    assert_eq!(named["tetherd"], named["tailscaled"]);
    assert_eq!(named["tetherd"].as_array().map(Vec::len), Some(4), "{named}");
    // Another process of that user is within reach: the test would notice.
    let mut other = Command::new("setpriv");
    let mut other =
        other.args(["--reuid", USER, "--regid", USER, "--clear-groups", "sleep", "1000"]).spawn().expect("runs");
    let reached = testbed::wait_until("it runs its program", READY, || {
        let reached = within_reach_of(USER, other.id().into());
        (reached.len() == 4).then_some(())
    });
    other.kill().expect("killed");
    other.wait().expect("ended");
    reached.expect("is within reach");
}

#[test]
fn nothing_is_open_with_the_defaults_of_the_image() {
    let scene = Scene::new();
    let check = |more: &[&str]| {
        let command = [&["run", "--rm", "--network=host"], more, &[IMAGE, "check", "--security"]].concat();
        let output = scene.engine.command("docker").args(command).output().expect("runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(check(&[]), (Some(0), "nothing is open that settings could close\n".to_owned()));
    let (code, said) = check(&["--user=0"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("user: tetherd and tailscaled run as root"), "{said}");
}

#[test]
fn tailscaled_goes_before_the_command_of_exec_when_memory_is_short() {
    let scene = Scene::new();
    let key = format!("--env=TETHERD_AUTH_KEY={}", scene.key());
    // Something of the image's that takes long.
    let waits = ["exec", "--", "/tetherd", "wait", "--timeout", "600s", "--health-listen", "127.0.0.1:1"];
    scene.run_with_words("app", &key, &[], &waits);
    scene.engine.wait_healthy("app", READY).expect("is healthy");
    let first = scene.engine.inspect("app").expect("is there")["State"]["Pid"].as_u64().expect("a process id");
    let children = || fs::read_to_string(format!("/proc/{first}/task/{first}/children")).expect("readable");
    let both = || (children().split_whitespace().count() == 2).then_some(());
    testbed::wait_until("the command runs beside tailscaled", READY, both).expect("runs");
    let score = |pid: &str| {
        let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("readable");
        score.trim().parse::<i32>().expect("a number")
    };
    let mut scores: Vec<i32> = children().split_whitespace().map(score).collect();
    scores.sort_unstable();
    assert_eq!(scores, [score(&first.to_string()), 500], "{}", scene.engine.logs("app"));
    assert_eq!(within_reach_of("65532", first), ["status"], "not for longer than a moment");
}

#[test]
fn a_stop_without_connections_takes_less_than_a_second_and_the_node_is_gone() {
    let scene = Scene::new();
    scene.run_healthy(&[]);
    let asked = Instant::now();
    scene.engine.docker(&["stop", "app"]).expect("stops");
    let took = asked.elapsed();
    assert_eq!(scene.exit_code(), 0, "{}", scene.engine.logs("app"));
    assert!(scene.tailnet.node("app").expect("nodes").is_none());
    eprintln!("docker stop took {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_stop_lets_a_running_answer_finish() {
    let how = SlowAnswer { after_half_close: false, bytes: 1 << 20, parts: 20, pause: Duration::from_millis(100) };
    let scene = Scene::new();
    let _server = Server::slow_answer(90, how).expect("server");
    scene.run_healthy(&[]);
    let mut running = socks::connect(SOCKS, "web", 90, None).expect("connects");
    running.write_all(b"question\n").expect("sent");
    let client = thread::spawn(move || {
        let mut answer = Vec::new();
        running.read_to_end(&mut answer).expect("answers");
        answer
    });
    scene.engine.docker(&["stop", "app"]).expect("stops");
    assert!(client.join().expect("client") == pattern(how.bytes), "the answer is not whole");
    assert_eq!(scene.exit_code(), 0);
    assert!(scene.tailnet.node("app").expect("nodes").is_none());
}

#[test]
fn thirty_two_streams_fit_into_256_mb() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    scene.run_healthy(&[]);
    let namespace = Handle::current().expect("a namespace");
    let clients: Vec<_> = (0..STREAMS)
        .map(|_| {
            let namespace = namespace.clone();
            thread::spawn(move || {
                namespace.enter().expect("entered");
                let stream = socks::connect(SOCKS, "web", 80, None).expect("connects");
                http::get(stream, "web", &format!("/bytes/{EACH}")).expect("answers").body.len()
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().expect("client"), EACH);
    }
    let state = &scene.engine.inspect("app").expect("is there")["State"];
    assert_eq!((&state["Running"], &state["OOMKilled"]), (&true.into(), &false.into()), "{state}");
    assert_eq!(status()["restarts"], 0, "{}", scene.engine.logs("app"));
}

#[test]
fn a_volume_keeps_the_node_over_a_new_container() {
    let scene = Scene::new();
    let kept = ["--volume=state:/var/lib/tetherd", "--env=TETHERD_STATE_DIR=/var/lib/tetherd"];
    let key = scene.tailnet.auth_key(testbed::KeyOptions::default()).expect("a key for one node");
    let key = format!("--env=TETHERD_AUTH_KEY={key}");
    scene.run_with_key(&key, &kept);
    scene.engine.wait_healthy("app", READY).expect("is healthy");
    let before = scene.tailnet.node("app").expect("nodes").expect("has joined");
    scene.engine.docker(&["stop", "app"]).expect("stops");
    scene.engine.docker(&["rm", "app"]).expect("is removed");
    scene.run_with_key(&key, &kept);
    scene.engine.wait_healthy("app", READY).expect("is healthy again");
    let after = scene.tailnet.node("app").expect("nodes").expect("is still there");
    assert_eq!((after.id, after.addresses), (before.id, before.addresses));
}

#[test]
fn health_fails_while_the_tailnet_is_away() {
    let mut scene = Scene::new();
    let key = format!("--env=TETHERD_AUTH_KEY={}", scene.key());
    scene.tailnet.stop_control();
    scene.run_with_key(&key, &["--health-start-period=1s", "--health-retries=1"]);
    let health = || scene.engine.inspect("app").ok().map(|found| found["State"]["Health"].clone());
    let unhealthy = wait_until("unhealthy", READY, || health().filter(|health| health["Status"] == "unhealthy"));
    let log = unhealthy.expect("the check fails")["Log"][0].clone();
    assert_eq!(log["ExitCode"], 1, "{log}");
    let socks: SocketAddr = SOCKS;
    TcpStream::connect(socks).expect("connections are accepted and wait");
}
