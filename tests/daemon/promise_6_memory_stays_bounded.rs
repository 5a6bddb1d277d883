//! Tests promise 6: memory stays within the control group under any load.
//!
//! That is the memory of the whole process tree.

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testbed::cgroup::MemoryGroup;
use testbed::daemon::{Builder, Daemon, SOCKS};
use testbed::load::{Load, Way};
use testbed::process::Process;
use testbed::wait::wait_until;
use testbed::{Server, socks};

use crate::scene::{END, Scene, binary, connect, inherited, start_ready};

const STREAMS: usize = 32;
/// The peak comes in the first second, while the receive windows grow.
const CARRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
const PORT: u16 = 9000;

/// The daemon, ready, in a group that may use so much from its exec on.
fn confined(scene: &Scene, mib: u64) -> (Daemon, MemoryGroup) {
    confined_with(scene.daemon(), mib)
}

fn confined_with(builder: Builder, mib: u64) -> (Daemon, MemoryGroup) {
    let group = MemoryGroup::new(mib << 20).expect("a control group");
    let script = format!("echo $$ > {}/cgroup.procs && exec {}", group.path().display(), binary().display());
    (start_ready(builder.program("sh").args(&["-c", &script])), group)
}

fn survives(mib: u64) {
    let scene = Scene::new();
    let load = Load::on(PORT).expect("a target");
    let (daemon, group) = confined(&scene, mib);
    for way in [Way::Down, Way::Up, Way::Both] {
        let flow = load.run(STREAMS, way, CARRY, || Ok(connect("web", PORT)?)).expect("carries");
        let peak = group.peak().expect("a peak") >> 20;
        println!("{mib} MiB, {STREAMS} streams {way:?}: {:.0} MB/s, peak {peak} MiB", flow.megabytes_a_second());
        assert!(!group.has_killed().expect("a count"), "{way:?} in {mib} MiB: {}", daemon.output());
    }
    let status = daemon.http_get("/status").expect("answers").text();
    assert!(status.contains("\"restarts\":0"), "{status}");
    assert_eq!(daemon.readyz().expect("answers").0, 200);
}

#[test]
fn thirty_two_streams_each_way_fit_into_128_mib() {
    survives(128);
}

#[test]
fn thirty_two_streams_each_way_fit_into_256_mib() {
    survives(256);
}

#[test]
fn thirty_two_streams_each_way_fit_into_512_mib() {
    survives(512);
}

#[test]
fn tailscaled_is_told_its_part_of_what_the_group_allows_whatever_an_application_is_told() {
    let scene = Scene::new();
    let (daemon, _group) = confined_with(scene.daemon().env("GOMEMLIMIT", "4GiB").env("GOGC", "off"), 300);
    let environment = inherited(&daemon);
    let mut told: Vec<_> = environment.split('\0').filter(|pair| pair.starts_with("GO")).collect();
    told.sort();
    assert_eq!(told, ["GOGC=50".to_owned(), format!("GOMEMLIMIT={}", 225_u64 << 20)]);
}

#[test]
fn code_that_only_the_start_needs_does_not_stay_resident() {
    let scene = Scene::new();
    let daemon = start_ready(scene.daemon().env("TETHERD_LOG_LEVEL", "debug"));
    let told = || {
        let output = daemon.output();
        let line = output.lines().find(|line| line.contains("not resident any more"))?;
        line.split_once("kib=")?.1.trim().parse::<u64>().ok()
    };
    let kib = wait_until("the code is forgotten", Duration::from_secs(5), told).expect("in time");
    println!("{kib} KiB");
    assert!(kib > 1024, "{kib} KiB less are resident: {}", daemon.output());
}

/// An application that fills the group but for 16 MiB, for good.
fn fill(group: &MemoryGroup, mib: u64) -> Process {
    let size = (mib << 20) - group.usage().expect("a usage") - (16 << 20);
    let script = format!(
        "import os, time\nopen('{}/cgroup.procs', 'w').write(str(os.getpid()))\nheld = bytearray({size})\n\
         print(flush=True)\ntime.sleep(600)",
        group.path().display()
    );
    let mut application =
        Process::spawn(Command::new("python3").args(["-c", &script]).stdout(Stdio::piped())).expect("python3");
    let said = application.child().stdout.as_mut().expect("a pipe").read(&mut [0]);
    assert_eq!(said.expect("says when it is done"), 1);
    application
}

#[test]
fn while_memory_is_short_new_connections_come_slowly_and_do_come() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("a target");
    let (_daemon, group) = confined(&scene, 256);
    let mut application = fill(&group, 256);
    let begun = Instant::now();
    for mut client in [(); 3].map(|()| TcpStream::connect(SOCKS).expect("waits in the backlog")) {
        socks::handshake(&mut client, "web", 80, None).expect("is served in the end");
    }
    let slow = begun.elapsed();
    assert!(slow > Duration::from_millis(1200), "{slow:?}: nothing held them back");
    application.kill();
    let begun = Instant::now();
    connect("web", 80).expect("connects");
    assert!(begun.elapsed() < slow / 3, "{:?}", begun.elapsed());
}

/// What tailscaled's Go runtime keeps to, in bytes.
fn told(socket: &std::path::Path) -> Option<u64> {
    let stream = UnixStream::connect(socket).ok()?;
    let path = "/localapi/v0/tetherd-v1-info";
    let answer = testbed::http::request(stream, "GET", "local-tailscaled.sock", path, b"").ok()?;
    serde_json::from_str::<serde_json::Value>(&answer.text()).ok()?["MemoryLimit"].as_u64()
}

#[test]
fn a_changed_limit_of_the_group_counts_while_the_daemon_runs_and_after_a_restart_of_tailscaled() {
    let scene = Scene::new();
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("s");
    let builder = scene.daemon().env("TS_SOCKET", socket.to_str().expect("UTF-8"));
    let (daemon, group) = confined_with(builder, 512);
    assert_eq!(told(&socket), Some(383 << 20), "75 % of the group");
    group.limit(256 << 20).expect("changed");
    let share = 256_u64 * 1024 * 1024 / 100 * 75;
    wait_until("tailscaled is told", END, || (told(&socket)? == share).then_some(())).expect("it counts");
    let killed = daemon.tailscaled_pid().expect("runs");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(killed), nix::sys::signal::Signal::SIGKILL).expect("killed");
    let again = || (daemon.tailscaled_pid()? != killed && told(&socket)? == share).then_some(());
    wait_until("the next tailscaled is told, too", END, again).expect("it counts");
}
