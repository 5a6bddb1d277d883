//! Tests promise 4 with ordinary programs: nc and curl.
//!
//! They run outside of `exec` and as its command.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use testbed::process::Process;
use testbed::server::{Server, SlowAnswer, pattern};
use testbed::wait::wait_until;
use testbed::{Daemon, Ends};

use crate::exec_and_env::exec_sh;
use crate::promise_4_ends::SOON;
use crate::scene::{READY, Scene, start_ready};

const PORT: u16 = 9000;
const FORWARD: (&str, &str) = ("TETHERD_FORWARDS", "127.0.0.1:9001=web:9000");
/// nc's arguments by which it reaches the receiver.
const WAYS: [&str; 4] = [
    "-X 5 -x 127.0.0.1:1055 web 9000",
    "-X connect -x 127.0.0.1:1055 web 9000",
    "127.0.0.1 9001",
    "-X 5 -x 127.0.0.1:1055 127.0.0.1 9000",
];

/// Files of 3 MB altogether.
fn files() -> TempDir {
    let directory = tempfile::tempdir().expect("directory");
    for length in [0, 1, 1_000, 3_000_000] {
        fs::write(directory.path().join(format!("{length}.bin")), pattern(length)).expect("written");
    }
    directory
}

/// `nc -l` on [`PORT`], which writes what it receives to a file, and ends when the sender's side does.
struct Receiver {
    nc: Process,
    received: TempDir,
}

impl Receiver {
    fn start() -> Result<Self> {
        let received = tempfile::tempdir()?;
        let mut command = Command::new("nc");
        let file = File::create(received.path().join("received"))?;
        command.args(["-l", &PORT.to_string()]).stdin(Stdio::null()).stdout(file);
        let nc = Process::spawn(&mut command)?;
        let filter = format!("sport = :{PORT}");
        wait_until("nc listens", READY, || {
            let output = Command::new("ss").args(["-Hltn", &filter]).output().ok()?;
            (!output.stdout.is_empty()).then_some(())
        })?;
        Ok(Self { nc, received })
    }

    fn has(&self, bytes: &[u8]) -> bool {
        fs::read(self.received.path().join("received")).is_ok_and(|received| received == bytes)
    }

    /// It has all of `bytes`, and soon after ends by itself.
    fn ends_with(&mut self, bytes: &[u8]) -> Result<()> {
        wait_until("every byte arrives", READY, || self.has(bytes).then_some(()))?;
        let status = self.nc.wait_exit(SOON).context("it has every byte, but not the end")?;
        ensure!(status.success(), "nc -l ends with {status}");
        ensure!(self.has(bytes), "more came than was sent");
        Ok(())
    }
}

fn packed(directory: &Path) -> Vec<u8> {
    let tar = Command::new("tar").arg("c").arg("-C").arg(directory).arg(".").output().expect("tar");
    assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
    tar.stdout
}

#[test]
fn promise_4_tar_through_nc_into_nc_ends_by_itself() {
    let scene = Scene::new();
    let _daemon = start_ready(scene.daemon().env(FORWARD.0, FORWARD.1));
    let files = files();
    let expected = packed(files.path());
    let failed = WAYS.iter().filter_map(|way| {
        let script = format!("tar c -C {} . | nc -N {way}", files.path().display());
        let sent = tar_into_nc(&script, &expected);
        sent.err().map(|error| format!("nc {way}: {error:#}"))
    });
    let failed: Vec<_> = failed.collect();
    assert!(failed.is_empty(), "{} of {} ways:\n{}", failed.len(), WAYS.len(), failed.join("\n"));
}

fn tar_into_nc(script: &str, expected: &[u8]) -> Result<()> {
    let mut receiver = Receiver::start()?;
    let mut sender = Process::spawn(Command::new("sh").args(["-c", script]).stdin(Stdio::null()))?;
    receiver.ends_with(expected)?;
    let status = sender.wait_exit(SOON).context("the receiver has ended, the sender has not")?;
    ensure!(status.success(), "the sender ends with {status}");
    Ok(())
}

/// Asks with nc, packs and sends with tar and nc, and fetches with curl; then it stays, so that nothing ends with it.
fn session(directory: &Path) -> String {
    format!(
        "set -e; proxy=${{HTTP_PROXY#http://}}
         printf 'question\\n' | nc -N -X 5 -x $proxy web 90 | sha256sum
         curl --silent --show-error http://web:91/
         tar c -C {} . | nc -N -X 5 -x $proxy web {PORT}
         echo; echo done; exec sleep 1000",
        directory.display()
    )
}

#[test]
fn promise_4_connections_of_the_command_of_exec_end_as_they_would_without_a_proxy() {
    let scene = Scene::new();
    let how = SlowAnswer { after_half_close: true, bytes: 1 << 20, parts: 8, pause: Duration::from_millis(20) };
    let _slow = Server::slow_answer(90, how).expect("server");
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let page = Ends::answering(91, b"\r\n\r\n", answer).expect("server");
    let (files, mut receiver) = (files(), Receiver::start().expect("nc"));
    let mut daemon = exec_sh(&scene, &session(files.path())).start().expect("starts");
    receiver.ends_with(&packed(files.path())).unwrap_or_else(|error| panic!("{error:#}: {}", daemon.output()));
    let done = || daemon.stdout().ends_with("ok\ndone\n").then_some(());
    wait_until("the command is done", SOON, done).unwrap_or_else(|error| panic!("{error}: {}", daemon.output()));
    page.wait(0, 1, SOON).expect("curl has ended");
    assert_whole(&daemon);
    assert!(!daemon.has_ended().expect("its state"), "nothing ended because the daemon did");
}

/// The checksum that the command wrote is that of the whole answer.
fn assert_whole(daemon: &Daemon) {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("answer");
    fs::write(&file, pattern(1 << 20)).expect("written");
    let Output { stdout, .. } = Command::new("sha256sum").arg(&file).output().expect("sha256sum");
    let expected = String::from_utf8_lossy(&stdout[..64]).into_owned();
    assert!(daemon.stdout().contains(&expected), "the answer is not whole: {}", daemon.output());
}
