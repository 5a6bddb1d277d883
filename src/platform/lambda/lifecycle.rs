//! The lifecycle of a Lambda extension, from registration to SHUTDOWN.
//!
//! Registered → ready, waiting for events → SHUTDOWN, or an error of the phase it is in.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use crate::exit_reason::ExitReason;
use crate::platform::lambda::extension_api::{ApiError, Event, ExtensionApi, Identifier, Stage};
use crate::platform::lifecycle::{Lifecycle, LocalBoxFuture, StopRequest};
use crate::sync::IgnorePoison;
use crate::sync::start_gate::{GateKey, StartGate};

/// Part of the time until the deadline that is kept for ending the process. Past the deadline Lambda kills it.
const MARGIN: Duration = Duration::from_millis(150);

/// Longest time that Lambda gives extensions to end.
pub const SHUTDOWN_TIME: Duration = Duration::from_secs(2);

/// Shortest time that a shutdown gets, whatever the event says: the wall clock may be off after a thaw.
const SHORTEST: Duration = Duration::from_millis(300);

/// Pause before a request is repeated that Lambda did not respond to. Each further one is twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(200);

/// A request that waited for longer than this was taken in, and failures of before it do not count any more.
const LONG_WAIT: Duration = Duration::from_secs(10);

/// Number of failed requests in a row after which Lambda will not respond any more: 12.6 s of trying.
const MOST_FAILURES: u32 = 7;

/// The lifecycle of the daemon as an external extension.
pub struct ExtensionLifecycle {
    api: ExtensionApi,
    /// Whether the function goes on when the extension has failed.
    outlasts_failure: bool,
    registration: Mutex<RegistrationState>,
    /// Set where this environment becomes a snapshot, of which Lambda makes many (SnapStart). The first invocation comes after that.
    snapshot: Option<(GateKey, StartGate)>,
}

/// The progress of the registration.
#[derive(Clone, Default)]
struct RegistrationState {
    /// Identifier that Lambda gives at the registration; `None` before.
    identifier: Option<Identifier>,
    /// Whether `next` was called, which ends the init phase.
    initialised: bool,
}

impl Lifecycle for ExtensionLifecycle {
    fn outlasts_failure(&self) -> bool {
        self.outlasts_failure
    }

    fn start_gate(&self) -> StartGate {
        self.snapshot.as_ref().map(|(_, gate)| gate.clone()).unwrap_or_default()
    }

    fn register(&self) -> LocalBoxFuture<'_, Result<(), ExitReason>> {
        Box::pin(self.register_once())
    }

    fn stop_request(&self) -> LocalBoxFuture<'_, StopRequest> {
        Box::pin(self.shutdown())
    }

    /// Reports the failure. Where the function is to go on, this returns only when the execution environment ends,
    /// since Lambda takes down an environment in which an extension has exited.
    fn failed<'a>(&'a self, reason: &'a ExitReason) -> LocalBoxFuture<'a, ()> {
        Box::pin(async {
            if self.register_once().await.is_err() {
                return;
            }
            if self.outlasts_failure {
                self.shutdown().await;
            } else {
                self.fail(reason).await;
            }
        })
    }
}

impl ExtensionLifecycle {
    /// Creates the lifecycle. `address` is that of the Extensions API, `name` the name of this extension's file.
    pub fn new(address: String, name: String, outlasts_failure: bool) -> Self {
        Self { api: ExtensionApi { address, name }, outlasts_failure, registration: Mutex::default(), snapshot: None }
    }

    /// Has the daemon join at the first invocation, since this environment becomes a snapshot before.
    pub fn joining_at_first_invocation(self) -> Self {
        Self { snapshot: Some(StartGate::closed()), ..self }
    }

    /// Registers the extension, unless it is registered already.
    async fn register_once(&self) -> Result<(), ExitReason> {
        if self.registration().identifier.is_none() {
            // Nothing else tells an extension that a snapshot was restored.
            let events: &[&str] = if self.snapshot.is_some() { &["INVOKE", "SHUTDOWN"] } else { &["SHUTDOWN"] };
            let identifier = self.api.register(events).await.map_err(|error| self.not_registered(&error))?;
            self.change(|registration| registration.identifier = Some(identifier));
        }
        Ok(())
    }

