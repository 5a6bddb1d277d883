//! Caches answers of tailscaled by key, for one second.
//!
//! tailscaled alone knows where an address leads and what a name stands for, and asking it costs as much as all the
//! rest of a short connection. A new route or name counts one second later, as if the control server had announced it
//! later.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::IgnorePoison;

/// How long an answer is used.
const LIFETIME: Duration = Duration::from_secs(1);

/// Number of answers that are kept at most.
const CAPACITY: usize = 1024;

/// Map of keys to the answers of the last second. Clones share it.
#[derive(Debug)]
pub struct RecentLookups<K, V>(Arc<Mutex<HashMap<K, (Instant, V)>>>);

impl<K, V> Clone for RecentLookups<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> Default for RecentLookups<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Eq + Hash, V: Clone> RecentLookups<K, V> {
    /// Returns the answer for `key`; `None` when there is none, or when it is older than one second.
    pub fn get(&self, key: &K) -> Option<V> {
        self.with_map(|known| {
            known.get(key).filter(|(learned_at, _)| is_recent(*learned_at)).map(|(_, value)| value.clone())
        })
    }

    /// Keeps `value` as the answer for `key`, unless the map is full.
    pub fn insert(&self, key: K, value: V) {
        self.with_map(|known| {
            if known.len() >= CAPACITY {
                known.retain(|_, (learned_at, _)| is_recent(*learned_at));
            }
            if known.len() < CAPACITY || known.contains_key(&key) {
                known.insert(key, (Instant::now(), value));
            }
        });
    }

    fn with_map<T>(&self, with: impl FnOnce(&mut HashMap<K, (Instant, V)>) -> T) -> T {
        with(&mut self.0.lock().ignore_poison())
    }
}

fn is_recent(learned_at: Instant) -> bool {
    learned_at.elapsed() < LIFETIME
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn an_answer_counts_for_a_moment_and_for_its_key_alone() {
        let recent = RecentLookups::default();
        recent.insert(1, "one");
        assert_eq!(recent.get(&1), Some("one"));
        assert_eq!(recent.get(&2), None);
        recent.insert(1, "another");
        assert_eq!(recent.clone().get(&1), Some("another"));
        advance(LIFETIME).await;
        assert_eq!(recent.get(&1), None);
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn many_answers_take_no_more_memory_than_some() {
        let recent = RecentLookups::default();
        (0..2 * CAPACITY).for_each(|number| recent.insert(number, ()));
        assert_eq!(recent.with_map(|known| known.len()), CAPACITY);
        advance(LIFETIME).await;
        recent.insert(2 * CAPACITY, ());
        assert_eq!(recent.with_map(|known| known.len()), 1, "those of before no longer count");
    }
}
