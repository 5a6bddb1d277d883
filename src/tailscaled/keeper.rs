//! Keeps tailscaled running: starts it, holds a session with it, ends it in order.
//!
//! A tailscaled that ends or hangs is started again as the same node.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::exit_reason::ExitReason;
use crate::state::Phase;
use crate::sync::start_gate::StartGate;
use crate::tailscaled::backoff::{Backoff, Run, jittered};
use crate::tailscaled::calls::Calls;
use crate::tailscaled::events::{EventSender, KeeperEvent};
use crate::tailscaled::local_api::LocalApi;
use crate::tailscaled::logout::{Logout, LogoutOutcome};
use crate::tailscaled::own_node::OwnNodeCache;
use crate::tailscaled::path::control_probe::ControlProbe;
use crate::tailscaled::path::health::PathHealth;
use crate::tailscaled::path::rebind::Rebinder;
use crate::tailscaled::process::locked_dir::STATE_FILE;
use crate::tailscaled::process::log_forwarder::is_usage_error;
use crate::tailscaled::process::{Launch, Process, StartError};
use crate::tailscaled::session::Session;
use crate::tailscaled::session::preferences::LoginOptions;
use crate::tailscaled::session::state::{NodeRecord, Progress, SessionEnd};
use crate::tailscaled::stop::StopWatch;

/// How long a login under way may take to come to its end at a stop where the control server cannot be reached.
const SETTLE_TIMEOUT: Duration = Duration::from_millis(500);

/// Exit code of Go's flag package for arguments that it does not take.
const GO_USAGE: i32 = 2;

/// How long the last lines of a tailscaled that has ended may be on their way.
const LINES_TIMEOUT: Duration = Duration::from_millis(200);

/// What becomes of the node when the daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeAtShutdown {
    LogOut,
    KeepNode,
}

/// The parts that a keeper works with.
pub struct KeeperParts {
    pub launch: Launch,
    pub api: LocalApi,
    pub calls: Calls,
    pub login: LoginOptions,
    pub path: PathHealth,
    pub rebinder: Rebinder,
    pub own_node: OwnNodeCache,
    pub control_probe: ControlProbe,
    /// The state directory that `launch` names.
    pub state_dir: PathBuf,
    /// What the first start waits for.
    pub start_gate: StartGate,
}

/// Keeps one tailscaled.
pub struct Keeper {
    parts: KeeperParts,
    events: EventSender,
    /// Whether a login is under way.
    login_pending: watch::Sender<bool>,
}

/// Why a run of tailscaled is over.
enum RunEnd {
    Exited(std::io::Result<ExitStatus>),
    Session(SessionEnd),
    /// A stop was asked for; tailscaled is to have ended by then.
    Stopped(Instant),
}

/// A run of tailscaled that is to be followed by another one.
struct FailedRun {
    reason: String,
    was_ready: bool,
}

impl Keeper {
    /// Creates a keeper, and the receiver of its events.
    pub fn new(parts: KeeperParts) -> (Self, mpsc::UnboundedReceiver<KeeperEvent>) {
        let (sender, events) = mpsc::unbounded_channel();
        (Self { parts, events: EventSender::new(sender), login_pending: watch::Sender::new(false) }, events)
    }

