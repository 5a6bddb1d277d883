//! Tells tailscaled its share of the memory limit when that limit changes.

use std::time::Duration;

use tokio::time::sleep;

use crate::memory::limit_watch::LimitWatch;
use crate::tailscaled::calls::Calls;

/// How often the limit is looked at: as many small files are read as there are groups above.
const LOOK_AT_LIMIT: Duration = Duration::from_secs(1);

/// Tells tailscaled its new share each time the limit has changed. Never ends.
pub async fn pass_on_changes(mut limit: LimitWatch, calls: Calls) {
    loop {
        sleep(LOOK_AT_LIMIT).await;
        if let Some(share) = limit.changed() {
            let told = if calls.is_stock() { "this tailscaled keeps what it was started with" } else { "it is told" };
            tracing::info!(
                bytes = share,
                "the control group's limit has changed, and tailscaled's share with it: {told}"
            );
            calls.set_memory_limit(share).await;
        }
    }
}
