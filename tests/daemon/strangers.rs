//! Other users of the machine, and the daemon's sockets and files.
//!
//! They may write where those are.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use testbed::daemon::Builder;
use testbed::descendants;
use testbed::server::Server;
use testbed::wait::wait_until;

use crate::scene::{END, READY, Scene, connect, start_ready};

/// A user who is not the daemon's.
pub const STRANGER: u32 = 4_242;

/// Takes the place of the socket, serves whoever connects, and writes down what is sent.
const TAKE_THE_PLACE: &str = "
import os, socket, sys, threading
path, heard = sys.argv[1:]
os.rename(path, path + '.before')
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
def serve(client):
    while data := client.recv(65536):
        open(heard, 'ab').write(data)
        client.sendall(b'HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\nd\\r\\n{\"State\": 2}\\n\\r\\n')
open(heard, 'ab').close()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],)).start()
";

/// A process of the stranger, killed when dropped.
struct Stranger(Child);

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory that everybody may write to.
fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("directory");
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).expect("open to all");
    directory
}

fn take_the_place(socket: &Path, heard: &Path) -> Stranger {
    let mut command = Command::new("python3");
    command.args(["-c", TAKE_THE_PLACE]).arg(socket).arg(heard).uid(STRANGER).gid(STRANGER);
    let stranger = Stranger(command.spawn().expect("starts"));
    wait_until("the stranger listens", END, || heard.exists().then_some(())).expect("listens");
    stranger
}

/// What starts tailscaled: itself, and scripts that put a process, a session or another group between.
const STARTERS: [&str; 4] = [
    "",
    "setsid --fork --wait tailscaled \"$@\"; exit $?",
    "set -m; tailscaled \"$@\" & wait $!",
    "tailscaled \"$@\"; exit $?",
];

/// Has the daemon start tailscaled by `starter`, a script of `directory`.
fn by(starter: &str, builder: Builder, directory: &Path) -> Builder {
    if starter.is_empty() {
        return builder;
    }
    let script = directory.join("tailscaled");
    fs::write(&script, format!("#!/bin/sh\n{starter}\n")).expect("written");
    fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("executable");
    builder.env("TETHERD_TAILSCALED_PATH", script.to_str().expect("UTF-8"))
}

#[test]
fn tailscaled_may_be_started_by_a_script_in_another_session_and_ends_with_the_daemon() {
    let scene = Scene::new();
    for starter in STARTERS {
        let directory = tempfile::tempdir().expect("directory");
        let mut daemon = by(starter, scene.daemon(), directory.path()).start().expect("starts");
        let ready = daemon.wait_ready(READY);
        ready.unwrap_or_else(|error| panic!("{starter}: {error}: {}", daemon.output()));
        let tailscaled = daemon.tailscaled_pid().expect("runs");
        daemon.terminate().expect("SIGTERM");
        assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0), "{starter}");
        wait_until("tailscaled is gone", END, || (!descendants::is_running(tailscaled)).then_some(())).expect(starter);
    }
}

#[test]
fn a_stranger_in_the_place_of_the_localapi_hears_nothing() {
    for starter in STARTERS {
        let scene = Scene::new();
        let _echo = Server::echo(7).expect("server");
        let directory = tempfile::tempdir().expect("directory");
        a_stranger_hears_nothing(by(starter, scene.daemon(), directory.path()));
    }
}

fn a_stranger_hears_nothing(builder: Builder) {
    let directory = open_directory();
    let (socket, heard) = (directory.path().join("t.sock"), directory.path().join("heard"));
    let mut daemon = start_ready(builder.env("TS_SOCKET", socket.to_str().expect("UTF-8")));
    let _stranger = take_the_place(&socket, &heard);
    connect("web", 7).expect("the daemon does not go there");
    // Also while tailscaled is started again, which is when a login may be needed.
    let tailscaled = daemon.tailscaled_pid().expect("runs");
    // Itself, where scripts are between: the last one of the tree.
    let itself =
        descendants::below(daemon.pid()).into_iter().rfind(|process| process.name == "tailscaled").expect("runs");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(itself.pid), nix::sys::signal::SIGKILL).expect("killed");
    let again = || daemon.tailscaled_pid().filter(|pid| *pid != tailscaled);
    wait_until("tailscaled runs again", END, again).expect("runs again");
    daemon.wait_ready(READY).expect("gets ready again");
    let heard = fs::read(&heard).expect("is there");
    assert!(heard.is_empty(), "the stranger heard {} bytes: {}", heard.len(), String::from_utf8_lossy(&heard));
    let owner = fs::symlink_metadata(&socket).expect("is there").uid();
    assert_eq!(owner, nix::unistd::geteuid().as_raw(), "the place is tailscaled's again");
    // In order: a tailscaled in a session of its own outlives a daemon that is killed.
    daemon.terminate().expect("told");
    daemon.wait_exit(END).expect("ends");
}

