//! Tests [`testbed::Daemon`] with a shell in the daemon's place.
//!
//! Output, exit, signals, and nothing left after a drop.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use testbed::{Daemon, descendants, wait_until};

const SOON: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Daemon {
    Daemon::builder("/bin/sh").args(&["-c", script]).env("GREETING", "hello").start().unwrap()
}

#[test]
fn output_is_whole_when_the_exit_is_known() {
    let mut daemon =
        shell("echo $GREETING; echo oops >&2; i=0; while [ $i -lt 9999 ]; do echo $i; i=$((i+1)); done; exit 78");
    assert_eq!(daemon.wait_exit(SOON).unwrap().code(), Some(78));
    assert!(daemon.stdout().starts_with("hello\n0\n") && daemon.stdout().ends_with("9998\n"));
    assert_eq!(daemon.stderr(), "oops\n");
    assert_eq!(daemon.output().len(), daemon.stdout().len() + daemon.stderr().len());
}

#[test]
fn the_environment_is_clean() {
    let mut daemon = shell("env");
    daemon.wait_exit(SOON).unwrap();
    assert!(daemon.stdout().contains("parts/bin:"));
    assert!(!daemon.stdout().contains("CARGO"));
}

#[test]
fn a_signal_reaches_it() {
    let mut daemon = shell("exec sleep 100");
    daemon.terminate().unwrap();
    assert_eq!(daemon.wait_exit(SOON).unwrap().signal(), Some(15));
}

#[test]
fn a_signal_that_the_caller_blocks_reaches_it_too() {
    SigSet::from(Signal::SIGTERM).thread_block().unwrap();
    a_signal_reaches_it();
}

#[test]
fn an_early_end_is_told_with_the_output() {
    let mut daemon = shell("echo no way; exit 70");
    let error = format!("{:#}", daemon.wait_ready(SOON).unwrap_err());
    assert!(error.contains("no way") && error.contains("70"), "{error}");
}

#[test]
fn a_drop_kills_what_it_started_even_in_groups_of_their_own() {
    let daemon = shell("setsid sleep 100 & (sleep 101; true) & wait");
    let started = wait_until("three children and a grandchild run", SOON, || {
        let below = descendants::below(daemon.pid());
        (below.iter().filter(|entry| entry.name == "sleep").count() == 2).then_some(below)
    })
    .unwrap();
    assert!(started.iter().any(|entry| entry.group != daemon.pid()));
    drop(daemon);
    assert!(started.iter().all(|entry| !descendants::is_running(entry.pid)));
}
