//! Notices when tailscaled does not answer any more, or not at its socket.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::time::sleep;

use crate::net::http_request::HttpError;
use crate::tailscaled::local_api::{LocalApi, LocalApiError};
use crate::tailscaled::session::state::SessionEnd;

/// Time between two checks whether tailscaled still responds.
const ALIVE_EVERY: Duration = Duration::from_secs(2);
/// How long the end of tailscaled may take to be noticed once nothing answers at its socket.
const END_NOTICED: Duration = Duration::from_millis(500);

/// Whether the error says that nobody, or a stranger, listens at the socket. Others, such as a lack of files or a full
/// backlog, pass.
fn is_gone(error: &HttpError) -> bool {
    let HttpError::Io(error) = error else { return false };
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::PermissionDenied)
}

/// Waits until tailscaled stops answering, and returns how.
pub async fn until_unresponsive(api: &LocalApi) -> SessionEnd {
    loop {
        sleep(ALIVE_EVERY).await;
        match api.status(false).await {
            Err(LocalApiError::Silent) => return SessionEnd::Hangs,
            Err(LocalApiError::Unreachable(_)) => {
                // One that is ending is noticed by its end, and with its cause.
                sleep(END_NOTICED).await;
                if let Err(LocalApiError::Unreachable(error)) = api.status(false).await
                    && is_gone(&error)
                {
                    return SessionEnd::SocketGone { socket: api.socket().path().to_owned(), error };
                }
            }
            _ => {}
        }
    }
}
