//! Shuts the daemon down (SIGTERM): drains its connections, logs the node out.
//!
//! The listeners close first; a second signal or the deadline of a stop ends everything at once.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::daemon::readiness::StateEvent;
use crate::daemon::running::Daemon;
use crate::daemon::signals::Listening;
use crate::exit_reason::ExitReason;
use crate::platform::lifecycle::StopRequest;
use crate::proxy::relay::limits::SILENCE_AT_THE_END;
use crate::tailscaled::calls::Calls;

/// Part of the time until a deadline that is kept for logging out.
const LOGOUT: Duration = Duration::from_millis(700);

/// Time for logging out where draining has used up what the platform gives, or more.
const SHORTEST_LOGOUT: Duration = Duration::from_secs(2);

/// Part of the platform's time, one in so many, that is kept for what comes after the logout.
const RESERVE: u32 = 10;

/// The same for a deadline, which is kept to by other means.
const RESERVE_OF_DEADLINE: Duration = Duration::from_millis(50);

impl Daemon {
    /// Refuses new connections, drains the running ones and logs the node out. At a second request to stop, or at the
    /// deadline of `why`, the daemon ends at once and leaves the node in the tailnet. `asked` tells whether there was a
    /// first request already.
    pub async fn shut_down(&mut self, why: Result<&StopRequest, &ExitReason>, signals: &mut Listening, asked: bool) {
        let began = Instant::now();
        self.stop_accepting.cancel();
        self.state.publish(match why {
            Ok(request) => StateEvent::StopRequested(&request.reason),
            Err(reason) => StateEvent::Failed(reason),
        });
        let deadline = why.ok().and_then(|request| request.deadline);
        tokio::select! {
            () = self.drain_and_log_out(why.is_ok(), began, deadline) => return,
            signal = asked_again(signals, asked) => tracing::warn!(%signal, "ending at once"),
            () = passed(deadline) => tracing::warn!("the time to stop is over"),
        }
        tracing::warn!(node = self.keeper.node, "the node stays in the tailnet until it is removed");
    }

    /// Lets running connections finish where `drain` says so, then has tailscaled log out and end.
    async fn drain_and_log_out(&mut self, drain: bool, began: Instant, deadline: Option<Instant>) {
        if drain {
            self.drain(deadline).await;
        }
        if let Some(writer) = &self.emf_writer {
            writer.write().await;
        }
        self.keeper.end(self.logout_ends(began, deadline)).await;
    }

    /// When a logout that begins now, in a stop that `began` then, is given up: it may take what the platform's time has
    /// left.
    fn logout_ends(&self, began: Instant, deadline: Option<Instant>) -> Instant {
        match deadline {
            Some(deadline) => deadline - RESERVE_OF_DEADLINE,
            None => (began + self.stop_grace - self.stop_grace / RESERVE).max(Instant::now() + SHORTEST_LOGOUT),
        }
    }

    /// Waits for running connections, and cuts them when drain_timeout is over or the time until the deadline runs out.
    async fn drain(&self, deadline: Option<Instant>) {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now() + LOGOUT));
        let longest = left.map_or(self.drain_timeout, |left| left.min(self.drain_timeout));
        if tokio::time::timeout(longest, self.all_served()).await.is_err() {
            tracing::warn!(open = self.connections.len(), "drain_timeout is over; connections are cut");
            self.admission.close();
            self.calls.cut_all().await;
        }
    }

    /// Waits until every connection has ended, those included that waited in a backlog when the listeners were closed.
    async fn all_served(&self) {
        // The connections are counted only then: there may be none but those in the backlog.
        self.accept_loops.close();
        self.accept_loops.wait().await;
        self.connections.close();
        self.connections.wait().await;
    }
}

/// Tells tailscaled that the daemon drains, as soon as `stop_accepting` is cancelled: it relays connections, too.
pub async fn drain_calls(calls: Calls, stop_accepting: CancellationToken) {
    stop_accepting.cancelled().await;
    calls.drain(SILENCE_AT_THE_END).await;
}

/// Waits until a stop was asked for twice. `asked` says that it was once already.
async fn asked_again(signals: &mut Listening, mut asked: bool) -> Signal {
    loop {
        let caught = signals.next().await;
        if asked && caught.hurries() {
            return caught.signal;
        }
        asked |= caught.stops();
    }
}

/// Waits until `deadline`; for ever without one.
async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
