//! Gives the memory of ended connections back to the system.
//!
//! glibc's allocator keeps what lies below memory in use: after 2 000 clients that stalled in their handshakes and 10 s of
//! garbage the daemon had 24 MiB more than before, for good.

use std::time::Duration;

use nix::libc;
use tokio::time::sleep;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Connections that have ended since the last time, from which on there is something to give back.
const ENOUGH: u64 = 50;

/// Looks from time to time how many connections have ended since the start, and gives back what they held when those are
/// enough. Never ends.
pub async fn give_back_after_connections(ended: impl Fn() -> u64) {
    let mut before = 0;
    loop {
        sleep(LOOK_EVERY).await;
        let now = ended();
        if now >= before + ENOUGH {
            before = now;
            trim();
        }
    }
}

/// Returns free pages of the heap to the system (malloc_trim(3)): some milliseconds where there are tens of MiB.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
fn trim() {
    // SAFETY: it takes the allocator's own locks, and touches nothing that is allocated.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}
