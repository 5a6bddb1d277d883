//! As process 1 of a container the daemon inherits every process whose parent has ended, and must reap it.

use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::getpid;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use crate::daemon::signals::child_ended;
use crate::process::child::OwnChildren;

/// An own child is reaped by the one who waits for it, within this time. So is a library's, such as the AWS SDK's
/// `credential_process`: an orphan is what is still there then.
const NOT_OURS_RETRY: Duration = Duration::from_millis(5);

/// Reaps orphans from now on, in the process that they come to.
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
        // Only looks: taking an own child's end from the one who waits for it would lose the reason.
        let ended = || waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT);
        let mut seen = None;
        while let Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) = ended() {
            if own.contains(pid) || seen.replace(pid) != Some(pid) {
                tokio::time::sleep(NOT_OURS_RETRY).await;
            } else {
                tracing::debug!(pid = pid.as_raw(), "orphan reaped");
                let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
            }
        }
    }
}
