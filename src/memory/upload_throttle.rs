//! Slows uploads while a stock tailscaled is over its memory limit.
//!
//! A tailscaled with tetherd's calls does so itself (`parts/tailscaled/calls/memory.go`).
//! The garbage collector of a stock one cannot free what waits to be sent, up to 6 MiB for each connection: a pause of
//! the uploads lets that data go out first. Downloads are not slowed, since reading what targets send is what frees
//! tailscaled's memory.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};
use tokio::time::{Instant, sleep};

/// Percent of its memory limit that tailscaled may use before uploads pause.
const BEYOND: u64 = 115;

/// How long a reading of tailscaled's memory is used. A reading takes 10 µs.
const GOOD_FOR: Duration = Duration::from_millis(5);

/// Longest pause of one block, so that no connection stands still.
const LONGEST: Duration = Duration::from_millis(200);

/// Pauses uploads while tailscaled is over its memory limit. Clones share the state. Without a limit nothing pauses.
#[derive(Clone, Debug, Default)]
pub struct UploadThrottle(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    /// Memory of tailscaled beyond which uploads pause, in bytes.
    most: u64,
    /// Process id of tailscaled; 0 while none runs.
    pid: AtomicI32,
    since: Instant,
    /// Time of the last reading of tailscaled's memory, in milliseconds after `since`.
    looked: AtomicU64,
    /// Whether tailscaled used more than `most` at the last reading.
    is_beyond: AtomicBool,
}

impl UploadThrottle {
    /// Creates the throttle for a tailscaled with this memory limit in bytes; without one it never pauses anything.
    pub fn at(limit: Option<u64>) -> Self {
        Self(limit.map(|limit| {
            Arc::new(Inner {
                most: limit / 100 * BEYOND,
                pid: AtomicI32::new(0),
                since: Instant::now(),
                looked: AtomicU64::new(0),
                is_beyond: AtomicBool::new(false),
            })
        }))
    }

    /// Reads the memory of process `pid`, which is tailscaled, from now on; 0 when tailscaled has ended.
    pub fn watch(&self, pid: i32) {
        if let Some(inner) = &self.0 {
            inner.pid.store(pid, Ordering::Relaxed);
        }
    }

    /// Whether uploads are to pause now. To be asked between two blocks of data.
    pub fn should_pause(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.is_beyond())
    }

    /// Waits until tailscaled uses less memory, for 200 ms at most.
    pub async fn pause(&self) {
        let Some(inner) = &self.0 else { return };
        let begun = Instant::now();
        while inner.is_beyond() && begun.elapsed() < LONGEST {
            sleep(GOOD_FOR).await;
        }
    }
}

impl Inner {
    /// Whether tailscaled uses more memory than it may, by a reading that is at most 5 ms old.
    fn is_beyond(&self) -> bool {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let looked = self.looked.load(Ordering::Relaxed);
        if now.saturating_sub(looked) >= GOOD_FOR.as_millis() as u64 {
            self.looked.store(now, Ordering::Relaxed);
            let beyond = own_memory(self.pid.load(Ordering::Relaxed)).is_some_and(|memory| memory > self.most);
            self.is_beyond.store(beyond, Ordering::Relaxed);
        }
        self.is_beyond.load(Ordering::Relaxed)
    }
}

/// Reads how much memory a process has resident in bytes, without the files that it has mapped (proc_pid_statm(5)).
fn own_memory(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = text.split(' ').skip(1).map(|field| field.parse::<u64>().ok());
    let (resident, shared) = (pages.next()??, pages.next()??);
    Some(resident.saturating_sub(shared) * page_size())
}

/// Returns the size of a page in bytes, by which the kernel counts resident memory; 64 KiB on some arm64 machines.
fn page_size() -> u64 {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| size.try_into().ok()).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pause(throttle: &UploadThrottle) -> Duration {
        sleep(GOOD_FOR).await;
        let begun = Instant::now();
        throttle.pause().await;
        begun.elapsed()
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn senders_pause_while_tailscaled_is_beyond_its_limit_and_not_for_ever() {
        let own = i32::try_from(std::process::id()).expect("a number");
        let (tight, wide) = (UploadThrottle::at(Some(1 << 10)), UploadThrottle::at(Some(1 << 40)));
        assert_eq!(pause(&tight).await, Duration::ZERO, "nothing runs yet");
        tight.watch(own);
        wide.watch(own);
        assert_eq!(pause(&tight).await, LONGEST);
        assert_eq!(pause(&wide).await, Duration::ZERO);
        assert_eq!(pause(&UploadThrottle::default()).await, Duration::ZERO);
        // tailscaled has ended.
        tight.watch(0);
        assert_eq!(pause(&tight).await, Duration::ZERO);
    }
}
