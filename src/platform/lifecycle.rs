//! The trait by which a platform follows the daemon's lifecycle and ends it.
//!
//! Most platforms send signals and nothing else: the default bodies of the methods are for them.

use std::future::{pending, ready};
use std::pin::Pin;

use tokio::time::Instant;

use crate::exit_reason::ExitReason;
use crate::sync::start_gate::StartGate;

/// A future that the caller polls on its own thread.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Request to stop the daemon.
#[derive(Clone, Debug)]
pub struct StopRequest {
    pub reason: String,
    /// Time by which the daemon must have ended.
    pub deadline: Option<Instant>,
}

/// How one platform takes part in the daemon's lifecycle.
pub trait Lifecycle {
    /// Whether the program that the daemon serves goes on without it when the daemon has failed. If so, the platform is
    /// told that the daemon is done starting, and not that it has failed.
    fn outlasts_failure(&self) -> bool {
        false
    }

    /// What the daemon is to wait for before it joins, and before it fetches a key; by default nothing.
    fn start_gate(&self) -> StartGate {
        StartGate::default()
    }

    /// Tells the platform, once, that the daemon has started; the platform then starts what comes next. An error means
    /// that the platform does not accept the daemon.
    fn register(&self) -> LocalBoxFuture<'_, Result<(), ExitReason>> {
        Box::pin(ready(Ok(())))
    }

    /// Tells the platform that the daemon is done starting, then waits until the platform asks it to stop.
    fn stop_request(&self) -> LocalBoxFuture<'_, StopRequest> {
        Box::pin(pending())
    }

    /// Reports that the daemon ends because of `reason`; returns when it may exit.
    fn failed<'a>(&'a self, reason: &'a ExitReason) -> LocalBoxFuture<'a, ()> {
        let _ = reason;
        Box::pin(ready(()))
    }
}

/// The lifecycle on a platform that takes no part in it: only signals stop the daemon.
pub struct SignalsOnly;

impl Lifecycle for SignalsOnly {}
