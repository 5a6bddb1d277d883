//! Reaps orphaned processes (zombies) where the daemon is process 1.
//!
//! Process 1 inherits every process whose parent has ended.

use std::mem::MaybeUninit;
use std::time::Duration;

use nix::libc;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use crate::daemon::signals::child_ended;
use crate::process::child::OwnChildren;

/// Time for the daemon to reap an ended child of its own, and for a library to reap one of its, such as the AWS SDK's
/// `credential_process`. A process that is still there then is an orphan.
const REAPED_BY_PARENT: Duration = Duration::from_millis(5);

/// Starts reaping orphans, if this is process 1. Leaves the children in `own` to those who wait for them.
pub fn reap_if_first_process(own: OwnChildren) {
    if getpid().as_raw() != 1 {
        return;
    }
    match child_ended() {
        Ok(signals) => drop(tokio::spawn(reap(signals, own))),
        Err(error) => tracing::warn!(%error, "orphaned processes will not be reaped"),
    }
}

async fn reap(mut signals: UnixStream, own: OwnChildren) {
    let mut bytes = [0; 64];
    while signals.read(&mut bytes).await.is_ok_and(|read| read > 0) {
        let mut seen = None;
        while let Some(pid) = ended_child() {
            if own.contains(pid) || seen.replace(pid) != Some(pid) {
                tokio::time::sleep(REAPED_BY_PARENT).await;
            } else {
                tracing::debug!(pid = pid.as_raw(), "orphan reaped");
                let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
            }
        }
    }
}

/// Returns a child that has ended and was not waited for, whatever has ended it. Only looks: reaping an own child would lose
/// its status for the task that waits for it. (nix's waitid fails where a real-time signal has ended a child.)
#[allow(unsafe_code)]
fn ended_child() -> Option<Pid> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: waitid(2) writes to `info`, which is of its type; all zeros, which it leaves where no child has ended, are a
    // value of that type, too, whose process id is 0.
    let pid = unsafe {
        let looked = libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), libc::WEXITED | libc::WNOHANG | libc::WNOWAIT);
        (looked == 0).then(|| info.assume_init().si_pid())?
    };
    (pid > 0).then(|| Pid::from_raw(pid))
}
