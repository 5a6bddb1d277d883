//! A fetched auth key or credential, and how long it can be used.

use std::time::{Duration, SystemTime};

use crate::auth_keys::expiry::expiry_of;
use crate::secret::Secret;

/// Seconds for which a key that is made for one login is asked to be valid. It is used immediately, but a start may
/// take its time.
pub const KEY_SECONDS: u64 = 300;

/// A secret as its source gave it, and how long it can be used.
pub struct Fetched {
    pub secret: Secret,
    /// Time at which a kept secret stops working; `None` when it never does or when that is not known.
    pub expires: Option<SystemTime>,
    /// How long a key that was made for one login can be used; `None` for a kept secret.
    pub valid_for: Option<Duration>,
}

/// When a key was made and when it expires (RFC 3339), both by the clock of the API that made it.
pub struct KeyTimes<'a> {
    pub created: Option<&'a str>,
    pub expires: Option<&'a str>,
}

impl Fetched {
    /// Wraps an auth key or a credential that is kept somewhere.
    pub fn kept(secret: Secret, expires: Option<SystemTime>) -> Self {
        Self { secret, expires, valid_for: None }
    }

    /// Wraps an auth key that was made for one login. Its expiry, minutes away, is no reason for a warning. Where
    /// `times` are missing, [`KEY_SECONDS`] counts, which is what was asked for.
    pub fn made(secret: Secret, times: &KeyTimes<'_>) -> Self {
        let [created, expires] = [times.created, times.expires].map(|text| text.and_then(expiry_of));
        let told = created.zip(expires).and_then(|(created, expires)| expires.duration_since(created).ok());
        let asked = Duration::from_secs(KEY_SECONDS);
        Self { secret, expires: None, valid_for: Some(told.unwrap_or(asked).min(asked)) }
    }

    /// Whether this is an auth key that was made for one login.
    pub fn is_made(&self) -> bool {
        self.valid_for.is_some()
    }
}
