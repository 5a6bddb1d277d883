//! Addresses that lie outside the tailnet, as tailscaled has said just now. It alone knows, and asking it costs as much as
//! all the rest of a connection that goes past it. A route that comes meanwhile counts a moment later, as it would had the
//! control server told of it later.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long an answer counts.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// A client that tries address after address fills no memory.
const MOST: usize = 1024;

/// Clones share what they know.
#[derive(Clone, Debug, Default)]
pub(super) struct Outside(Arc<Mutex<HashMap<IpAddr, Instant>>>);

impl Outside {
    /// Whether tailscaled has said so of `address` less than a second ago.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.with(|known| known.get(&address).is_some_and(|said| is_good(*said)))
    }

    /// tailscaled says so now.
    pub(super) fn learn(&self, address: IpAddr) {
        self.with(|known| {
            if known.len() >= MOST {
                known.retain(|_, said| is_good(*said));
            }
            if known.len() < MOST || known.contains_key(&address) {
                known.insert(address, Instant::now());
            }
        });
    }

    fn with<T>(&self, with: impl FnOnce(&mut HashMap<IpAddr, Instant>) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn is_good(said: Instant) -> bool {
    said.elapsed() < GOOD_FOR
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn address(number: usize) -> IpAddr {
        IpAddr::from(u32::try_from(number).expect("fits").to_be_bytes())
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn an_answer_counts_for_a_moment_and_for_its_address_alone() {
        let outside = Outside::default();
        outside.learn(address(1));
        assert!(outside.has(address(1)));
        assert!(!outside.has(address(2)));
        advance(GOOD_FOR).await;
        assert!(!outside.has(address(1)));
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn many_addresses_take_no_more_memory_than_some() {
        let outside = Outside::default();
        (0..2 * MOST).for_each(|number| outside.learn(address(number)));
        assert_eq!(outside.with(|known| known.len()), MOST);
        advance(GOOD_FOR).await;
        outside.learn(address(2 * MOST));
        assert_eq!(outside.with(|known| known.len()), 1, "those of before no longer count");
    }
}
