//! The running daemon: serves until a stop is asked for, or until it cannot go on.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::settings::Credentials;
use crate::config::types::enums::AllProxy;
use crate::daemon::cloudwatch_emf::EmfWriter;
use crate::daemon::readiness::{StateEvent, StatePublisher};
use crate::daemon::signals::Listening;
use crate::exit_reason::ExitReason;
use crate::platform::lifecycle::{Lifecycle, StopRequest};
use crate::process::child::OwnChildren;
use crate::proxy::listener::admission::Admission;
use crate::secret::redactor::Redactor;
use crate::state::{Phase, Watcher};
use crate::sync::start_gate::StartGate;
use crate::tailscaled::calls::Calls;
use crate::tailscaled::stop::KeeperStop;

/// The parts of a running daemon that its end needs, and a command of `exec` beside it.
pub struct Daemon {
    pub state: StatePublisher,
    pub keeper: KeeperTask,
    /// What the join waits for.
    pub start_gate: StartGate,
    /// Cancelled, it closes the listeners.
    pub stop_accepting: CancellationToken,
    /// Tasks of the clients.
    pub connections: TaskTracker,
    /// Tasks of the listeners, each of which ends once it has accepted what waited in its backlog at the stop.
    pub accept_loops: TaskTracker,
    pub calls: Calls,
    /// What admits clients, those in the backlog at a stop included.
    pub admission: Admission,
    /// Time to become ready for the first time; unlimited when `None`.
    pub start_timeout: Option<Duration>,
    /// Time for connections to finish at a stop.
    pub drain_timeout: Duration,
    /// Time from a stop to the moment in which the platform kills what still runs.
    pub stop_grace: Duration,
    pub children: OwnChildren,
    pub redactor: Redactor,
    /// The first TCP listener of the proxy.
    pub proxy_address: Option<SocketAddr>,
    /// What the proxy asks of its clients.
    pub credentials: Option<Credentials>,
    /// Form of the proxy's address in `ALL_PROXY` of the command.
    pub env_all_proxy: AllProxy,
    /// Set where metrics go to the log.
    pub emf_writer: Option<EmfWriter>,
}

impl Daemon {
    /// Serves until a stop is asked for, or the daemon cannot go on.
    pub async fn serve(
        &mut self,
        signals: &mut Listening,
        lifecycle: &dyn Lifecycle,
    ) -> Result<StopRequest, ExitReason> {
        // Where the platform goes on without a tailnet, start_timeout is how long it is kept waiting, and does not end
        // the daemon.
        let longest_wait = if lifecycle.outlasts_failure() { self.start_timeout.take() } else { None };
        let settled = settled(self.state.watch(), longest_wait);
        // What a join waits for comes after the platform was told that the start is done.
        let joins_now = self.start_gate.is_open();
        let stop = async {
            if joins_now {
                settled.await;
            }
            lifecycle.stop_request().await
        };
        let mut asked = pin!(async {
            tokio::select! {
                caught = signals.next() => StopRequest { reason: caught.reason(), deadline: None },
                request = stop => request,
            }
        });
        let reason = tokio::select! {
            request = &mut asked => return Ok(request),
            reason = self.failure() => reason,
        };
        if !lifecycle.outlasts_failure() {
            return Err(reason);
        }
        tracing::error!("{reason}");
        self.state.publish(StateEvent::Failed(&reason));
        Ok(asked.await)
    }

    /// Waits until the daemon cannot go on, and says why.
    pub async fn failure(&mut self) -> ExitReason {
        tokio::select! {
            reason = self.keeper.failure() => reason,
            () = overdue(self.state.watch(), self.start_timeout, &self.start_gate) => self.not_ready(),
        }
    }

    fn not_ready(&self) -> ExitReason {
        let watcher = self.state.watch();
        let state = watcher.borrow();
        let time = humantime::format_duration(self.start_timeout.unwrap_or_default());
        ExitReason::NotReady(format!("not ready within start_timeout ({time}): {:?}, {}", state.phase, state.reason))
    }
}

/// The task that keeps tailscaled running.
pub struct KeeperTask {
    pub task: JoinHandle<Result<(), ExitReason>>,
    /// Ends tailscaled, and the task with it.
    pub stop: KeeperStop,
    /// Name that the node asked for.
    pub node: String,
}

impl KeeperTask {
    /// Waits until the keeper ends by itself, and says why.
    async fn failure(&mut self) -> ExitReason {
        keeper_failure((&mut self.task).await)
    }

    /// Has tailscaled log the node out, if that is set, and end, both by `by`.
    pub async fn end(&mut self, by: Instant) {
        self.stop.ask(by);
        if !self.task.is_finished() {
            let _ = (&mut self.task).await;
        }
    }
}

fn keeper_failure(result: Result<Result<(), ExitReason>, JoinError>) -> ExitReason {
    match result {
        Ok(Err(reason)) => reason,
        Ok(Ok(())) => ExitReason::TailscaledUnusable("the keeper of tailscaled ended without being asked to".into()),
        Err(error) => {
            ExitReason::TailscaledUnusable(format!("the keeper of tailscaled failed, please report this: {error}"))
        }
    }
}

/// Waits until the daemon is ready or has failed, for `longest` at most.
async fn settled(mut state: Watcher, longest: Option<Duration>) {
    let settled = state.wait_for(|state| state.is_ready() || state.phase == Phase::Failed);
    match longest {
        Some(longest) => drop(tokio::time::timeout(longest, settled).await),
        None => drop(settled.await),
    }
}

/// Ends when the daemon was not ready once within `limit` after `gate` was opened; never otherwise.
async fn overdue(mut state: Watcher, limit: Option<Duration>, gate: &StartGate) {
    let Some(limit) = limit else { return std::future::pending().await };
    gate.opened().await;
    if tokio::time::timeout(limit, state.wait_for(|state| state.time_to_ready.is_some())).await.is_ok() {
        std::future::pending().await
    }
}
