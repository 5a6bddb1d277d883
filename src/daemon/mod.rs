//! One life of the daemon: listeners → tailscaled → join → serve → drain → logout → exit. The composition root: it
//! hands every part just what it needs, and is the one writer of the published state.

pub(crate) mod build;
pub(crate) mod cloudwatch_emf;
pub(crate) mod code_pages;
pub(crate) mod exec;
pub(crate) mod fd_limits;
pub(crate) mod listeners;
pub(crate) mod metrics;
pub(crate) mod prewarm;
pub(crate) mod readiness;
pub(crate) mod reaper;
pub(crate) mod serving;
pub(crate) mod signals;
pub(crate) mod status;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::settings::{Credentials, Settings};
use crate::daemon::cloudwatch_emf::EmfWriter;
use crate::daemon::exec::command::CommandSpec;
use crate::daemon::signals::{Listening, Signals};
use crate::environment::Environment;
use crate::exit_reason::ExitReason;
use crate::memory::budget::Sharing;
use crate::memory::cgroup::CgroupMemory;
use crate::platform::interface::Platform;
use crate::platform::lifecycle::{Lifecycle, SignalsOnly, StopRequest};
use crate::process::child::OwnChildren;
use crate::secret::redactor::Redactor;
use crate::state::{Phase, Publisher, Watcher};
use crate::tailscaled::calls::Calls;
use crate::tailscaled::process::socket_path::SocketPath;
use crate::tailscaled::process::state_dir::StateDir;

/// Of the time until a deadline, kept for logging out.
const LOGOUT: Duration = Duration::from_millis(700);

/// The surroundings of the daemon.
pub struct DaemonContext<'a> {
    pub platform: &'static dyn Platform,
    pub environment: &'a Environment,
    /// What bounds its memory, and who else needs of it; `None` where nothing counts it.
    pub memory: Option<(CgroupMemory, Sharing)>,
}

/// Runs the daemon to its end. `signals` were registered before anything else happened.
pub fn run(
    settings: &Settings,
    surroundings: DaemonContext<'_>,
    signals: Signals,
    lifecycle: &dyn Lifecycle,
) -> Result<(), ExitReason> {
    begin(settings, surroundings, lifecycle, async |life| life.live(signals, lifecycle).await)
}

/// Runs the daemon and a command, both to their ends. Returns the exit code of the command.
pub fn exec(
    settings: &Settings,
    surroundings: DaemonContext<'_>,
    signals: Signals,
    job: CommandSpec,
) -> Result<u8, ExitReason> {
    let environment = surroundings.environment;
    begin(settings, surroundings, &SignalsOnly, async |life| exec::accompany(life, job, environment, signals).await)
}

fn begin<T>(
    settings: &Settings,
    surroundings: DaemonContext<'_>,
    lifecycle: &dyn Lifecycle,
    live: impl AsyncFnOnce(Daemon) -> Result<T, ExitReason>,
) -> Result<T, ExitReason> {
    let temporary = surroundings.environment.get("TMPDIR").map(String::as_str);
    // Outlives the event loop: dropping that kills tailscaled, and only then its directory can go.
    let directory = StateDir::open(settings.state_dir.as_deref(), temporary)
        .map_err(|error| ExitReason::Configuration(error.to_string()))?;
    let socket = settings.tailscaled_socket.as_ref().map(|socket| socket.0.as_path());
    let socket = SocketPath::new(socket, &directory).map_err(|error| ExitReason::Configuration(error.to_string()))?;
    // One thread: tailscaled is the one that needs the cores, and the kernel ends it when this thread ends.
    let event_loop = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ExitReason::Configuration(format!("the event loop cannot be set up: {error}")))?;
    event_loop.block_on(async {
        let assembled = build::assemble(settings, surroundings, &directory, socket.path());
        let (arrived, life) = tokio::join!(lifecycle.register(), assembled);
        arrived?;
        live(life?).await
    })
}

/// The parts of a running daemon that its end needs, and a command beside it.
pub struct Daemon {
    publisher: Arc<Publisher>,
    keeper: JoinHandle<Result<(), ExitReason>>,
    /// Cancelled, it ends tailscaled.
    keeping: CancellationToken,
    /// Cancelled, it closes the listeners.
    accepting: CancellationToken,
    connections: TaskTracker,
    calls: Calls,
    start_timeout: Option<Duration>,
    drain_timeout: Duration,
    children: OwnChildren,
    redactor: Redactor,
    /// The first TCP listener of the proxy.
    proxy: Option<SocketAddr>,
    credentials: Option<Credentials>,
    /// Where metrics go to the log.
    journal: Option<EmfWriter>,
}

impl Daemon {
    async fn live(mut self, signals: Signals, lifecycle: &dyn Lifecycle) -> Result<(), ExitReason> {
        let mut signals = signals.listen()?;
        let ended = self.serve(&mut signals, lifecycle).await;
        self.shut_down(ended.as_ref(), &mut signals, true).await;
        ended.map(drop)
    }

