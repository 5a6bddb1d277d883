//! Expiry of the auth key and of the node's own key, with a warning a week ahead.

use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use crate::state::Watcher;
use crate::sync::IgnorePoison;

/// How long before an expiry the warnings begin: time to make a new key on a working day.
const WARN_AHEAD: Duration = Duration::from_secs(7 * 24 * 3600);
/// Time between two checks, each of which may warn.
const CHECK_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Expiry of the latest auth key; `None` when it never expires or when that is not known. Clones share the value.
#[derive(Clone, Debug, Default)]
pub struct KeyExpiry(Arc<RwLock<Option<SystemTime>>>);

impl KeyExpiry {
    pub fn get(&self) -> Option<SystemTime> {
        *self.0.read().ignore_poison()
    }

    pub fn set(&self, expires: Option<SystemTime>) {
        *self.0.write().ignore_poison() = expires;
    }
}

/// Reads an expiry in RFC 3339 form. Text of another form and times before 1970, such as Go's zero time, mean never.
pub fn expiry_of(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339_weak(text).ok().filter(|time| *time > SystemTime::UNIX_EPOCH)
}

/// Warns of an expiry within a week: checks once the node is ready, and every day after that. Never returns while the
/// daemon runs. `key` is `None` when no source of auth keys is set; `node` returns when the node's own key expires.
pub async fn watch_expiry<F>(key: Option<KeyExpiry>, mut state: Watcher, node: impl Fn() -> F)
where
    F: Future<Output = Option<SystemTime>>,
{
    while state.wait_for(|state| state.is_ready()).await.is_ok() {
        for text in warnings(key.as_ref(), node().await, SystemTime::now()) {
            tracing::warn!("{text}");
        }
        sleep(CHECK_EVERY).await;
    }
}

fn warnings(key: Option<&KeyExpiry>, node: Option<SystemTime>, now: SystemTime) -> Vec<String> {
    let soon = |time: &SystemTime| *time < now + WARN_AHEAD;
    let of_key = key.and_then(KeyExpiry::get).filter(soon).map(|time| {
        format!("the auth key expires {}: put a new one in its place, or later logins will fail", rfc3339(time))
    });
    let of_node = node.filter(soon).map(|time| match key {
        Some(_) => {
            format!("the node expires {}: it logs in again then, with the key as its source has it", rfc3339(time))
        }
        None => format!("the node expires {}: set auth_key, or log it in again with a browser then", rfc3339(time)),
    });
    of_key.into_iter().chain(of_node).collect()
}

fn rfc3339(time: SystemTime) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Phase, Publisher};

    #[test]
    fn a_week_ahead_there_is_a_warning_and_not_before() {
        let now = SystemTime::now();
        let at = |days: u64| Some(now + Duration::from_secs(days * 24 * 3600));
        let key = KeyExpiry::default();
        assert_eq!(warnings(Some(&key), None, now), Vec::<String>::new());
        key.set(at(8));
        assert_eq!(warnings(Some(&key), at(8), now), Vec::<String>::new());
        key.set(at(6));
        let both = warnings(Some(&key), at(6), now);
        assert!(both[0].contains("auth key expires") && both[1].contains("node expires"), "{both:?}");
        assert!(both[1].contains("logs in again"), "{both:?}");
        assert!(warnings(None, at(6), now)[0].contains("set auth_key"), "nothing to log in with");
    }

    #[tokio::test(start_paused = true)]
    async fn it_looks_once_joined_and_every_day_after_that() {
        let publisher = Publisher::new();
        let (sender, mut looks) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(watch_expiry(None, publisher.watch(), move || {
            let _ = sender.send(tokio::time::Instant::now());
            std::future::ready(None)
        }));
        assert!(tokio::time::timeout(CHECK_EVERY, looks.recv()).await.is_err(), "not before");
        publisher.publish(Phase::Ready, "joined");
        let first = looks.recv().await.expect("looks");
        let second = looks.recv().await.expect("looks");
        assert_eq!((second - first).as_secs(), CHECK_EVERY.as_secs());
    }

    #[test]
    fn gos_zero_time_means_never() {
        assert_eq!(expiry_of("0001-01-01T00:00:00Z"), None);
        assert!(expiry_of("2027-01-01T00:00:00Z").is_some());
        assert!(expiry_of("2027-01-01T00:00:00.123456789Z").is_some());
    }
}
