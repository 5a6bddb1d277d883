//! Reaps orphaned processes (zombies) where the daemon is process 1.
//!
//! Process 1 inherits every process whose parent has ended.

use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::getpid;
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
        // WNOWAIT only looks: reaping one of the daemon's own children would lose its status for the task that waits
        // for it.
        let ended = || waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT);
        let mut seen = None;
        while let Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) = ended() {
            if own.contains(pid) || seen.replace(pid) != Some(pid) {
                tokio::time::sleep(REAPED_BY_PARENT).await;
            } else {
                tracing::debug!(pid = pid.as_raw(), "orphan reaped");
                let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
            }
        }
    }
}