    /// Serves until a stop is asked for, or the daemon cannot go on.
    async fn serve(&mut self, signals: &mut Listening, lifecycle: &dyn Lifecycle) -> Result<StopRequest, ExitReason> {
        // Where the platform goes on without a tailnet, the time to start bounds only how long it is kept waiting.
        let patience = if lifecycle.outlasts_failure() { self.start_timeout.take() } else { None };
        let settled = settled(self.publisher.watch(), patience);
        let stop = async {
            settled.await;
            lifecycle.stop_request().await
        };
        let mut asked = pin!(async {
            tokio::select! {
                caught = signals.next() => {
                    StopRequest { reason: format!("{} was received", caught.signal), deadline: None }
                }
                request = stop => request,
            }
        });
        let fatal = tokio::select! {
            request = &mut asked => return Ok(request),
            fatal = self.failure() => fatal,
        };
        if !lifecycle.outlasts_failure() {
            return Err(fatal);
        }
        tracing::error!("{fatal}");
        self.publisher.publish(Phase::Failed, &fatal.to_string());
        Ok(asked.await)
    }

    /// Ends when the daemon cannot go on.
    async fn failure(&mut self) -> ExitReason {
        tokio::select! {
            result = &mut self.keeper => why_ended(result),
            () = overdue(&self.publisher, self.start_timeout) => self.not_ready(),
        }
    }

    /// Refuses new connections and parts from the tailnet. `asked`: a stop was asked for already; asked for once
    /// more, it ends at once.
    async fn shut_down(&mut self, why: Result<&StopRequest, &ExitReason>, signals: &mut Listening, mut asked: bool) {
        self.accepting.cancel();
        match why {
            Ok(request) => self.publisher.publish(Phase::Draining, &request.reason),
            Err(fatal) => self.publisher.publish(Phase::Failed, &fatal.to_string()),
        }
        let asked_again = async {
            loop {
                let caught = signals.next().await;
                if caught.stops() && std::mem::replace(&mut asked, true) {
                    return caught.signal;
                }
            }
        };
        let deadline = why.ok().and_then(|request| request.deadline);
        tokio::select! {
            () = self.drain_and_log_out(why.is_ok(), deadline) => {}
            signal = asked_again => {
                tracing::warn!(%signal, "ending at once; the node stays in the tailnet until it is removed");
            }
            () = passed(deadline) => {
                tracing::warn!("the time to stop is over; the node stays in the tailnet until it is removed");
            }
        }
    }

    /// Lets running connections finish, then has tailscaled log out and end.
    async fn drain_and_log_out(&mut self, drain: bool, deadline: Option<Instant>) {
        if drain {
            self.connections.close();
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now() + LOGOUT));
            let longest = left.map_or(self.drain_timeout, |left| left.min(self.drain_timeout));
            if tokio::time::timeout(longest, self.connections.wait()).await.is_err() {
                tracing::warn!(open = self.connections.len(), "drain_timeout is over; connections are cut");
                self.calls.cut_all().await;
            }
        }
        if let Some(journal) = &self.journal {
            journal.write().await;
        }
        self.keeping.cancel();
        if !self.keeper.is_finished() {
            let _ = (&mut self.keeper).await;
        }
    }

    fn not_ready(&self) -> ExitReason {
        let watcher = self.publisher.watch();
        let state = watcher.borrow();
        let time = humantime::format_duration(self.start_timeout.unwrap_or_default());
        ExitReason::NotReady(format!("not ready within start_timeout ({time}): {:?}, {}", state.phase, state.reason))
    }
}

/// Ends when the daemon is ready or has failed, or after `patience`.
async fn settled(mut state: Watcher, patience: Option<Duration>) {
    let settled = state.wait_for(|state| state.is_ready() || state.phase == Phase::Failed);
    match patience {
        Some(patience) => drop(tokio::time::timeout(patience, settled).await),
        None => drop(settled.await),
    }
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Ends when the daemon was not ready once within `limit`.
async fn overdue(publisher: &Publisher, limit: Option<Duration>) {
    let Some(limit) = limit else { return std::future::pending().await };
    let mut watcher = publisher.watch();
    if tokio::time::timeout(limit, watcher.wait_for(|state| state.time_to_ready.is_some())).await.is_ok() {
        std::future::pending().await
    }
}

fn why_ended(result: Result<Result<(), ExitReason>, tokio::task::JoinError>) -> ExitReason {
    match result {
        Ok(Err(fatal)) => fatal,
        Ok(Ok(())) => ExitReason::TailscaledUnusable("the keeper of tailscaled ended without being asked to".into()),
        Err(error) => {
            ExitReason::TailscaledUnusable(format!("the keeper of tailscaled failed, please report this: {error}"))
        }
    }
}
