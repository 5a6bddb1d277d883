//! Logs the node out of the tailnet when the daemon ends.
//!
//! It may take what the stop has. How long the control server is waited for follows its round trip, measured meanwhile.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::tailscaled::local_api::types::Node;
use crate::tailscaled::local_api::{LocalApi, LocalApiError};
use crate::tailscaled::path::control_probe::{CONNECT_TIMEOUT, ControlProbe};
use crate::tailscaled::session::preferences::LoginOptions;

/// How long the control server may take to confirm the logout after a freeze, at least. Its response takes one round trip
/// and a little time of its own.
const CONFIRM_TIMEOUT: Duration = Duration::from_millis(400);
/// Number of round trips that it may take where it is far away or busy.
const CONFIRM_ROUND_TRIPS: u32 = 3;
/// Number of round trips that a login takes, one after the other.
const LOGIN_ROUND_TRIPS: u32 = 8;

/// How long tailscaled may take to tell the node's name. It takes 2 ms.
const NAME_TIMEOUT: Duration = Duration::from_millis(200);

/// How a logout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogoutOutcome {
    /// tailscaled was asked to log out, with or without success.
    Asked,
    /// tailscaled has ended and could not be asked.
    TailscaledGone,
}

/// Logs one node out.
pub struct Logout<'a> {
    pub api: &'a LocalApi,
    pub login: &'a LoginOptions,
    pub control_probe: &'a ControlProbe,
    /// Whether the process was frozen in its life: then the connection to the control server may be dead unnoticed.
    pub was_frozen: bool,
    /// How long the node's login took; no time where the node was known.
    pub login_took: Duration,
    /// When the logout is given up.
    pub by: Instant,
}

/// Why the node stays in the tailnet.
#[derive(Debug, thiserror::Error)]
enum LogoutError {
    #[error(transparent)]
    Api(#[from] LocalApiError),
    #[error("the control server cannot be reached")]
    Unreachable,
    #[error("the control server did not confirm the logout in time")]
    Unconfirmed,
}

impl Logout<'_> {
    /// Logs out through a tailscaled that runs already.
    pub async fn through_running(&self) -> LogoutOutcome {
        let node = self.node().await;
        self.bounded(node, self.ask_running()).await
    }

    /// Logs out through a tailscaled that was started for this alone.
    pub async fn through_new(&self) -> LogoutOutcome {
        let exchange = async {
            self.api.wait_until_listening().await;
            Ok(self.start_and_ask().await?)
        };
        self.bounded(self.login.hostname().to_owned(), exchange).await
    }

    /// Asks the running tailscaled to log out, and once more over a new connection to the control server where the old one
    /// seems dead.
    async fn ask_running(&self) -> Result<(), LogoutError> {
        let mut asked = Box::pin(self.api.logout());
        tokio::select! {
            result = &mut asked => return Ok(result?),
            reached = self.overdue() => reached?,
        }
        drop(asked);
        tracing::debug!("the control server does not confirm the logout; asking over a new connection");
        Ok(self.start_and_ask().await?)
    }

    /// Waits until the connection to the control server must be taken for dead: it accepts a new one, and an answer over the
    /// old one is overdue. After a freeze that is likely, and soon told. Otherwise the control server is more likely busy,
    /// and a repetition, which takes the old connection down, would disturb: it is left half of the time.
    ///
    /// # Errors
    /// When no new connection is accepted either.
    async fn overdue(&self) -> Result<(), LogoutError> {
        let began = Instant::now();
        let Some(round_trip) = self.control_probe.round_trip().await else {
            sleep_until(began + CONNECT_TIMEOUT).await;
            return Err(LogoutError::Unreachable);
        };
        let patience = match self.was_frozen {
            // A connection may be accepted close by, on behalf of a server that is not.
            true => CONFIRM_TIMEOUT.max(round_trip.max(self.login_took / LOGIN_ROUND_TRIPS) * CONFIRM_ROUND_TRIPS),
            false => self.by.saturating_duration_since(began) / 2,
        };
        sleep_until(began + patience).await;
        Ok(())
    }

    async fn start_and_ask(&self) -> Result<(), LocalApiError> {
        self.api.start(&self.login.without_key()).await?;
        self.api.logout().await
    }

    /// Waits for `logout` until the time is over, and logs how it ended: a node that stays is named.
    async fn bounded(&self, node: String, logout: impl Future<Output = Result<(), LogoutError>>) -> LogoutOutcome {
        match timeout_at(self.by, logout).await.unwrap_or(Err(LogoutError::Unconfirmed)) {
            Ok(()) => tracing::info!("logged out of the tailnet"),
            Err(LogoutError::Api(LocalApiError::Unreachable(_))) => return LogoutOutcome::TailscaledGone,
            Err(error) => {
                tracing::warn!(node, %error, "could not log out; the node stays in the tailnet until it is removed");
            }
        }
        LogoutOutcome::Asked
    }

    /// Name and addresses of the node: its name in the tailnet may be another one than that which it asked for.
    async fn node(&self) -> String {
        let status = timeout(NAME_TIMEOUT, self.api.status(false)).await;
        let node = status.ok().and_then(Result::ok).and_then(|status| status.node);
        node.map_or_else(|| self.login.hostname().to_owned(), described)
    }
}

fn described(node: Node) -> String {
    let name = node.dns_name.trim_end_matches('.');
    let name = if name.is_empty() { &node.host_name } else { name };
    let addresses: Vec<_> = node.addresses.unwrap_or_default().iter().map(ToString::to_string).collect();
    format!("{name} ({})", addresses.join(", "))
}
