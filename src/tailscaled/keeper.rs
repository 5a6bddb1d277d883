//! Keeps tailscaled running: starts it, holds a session with it, starts it again as the same node when it ends or
//! hangs, and ends it in order.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::local_api::LocalApi;
use super::login::Login;
use super::path_watch::PathWatch;
use super::process::{Launch, Process};
use super::restart::{Backoff, Run, jittered};
use super::session::{Progress, Session, SessionEnd, Standing};
use crate::fatal::Fatal;
use crate::state::Phase;

/// Logging out takes one exchange with the control server; the node is not worth more waiting than this at a stop.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(2);

/// What the keeper finds out, for the one who publishes the state.
#[derive(Debug)]
pub struct Report {
    pub phase: Phase,
    pub reason: String,
    /// Whether dialling makes sense.
    pub dialable: bool,
}

/// The sending side of the reports.
#[derive(Clone)]
pub struct Reports(mpsc::UnboundedSender<Report>);

impl Reports {
    pub(super) fn send(&self, phase: Phase, reason: &str) {
        self.send_as(phase, reason, phase == Phase::Ready);
    }

    /// For a daemon that is not ready, though dials may work.
    pub(super) fn send_doubt(&self, reason: &str) {
        self.send_as(Phase::Starting, reason, true);
    }

    fn send_as(&self, phase: Phase, reason: &str, dialable: bool) {
        // Nobody listens any more once the daemon is about to exit.
        let _ = self.0.send(Report { phase, reason: reason.to_owned(), dialable });
    }
}

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
    login: Login,
    path: PathWatch,
    reports: Reports,
    state_file: PathBuf,
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
        api: LocalApi,
        login: Login,
        path: PathWatch,
        state: &Path,
    ) -> (Self, mpsc::UnboundedReceiver<Report>) {
        let (sender, reports) = mpsc::unbounded_channel();
        let state_file = state.join("tailscaled.state");
        (Self { launch, api, login, path, reports: Reports(sender), state_file }, reports)
    }

    /// Runs until `stop`, or until there is no point in going on. Dropped, it leaves no tailscaled behind.
    pub async fn run(self, stop: CancellationToken, at_end: AtEnd) -> Result<(), Fatal> {
        let mut standing = Standing { known: has_content(&self.state_file), ever_ready: false };
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            let mut process = self.launch.start()?;
            let (end, progress) = self.attend(&mut process, &mut standing, &stop).await;
            let reason = match end {
                RunEnd::Stopped => return self.finish(process, &standing, at_end).await,
                RunEnd::Session(SessionEnd::Fatal(fatal)) => return Err(fatal),
                RunEnd::Session(end) => {
                    process.kill().await;
                    end.to_string()
                }
                RunEnd::Exited(status) => why_ended(status, &process),
            };
            let run = Run { lasted: started.elapsed(), was_ready: progress.was_ready };
            let wait = backoff.after(run).ok_or_else(|| unusable(&reason))?;
            tracing::warn!(reason, wait_ms = wait.as_millis(), "tailscaled is started again");
            self.reports.send(Phase::Restarting, &reason);
            tokio::select! {
                () = sleep(jittered(wait)) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn attend(
        &self,
        process: &mut Process,
        standing: &mut Standing,
        stop: &CancellationToken,
    ) -> (RunEnd, Progress) {
        let mut session = Session {
            api: &self.api,
            login: &self.login,
            path: &self.path,
            reports: &self.reports,
            standing,
            progress: Progress::default(),
        };
        let end = tokio::select! {
            status = process.wait() => RunEnd::Exited(status),
            end = session.run() => RunEnd::Session(end),
            () = stop.cancelled() => RunEnd::Stopped,
        };
        (end, session.progress)
    }

    async fn finish(&self, mut process: Process, standing: &Standing, at_end: AtEnd) -> Result<(), Fatal> {
        if at_end == AtEnd::LogOut && standing.known {
            match tokio::time::timeout(LOGOUT_TIMEOUT, self.api.logout()).await {
                Ok(Ok(())) => tracing::info!("logged out of the tailnet"),
                Ok(Err(error)) => tracing::warn!(%error, "could not log out; the node stays until it is removed"),
                Err(_) => {
                    tracing::warn!("the control server did not confirm the logout; the node stays until it is removed")
                }
            }
            // Nothing is left to be saved.
            process.kill().await;
        } else {
            process.end().await;
        }
        Ok(())
    }
}

fn has_content(state_file: &Path) -> bool {
    std::fs::metadata(state_file).is_ok_and(|metadata| metadata.len() > 0)
}

fn why_ended(status: std::io::Result<ExitStatus>, process: &Process) -> String {
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    match process.tail.cause() {
        Some(cause) => format!("tailscaled ended ({status}): {cause}"),
        None => format!("tailscaled ended ({status})"),
    }
}

fn unusable(reason: &str) -> Fatal {
    Fatal::TailscaledUnusable(format!(
        "tailscaled ends again and again before it is ready: {reason}; run with log_level = debug to see what it says"
    ))
}