/// Connects as often as it can to a socket below a directory, and writes down where that worked; with a file there that says
/// how often it tried.
const KEEP_CONNECTING: &str = "
import glob, os, socket, sys
directory, worked, tried = sys.argv[1:]
open(worked, 'a').close()
tries = 0
while True:
    for path in glob.glob(directory + '/*.sock') + [directory + '/.t.sock.d/s']:
        tries += 1
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(path)
            open(worked, 'a').write(path + chr(10))
        except OSError:
            client.close()
    open(tried + '.next', 'w').write(str(tries))
    os.rename(tried + '.next', tried)
";

#[test]
fn the_localapi_takes_no_connection_of_a_stranger_at_any_moment_of_a_start() {
    let scene = Scene::new();
    let (directory, notes) = (open_directory(), open_directory());
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("for all to enter");
    let (socket, worked, tried) =
        (directory.path().join("t.sock"), notes.path().join("worked"), notes.path().join("tried"));
    let mut command = Command::new("python3");
    command.args(["-c", KEEP_CONNECTING]).arg(directory.path()).arg(&worked).arg(&tried).uid(STRANGER).gid(STRANGER);
    let _stranger = Stranger(command.spawn().expect("starts"));
    wait_until("the stranger tries", END, || tried.exists().then_some(())).expect("tries");
    let mut daemon = start_ready(scene.daemon().env("TS_SOCKET", socket.to_str().expect("UTF-8")));
    for _ in 0..3 {
        assert!(socket.exists(), "programs find it where it was wanted");
        let tailscaled = daemon.tailscaled_pid().expect("runs");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(tailscaled), nix::sys::signal::SIGKILL).expect("killed");
        let again = || daemon.tailscaled_pid().filter(|pid| *pid != tailscaled);
        wait_until("tailscaled runs again", END, again).expect("runs again");
        daemon.wait_ready(READY).expect("gets ready again");
    }
    let tries: u64 = fs::read_to_string(&tried).expect("is there").parse().expect("a number");
    assert!(tries > 1_000, "{tries} tries");
    assert_eq!(fs::read_to_string(&worked).expect("is there"), "", "of {tries} tries");
    daemon.terminate().expect("told");
    daemon.wait_exit(END).expect("ends");
    assert_eq!(fs::read_dir(directory.path()).expect("is there").count(), 0, "nothing is left behind");
}

/// Whether the stranger can connect.
fn reaches(socket: &Path) -> bool {
    let connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])";
    let mut command = Command::new("python3");
    command.args(["-c", connect]).arg(socket).uid(STRANGER).gid(STRANGER).stderr(Stdio::null());
    command.status().expect("runs").success()
}

#[test]
fn the_localapi_is_for_owner_and_group_after_every_start_and_an_open_directory_is_said() {
    let scene = Scene::new();
    let directory = open_directory();
    let socket = directory.path().join("t.sock");
    let mut daemon = start_ready(scene.daemon().env("TS_SOCKET", socket.to_str().expect("UTF-8")));
    let mode = || fs::metadata(&socket).expect("is there").permissions().mode() & 0o777;
    for _ in 0..2 {
        assert_eq!(format!("{:o}", mode()), "660");
        assert!(!reaches(&socket), "a stranger may dial into the tailnet");
        let tailscaled = daemon.tailscaled_pid().expect("runs");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(tailscaled), nix::sys::signal::SIGKILL).expect("killed");
        let again = || daemon.tailscaled_pid().filter(|pid| *pid != tailscaled);
        wait_until("tailscaled runs again", END, again).expect("runs again");
        daemon.wait_ready(READY).expect("gets ready again");
    }
    let warning = format!("{} may be written to by every user", directory.path().display());
    assert!(daemon.output().contains(&warning), "{}", daemon.output());
    let own = start_ready(Scene::new().daemon());
    assert!(!own.output().contains("may be written to"), "{}", own.output());
}
