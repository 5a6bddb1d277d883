//! One session with a running tailscaled: joins, then follows its state.
//!
//! The session notices when tailscaled hangs, when a login is needed again, and when the control server has forgotten
//! the node.

pub(crate) mod alive;
pub(crate) mod flow_logs;
pub(crate) mod login;
pub(crate) mod preferences;
pub(crate) mod state;
pub(crate) mod tailnet_lock;
pub(crate) mod verification;
pub(crate) mod verify;

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::state::Phase;
use crate::tailscaled::calls::Calls;
use crate::tailscaled::events::EventSender;
use crate::tailscaled::local_api::ipn_bus::{Notice, TailscaledState};
use crate::tailscaled::local_api::{LocalApi, LocalApiError};
use crate::tailscaled::own_node::OwnNodeCache;
use crate::tailscaled::path::control_probe::ControlProbe;
use crate::tailscaled::path::health::PathHealth;
use crate::tailscaled::path::rebind::Rebinder;
use crate::tailscaled::path::timeout::within;
use crate::tailscaled::session::alive::until_unresponsive;
use crate::tailscaled::session::preferences::LoginOptions;
use crate::tailscaled::session::state::{LISTEN_TIMEOUT, NodeRecord, Progress, SessionEnd};

/// How long tailscaled may be joining before it is told to rebind. From the login to its DERP relay it takes less than
/// 1 s. When it loses the relay again during a login (seen once in 40 on a busy machine), it does not look for one by
/// itself.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Number of rebinds after which a tailscaled that was ready before is started again: 15 s. Where it has lost its relay in
/// a login again (measured: 2 in 50), a rebind does not always help.
const MOST_REBINDS: u32 = 2;

/// A session, and the parts that it works with.
pub struct Session<'a> {
    pub api: &'a LocalApi,
    pub calls: &'a Calls,
    pub login: &'a LoginOptions,
    pub path: &'a PathHealth,
    pub rebinder: &'a Rebinder,
    pub own_node: &'a OwnNodeCache,
    pub events: &'a EventSender,
    pub control_probe: &'a ControlProbe,
    /// Gets whether a login is under way.
    pub login_pending: &'a watch::Sender<bool>,
    pub record: &'a mut NodeRecord,
    pub progress: Progress,
}

