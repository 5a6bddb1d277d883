//! One session with a running tailscaled: join, then follow what it says, notice when it hangs, when a login is
//! needed again, and when the control server has forgotten the node.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::bus::{Notice, TailscaledState};
use super::control::Control;
use super::keeper::Reports;
use super::local_api::{LocalApi, LocalApiError};
use super::login::Login;
use super::path_watch::PathWatch;
use super::restart::jittered;
use super::standing::{LISTEN_TIMEOUT, Progress, SessionEnd, Standing};
use super::thaw::Thaw;
use super::verification::Verdict;
use crate::fatal::Fatal;
use crate::keys::KeyFailure;
use crate::state::Phase;

/// How often tailscaled is asked whether it still answers.
const ALIVE_EVERY: Duration = Duration::from_secs(2);
/// Waits between logins that fail, doubling.
const LOGIN_RETRY: Duration = Duration::from_secs(2);
/// The first wait where the key's source is in trouble: a function that starts has few seconds in all.
const KEY_RETRY: Duration = Duration::from_millis(250);
/// From its login to its relay tailscaled takes less than 1 s. Where it loses its relay in a login again (seen once in 40
/// on a busy machine), it does not look for one by itself.
const JOINING: Duration = Duration::from_secs(5);
const LOGIN_RETRY_LONGEST: Duration = Duration::from_secs(60);

/// The session.
pub struct Session<'a> {
    pub api: &'a LocalApi,
    pub login: &'a Login,
    pub path: &'a PathWatch,
    pub thaw: &'a Thaw,
    pub reports: &'a Reports,
    pub control: &'a Control,
    /// Told whether a login is under way.
    pub login_pending: &'a watch::Sender<bool>,
    pub standing: &'a mut Standing,
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
        let mut bus = self.api.watch().await?;
        if self.standing.known {
            self.progress.resumed = true;
            self.api.start(&self.login.resume()).await?;
        } else {
            self.log_in().await?;
        }
        if !self.progress.needs_login {
            self.reports.send(Phase::Starting, "joining the tailnet");
        }
        let mut silence = std::pin::pin!(silence(self.api, self.thaw));
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
        tokio::time::timeout(LISTEN_TIMEOUT, listening).await.map_err(|_| SessionEnd::NotListening)
    }

    /// Asks for a login, with the key as its source has it now.
    async fn log_in(&mut self) -> Result<(), SessionEnd> {
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
    fn without_key(&mut self, failure: &KeyFailure) -> Result<(), SessionEnd> {
        if let Some(fatal) = failure.fatal().filter(|_| !self.standing.ever_ready) {
            return Err(fatal.into());
        }
        let first = if matches!(failure, KeyFailure::Passing(_)) { KEY_RETRY } else { LOGIN_RETRY };
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

    /// tailscaled is back with the network map of before, though the control server may not have been heard: dials make
    /// sense, readiness waits for a word.
    fn resumed(&mut self) {
        self.progress.verification.begin();
        self.reports.send_doubt("back as the same node; waiting for the control server's word");
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

    fn needs_login(&mut self, reason: &str) {
        self.progress.ready = false;
        self.progress.resumed = false;
        self.progress.needs_login = true;
        self.reports.send(Phase::NeedsLogin, reason);
    }

    /// The control server answers with an address to log in at when it does not know the node.
    async fn asked_for_a_login(&mut self, address: &str) -> Result<(), SessionEnd> {
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
    fn refused(&mut self, message: &str) -> Result<(), SessionEnd> {
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
            return Err(Fatal::KeyRefused(reason).into());
        }
        self.retry_login(&reason);
        Ok(())
    }

    /// No dial is answered. tailscaled would go on saying Running; told to start again it asks the control server
    /// where the node stands. A known node is online again within 0.3 s, and its connections live on.
    async fn suspect(&mut self) -> Result<(), SessionEnd> {
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

    async fn verify(&mut self) -> Result<(), SessionEnd> {
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
    fn answered(&mut self) {
        self.progress.verification.end();
        self.ready();
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
async fn silence(api: &LocalApi, thaw: &Thaw) {
    loop {
        sleep(ALIVE_EVERY).await;
        let thaws = thaw.count();
        // Where the whole container was frozen, silence says nothing about tailscaled.
        if matches!(api.status(false).await, Err(LocalApiError::Silent)) && !thaw.is_thawed_since(thaws) {
            return;
        }
    }
}
