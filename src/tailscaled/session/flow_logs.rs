//! Handles a tailscaled that stops, since the tailnet wants logs of it.
//!
//! In a tailnet with network flow logs a tailscaled without upload of logs takes itself down as soon as it has joined; told to go
//! on, it would do so again.

use std::time::Duration;

use tokio::time::Instant;

use crate::exit_reason::ExitReason;
use crate::tailscaled::backoff::jittered;
use crate::tailscaled::session::Session;
use crate::tailscaled::session::state::SessionEnd;

const REASON: &str = "the tailnet has network flow logs on, and does not take nodes that upload none: set log_upload = true, and \
    leave TS_NO_LOGS_NO_SUPPORT and --no-logs-no-support out where they are set";

/// The first pause before tailscaled is told to go on: somebody may have switched flow logs off. Each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

impl Session<'_> {
    /// Handles tailscaled's word that the tailnet wants logs.
    ///
    /// # Errors
    /// An exit reason before the daemon was ever ready.
    pub fn handle_wanted_logs(&mut self) -> Result<(), SessionEnd> {
        if !self.record.ever_ready {
            return Err(ExitReason::Configuration(REASON.to_owned()).into());
        }
        self.progress.verification.end();
        self.needs_login(REASON);
        let pause = FIRST_PAUSE * 2_u32.pow(self.progress.resumes.min(6));
        self.progress.resumes += 1;
        self.progress.resume_at = Some(Instant::now() + jittered(pause.min(LONGEST_PAUSE)));
        Ok(())
    }

    /// Tells tailscaled to go on.
    ///
    /// # Errors
    /// When tailscaled does not answer.
    pub async fn resume(&mut self) -> Result<(), SessionEnd> {
        self.progress.resume_at = None;
        self.api.start(&self.login.without_key()).await?;
        // The state `Running` is still that of before: the control server's word counts.
        self.progress.verification.begin();
        Ok(())
    }
}