    /// Waits until Lambda shuts the execution environment down; for ever without a registration.
    async fn shutdown(&self) -> StopRequest {
        self.change(|registration| registration.initialised = true);
        let Some(identifier) = self.registration().identifier else { return std::future::pending().await };
        let mut failures = 0;
        loop {
            let asked = Instant::now();
            let answer = self.api.next(&identifier).await;
            if asked.elapsed() > LONG_WAIT {
                failures = 0;
            }
            match answer {
                Ok(event) if event.event_type == "SHUTDOWN" => return stop_request(&event),
                Ok(event) => {
                    failures = 0;
                    self.heed(&event);
                }
                Err(error) => {
                    failures += 1;
                    if failures == MOST_FAILURES {
                        return without_events(&error);
                    }
                    if failures == 1 {
                        tracing::warn!(%error, "the Extensions API did not answer; asking again");
                    }
                    sleep(FIRST_RETRY * 2_u32.pow(failures - 1)).await;
                }
            }
        }
    }

    /// Heeds an event that is no shutdown.
    fn heed(&self, event: &Event) {
        match &self.snapshot {
            Some((key, _)) if event.event_type == "INVOKE" => {
                if key.open() {
                    tracing::info!("the first invocation: this environment is restored, and joins");
                }
            }
            _ => tracing::debug!(event = event.event_type, "an event that was not asked for"),
        }
    }

    /// Reports to Lambda that the extension is about to exit because of `reason`: as an error of the init phase or,
    /// later, of the exit.
    async fn fail(&self, reason: &ExitReason) {
        let registration = self.registration();
        let Some(identifier) = &registration.identifier else { return };
        let stage = if registration.initialised { Stage::Exit } else { Stage::Init };
        if let Err(error) = self.api.fail(identifier, stage, error_type(reason), &reason.to_string()).await {
            tracing::debug!(%error, "the failure could not be reported to the Extensions API");
        }
    }

    fn not_registered(&self, error: &ApiError) -> ExitReason {
        let ExtensionApi { address, name } = &self.api;
        ExitReason::Configuration(format!(
            "the Lambda Extensions API at {address} did not take extension {name:?}: {error}; in Lambda the program must \
             be started from /opt/extensions under its own name, elsewhere set runtime = plain"
        ))
    }

    fn registration(&self) -> RegistrationState {
        self.registration.lock().ignore_poison().clone()
    }

    fn change(&self, change: impl FnOnce(&mut RegistrationState)) {
        change(&mut self.registration.lock().ignore_poison());
    }
}

/// The end of an extension that hears of no event any more, the end of its environment included. Lambda starts another
/// environment.
fn without_events(error: &ApiError) -> StopRequest {
    tracing::error!(%error, "the Extensions API answers no more; without it the end of the environment would not be noticed");
    let reason = format!("the Extensions API answers no more: {error}");
    StopRequest { reason, deadline: Some(Instant::now() + SHUTDOWN_TIME - MARGIN) }
}

fn stop_request(event: &Event) -> StopRequest {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let left = time_left(Duration::from_millis(event.deadline_ms), now);
    let reason = format!("Lambda shuts the execution environment down ({})", event.shutdown_reason);
    StopRequest { reason, deadline: Some(Instant::now() + left) }
}

/// Returns the time for a shutdown: what is left until `deadline` less [`MARGIN`], at least [`SHORTEST`], at most
/// [`SHUTDOWN_TIME`] less [`MARGIN`]. Both parameters are Unix times.
fn time_left(deadline: Duration, now: Duration) -> Duration {
    deadline.saturating_sub(now).clamp(SHORTEST + MARGIN, SHUTDOWN_TIME) - MARGIN
}

/// Returns the failure's type, as the function's log and metrics show it.
fn error_type(reason: &ExitReason) -> &'static str {
    match reason {
        ExitReason::Configuration(_) | ExitReason::Usage(_) => "Tetherd.ConfigurationInvalid",
        ExitReason::NotReady(_) => "Tetherd.NotReady",
        ExitReason::TailscaledUnusable(_) => "Tetherd.TailscaledUnusable",
        ExitReason::KeyRefused(_) => "Tetherd.AuthKeyRefused",
        ExitReason::CommandNotExecutable(_) | ExitReason::CommandNotFound(_) => "Tetherd.CommandFailed",
        // Several tailnets are refused in Lambda.
        ExitReason::OfTailnet { .. } => "Tetherd.Failed",
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
