//! How the node is let in: logins are asked for, again where one fails, and what the control server says of them is
//! judged.

use std::time::Duration;

use tokio::time::Instant;

use crate::auth_keys::error::KeyError;
use crate::exit_reason::ExitReason;
use crate::state::Phase;
use crate::tailscaled::backoff::jittered;
use crate::tailscaled::session::Session;
use crate::tailscaled::session::state::SessionEnd;

/// Waits between logins that fail, doubling.
const LOGIN_RETRY: Duration = Duration::from_secs(2);
/// The first wait where the key's source is in trouble: a function that starts has few seconds in all.
const KEY_RETRY: Duration = Duration::from_millis(250);
const LOGIN_RETRY_LONGEST: Duration = Duration::from_secs(60);

impl Session<'_> {
    /// Asks for a login, with the key as its source has it now.
    pub async fn log_in(&mut self) -> Result<(), SessionEnd> {
        self.progress.retry_at = None;
        self.progress.key_ends = None;
        self.progress.verification.end();
        if let Some(origin) = self.login.far_origin().filter(|_| !self.progress.needs_login) {
            self.reports.send(Phase::Starting, &format!("waiting for the auth key from {origin}"));
        }
        match self.login.fresh().await {
            Ok(options) => {
                self.progress.login_pending = true;
                self.standing.login_asked = true;
                // A key made for this login may be over before the control server can be reached.
                self.progress.key_ends = self.login.key_ends();
                self.login_pending.send_replace(true);
                let says_running = self.progress.running;
                self.api.start(&options).await?;
                self.api.login_interactive().await?;
                if says_running {
                    // For the node of before: the new one is there once the control server has it online.
                    self.progress.verification.begin();
                }
            }
            Err(failure) => self.without_key(&failure)?,
        }
        Ok(())
    }

    /// What waiting does not mend ends the daemon at its start; later it may be mended where the key is kept.
    fn without_key(&mut self, failure: &KeyError) -> Result<(), SessionEnd> {
        if let Some(fatal) = failure.fatal().filter(|_| !self.standing.ever_ready) {
            return Err(fatal.into());
        }
        let first = if matches!(failure, KeyError::Passing(_)) { KEY_RETRY } else { LOGIN_RETRY };
        tracing::warn!(%failure, "no auth key");
        self.retry_login_after(first, &failure.to_string());
        Ok(())
    }

    fn retry_login(&mut self, reason: &str) {
        self.retry_login_after(LOGIN_RETRY, reason);
    }

    fn retry_login_after(&mut self, first: Duration, reason: &str) {
        self.progress.login_pending = true;
        self.progress.verification.end();
        self.progress.key_ends = None;
        self.login_pending.send_replace(false);
        self.needs_login(reason);
        if self.progress.retry_at.is_some() {
            // tailscaled goes on asking with the old key: each of its refusals would put the next login off.
            return;
        }
        let wait = jittered((first * 2_u32.pow(self.progress.failed_logins.min(10))).min(LOGIN_RETRY_LONGEST));
        self.progress.failed_logins += 1;
        self.progress.retry_at = Some(Instant::now() + wait);
    }

    pub fn needs_login(&mut self, reason: &str) {
        self.progress.ready = false;
        self.progress.resumed = false;
        self.progress.needs_login = true;
        self.reports.send(Phase::NeedsLogin, reason);
    }

    /// The control server answers with an address to log in at when it does not know the node.
    pub async fn asked_for_a_login(&mut self, address: &str) -> Result<(), SessionEnd> {
        if !self.login.has_key() {
            tracing::warn!(address, "no auth key is set: log this node in with a browser, or set auth_key");
            self.needs_login("no auth key is set; the log names an address to log in with a browser");
        } else if !self.progress.login_pending {
            self.needs_login("the control server does not know this node any more");
            self.log_in().await?;
        }
        Ok(())
    }

    /// A message of the control server while a login is under way is a refusal.
    pub fn refused(&mut self, message: &str) -> Result<(), SessionEnd> {
        let message = self.login.redact(message.trim());
        if message.contains("no-logs-no-support") {
            self.needs_login("the tailnet requires logs of its nodes: set log_upload = true");
            return Ok(());
        }
        if !self.progress.login_pending || message.contains("fell behind") {
            tracing::warn!(message, "tailscaled");
            return Ok(());
        }
        let reason = format!(
            "the control server refused the auth key: {message}; create a new key and put it where {} comes from",
            self.login.origin()
        );
        if self.login.key_ends().is_some_and(|ends| ends <= Instant::now()) {
            self.retry_login(
                "the key made for this login expired before the control server was asked; making a new one",
            );
            return Ok(());
        }
        if !self.standing.ever_ready {
            return Err(ExitReason::KeyRefused(reason).into());
        }
        self.retry_login(&reason);
        Ok(())
    }
}
