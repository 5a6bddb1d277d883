//! What a session knows of the node: how far it has come, what outlives it, and why it ended.

use std::time::Duration;

use tokio::time::Instant;

use crate::exit_reason::ExitReason;
use crate::tailscaled::local_api::{ANSWER_TIMEOUT, LocalApiError};
use crate::tailscaled::session::verify::Verification;

/// tailscaled that does not listen after this time hangs.
pub const LISTEN_TIMEOUT: Duration = Duration::from_secs(30);

/// What outlives a session: kept by the keeper from one run of tailscaled to the next.
#[derive(Debug, Default)]
pub struct NodeRecord {
    /// The control server knows this node: no key is needed.
    pub known: bool,
    /// The daemon was ready at least once in its life.
    pub ever_ready: bool,
    /// The control server was asked to take the node in.
    pub login_asked: bool,
}

impl NodeRecord {
    pub fn may_be_in_the_tailnet(&self) -> bool {
        self.known || self.login_asked
    }
}

/// Why a session ended that nobody stopped.
#[derive(Debug, thiserror::Error)]
pub enum SessionEnd {
    #[error("{0}")]
    Api(#[from] LocalApiError),
    #[error("tailscaled did not open its LocalAPI within {} s", LISTEN_TIMEOUT.as_secs())]
    NotListening,
    #[error("tailscaled closed its LocalAPI")]
    Closed,
    #[error("tailscaled hangs: it did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Hangs,
    #[error("tailscaled did not find back into the tailnet after the container was frozen")]
    LostInFreeze,
    #[error(transparent)]
    ExitReason(#[from] ExitReason),
}

/// How far this session has come.
#[derive(Debug, Default)]
pub struct Progress {
    pub was_ready: bool,
    pub ready: bool,
    pub running: bool,
    /// The node was known when this session began, and the control server was not heard since.
    pub resumed: bool,
    pub needs_login: bool,
    pub login_pending: bool,
    pub failed_logins: u32,
    pub retry_at: Option<Instant>,
    /// When tailscaled has been joining for too long.
    pub nudge_at: Option<Instant>,
    pub nudged: u32,
    /// When the key of the login under way is over.
    pub key_ends: Option<Instant>,
    pub verification: Verification,
    pub impairments: String,
}

impl Progress {
    /// The path is being verified, and a dial that is answered settles it.
    pub fn is_in_doubt(&self) -> bool {
        self.verification.is_under_way() && !self.login_pending
    }
}
