//! Where the node stands is asked of the control server when the path is silent, or tailscaled came back with what it
//! knew before: tailscaled itself would go on saying Running.

use crate::tailscaled::local_api::LocalApiError;
use crate::tailscaled::session::Session;
use crate::tailscaled::session::state::SessionEnd;
use crate::tailscaled::session::verify::Verdict;

impl Session<'_> {
    /// tailscaled is back with the network map of before, though the control server may not have been heard: dials make
    /// sense, readiness waits for a word.
    pub fn resumed(&mut self) {
        self.progress.verification.begin();
        self.reports.send_doubt("back as the same node; waiting for the control server's word");
    }

    /// No dial is answered. tailscaled would go on saying Running; told to start again it asks the control server
    /// where the node stands. A known node is online again within 0.3 s, and its connections live on.
    pub async fn suspect(&mut self) -> Result<(), SessionEnd> {
        if !self.progress.ready || !self.progress.verification.may_begin() {
            return Ok(());
        }
        tracing::debug!("no dial is answered: asking the control server where this node stands");
        let online = self.is_online().await?;
        self.progress.verification.begin();
        // Where it cannot be reached, asking would cost the connections that still work.
        if online && self.control.is_reachable().await {
            self.api.start(&self.login.resume()).await?;
        }
        Ok(())
    }

    pub async fn verify(&mut self) -> Result<(), SessionEnd> {
        let online = self.is_online().await?;
        match self.progress.verification.judge(online) {
            Verdict::Known if self.progress.running => self.ready(),
            // The control server is there, and tailscaled does not get through to it.
            Verdict::Doubtful if self.path.take_unproven() && self.control.is_reachable().await => {
                return Err(SessionEnd::LostInFreeze);
            }
            Verdict::Doubtful if !self.progress.login_pending => {
                self.progress.ready = false;
                self.reports.send_doubt("no dial is answered and the control server cannot be reached");
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the control server has the node online.
    async fn is_online(&self) -> Result<bool, LocalApiError> {
        Ok(self.api.status(false).await?.node.is_some_and(|node| node.online))
    }

    /// A dial was answered while the path was in doubt.
    pub fn answered(&mut self) {
        self.progress.verification.end();
        self.ready();
    }
}
