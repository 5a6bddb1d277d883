//! Accepts clients until told to stop. An accept error never ends a listener; nothing is awaited between accept and
//! spawn.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::socks::Socks;
use crate::dial::Dial;

/// After an error (too many open files, for one) accepting at once would spin.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves `listener` until `stop`; then its socket closes, so that new clients are refused. Connections run on in
/// `connections`.
pub async fn serve<D: Dial>(
    listener: TcpListener,
    socks: Arc<Socks<D>>,
    connections: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((client, from)) => {
                let socks = Arc::clone(&socks);
                connections.spawn(async move { socks.serve(client, from).await });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a client failed");
                sleep(PAUSE).await;
            }
        }
    }
}
