//! The table of the lobby: who is there, and who has to leave for another one.
//!
//! One of the network with most guests leaves. There it is who has waited longest, for what was heard of it: who has sent
//! nothing, or what was wrong, waits faster.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::proxy::listener::source::Source;

/// How long a client that has begun its handshake keeps its place whoever else comes, but for a rush.
pub const UNDISTURBED: Duration = Duration::from_secs(1);
/// For how long each new client may have to wait. After that there is a rush: places go to new clients at once, so that these do
/// not pile up in the backlog, where all wait for all before them.
pub const PATIENCE: Duration = Duration::from_millis(400);
/// By how much that is longer for each client that is let in meanwhile: where many are, those who come make way by themselves.
const PATIENCE_FOR_EACH: Duration = Duration::from_millis(20);
/// How long a rush lasts after the last client that had to leave early.
const RUSH: Duration = Duration::from_secs(10);

/// What was heard of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Heard {
    Nothing,
    /// The beginning of a handshake.
    Something,
    /// A wrong password, or no handshake.
    Wrong,
}

impl Heard {
    /// How many times as fast a client waits as one that has begun its handshake.
    const fn haste(self) -> u32 {
        match self {
            Self::Something => 1,
            Self::Nothing => 8,
            Self::Wrong => 64,
        }
    }
}

/// Whether one more client can have a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Now,
    /// At this time, if nobody leaves before.
    At(Instant),
    /// When somebody leaves.
    Unknown,
}

/// The clients in the lobby.
#[derive(Debug, Default)]
pub struct Guests {
    /// In the order of their arrival, which is that of their numbers.
    waiting: VecDeque<Waiting>,
    by_network: Numbers,
    by_source: Numbers,
    /// Clients with the right password that wait for one of `max_connections`: none of them gives its place up.
    pub vouched: usize,
    next: u64,
    /// Since when each new client had to wait, later by [`PATIENCE_FOR_EACH`] for each that was let in.
    wanted_since: Option<Instant>,
    rush_until: Option<Instant>,
}

/// How many clients wait, by where they come from. Each client has those that count it.
type Numbers = HashMap<Source, Arc<AtomicUsize>>;

#[derive(Debug)]
struct Waiting {
    id: u64,
    source: Source,
    of_network: Arc<AtomicUsize>,
    of_source: Arc<AtomicUsize>,
    since: Instant,
    heard: Heard,
    displaced: CancellationToken,
}

impl Waiting {
    fn due(&self) -> Instant {
        self.since + UNDISTURBED / self.heard.haste()
    }

    /// Who leaves before others has more: of its network, of its source, or of time.
    fn turn_to_leave(&self, now: Instant) -> (usize, usize, Duration) {
        let waited = now.duration_since(self.since) * self.heard.haste();
        (self.of_network.load(Ordering::Relaxed), self.of_source.load(Ordering::Relaxed), waited)
    }
}

impl Guests {
    /// Returns how many places are taken.
    pub fn taken(&self) -> usize {
        self.waiting.len() + self.vouched
    }

    /// Whether one more of `places` is there or can be made for a client, which `has_waited` for it or has just come.
    pub fn room(&mut self, places: usize, has_waited: bool) -> Room {
        let now = Instant::now();
        if self.taken() < places {
            if !has_waited {
                self.wanted_since = None;
            }
            return Room::Now;
        }
        let Some(due) = self.next_to_leave(now).map(|at| self.waiting[at].due()) else { return Room::Unknown };
        if due <= now {
            return Room::Now;
        }
        let end_of_patience = *self.wanted_since.get_or_insert(now) + PATIENCE;
        if end_of_patience <= now || self.rush_until.is_some_and(|until| now < until) {
            self.rush_until = Some(now + RUSH);
            return Room::Now;
        }
        Room::At(due.min(end_of_patience))
    }

    /// Notes that a client is let in, and keeps its place until `vouched` is one less; whether it was there.
    pub fn let_in(&mut self, id: u64) -> bool {
        let is_there = self.remove(id);
        if is_there {
            self.vouched += 1;
            let now = Instant::now();
            self.wanted_since = self.wanted_since.map(|since| now.min(since + PATIENCE_FOR_EACH));
        }
        is_there
    }

    /// Takes a client in, and returns its number and what is cancelled when it has to leave.
    pub fn add(&mut self, source: Source) -> (u64, CancellationToken) {
        let (id, displaced) = (self.next, CancellationToken::new());
        self.next += 1;
        let waiting = Waiting {
            id,
            source,
            of_network: count(&mut self.by_network, source.neighbours()),
            of_source: count(&mut self.by_source, source),
            since: Instant::now(),
            heard: Heard::Nothing,
            displaced: displaced.clone(),
        };
        self.waiting.push_back(waiting);
        (id, displaced)
    }

    /// Notes what was heard of a client, where it is still there.
    pub fn note(&mut self, id: u64, heard: Heard) {
        if let Ok(at) = self.find(id) {
            self.waiting[at].heard = heard;
        }
    }

    /// Displaces the next to leave.
    pub fn displace_one(&mut self) {
        if let Some(guest) = self.next_to_leave(Instant::now()).and_then(|at| self.take_out(at)) {
            guest.displaced.cancel();
        }
    }

    /// Takes a client out that waits; whether it was there.
    pub fn remove(&mut self, id: u64) -> bool {
        self.find(id).is_ok_and(|at| self.take_out(at).is_some())
    }

    fn find(&self, id: u64) -> Result<usize, usize> {
        self.waiting.binary_search_by_key(&id, |guest| guest.id)
    }

    /// Returns the place in `waiting` of the client that leaves when one has to; `None` where nobody can.
    fn next_to_leave(&self, now: Instant) -> Option<usize> {
        // Of those with the same turn the oldest: many networks may have as many clients as the largest.
        (0..self.waiting.len()).rev().max_by_key(|at| self.waiting[*at].turn_to_leave(now))
    }

    fn take_out(&mut self, at: usize) -> Option<Waiting> {
        let guest = self.waiting.remove(at)?;
        count_down(&mut self.by_network, guest.source.neighbours(), &guest.of_network);
        count_down(&mut self.by_source, guest.source, &guest.of_source);
        Some(guest)
    }
}

fn count(numbers: &mut Numbers, of: Source) -> Arc<AtomicUsize> {
    let number = numbers.entry(of).or_default();
    number.fetch_add(1, Ordering::Relaxed);
    Arc::clone(number)
}

fn count_down(numbers: &mut Numbers, of: Source, number: &AtomicUsize) {
    if number.fetch_sub(1, Ordering::Relaxed) == 1 {
        numbers.remove(&of);
    }
}
