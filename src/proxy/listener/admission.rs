//! Limits how many clients are connected, by a permit for each.
//!
//! Permits are given out while there is memory. One is taken before accept, so that clients wait in the backlog and are
//! not refused.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::memory::accept_throttle::AcceptThrottle;

/// Allows one connection, and counts it until dropped.
pub type Permit = OwnedSemaphorePermit;

/// Gives out permits. Shared by all listeners; cheap to clone.
#[derive(Clone, Debug)]
pub struct Admission {
    permits: Arc<Semaphore>,
    throttle: Arc<AcceptThrottle>,
}

impl Admission {
    /// Allows `max` connections at a time, and new ones only while `throttle` does.
    pub fn new(max: usize, throttle: AcceptThrottle) -> Self {
        Self { permits: Arc::new(Semaphore::new(max)), throttle: Arc::new(throttle) }
    }

    /// Waits for a permit, and until there is memory.
    pub async fn permit(&self) -> Permit {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        self.throttle.wait().await;
        match permit {
            Ok(permit) => permit,
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Returns a permit where there is one now, however little memory is left.
    pub fn try_permit(&self) -> Option<Permit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }
}
