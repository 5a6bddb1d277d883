//! Logs the node in; a login that fails is repeated with exponential backoff.

use std::time::Duration;

use tokio::time::Instant;

use crate::auth_keys::error::KeyError;
use crate::exit_reason::ExitReason;
use crate::state::Phase;
use crate::tailscaled::backoff::jittered;
use crate::tailscaled::local_api::types::NO_LOGS;
use crate::tailscaled::session::Session;
use crate::tailscaled::session::state::SessionEnd;

/// The first pause after a login that failed; each further one doubles it.
const LOGIN_RETRY: Duration = Duration::from_secs(2);
/// The first pause after a failure of the key's source that may pass; it is short, since a Lambda function has few
/// seconds for its start.
const KEY_RETRY: Duration = Duration::from_millis(250);
/// The longest pause between two logins.
const LONGEST_LOGIN_RETRY: Duration = Duration::from_secs(60);

impl Session<'_> {
    /// Asks tailscaled for a login with a freshly fetched auth key.
    ///
    /// # Errors
    /// When tailscaled does not answer; an exit reason when waiting for a key is pointless.
    pub async fn log_in(&mut self) -> Result<(), SessionEnd> {
        self.progress.retry_at = None;
        self.progress.key_expires_at = None;
        self.progress.verification.end();
        if let Some(origin) = self.login.remote_key_origin().filter(|_| !self.progress.needs_login) {
            self.events.send(Phase::Starting, &format!("waiting for the auth key from {origin}"));
        }
        let mut fetched = self.login.with_new_key().await;
        if let Ok(options) = &fetched
            && let Err(failure) = self.check_wrapped_key(options).await?
        {
            fetched = Err(failure);
        }
        match fetched {
            Ok(options) => {
                self.progress.login_pending = true;
                self.record.login_requested = true;
                // A key made for this login may expire before the control server can be reached.
                self.progress.key_expires_at = self.login.key_expires_at();
                self.login_pending.send_replace(true);
                self.progress.login_began = Some(Instant::now());
                let was_running = self.progress.running;
                self.api.start(&options).await?;
                self.api.login_interactive().await?;
                if was_running {
                    // The state `Running` is still that of the old node: the new one has joined once the control server
                    // has it online.
                    self.progress.verification.begin();
                }
            }
            Err(failure) => self.handle_key_error(&failure)?,
        }
        Ok(())
    }

    /// Handles a failure to get an auth key. Before the daemon was ever ready, a failure that waiting does not fix ends
    /// the daemon; later the login is tried again, since the failure may be fixed where the key is kept.
    fn handle_key_error(&mut self, failure: &KeyError) -> Result<(), SessionEnd> {
        if let Some(fatal) = failure.fatal().filter(|_| !self.record.ever_ready) {
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
        self.progress.key_expires_at = None;
        self.login_pending.send_replace(false);
        self.needs_login(reason);
        if self.progress.retry_at.is_some() {
            // A retry is due already. Meanwhile tailscaled goes on asking with the old key, and each refusal would put
            // the retry off.
            return;
        }
        let pause = jittered((first * 2_u32.pow(self.progress.failed_logins.min(10))).min(LONGEST_LOGIN_RETRY));
        self.progress.failed_logins += 1;
        self.progress.retry_at = Some(Instant::now() + pause);
    }

    /// Publishes that the node needs a login.
    pub fn needs_login(&mut self, reason: &str) {
        // Somebody else is waited for now, which a stop need not do.
        self.login_pending.send_replace(false);
        self.progress.ready = false;
        self.progress.resumed = false;
        self.progress.awaits_signature = false;
        self.progress.needs_login = true;
        self.events.send(Phase::NeedsLogin, reason);
    }

    /// Handles a request to log in at `address`, by which the control server says that it does not know the node.
    ///
    /// # Errors
    /// Those of [`Self::log_in`].
    pub async fn handle_login_request(&mut self, address: &str) -> Result<(), SessionEnd> {
        if !self.login.has_key() {
            tracing::warn!(address, "no auth key is set: log this node in with a browser, or set auth_key");
            self.needs_login("no auth key is set; the log names an address to log in with a browser");
        } else if !self.progress.login_pending {
            self.needs_login("the control server does not know this node any more");
            self.log_in().await?;
        }
        Ok(())
    }

    /// Handles an error message; one of the control server while a login is under way is a refusal.
    ///
    /// # Errors
    /// An exit reason when the key is refused before the daemon was ever ready.
    pub fn handle_error_message(&mut self, message: &str) -> Result<(), SessionEnd> {
        let message = self.login.redact(message.trim());
        if message.contains(NO_LOGS) {
            return self.handle_wanted_logs();
        }
        if !self.progress.login_pending || message.contains("fell behind") {
            tracing::warn!(message, "tailscaled");
            return Ok(());
        }
        let reason = format!(
            "the control server refused the auth key: {message}; create a new key and put it where {} comes from",
            self.login.key_origin()
        );
        if self.login.key_expires_at().is_some_and(|expires_at| expires_at <= Instant::now()) {
            self.retry_login(
                "the key made for this login expired before the control server was asked; making a new one",
            );
            return Ok(());
        }
        if !self.record.ever_ready {
            return Err(ExitReason::KeyRefused(reason).into());
        }
        self.retry_login(&reason);
        Ok(())
    }
}
