//! Who may come in: a permit for each connection, given out while there is memory. Both are taken before accept, so that
//! clients wait in the backlog and are not refused.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::memory::accept_throttle::AcceptThrottle;

/// The leave for one connection, which lasts until it is dropped.
pub type Permit = OwnedSemaphorePermit;

/// Shared by all listeners. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Admission {
    permits: Arc<Semaphore>,
    headroom: Arc<AcceptThrottle>,
}

impl Admission {
    pub fn new(most: usize, headroom: AcceptThrottle) -> Self {
        Self { permits: Arc::new(Semaphore::new(most)), headroom: Arc::new(headroom) }
    }

    /// Waits for it.
    pub async fn permit(&self) -> Permit {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        self.headroom.wait().await;
        match permit {
            Ok(permit) => permit,
            // Nobody closes it.
            Err(_) => std::future::pending().await,
        }
    }

    /// The same where there is one now, however little memory is left.
    pub fn permit_at_once(&self) -> Option<Permit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }
}
