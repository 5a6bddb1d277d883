//! Stops all daemons together: by a signal, or when one of them has ended.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

use crate::exit_reason::ExitReason;
use crate::supervisor::daemon_process::Ended;

/// The daemons that run, and what is known of their end.
pub struct Stop {
    running: Vec<Pid>,
    longest: Duration,
    /// When what still runs is killed; `None` while nobody has asked for a stop.
    kill_at: Option<Instant>,
    was_killed: bool,
    /// Why the first daemon failed.
    failure: Option<ExitReason>,
}

impl Stop {
    /// `longest` is the time from a stop to the end of the last daemon.
    pub fn new(longest: Duration) -> Self {
        Self { running: Vec::new(), longest, kill_at: None, was_killed: false, failure: None }
    }

    pub fn add(&mut self, pid: Pid) {
        self.running.push(pid);
    }

    /// Stops all daemons for this reason.
    pub fn fail(&mut self, reason: ExitReason) {
        self.failure.get_or_insert(reason);
        self.pass_on(Signal::SIGTERM);
    }

    /// Passes a signal that asks to stop on to all daemons. Each counts for itself how often it was asked.
    pub fn pass_on(&mut self, signal: Signal) {
        tracing::info!(%signal, daemons = self.running.len(), "passed on");
        self.kill_at.get_or_insert_with(|| Instant::now() + self.longest);
        self.send(signal);
    }

    /// Notes the end of a daemon. The first that ends without a stop stops the others.
    pub fn note(&mut self, ended: &Ended) {
        self.running.retain(|pid| *pid != ended.pid);
        let was_asked = self.kill_at.is_some();
        tracing::info!("the daemon of tailnet {} has ended", ended.name);
        if let Some(reason) = ended.failure(was_asked) {
            self.failure.get_or_insert(reason);
        }
        if !was_asked && !self.running.is_empty() {
            tracing::warn!("it has ended by itself: those of the other tailnets are stopped");
            self.pass_on(Signal::SIGTERM);
        }
    }

    /// Waits until a stop has taken too long. For ever while nobody has asked for one, and once all were killed.
    pub async fn overdue(&self) {
        match self.kill_at.filter(|_| !self.was_killed) {
            Some(kill_at) => tokio::time::sleep_until(kill_at).await,
            None => std::future::pending().await,
        }
    }

    /// Kills the daemons that still run.
    pub fn kill(&mut self) {
        tracing::warn!(daemons = self.running.len(), "the time to stop is over; daemons are killed");
        self.was_killed = true;
        self.send(Signal::SIGKILL);
    }

    /// Why the first daemon failed, if one has.
    pub fn result(&mut self) -> Result<(), ExitReason> {
        self.failure.take().map_or(Ok(()), Err)
    }

    fn send(&self, signal: Signal) {
        for pid in &self.running {
            // One that has just ended is noted next.
            let _ = kill(*pid, signal);
        }
    }
}
