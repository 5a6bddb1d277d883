//! State of the node: a session's progress and end, and what outlives the session.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::exit_reason::ExitReason;
use crate::net::http_request::HttpError;
use crate::tailscaled::local_api::{ANSWER_TIMEOUT, LocalApiError};
use crate::tailscaled::session::verification::Verification;

/// How long tailscaled may take until it listens; after that it is taken to hang.
pub const LISTEN_TIMEOUT: Duration = Duration::from_secs(30);

/// What the keeper remembers of the node from one run of tailscaled to the next.
#[derive(Debug, Default)]
pub struct NodeRecord {
    /// Whether the control server knows this node, so that no key is needed.
    pub known: bool,
    /// Whether the daemon was ready at least once in its life.
    pub ever_ready: bool,
    /// Whether the control server was asked to take the node in.
    pub login_requested: bool,
    /// How long the last login took, by which the control server's answers can be measured.
    pub login_took: Duration,
}

impl NodeRecord {
    /// Whether the node may be in the tailnet, so that it has to be logged out.
    pub fn may_be_in_the_tailnet(&self) -> bool {
        self.known || self.login_requested
    }
}

/// Why a session ended by itself.
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
    #[error("tailscaled cannot be reached at its socket {} any more: {error}; nothing else may remove it", .socket.display())]
    SocketGone { socket: PathBuf, error: HttpError },
    #[error("tailscaled did not find back into the tailnet after the container was frozen")]
    OfflineAfterFreeze,
    #[error("tailscaled did not find its relay again after a login")]
    NoRelay,
    #[error(transparent)]
    ExitReason(#[from] ExitReason),
}

/// Progress of one session.
#[derive(Debug, Default)]
pub struct Progress {
    pub was_ready: bool,
    pub ready: bool,
    pub running: bool,
    /// Whether the node was known when this session began, and the control server has not been heard since.
    pub resumed: bool,
    pub needs_login: bool,
    pub login_pending: bool,
    /// When the login under way was asked for.
    pub login_began: Option<Instant>,
    pub failed_logins: u32,
    /// When the next login is due.
    pub retry_at: Option<Instant>,
    /// When tailscaled has been joining for too long and is to rebind.
    pub rebind_at: Option<Instant>,
    /// Rebinds since tailscaled began to join.
    pub rebinds: u32,
    /// When the key of the login under way expires.
    pub key_expires_at: Option<Instant>,
    /// Whether tailscaled says that Tailnet Lock locks the node out.
    pub locked_out: bool,
    /// Whether the node has joined, and is ready as soon as it is signed.
    pub awaits_signature: bool,
    /// When tailscaled, which has stopped because the tailnet wants its logs, is told to go on.
    pub resume_at: Option<Instant>,
    /// How often it was told so in vain.
    pub resumes: u32,
    pub verification: Verification,
    /// What tailscaled finds wrong with its connections; empty when nothing is.
    pub impairments: String,
}

impl Progress {
    /// Whether the node is being verified in such a way that a dial that is answered proves it.
    pub fn can_be_verified_by_dial(&self) -> bool {
        self.verification.is_under_way() && !self.login_pending
    }
}