    /// Runs until `stop`. Dropped, it leaves no tailscaled behind.
    ///
    /// # Errors
    /// Why there is no point in going on.
    pub async fn run(self, stop: StopWatch, at_shutdown: NodeAtShutdown) -> Result<(), ExitReason> {
        if !self.may_start(&stop).await {
            return Ok(());
        }
        let mut record = NodeRecord { known: is_known(&self.parts.state_dir), ..NodeRecord::default() };
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            let failed = match self.parts.launch.start() {
                Ok(mut process) => match self.follow(&mut process, &mut record, &stop).await {
                    (RunEnd::Stopped(by), _) => return self.finish(process, &record, at_shutdown, by).await,
                    (RunEnd::Session(SessionEnd::ExitReason(reason)), _) => return Err(reason),
                    (RunEnd::Session(end), was_ready) => {
                        process.kill().await;
                        FailedRun { reason: self.parts.login.redact(&end.to_string()), was_ready }
                    }
                    (RunEnd::Exited(status), was_ready) => {
                        if let Some(line) = self.refused_argument(&status, &process).await {
                            return Err(unusable_argument(&line));
                        }
                        FailedRun { reason: why_ended(status, &process), was_ready }
                    }
                },
                // Where tailscaled has run before, a failed start may pass by itself: a full process table, an upgrade
                // that takes a moment.
                Err(error) if record.ever_ready => FailedRun { reason: error.to_string(), was_ready: false },
                Err(error) => return Err(cannot_start(&error)),
            };
            let run = Run { lasted: started.elapsed(), was_ready: failed.was_ready };
            let pause = backoff.after(run, record.ever_ready).ok_or_else(|| unusable(&failed.reason))?;
            tracing::warn!(reason = failed.reason, wait_ms = pause.as_millis(), "tailscaled is started again");
            self.events.send(Phase::Restarting, &failed.reason);
            tokio::select! {
                () = sleep(jittered(pause)) => {}
                by = stop.asked() => return self.finish_without_process(&record, at_shutdown, by).await,
            }
        }
    }

    /// Waits until tailscaled may be started. Returns whether it may be; not if `stop` comes before.
    async fn may_start(&self, stop: &StopWatch) -> bool {
        let gate = &self.parts.start_gate;
        if gate.is_open() {
            return true;
        }
        self.events.send(Phase::Starting, "this environment is to become a snapshot; it joins at the first invocation");
        tokio::select! {
            () = gate.opened() => {}
            _ = stop.asked() => return false,
        }
        self.events.send(Phase::Starting, "tailscaled is starting");
        true
    }

    /// Holds a session with `process` until one of them ends, or `stop`. Returns why, and whether the node was ready.
    async fn follow(&self, process: &mut Process, record: &mut NodeRecord, stop: &StopWatch) -> (RunEnd, bool) {
        let mut session = Session {
            api: &self.parts.api,
            calls: &self.parts.calls,
            login: &self.parts.login,
            path: &self.parts.path,
            rebinder: &self.parts.rebinder,
            own_node: &self.parts.own_node,
            events: &self.events,
            control_probe: &self.parts.control_probe,
            login_pending: &self.login_pending,
            record,
            progress: Progress::default(),
        };
        let end = tokio::select! {
            status = process.wait() => RunEnd::Exited(status),
            end = session.run() => RunEnd::Session(end),
            by = self.stopped(stop) => RunEnd::Stopped(by),
        };
        (end, session.progress.was_ready)
    }

    /// Waits for `stop`, and then for a login under way, since breaking it off leaves a node in the tailnet that nobody
    /// logs out. Returns by when tailscaled is to have ended.
    async fn stopped(&self, stop: &StopWatch) -> Instant {
        let by = stop.asked().await;
        let mut pending = self.login_pending.subscribe();
        tokio::select! {
            _ = pending.wait_for(|pending| !pending) => {}
            () = self.login_overdue(by) => {}
        }
        by
    }

    /// Waits for as long as a login may take at a stop: half of the time until `by`, where the control server can be reached.
    async fn login_overdue(&self, by: Instant) {
        let began = Instant::now();
        let reachable = tokio::time::timeout(SETTLE_TIMEOUT, self.parts.control_probe.is_reachable()).await;
        let half = by.saturating_duration_since(began) / 2;
        sleep_until(began + if reachable == Ok(true) { half } else { SETTLE_TIMEOUT.min(half) }).await;
    }

    /// Ends tailscaled, and logs the node out if that is wanted.
    async fn finish(
        &self,
        mut process: Process,
        record: &NodeRecord,
        at_shutdown: NodeAtShutdown,
        by: Instant,
    ) -> Result<(), ExitReason> {
        if at_shutdown == NodeAtShutdown::LogOut && record.may_be_in_the_tailnet() {
            let outcome = self.logout(record, by).through_running().await;
            // After a logout tailscaled has no state to save.
            process.kill().await;
            if outcome == LogoutOutcome::TailscaledGone {
                return self.finish_without_process(record, at_shutdown, by).await;
            }
        } else {
            process.end().await;
        }
        Ok(())
    }

    /// Logs the node out, if that is wanted, by a new tailscaled: the last one ended just before the stop, as when both
    /// got a signal.
    async fn finish_without_process(
        &self,
        record: &NodeRecord,
        at_shutdown: NodeAtShutdown,
        by: Instant,
    ) -> Result<(), ExitReason> {
        if at_shutdown == NodeAtShutdown::LogOut
            && record.may_be_in_the_tailnet()
            && let Ok(mut process) = self.parts.launch.start()
        {
            if self.logout(record, by).through_new().await == LogoutOutcome::TailscaledGone {
                let node = self.parts.login.hostname();
                tracing::warn!(node, "tailscaled is gone; the node stays in the tailnet until it is removed");
            }
            process.kill().await;
        }
        Ok(())
    }

    /// Returns what tailscaled said of an argument of the user's that it does not take: it would end so at every start.
    async fn refused_argument(&self, status: &std::io::Result<ExitStatus>, process: &Process) -> Option<String> {
        let is_usage = status.as_ref().is_ok_and(|status| status.code() == Some(GO_USAGE));
        if !is_usage || !self.parts.launch.has_own_arguments() {
            return None;
        }
        // Its last lines may still be on their way.
        let by = Instant::now() + LINES_TIMEOUT;
        while process.last_lines.error().is_none() && Instant::now() < by {
            sleep(LINES_TIMEOUT / 20).await;
        }
        process.last_lines.error().filter(|line| is_usage_error(line))
    }

    fn logout(&self, record: &NodeRecord, by: Instant) -> Logout<'_> {
        let KeeperParts { api, login, control_probe, rebinder, .. } = &self.parts;
        let (was_frozen, login_took) = (rebinder.was_frozen(), record.login_took);
        Logout { api, login, control_probe, was_frozen, login_took, by }
    }
}

/// Whether a node's identity is kept in the directory `state` already.
pub fn is_known(state: &Path) -> bool {
    std::fs::metadata(state.join(STATE_FILE)).is_ok_and(|metadata| metadata.len() > 0)
}

fn why_ended(status: std::io::Result<ExitStatus>, process: &Process) -> String {
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    // When a signal ended tailscaled, its last line does not tell the cause.
    let last = || process.last_lines.last().filter(|_| !status.contains("signal"));
    match process.last_lines.error().or_else(last) {
        Some(cause) => format!("tailscaled ended ({status}): {cause}"),
        None => format!("tailscaled ended ({status})"),
    }
}

fn cannot_start(error: &StartError) -> ExitReason {
    ExitReason::TailscaledUnusable(format!(
        "{error}; check that it is there, may be executed, and is built for this machine"
    ))
}

fn unusable_argument(line: &str) -> ExitReason {
    ExitReason::Configuration(format!(
        "tailscaled does not take an argument of tailscaled_args: {line}; correct it or leave it out"
    ))
}

fn unusable(reason: &str) -> ExitReason {
    ExitReason::TailscaledUnusable(format!(
        "tailscaled ends again and again before it is ready: {reason}; run with log_level = debug to see what it says"
    ))
}