impl Session<'_> {
    /// Runs until tailscaled ends, hangs or cannot join, and returns why.
    pub async fn run(&mut self) -> SessionEnd {
        match self.follow().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn follow(&mut self) -> Result<Infallible, SessionEnd> {
        let mut rebind_failures = self.rebinder.failures();
        self.wait_until_listening().await?;
        let (bus, ()) = tokio::join!(self.api.watch(), self.calls.begin());
        let mut bus = bus?;
        if self.record.known {
            self.progress.resumed = true;
            self.api.start(&self.login.without_key()).await?;
        } else {
            self.log_in().await?;
        }
        if !self.progress.needs_login {
            self.events.send(Phase::Starting, "joining the tailnet");
        }
        let mut silence = pin!(until_unresponsive(self.api));
        loop {
            tokio::select! {
                notice = bus.next() => self.handle_notice(&notice.ok_or(SessionEnd::Closed)?).await?,
                () = self.path.suspect() => self.verify_suspect_path().await?,
                () = self.path.answer(self.progress.verification.began_at()), if self.progress.can_be_verified_by_dial() => {
                    self.verified_by_dial().await?;
                }
                () = due(self.progress.verification.next_check()) => self.check_verification().await?,
                () = due(self.progress.retry_at) => self.log_in().await?,
                () = due(self.progress.rebind_at) => self.rebind_while_joining().await?,
                () = due(self.progress.key_expires_at) => self.log_in().await?,
                () = due(self.progress.resume_at) => self.resume().await?,
                Ok(()) = rebind_failures.changed() => return Err(SessionEnd::OfflineAfterFreeze),
                end = &mut silence => return Err(end),
            }
        }
    }

    async fn wait_until_listening(&self) -> Result<(), SessionEnd> {
        let listening = self.api.wait_until_listening();
        within(LISTEN_TIMEOUT, pin!(listening)).await.ok_or(SessionEnd::NotListening)
    }

    async fn handle_notice(&mut self, notice: &Notice) -> Result<(), SessionEnd> {
        if let Some(impairments) = notice.impairments() {
            self.progress.impairments = self.login.redact(&impairments);
            self.report_impairments();
        }
        if let Some(locked_out) = notice.is_locked_out() {
            self.handle_lock(locked_out).await?;
        }
        if let Some(message) = &notice.err_message {
            self.handle_error_message(message)?;
        }
        if let Some(address) = notice.login_address() {
            self.handle_login_request(address).await?;
        }
        match notice.state() {
            Some(state) => self.handle_state(state).await,
            None => Ok(()),
        }
    }

    async fn handle_state(&mut self, state: TailscaledState) -> Result<(), SessionEnd> {
        tracing::debug!(?state, "tailscaled");
        self.progress.running = state == TailscaledState::Running;
        self.progress.rebind_at = (state == TailscaledState::Starting).then(|| Instant::now() + JOIN_TIMEOUT);
        self.progress.rebinds = 0;
        // During a verification tailscaled repeats earlier states.
        let settled = !self.progress.verification.is_under_way();
        match state {
            TailscaledState::Running if settled && self.progress.resumed => self.verify_resumed_node(),
            TailscaledState::Running if settled => self.joined().await?,
            // This state ends a login that is under way, with success or with a result that is not known yet.
            TailscaledState::Starting if settled => {
                self.progress.ready = false;
                self.progress.needs_login = false;
                self.progress.awaits_signature = false;
                self.events.send(Phase::Starting, "joining the tailnet");
            }
            TailscaledState::NeedsLogin if !self.progress.login_pending => {
                self.needs_login("the control server wants a new login: the node was removed or has expired");
                self.log_in().await?;
            }
            TailscaledState::NeedsMachineAuth => {
                self.progress.key_expires_at = None;
                self.needs_login("the node waits for approval by an administrator of the tailnet");
            }
            TailscaledState::Stopped if self.progress.resume_at.is_none() => {
                self.progress.ready = false;
                self.events.send(Phase::Starting, "tailscaled was told to stop; it is told to go on");
                self.api.start(&self.login.without_key()).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Has tailscaled rebind while it is joining. The pauses double, since on a slow network a rebind undoes the
    /// progress of the join.
    async fn rebind_while_joining(&mut self) -> Result<(), SessionEnd> {
        if self.progress.was_ready && self.progress.rebinds >= MOST_REBINDS {
            return Err(SessionEnd::NoRelay);
        }
        tracing::debug!("tailscaled is still joining: it is to look for its relay anew");
        self.progress.rebinds += 1;
        self.progress.rebind_at = Some(Instant::now() + JOIN_TIMEOUT * 2_u32.pow(self.progress.rebinds.min(5)));
        match self.api.rebind().await {
            // A tailscaled that was built without this call has to join without it.
            Err(LocalApiError::Refused { .. }) => Ok(()),
            result => Ok(result?),
        }
    }

    /// Publishes that the node has joined, unless the tailnet keeps it out: by Tailnet Lock, or for want of flow logs.
    ///
    /// # Errors
    /// When tailscaled does not answer; an exit reason before the daemon was ever ready.
    pub async fn joined(&mut self) -> Result<(), SessionEnd> {
        self.login_done();
        // What the bus says of it may come after the state.
        let status = self.api.status(false).await?;
        if status.wants_logs() {
            return self.handle_wanted_logs();
        }
        if self.progress.locked_out || status.is_locked_out() {
            return self.wait_for_signature().await;
        }
        self.progress.resumes = 0;
        self.progress.needs_login = false;
        self.progress.ready = true;
        self.progress.was_ready = true;
        self.record.ever_ready = true;
        self.own_node.refresh();
        self.events.send(Phase::Ready, "joined the tailnet");
        Ok(())
    }

    /// Notes that the control server has taken the node in.
    fn login_done(&mut self) {
        self.login_pending.send_replace(false);
        if let Some(began) = self.progress.login_began.take() {
            self.record.login_took = began.elapsed();
        }
        self.progress.resumed = false;
        self.progress.login_pending = false;
        self.progress.failed_logins = 0;
        self.progress.retry_at = None;
        self.progress.key_expires_at = None;
        self.progress.awaits_signature = false;
        self.record.known = true;
    }

    /// Publishes what tailscaled finds wrong, as the reason why the node is not ready.
    fn report_impairments(&self) {
        let is_joining =
            !self.progress.ready && !self.progress.needs_login && !self.progress.verification.is_under_way();
        if is_joining && !self.progress.impairments.is_empty() {
            let hint = "check control_url, ca_file, DNS and the network";
            self.events.send(Phase::Starting, &format!("joining the tailnet: {}; {hint}", self.progress.impairments));
        }
    }
}

/// Waits until `at`; for ever when it is `None`.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
