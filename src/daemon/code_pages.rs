//! What only a start or a login needs of the program, such as TLS and the AWS SDK, is not resident memory once it is over.

use crate::memory::code_pages::forget_code;
use crate::state::Watcher;

/// Each time the node becomes ready.
pub async fn forget_each_start(mut state: Watcher) {
    while state.wait_for(|state| state.is_ready()).await.is_ok() {
        match forget_code() {
            Ok(kib) => tracing::debug!(kib, "code that only the start needed is not resident any more"),
            Err(error) => tracing::debug!(%error, "code that only the start needed stays resident"),
        }
        if state.wait_for(|state| !state.is_ready()).await.is_err() {
            return;
        }
    }
}
