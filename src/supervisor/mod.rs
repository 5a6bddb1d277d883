//! One life of the daemon: listeners → tailscaled → join → serve → drain → logout → exit. The composition root: it
//! hands every part just what it needs, and is the one writer of the published state.

mod assembly;
mod companion;
mod exec;
mod inspector;
mod limits;
mod listeners;
mod measures;
mod orphans;
mod readiness;
mod serving;
mod signals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::child::OwnChildren;
use crate::config::{Credentials, Environment, Settings};
use crate::fatal::Fatal;
use crate::runtime::Runtime;
use crate::secret::Redactor;
use crate::state::{Phase, Publisher};
use crate::tailscaled::{SocketPlace, StateDir};
pub use companion::Job;
use signals::Listening;
pub use signals::Signals;

/// Where the daemon runs.
pub type Surroundings<'a> = (Runtime, &'a Environment);

/// Runs the daemon to its end. `signals` were registered before anything else happened.
pub fn run(settings: &Settings, surroundings: Surroundings<'_>, signals: Signals) -> Result<(), Fatal> {
    begin(settings, surroundings, async |life| life.live(signals).await)
}

/// Runs the daemon and a command, both to their ends. Returns the exit code of the command.
pub fn exec(settings: &Settings, surroundings: Surroundings<'_>, signals: Signals, job: Job) -> Result<u8, Fatal> {
    begin(settings, surroundings, async |life| exec::accompany(life, job, surroundings.1, signals).await)
}

fn begin<T>(
    settings: &Settings,
    (runtime, environment): Surroundings<'_>,
    live: impl AsyncFnOnce(Life) -> Result<T, Fatal>,
) -> Result<T, Fatal> {
    let temporary = environment.get("TMPDIR").map(String::as_str);
    // Outlives the event loop: dropping that kills tailscaled, and only then its directory can go.
    let directory = StateDir::open(settings.state_dir.as_deref(), temporary)
        .map_err(|error| Fatal::Configuration(error.to_string()))?;
    let socket = settings.tailscaled_socket.as_ref().map(|socket| socket.0.as_path());
    let socket = SocketPlace::new(socket, &directory).map_err(|error| Fatal::Configuration(error.to_string()))?;
    // One thread: tailscaled is the one that needs the cores, and the kernel ends it when this thread ends.
    let event_loop = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fatal::Configuration(format!("the event loop cannot be set up: {error}")))?;
    event_loop.block_on(async {
        let life = assembly::assemble(settings, (runtime, environment), &directory, socket.path()).await?;
        live(life).await
    })
}

/// The parts of a running daemon that its end needs, and a command beside it.
struct Life {
    publisher: Arc<Publisher>,
    keeper: JoinHandle<Result<(), Fatal>>,
    /// Cancelled, it ends tailscaled.
    keeping: CancellationToken,
    /// Cancelled, it closes the listeners.
    accepting: CancellationToken,
    connections: TaskTracker,
    start_timeout: Option<Duration>,
    drain_timeout: Duration,
    children: OwnChildren,
    redactor: Redactor,
    /// The first TCP listener of the proxy.
    proxy: Option<SocketAddr>,
    credentials: Option<Credentials>,
}

impl Life {
    async fn live(mut self, signals: Signals) -> Result<(), Fatal> {
        let mut signals = signals.listen()?;
        let ended = tokio::select! {
            caught = signals.next() => Ok(format!("{} was received", caught.signal)),
            fatal = self.failure() => Err(fatal),
        };
        self.leave(ended.as_deref(), &mut signals, true).await;
        ended.map(drop)
    }

    /// Ends when the daemon cannot go on.
    async fn failure(&mut self) -> Fatal {
        tokio::select! {
            result = &mut self.keeper => why_ended(result),
            () = overdue(&self.publisher, self.start_timeout) => self.not_ready(),
        }
    }

    /// Refuses new connections and parts from the tailnet. `asked`: a stop was asked for already; asked for once
    /// more, it ends at once.
    async fn leave(&mut self, why: Result<&str, &Fatal>, signals: &mut Listening, mut asked: bool) {
        self.accepting.cancel();
        match why {
            Ok(reason) => self.publisher.publish(Phase::Draining, reason),
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
        tokio::select! {
            () = self.part(why.is_ok()) => {}
            signal = asked_again => {
                tracing::warn!(%signal, "ending at once; the node stays in the tailnet until it is removed");
            }
        }
    }

    /// Lets running connections finish, then has tailscaled log out and end.
    async fn part(&mut self, drain: bool) {
        if drain {
            self.connections.close();
            if tokio::time::timeout(self.drain_timeout, self.connections.wait()).await.is_err() {
                tracing::warn!(open = self.connections.len(), "drain_timeout is over; connections are cut");
            }
        }
        self.keeping.cancel();
        if !self.keeper.is_finished() {
            let _ = (&mut self.keeper).await;
        }
    }

    fn not_ready(&self) -> Fatal {
        let watcher = self.publisher.watch();
        let state = watcher.borrow();
        let time = humantime::format_duration(self.start_timeout.unwrap_or_default());
        Fatal::NotReady(format!("not ready within start_timeout ({time}): {:?}, {}", state.phase, state.reason))
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

fn why_ended(result: Result<Result<(), Fatal>, tokio::task::JoinError>) -> Fatal {
    match result {
        Ok(Err(fatal)) => fatal,
        Ok(Ok(())) => Fatal::TailscaledUnusable("the keeper of tailscaled ended without being asked to".into()),
        Err(error) => {
            Fatal::TailscaledUnusable(format!("the keeper of tailscaled failed, please report this: {error}"))
        }
    }
}
