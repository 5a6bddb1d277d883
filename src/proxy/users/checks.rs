//! Checks passwords against hashes: few at a time, and no stranger holds others up.
//!
//! A hash costs 50 ms of CPU and more, which strangers must not make the daemon spend without bound.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::thread::available_parallelism;

use ring::hmac::{self, HMAC_SHA256, Tag};
use ring::rand::SystemRandom;
use tokio::task::spawn_blocking;

use crate::proxy::listener::source::Source;
use crate::proxy::users::turns::Turns;
use crate::proxy::users::user::{Given, User};
use crate::secret::Secret;
use crate::secret::password_hash::PasswordHash;

/// Most checks at once. At least one core is left to what clients do who are let in, where there are two.
const MOST_AT_ONCE: usize = 2;

/// Checks passwords.
pub struct Checks {
    turns: Turns,
    hasher: RandomState,
    /// Key of this process. `None` where the system gave no random bytes: then every password is hashed each time.
    key: Option<hmac::Key>,
}

impl Checks {
    pub fn new() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            turns: Turns::new((cores / 2).clamp(1, MOST_AT_ONCE)),
            hasher: RandomState::new(),
            key: hmac::Key::generate(HMAC_SHA256, &SystemRandom::new()).ok(),
        }
    }

    /// Returns the digest of a password of `user` with its name and hash, which costs a microsecond and means nothing to
    /// any other process.
    pub fn tag(&self, user: &User, given: Given<'_>) -> Option<Tag> {
        let mut digest = hmac::Context::with_key(self.key.as_ref()?);
        digest.update(&user.name.len().to_le_bytes());
        digest.update(user.name.as_bytes());
        digest.update(&user.hash()?.bytes());
        digest.update(given.password.as_bytes());
        Some(digest.sign())
    }

    /// Returns a number for `name`, the same each time, that nobody else can tell.
    pub fn pick(&self, name: &str) -> u64 {
        self.hasher.hash_one(name)
    }

    /// Whether `hash` is of `password`, or `is_known` says so meanwhile. Waits for a turn of `source`.
    pub async fn check(
        &self,
        source: Source,
        hash: &PasswordHash,
        password: &str,
        is_known: impl Fn() -> bool,
    ) -> bool {
        let turn = self.turns.wait(source).await;
        // Many connections of one user come at once, as at a program's start.
        if is_known() {
            return true;
        }
        let (hash, password) = (hash.clone(), Secret::new(password));
        let checked = spawn_blocking(move || {
            let matches = hash.matches(password.expose());
            // Held to the end also where the client has gone.
            turn.end(matches);
            matches
        });
        checked.await.unwrap_or(false)
    }
}
