//! As process 1 of a container the daemon inherits every process whose parent has ended, and must reap it.

use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::getpid;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use crate::tailscaled::ChildPid;

/// tailscaled itself is reaped by the one who waits for it, within this time.
const NOT_OURS_RETRY: Duration = Duration::from_millis(5);

/// Reaps orphans from now on, in the process that they come to.
pub(super) fn reap_if_first_process(tailscaled: ChildPid) {
    if getpid().as_raw() != 1 {
        return;
    }
    let signals = StdStream::pair().and_then(|(read, write)| {
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(signal_hook::consts::SIGCHLD, write)?;
        UnixStream::from_std(read)
    });
    match signals {
        Ok(signals) => drop(tokio::spawn(reap(signals, tailscaled))),
        Err(error) => tracing::warn!(%error, "orphaned processes will not be reaped"),
    }
}

async fn reap(mut signals: UnixStream, tailscaled: ChildPid) {
    let mut bytes = [0; 64];
    while signals.read(&mut bytes).await.is_ok_and(|read| read > 0) {
        // Only looks: taking tailscaled's end from the one who waits for it would lose the reason.
        let ended = || waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT);
        while let Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) = ended() {
            if tailscaled.is(pid) {
                tokio::time::sleep(NOT_OURS_RETRY).await;
            } else {
                tracing::debug!(pid = pid.as_raw(), "orphan reaped");
                let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
            }
        }
    }
}
