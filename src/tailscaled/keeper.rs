//! Keeps tailscaled running: starts it, holds a session with it, starts it again as the same node when it ends or
//! hangs, and ends it in order.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::exit_reason::ExitReason;
use crate::state::Phase;
use crate::tailscaled::backoff::{Backoff, Run, jittered};
use crate::tailscaled::calls::Calls;
use crate::tailscaled::events::{Report, Reports};
use crate::tailscaled::local_api::{LocalApi, LocalApiError};
use crate::tailscaled::path::control_probe::ControlProbe;
use crate::tailscaled::path::health::PathHealth;
use crate::tailscaled::path::rebind::Rebinder;
use crate::tailscaled::process::{Launch, Process, StartError};
use crate::tailscaled::session::Session;
use crate::tailscaled::session::preferences::Login;
use crate::tailscaled::session::state::{NodeRecord, Progress, SessionEnd};

/// Where tailscaled keeps the node's identity, in its state directory.
const STATE_FILE: &str = "tailscaled.state";

/// Logging out takes one exchange with the control server; the node is not worth more waiting than this at a stop.
const LOGOUT_TIMEOUT: Duration = Duration::from_millis(1500);

/// A control server that is there answers within one round trip or two.
const LOGOUT_PATIENCE: Duration = Duration::from_millis(400);

/// How long a login under way may take to come to its end at a stop.
const SETTLE_TIMEOUT: Duration = Duration::from_millis(500);

/// How the keeper treats the node at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEnd {
    LogOut,
    KeepNode,
}

/// Keeps one tailscaled.
pub struct Keeper {
    launch: Launch,
    api: LocalApi,
    calls: Calls,
    login: Login,
    path: PathHealth,
    thaw: Rebinder,
    reports: Reports,
    control: ControlProbe,
    state_file: PathBuf,
    /// Whether a login is under way.
    login_pending: watch::Sender<bool>,
}

enum RunEnd {
    Exited(std::io::Result<ExitStatus>),
    Session(SessionEnd),
    Stopped,
}

impl Keeper {
    /// `state` is the directory that `launch` names. Returns the receiving side of its reports, too.
    pub fn new(
        launch: Launch,
        (api, calls): (LocalApi, Calls),
        login: Login,
        (path, thaw): (PathHealth, Rebinder),
        control: ControlProbe,
        state: &Path,
    ) -> (Self, mpsc::UnboundedReceiver<Report>) {
        let (sender, reports) = mpsc::unbounded_channel();
        let state_file = state.join(STATE_FILE);
        let login_pending = watch::Sender::new(false);
        (
            Self {
                launch,
                api,
                calls,
                login,
                path,
                thaw,
                reports: Reports::new(sender),
                control,
                state_file,
                login_pending,
            },
            reports,
        )
    }

