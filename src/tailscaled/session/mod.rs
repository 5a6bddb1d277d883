//! One session with a running tailscaled: join, then follow what it says, notice when it hangs, when a login is
//! needed again, and when the control server has forgotten the node.

pub(crate) mod inquiry;
pub(crate) mod login;
pub(crate) mod preferences;
pub(crate) mod state;
pub(crate) mod verify;

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::state::Phase;
use crate::tailscaled::calls::Calls;
use crate::tailscaled::events::Reports;
use crate::tailscaled::local_api::ipn_bus::{Notice, TailscaledState};
use crate::tailscaled::local_api::{LocalApi, LocalApiError};
use crate::tailscaled::path::control_probe::ControlProbe;
use crate::tailscaled::path::health::PathHealth;
use crate::tailscaled::path::rebind::Rebinder;
use crate::tailscaled::path::timeout::within;
use crate::tailscaled::session::preferences::Login;
use crate::tailscaled::session::state::{LISTEN_TIMEOUT, NodeRecord, Progress, SessionEnd};

/// How often tailscaled is asked whether it still answers.
const ALIVE_EVERY: Duration = Duration::from_secs(2);
/// From its login to its relay tailscaled takes less than 1 s. Where it loses its relay in a login again (seen once in 40
/// on a busy machine), it does not look for one by itself.
const JOINING: Duration = Duration::from_secs(5);

/// The session.
pub struct Session<'a> {
    pub api: &'a LocalApi,
    pub calls: &'a Calls,
    pub login: &'a Login,
    pub path: &'a PathHealth,
    pub thaw: &'a Rebinder,
    pub reports: &'a Reports,
    pub control: &'a ControlProbe,
    /// Told whether a login is under way.
    pub login_pending: &'a watch::Sender<bool>,
    pub standing: &'a mut NodeRecord,
    pub progress: Progress,
}

impl Session<'_> {
    /// Runs until tailscaled cannot be worked with any more.
    pub async fn run(&mut self) -> SessionEnd {
        match self.follow().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn follow(&mut self) -> Result<Infallible, SessionEnd> {
        let mut unmended = self.thaw.unmended();
        self.wait_until_listening().await?;
        let (bus, ()) = tokio::join!(self.api.watch(), self.calls.begin());
        let mut bus = bus?;
        if self.standing.known {
            self.progress.resumed = true;
            self.api.start(&self.login.resume()).await?;
        } else {
            self.log_in().await?;
        }
        if !self.progress.needs_login {
            self.reports.send(Phase::Starting, "joining the tailnet");
        }
        let mut silence = pin!(silence(self.api));
        loop {
            tokio::select! {
                notice = bus.next() => self.heed(&notice.ok_or(SessionEnd::Closed)?).await?,
                () = self.path.suspect() => self.suspect().await?,
                () = self.path.next_answer(), if self.progress.is_in_doubt() => self.answered(),
                () = due(self.progress.verification.next()) => self.verify().await?,
                () = due(self.progress.retry_at) => self.log_in().await?,
                () = due(self.progress.nudge_at) => self.nudge().await?,
                () = due(self.progress.key_ends) => self.log_in().await?,
                Ok(()) = unmended.changed() => return Err(SessionEnd::LostInFreeze),
                () = &mut silence => return Err(SessionEnd::Hangs),
            }
        }
    }

    async fn wait_until_listening(&self) -> Result<(), SessionEnd> {
        let listening = self.api.wait_until_listening();
        within(LISTEN_TIMEOUT, pin!(listening)).await.ok_or(SessionEnd::NotListening)
    }

    async fn heed(&mut self, notice: &Notice) -> Result<(), SessionEnd> {
        if let Some(impairments) = notice.impairments() {
            self.progress.impairments = self.login.redact(&impairments);
            self.report_impairments();
        }
        if let Some(message) = &notice.err_message {
            self.refused(message)?;
        }
        if let Some(address) = notice.login_address() {
            self.asked_for_a_login(address).await?;
        }
        match notice.state() {
            Some(state) => self.enter(state).await,
            None => Ok(()),
        }
    }

    async fn enter(&mut self, state: TailscaledState) -> Result<(), SessionEnd> {
        tracing::debug!(?state, "tailscaled");
        self.progress.running = state == TailscaledState::Running;
        self.progress.nudge_at = (state == TailscaledState::Starting).then(|| Instant::now() + JOINING);
        self.progress.nudged = 0;
        // While a verification is under way tailscaled repeats the states of before.
        let settled = !self.progress.verification.is_under_way();
        match state {
            TailscaledState::Running if settled && self.progress.resumed => self.resumed(),
            TailscaledState::Running if settled => self.ready(),
            // A login under way has come to its end with it, good or not yet known.
            TailscaledState::Starting if settled => {
                self.progress.ready = false;
                self.progress.needs_login = false;
                self.reports.send(Phase::Starting, "joining the tailnet");
            }
            TailscaledState::NeedsLogin if !self.progress.login_pending => {
                self.needs_login("the control server wants a new login: the node was removed or has expired");
                self.log_in().await?;
            }
            TailscaledState::NeedsMachineAuth => {
                self.progress.key_ends = None;
                self.needs_login("the node waits for approval by an administrator of the tailnet");
            }
            TailscaledState::Stopped => {
                self.progress.ready = false;
                self.reports.send(Phase::Starting, "tailscaled was told to stop; it is told to go on");
                self.api.start(&self.login.resume()).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Ever more rarely: where the network is slow, looking anew undoes what was reached.
    async fn nudge(&mut self) -> Result<(), SessionEnd> {
        tracing::debug!("tailscaled is still joining: it is to look for its relay anew");
        self.progress.nudged += 1;
        self.progress.nudge_at = Some(Instant::now() + JOINING * 2_u32.pow(self.progress.nudged.min(5)));
        match self.api.rebind().await {
            // A tailscaled that was built without this call joins without it.
            Err(LocalApiError::Refused { .. }) => Ok(()),
            result => Ok(result?),
        }
    }

    fn ready(&mut self) {
        self.login_pending.send_replace(false);
        self.progress.resumed = false;
        self.progress.needs_login = false;
        self.progress.login_pending = false;
        self.progress.failed_logins = 0;
        self.progress.retry_at = None;
        self.progress.key_ends = None;
        self.progress.ready = true;
        self.progress.was_ready = true;
        self.standing.known = true;
        self.standing.ever_ready = true;
        self.reports.send(Phase::Ready, "joined the tailnet");
    }

    /// While not ready, what tailscaled finds wrong is the reason.
    fn report_impairments(&self) {
        let waits = !self.progress.ready && !self.progress.needs_login && !self.progress.verification.is_under_way();
        if waits && !self.progress.impairments.is_empty() {
            let hint = "check control_url, ca_file, DNS and the network";
            self.reports.send(Phase::Starting, &format!("joining the tailnet: {}; {hint}", self.progress.impairments));
        }
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Ends when tailscaled stops answering.
async fn silence(api: &LocalApi) {
    loop {
        sleep(ALIVE_EVERY).await;
        if matches!(api.status(false).await, Err(LocalApiError::Silent)) {
            return;
        }
    }
}
