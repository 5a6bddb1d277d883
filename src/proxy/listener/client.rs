//! A client as its listener accepted it, from accept to its end.
//!
//! It knows where the client comes from, since when, and its place among the others.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::proxy::listener::admission::{Admission, Place};
use crate::proxy::listener::guests::Heard;
use crate::proxy::listener::source::Source;
use crate::proxy::policy::access::Access;
use crate::sync::IgnorePoison;

/// Longer than it takes to end a handshake.
const AFTER_THE_END: Duration = Duration::from_secs(1);

/// Where a client comes from.
#[derive(Clone, Debug)]
pub struct ClientOrigin {
    /// The address, for logs.
    pub from: String,
    pub source: Source,
    /// Whether it came by a listener that other machines reach.
    pub by_network: bool,
}

/// A client, from accept to its end.
#[derive(Debug)]
pub struct Client {
    pub origin: ClientOrigin,
    admission: Admission,
    place: Mutex<Place>,
    /// Cancelled when it has to leave the lobby for another client. `None` where it was let in as it came.
    displaced: Option<CancellationToken>,
    accepted: Instant,
    has_shaken_hands: AtomicBool,
    has_guessed: AtomicBool,
}

/// Why a handshake was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HandshakeEnd {
    #[error("no complete request in time")]
    TooSlow,
    #[error("no complete request, and others wanted its place")]
    Displaced,
}

impl Client {
    /// Takes a client that was accepted now, with its place.
    pub fn new(origin: ClientOrigin, admission: Admission, place: Place) -> Self {
        let displaced = match &place {
            Place::Lobby(guest) => Some(guest.displaced()),
            Place::LetIn(_) | Place::Between => None,
        };
        Self {
            origin,
            admission,
            place: Mutex::new(place),
            displaced,
            accepted: Instant::now(),
            has_shaken_hands: AtomicBool::new(false),
            has_guessed: AtomicBool::new(false),
        }
    }

    /// Returns what decides about this client's targets alone.
    pub fn access(&self) -> Access {
        Access { by_network: self.origin.by_network, rules: None }
    }

    /// Waits for a step of the handshake, all of which may take `limit` from accept on.
    ///
    /// # Errors
    /// When the time is over, or another client needs the place.
    pub async fn handshake<T>(&self, limit: Duration, step: impl Future<Output = T>) -> Result<T, HandshakeEnd> {
        tokio::select! {
            biased;
            done = timeout_at(self.accepted + limit, step) => done.map_err(|_| HandshakeEnd::TooSlow),
            () = self.displaced() => Err(HandshakeEnd::Displaced),
        }
    }

    /// Ends when another client needs the place of this one, which was not let in yet.
    pub async fn displaced(&self) {
        match &self.displaced {
            Some(displaced) => displaced.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Returns how much is left of `limit`, counted from accept on.
    pub fn time_left(&self, limit: Duration) -> Duration {
        limit.saturating_sub(self.accepted.elapsed())
    }

    /// Lets the client in: its request is complete, and its password right where one is asked for. Waits for a permit where
    /// it has none yet.
    ///
    /// # Errors
    /// When another client has got its place meanwhile.
    pub async fn let_in(&self) -> Result<(), HandshakeEnd> {
        let guest = {
            let mut place = self.place.lock().ignore_poison();
            match std::mem::replace(&mut *place, Place::Between) {
                Place::Lobby(guest) => guest,
                other => {
                    *place = other;
                    self.has_shaken_hands.store(true, Ordering::Relaxed);
                    return Ok(());
                }
            }
        };
        let _place = guest.vouch().ok_or(HandshakeEnd::Displaced)?;
        self.has_shaken_hands.store(true, Ordering::Relaxed);
        let permit = self.admission.permit().await;
        *self.place.lock().ignore_poison() = Place::LetIn(permit);
        Ok(())
    }

    /// Whether a complete request has come, with the password where one is asked for.
    pub fn has_shaken_hands(&self) -> bool {
        self.has_shaken_hands.load(Ordering::Relaxed)
    }

    /// Notes a wrong password, and waits until it is time to say so. The wrong passwords of a source are answered one after the
    /// other; where that would be later than `limit` from accept on, this waits until the limit has ended the handshake.
    pub async fn pause_after_guess(&self, limit: Duration) {
        self.has_guessed.store(true, Ordering::Relaxed);
        self.note(Heard::Wrong);
        // Who was let in once, and is wrong later, has no deadline any more.
        let left = if self.has_shaken_hands() { limit } else { self.time_left(limit) };
        let pause = self.admission.records().note_guess(self.origin.source, left * 9 / 10);
        sleep(pause.unwrap_or(left + AFTER_THE_END)).await;
    }

    /// Notes what was heard of the client, by which its place in the lobby is given away sooner or later.
    pub fn note(&self, heard: Heard) {
        if let Place::Lobby(guest) = &*self.place.lock().ignore_poison() {
            guest.note(heard);
        }
    }

    /// Whether it has given a wrong password.
    pub fn has_guessed(&self) -> bool {
        self.has_guessed.load(Ordering::Relaxed)
    }

    /// Logs why the client has no connection. Of strangers one line a minute and source.
    pub fn log_failure(&self, reason: &str) {
        let from = &*self.origin.from;
        if self.displaced.is_none() || self.has_shaken_hands() {
            tracing::info!(from, reason, "connection not made");
        } else if let Some(withheld) = self.admission.records().line_due(self.origin.source) {
            let source = &self.origin.source;
            tracing::info!(from, reason, %source, withheld, "connection not made; its source gets one line a minute");
        }
    }
}
