//! Logs the node out of the tailnet when the daemon ends.

use std::time::Duration;

use crate::tailscaled::local_api::{LocalApi, LocalApiError};
use crate::tailscaled::session::preferences::LoginOptions;

/// How long a logout may take in all. It is one exchange with the control server; the node is not worth more waiting at
/// a stop.
const LOGOUT_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long the control server may take to confirm the logout; one that is there answers within one round trip or two.
const CONFIRM_TIMEOUT: Duration = Duration::from_millis(400);

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
}

impl Logout<'_> {
    /// Logs out through a tailscaled that runs already.
    pub async fn through_running(&self) -> LogoutOutcome {
        log_outcome(self.ask_running()).await
    }

    /// Logs out through a tailscaled that was started for this alone.
    pub async fn through_new(&self) -> LogoutOutcome {
        let exchange = async {
            self.api.wait_until_listening().await;
            self.start_and_ask().await
        };
        log_outcome(exchange).await
    }

    /// Asks the running tailscaled to log out. After a freeze of the container its connection to the control server may
    /// be dead unnoticed: without a response, tailscaled is told to start again, which makes a new connection.
    async fn ask_running(&self) -> Result<(), LocalApiError> {
        if let Ok(result) = tokio::time::timeout(CONFIRM_TIMEOUT, self.api.logout()).await {
            return result;
        }
        tracing::debug!("the control server does not confirm the logout; asking over a new connection");
        self.start_and_ask().await
    }

    async fn start_and_ask(&self) -> Result<(), LocalApiError> {
        self.api.start(&self.login.without_key()).await?;
        self.api.logout().await
    }
}

/// Waits for the logout, for [`LOGOUT_TIMEOUT`] at most, and logs how it ended.
async fn log_outcome(logout: impl Future<Output = Result<(), LocalApiError>>) -> LogoutOutcome {
    match tokio::time::timeout(LOGOUT_TIMEOUT, logout).await {
        Ok(Err(LocalApiError::Unreachable(_))) => return LogoutOutcome::TailscaledGone,
        Ok(Ok(())) => tracing::info!("logged out of the tailnet"),
        Ok(Err(error)) => tracing::warn!(%error, "could not log out; the node stays until it is removed"),
        Err(_) => tracing::warn!("the control server did not confirm the logout; the node stays until it is removed"),
    }
    LogoutOutcome::Asked
}
