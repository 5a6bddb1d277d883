//! The life of an extension: registered → ready, waiting for events → SHUTDOWN, or an error of the phase it is in.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use crate::exit_reason::ExitReason;
use crate::platform::lambda::extension_api::{ApiError, Event, ExtensionApi, Identifier, Stage};
use crate::platform::life::StopRequest;

/// Of the time until the deadline, kept for ending the process. Past the deadline the platform kills it.
const MARGIN: Duration = Duration::from_millis(150);

/// What Lambda gives extensions, and the least that is worth trying: the wall clock may be off after a thaw.
const SHUTDOWN_TIME: Duration = Duration::from_secs(2);
const SHORTEST: Duration = Duration::from_millis(300);

/// Between questions that the platform did not answer.
const RETRY: Duration = Duration::from_millis(200);

/// One extension.
pub struct Lifecycle {
    api: ExtensionApi,
    standing: Mutex<RegistrationState>,
}

#[derive(Clone, Default)]
struct RegistrationState {
    identifier: Option<Identifier>,
    /// It has asked for `next`.
    initialised: bool,
}

impl Lifecycle {
    /// `address` is that of the Extensions API, `name` the name of this extension's file.
    pub fn new(address: String, name: String) -> Self {
        Self { api: ExtensionApi { address, name }, standing: Mutex::default() }
    }

    /// Registers, unless that was done.
    pub async fn register(&self) -> Result<(), ExitReason> {
        if self.standing().identifier.is_none() {
            let identifier = self.api.register().await.map_err(|error| self.not_registered(&error))?;
            self.change(|standing| standing.identifier = Some(identifier));
        }
        Ok(())
    }

    /// Ends when the platform shuts the execution environment down.
    pub async fn shutdown(&self) -> StopRequest {
        self.change(|standing| standing.initialised = true);
        let Some(identifier) = self.standing().identifier else { return std::future::pending().await };
        loop {
            match self.api.next(&identifier).await {
                Ok(event) if event.event_type == "SHUTDOWN" => return stop_request(&event),
                Ok(event) => tracing::debug!(event = event.event_type, "an event that was not asked for"),
                Err(error) => {
                    tracing::warn!(%error, "the Extensions API did not answer; asking again");
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Reports the end that is coming, in the phase it comes.
    pub async fn fail(&self, fatal: &ExitReason) {
        let standing = self.standing();
        let Some(identifier) = &standing.identifier else { return };
        let stage = if standing.initialised { Stage::Exit } else { Stage::Init };
        if let Err(error) = self.api.fail(identifier, stage, error_type(fatal), &fatal.to_string()).await {
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

    fn standing(&self) -> RegistrationState {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut RegistrationState)) {
        change(&mut self.standing.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn stop_request(event: &Event) -> StopRequest {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let left = time_left(Duration::from_millis(event.deadline_ms), now);
    let reason = format!("Lambda shuts the execution environment down ({})", event.shutdown_reason);
    StopRequest { reason, deadline: Some(Instant::now() + left) }
}

fn time_left(deadline: Duration, now: Duration) -> Duration {
    deadline.saturating_sub(now).clamp(SHORTEST + MARGIN, SHUTDOWN_TIME) - MARGIN
}

/// What the function's log and metrics show of the failure.
fn error_type(fatal: &ExitReason) -> &'static str {
    match fatal {
        ExitReason::Configuration(_) | ExitReason::Usage(_) => "Tetherd.ConfigurationInvalid",
        ExitReason::NotReady(_) => "Tetherd.NotReady",
        ExitReason::TailscaledUnusable(_) => "Tetherd.TailscaledUnusable",
        ExitReason::KeyRefused(_) => "Tetherd.AuthKeyRefused",
        ExitReason::CommandNotExecutable(_) | ExitReason::CommandNotFound(_) => "Tetherd.CommandFailed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers one request with `answer` and returns its text.
    async fn exchange(listener: &TcpListener, answer: &str) -> String {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let (mut request, mut buffer) = (String::new(), [0; 4096]);
        while !request.contains("}") {
            let read = stream.read(&mut buffer).await.expect("reads");
            request.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        stream.write_all(answer.as_bytes()).await.expect("writes");
        request
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_failure_is_reported_with_its_type_in_the_phase_it_comes_in() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let lifecycle = Lifecycle::new(address, "tetherd".into());
        let registered = "HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: id-1\r\nContent-Length: 2\r\n\r\n{}";
        let (result, request) = tokio::join!(lifecycle.register(), exchange(&listener, registered));
        result.expect("registers");
        assert!(request.starts_with("POST /2020-01-01/extension/register ") && request.contains("[\"SHUTDOWN\"]"));
        let fatal = ExitReason::KeyRefused("used up".into());
        for (initialised, path) in [(false, "init/error"), (true, "exit/error")] {
            lifecycle.change(|standing| standing.initialised = initialised);
            let accepted = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
            let ((), request) = tokio::join!(lifecycle.fail(&fatal), exchange(&listener, accepted));
            let head = request.to_ascii_lowercase();
            assert!(request.starts_with(&format!("POST /2020-01-01/extension/{path} ")), "{request}");
            assert!(head.contains("lambda-extension-identifier: id-1"), "{request}");
            assert!(head.contains("lambda-extension-function-error-type: tetherd.authkeyrefused"), "{request}");
            assert!(request.contains("used up"), "{request}");
        }
    }

    #[test]
    fn the_deadline_is_the_events_within_reason() {
        let at = Duration::from_millis;
        assert_eq!(time_left(at(11_000), at(10_000)), at(850));
        assert_eq!(time_left(at(0), at(10_000)), at(300), "a clock that is off");
        assert_eq!(time_left(at(99_000), at(10_000)), at(1850));
    }
}
