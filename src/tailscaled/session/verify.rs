//! Asks the control server whether it still knows the node.
//!
//! This is done when no dial is answered, or when tailscaled came back with what it knew before: tailscaled itself
//! would go on reporting the state Running.

use crate::tailscaled::local_api::LocalApiError;
use crate::tailscaled::session::Session;
use crate::tailscaled::session::state::SessionEnd;
use crate::tailscaled::session::verification::Verdict;

impl Session<'_> {
    /// Begins to verify a node that is running with an earlier network map. Dials make sense meanwhile; readiness waits
    /// for the control server.
    pub fn verify_resumed_node(&mut self) {
        self.progress.verification.begin();
        self.events.send_unverified("back as the same node; waiting for the control server's word");
    }

    /// Begins to verify the node when no dial is answered. For that tailscaled is told to start again, which makes it
    /// ask the control server about the node. A known node is online again within 0.3 s, and its connections live on.
    ///
    /// # Errors
    /// When tailscaled does not answer, or refuses.
    pub async fn verify_suspect_path(&mut self) -> Result<(), SessionEnd> {
        if !self.progress.ready || !self.progress.verification.may_begin() {
            return Ok(());
        }
        tracing::debug!("no dial is answered: asking the control server where this node stands");
        let online = self.is_online().await?;
        self.progress.verification.begin();
        // When the control server cannot be reached, asking it would break the connections that still work.
        if online && self.control_probe.is_reachable().await {
            self.api.start(&self.login.without_key()).await?;
        }
        Ok(())
    }

    /// Checks whether the control server has the node online, and acts on the verdict.
    ///
    /// # Errors
    /// [`SessionEnd::OfflineAfterFreeze`] when tailscaled has to be restarted; those of LocalAPI.
    pub async fn check_verification(&mut self) -> Result<(), SessionEnd> {
        let began_at = self.progress.verification.began_at();
        let online = self.is_online().await?;
        match self.progress.verification.check(online) {
            Verdict::Online if self.progress.running => self.joined().await?,
            // A dial was answered while tailscaled was asked.
            Verdict::Overdue if self.progress.can_be_verified_by_dial() && self.path.has_answered(began_at) => {
                self.verified_by_dial().await?;
            }
            // The control server can be reached, but tailscaled does not get through to it.
            Verdict::Overdue if self.path.take_unproven() && self.control_probe.is_reachable().await => {
                return Err(SessionEnd::OfflineAfterFreeze);
            }
            // tailscaled was told to go on, though the tailnet wanted its logs: why it is not ready is said already.
            Verdict::Overdue if self.progress.resumes > 0 => {}
            Verdict::Overdue if !self.progress.login_pending => {
                self.progress.ready = false;
                self.events.send_unverified("no dial is answered and the control server cannot be reached");
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the control server has the node online.
    async fn is_online(&self) -> Result<bool, LocalApiError> {
        let status = self.api.status(false).await?;
        // Such a node stops at once.
        Ok(!status.wants_logs() && status.node.is_some_and(|node| node.online))
    }

    /// Ends the verification, since a dial was answered.
    ///
    /// # Errors
    /// When tailscaled does not answer.
    pub async fn verified_by_dial(&mut self) -> Result<(), SessionEnd> {
        self.progress.verification.end();
        self.joined().await
    }
}
