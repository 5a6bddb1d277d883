//! When the auth key and the node stop working: a small value that others can read, and a warning a week ahead.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

/// Time enough to make a new key on a working day.
const WARN_AHEAD: Duration = Duration::from_secs(7 * 24 * 3600);
/// Between two looks, each of which may warn.
const LOOK_EVERY: Duration = Duration::from_secs(24 * 3600);
/// After the start, so that the node has joined at the first look.
const FIRST_LOOK: Duration = Duration::from_secs(60);

/// Both times; `None` for what does not expire, or is not known. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Expiries(Arc<RwLock<[Option<SystemTime>; 2]>>);

impl Expiries {
    /// Of the auth key, where its source tells.
    pub fn key(&self) -> Option<SystemTime> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)[0]
    }

    /// Of the node.
    pub fn node(&self) -> Option<SystemTime> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)[1]
    }

    pub(super) fn set_key(&self, expires: Option<SystemTime>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner)[0] = expires;
    }

    /// `text` is RFC 3339. Years before 1970 mean never, as Go's zero time does.
    pub fn set_node(&self, text: Option<&str>) {
        let expires = text.and_then(|text| humantime::parse_rfc3339_weak(text).ok());
        let expires = expires.filter(|time| *time > SystemTime::UNIX_EPOCH);
        self.0.write().unwrap_or_else(PoisonError::into_inner)[1] = expires;
    }
}

/// Looks once a day for ever. `node` tells when the node's key expires.
pub async fn watch_expiry<F>(expiries: Expiries, node: impl Fn() -> F)
where
    F: Future<Output = Option<String>>,
{
    sleep(FIRST_LOOK).await;
    loop {
        expiries.set_node(node().await.as_deref());
        for text in warnings(&expiries, SystemTime::now()) {
            tracing::warn!("{text}");
        }
        sleep(LOOK_EVERY).await;
    }
}

fn warnings(expiries: &Expiries, now: SystemTime) -> Vec<String> {
    let soon = |time: &SystemTime| *time < now + WARN_AHEAD;
    let key = expiries.key().filter(soon).map(|time| {
        format!("the auth key expires {}: put a new one in its place, or later logins will fail", said(time))
    });
    let node = expiries.node().filter(soon).map(|time| {
        format!("the node expires {}: it logs in again by itself with the key as its source has it then", said(time))
    });
    key.into_iter().chain(node).collect()
}

fn said(time: SystemTime) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_ahead_there_is_a_warning_and_not_before() {
        let now = SystemTime::now();
        let at = |days: u64| Some(now + Duration::from_secs(days * 24 * 3600));
        let expiries = Expiries::default();
        assert_eq!(warnings(&expiries, now), Vec::<String>::new());
        expiries.set_key(at(8));
        expiries.set_node(Some(&said(at(8).expect("a time")).to_string()));
        assert_eq!(warnings(&expiries, now), Vec::<String>::new());
        expiries.set_key(at(6));
        assert!(warnings(&expiries, now)[0].contains("auth key expires"));
        expiries.set_node(Some(&said(at(6).expect("a time")).to_string()));
        assert!(warnings(&expiries, now)[1].contains("node expires"));
    }

    #[test]
    fn gos_zero_time_means_never() {
        let expiries = Expiries::default();
        expiries.set_node(Some("0001-01-01T00:00:00Z"));
        assert_eq!(expiries.node(), None);
        expiries.set_node(Some("2027-01-01T00:00:00Z"));
        assert!(expiries.node().is_some());
    }
}
