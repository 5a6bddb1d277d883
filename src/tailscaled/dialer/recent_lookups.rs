//! What tailscaled has said just now. It alone knows where an address leads and what a name stands for, and asking it costs
//! as much as all the rest of a short connection. A route or a name that comes meanwhile counts a moment later, as it would had
//! the control server told of it later.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long an answer counts.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// As many answers are kept.
const MOST: usize = 1024;

/// Answers of the last moment. Clones share them.
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
    /// What was said of `key`, if that counts still.
    pub fn get(&self, key: &K) -> Option<V> {
        self.with(|known| known.get(key).filter(|(said, _)| is_good(*said)).map(|(_, value)| value.clone()))
    }

    /// Keeps what was said of `key`, where there is room.
    pub fn learn(&self, key: K, value: V) {
        self.with(|known| {
            if known.len() >= MOST {
                known.retain(|_, (said, _)| is_good(*said));
            }
            if known.len() < MOST || known.contains_key(&key) {
                known.insert(key, (Instant::now(), value));
            }
        });
    }

    fn with<T>(&self, with: impl FnOnce(&mut HashMap<K, (Instant, V)>) -> T) -> T {
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

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn an_answer_counts_for_a_moment_and_for_its_key_alone() {
        let recent = RecentLookups::default();
        recent.learn(1, "one");
        assert_eq!(recent.get(&1), Some("one"));
        assert_eq!(recent.get(&2), None);
        recent.learn(1, "another");
        assert_eq!(recent.clone().get(&1), Some("another"));
        advance(GOOD_FOR).await;
        assert_eq!(recent.get(&1), None);
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn many_answers_take_no_more_memory_than_some() {
        let recent = RecentLookups::default();
        (0..2 * MOST).for_each(|number| recent.learn(number, ()));
        assert_eq!(recent.with(|known| known.len()), MOST);
        advance(GOOD_FOR).await;
        recent.learn(2 * MOST, ());
        assert_eq!(recent.with(|known| known.len()), 1, "those of before no longer count");
    }
}
