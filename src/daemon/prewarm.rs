//! Dials the targets of `prewarm` once, as soon as the node has joined.
//!
//! WireGuard's handshake with their nodes is then made, and paths and names are found, before the first real request
//! needs them. Nothing waits for it.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::proxy::context::ProxyContext;
use crate::proxy::policy::access::Access;
use crate::state::Watcher;
use crate::target::dial::Dial;
use crate::target::host::Target;

/// Waits until the daemon is ready, then dials all `targets` at the same time and closes the connections.
pub async fn dial_once<D: Dial>(targets: Vec<Target>, proxy: Arc<ProxyContext<D>>, mut state: Watcher) {
    if targets.is_empty() || state.wait_for(|state| state.is_ready()).await.is_err() {
        return;
    }
    join_all(targets.into_iter().map(|target| dial(&proxy, target))).await;
}

async fn dial<D: Dial>(proxy: &ProxyContext<D>, target: Target) {
    let begun = Instant::now();
    match proxy.connector.connect(&Access::default(), &target).await {
        Ok(connection) => {
            drop(connection);
            tracing::info!(%target, time_ms = begun.elapsed().as_millis(), "the path is warm");
        }
        Err(error) => tracing::warn!(%target, %error, "prewarm: no connection"),
    }
}
