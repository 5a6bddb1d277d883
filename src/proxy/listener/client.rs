//! A client as its listener accepted it, from accept to its end.
//!
//! It knows where the client comes from, since when, and its place among the others.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::proxy::listener::admission::{Admission, Place};
use crate::proxy::listener::guests::Heard;
use crate::proxy::listener::source::Source;
use crate::proxy::policy::access::Access;
use crate::proxy::users::user::{TooManyConnections, User, UserConnection};
use crate::sync::IgnorePoison;

/// Longer than it takes to end a handshake.
const AFTER_THE_END: Duration = Duration::from_secs(1);

/// Where a client comes from.
#[derive(Clone, Debug)]
pub struct ClientOrigin {
    /// The address, for logs; behind it the balancer's, where one has said it.
    pub from: String,
    pub source: Source,
    /// Whether it came by a listener that other machines reach, be it by way of a balancer.
    pub by_network: bool,
    /// Whether its connection begins with a header of the PROXY protocol, by a balancer.
    pub by_balancer: bool,
    /// The address that the header has named. It tells clients apart, and gives none of them a right: nobody vouches for it.
    pub stated_ip: Option<IpAddr>,
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
    /// The user that its present request is of, where users are asked for.
    user: Mutex<Option<ActingUser>>,
}

/// The user that a client acts for.
#[derive(Debug)]
struct ActingUser {
    user: Arc<User>,
    /// `None` where the user has as many as it may.
    connection: Option<UserConnection>,
}

/// Whether a client that got no connection has a line in the log.
pub enum LineDue {
    Yes,
    /// The first one of its source for a minute.
    AfterOthers {
        source: Source,
        withheld: u64,
    },
    No,
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
            user: Mutex::default(),
        }
    }

    /// Returns what decides about this client's targets alone.
    pub fn access(&self) -> Access {
        Access { by_network: self.origin.by_network, rules: self.user().and_then(|user| user.rules.clone()) }
    }

    /// Notes what a balancer has said of where the client comes from: its address, or `None` where the connection's own one
    /// counts. Then waits for a place in the lobby, for which the client has `limit` from accept on.
    ///
    /// # Errors
    /// As for [`Client::handshake`].
    pub async fn comes_from(&mut self, address: Option<SocketAddr>, limit: Duration) -> Result<(), HandshakeEnd> {
        if let Some(address) = address {
            self.origin.from = format!("{address} by {}", self.origin.from);
            self.origin.source = Source::stated(address.ip());
            self.origin.stated_ip = Some(address.ip().to_canonical());
        }
        let guest = self.handshake(limit, self.admission.enter_lobby(self.origin.source)).await?;
        self.displaced = Some(guest.displaced());
        *self.place.lock().ignore_poison() = Place::Lobby(guest);
        Ok(())
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

    /// Whether it had to leave for another client, before it was let in.
    pub fn was_displaced(&self) -> bool {
        self.displaced.as_ref().is_some_and(CancellationToken::is_cancelled)
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

    /// Takes what comes now for `user`'s, and counts the connection for it until its end, or until it is another user's.
    ///
    /// # Errors
    /// When the user has as many connections as it may.
    pub fn act_for(&self, user: &Arc<User>) -> Result<(), TooManyConnections> {
        let mut acting = self.user.lock().ignore_poison();
        if acting.as_ref().is_some_and(|acting| acting.connection.is_some() && Arc::ptr_eq(&acting.user, user)) {
            return Ok(());
        }
        // What it was before is given back first.
        *acting = None;
        let (connection, result) = match user.connect() {
            Ok(connection) => (Some(connection), Ok(())),
            Err(too_many) => (None, Err(too_many)),
        };
        *acting = Some(ActingUser { user: Arc::clone(user), connection });
        result
    }

    /// Takes what comes now for nobody's.
    pub fn act_for_nobody(&self) {
        *self.user.lock().ignore_poison() = None;
    }

    /// Returns the user that the present request is of, where users are asked for.
    pub fn user(&self) -> Option<Arc<User>> {
        self.user.lock().ignore_poison().as_ref().map(|acting| Arc::clone(&acting.user))
    }

    /// Whether it is to have a line in the log, having no connection: of strangers one line a minute and source.
    pub fn line_due(&self) -> LineDue {
        if self.displaced.is_none() || self.has_shaken_hands() {
            return LineDue::Yes;
        }
        let source = self.origin.source;
        let withheld = self.admission.records().line_due(source);
        withheld.map_or(LineDue::No, |withheld| LineDue::AfterOthers { source, withheld })
    }
}