    /// Runs until `stop`, or until there is no point in going on. Dropped, it leaves no tailscaled behind.
    pub async fn run(self, stop: CancellationToken, at_end: AtEnd) -> Result<(), ExitReason> {
        let mut standing = NodeRecord { known: has_content(&self.state_file), ..NodeRecord::default() };
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            let (reason, was_ready) = match self.launch.start() {
                Ok(mut process) => match self.attend(&mut process, &mut standing, &stop).await {
                    (RunEnd::Stopped, _) => return self.finish(process, &standing, at_end).await,
                    (RunEnd::Session(SessionEnd::ExitReason(fatal)), _) => return Err(fatal),
                    (RunEnd::Session(end), was_ready) => {
                        process.kill().await;
                        (self.login.redact(&end.to_string()), was_ready)
                    }
                    (RunEnd::Exited(status), was_ready) => (why_ended(status, &process), was_ready),
                },
                // Once it has run, a full table of processes or an upgrade that takes a moment passes.
                Err(error) if standing.ever_ready => (error.to_string(), false),
                Err(error) => return Err(cannot_start(&error)),
            };
            let run = Run { lasted: started.elapsed(), was_ready };
            let wait = backoff.after(run, standing.ever_ready).ok_or_else(|| unusable(&reason))?;
            tracing::warn!(reason, wait_ms = wait.as_millis(), "tailscaled is started again");
            self.reports.send(Phase::Restarting, &reason);
            tokio::select! {
                () = sleep(jittered(wait)) => {}
                () = stop.cancelled() => return self.finish_without(&standing, at_end).await,
            }
        }
    }

    async fn attend(
        &self,
        process: &mut Process,
        standing: &mut NodeRecord,
        stop: &CancellationToken,
    ) -> (RunEnd, bool) {
        let mut session = Session {
            api: &self.api,
            calls: &self.calls,
            login: &self.login,
            path: &self.path,
            thaw: &self.thaw,
            reports: &self.reports,
            control: &self.control,
            login_pending: &self.login_pending,
            standing,
            progress: Progress::default(),
        };
        let end = tokio::select! {
            status = process.wait() => RunEnd::Exited(status),
            end = session.run() => RunEnd::Session(end),
            () = self.stopped(stop) => RunEnd::Stopped,
        };
        (end, session.progress.was_ready)
    }

    /// Ends some time after `stop`: a login under way gets that time, since breaking it off leaves a node in the tailnet
    /// that nobody logs out.
    async fn stopped(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        let mut pending = self.login_pending.subscribe();
        let _ = tokio::time::timeout(SETTLE_TIMEOUT, pending.wait_for(|pending| !pending)).await;
    }

    /// Ends tailscaled in order.
    async fn finish(&self, mut process: Process, standing: &NodeRecord, at_end: AtEnd) -> Result<(), ExitReason> {
        if at_end == AtEnd::LogOut && standing.may_be_in_the_tailnet() {
            let left = log_out(self.logout()).await;
            // Nothing is left to be saved.
            process.kill().await;
            if left == Left::Unasked {
                return self.finish_without(standing, at_end).await;
            }
        } else {
            process.end().await;
        }
        Ok(())
    }

    /// After a pause of the whole container the connection to the control server may be dead without tailscaled's
    /// knowing: without an answer it is told to start again, which makes a new one.
    async fn logout(&self) -> Result<(), LocalApiError> {
        if let Ok(result) = tokio::time::timeout(LOGOUT_PATIENCE, self.api.logout()).await {
            return result;
        }
        tracing::debug!("the control server does not confirm the logout; asking over a new connection");
        self.api.start(&self.login.resume()).await?;
        self.api.logout().await
    }

    /// Where tailscaled ended just before the stop, as when both got a signal, a new one takes the node out.
    async fn finish_without(&self, standing: &NodeRecord, at_end: AtEnd) -> Result<(), ExitReason> {
        if at_end == AtEnd::LogOut
            && standing.may_be_in_the_tailnet()
            && let Ok(mut process) = self.launch.start()
        {
            let leaving = async {
                self.api.wait_until_listening().await;
                self.api.start(&self.login.resume()).await?;
                self.api.logout().await
            };
            if log_out(leaving).await == Left::Unasked {
                tracing::warn!("tailscaled is gone; the node stays in the tailnet until it is removed");
            }
            process.kill().await;
        }
        Ok(())
    }
}

/// How logging out went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Asked,
    /// tailscaled is gone.
    Unasked,
}

async fn log_out(leaving: impl Future<Output = Result<(), LocalApiError>>) -> Left {
    match tokio::time::timeout(LOGOUT_TIMEOUT, leaving).await {
        Ok(Err(LocalApiError::Unreachable(_))) => return Left::Unasked,
        Ok(Ok(())) => tracing::info!("logged out of the tailnet"),
        Ok(Err(error)) => tracing::warn!(%error, "could not log out; the node stays until it is removed"),
        Err(_) => tracing::warn!("the control server did not confirm the logout; the node stays until it is removed"),
    }
    Left::Asked
}

/// Whether a node's identity is kept in `state` already.
pub fn is_known(state: &Path) -> bool {
    has_content(&state.join(STATE_FILE))
}

fn has_content(state_file: &Path) -> bool {
    std::fs::metadata(state_file).is_ok_and(|metadata| metadata.len() > 0)
}

fn why_ended(status: std::io::Result<ExitStatus>, process: &Process) -> String {
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    // After a signal the last line is no cause.
    let last = || process.tail.last().filter(|_| !status.contains("signal"));
    match process.tail.error().or_else(last) {
        Some(cause) => format!("tailscaled ended ({status}): {cause}"),
        None => format!("tailscaled ended ({status})"),
    }
}

fn cannot_start(error: &StartError) -> ExitReason {
    ExitReason::TailscaledUnusable(format!(
        "{error}; check that it is there, may be executed, and is built for this machine"
    ))
}

fn unusable(reason: &str) -> ExitReason {
    ExitReason::TailscaledUnusable(format!(
        "tailscaled ends again and again before it is ready: {reason}; run with log_level = debug to see what it says"
    ))
}
