//! The table of the lobby: who is there, and who has to leave for another one.
//!
//! One of the network with most guests leaves. There it is who has waited longest, for what was heard of it: who has sent
//! nothing, or what was wrong, waits faster.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::proxy::listener::source::Source;

/// How long a client that has begun its handshake keeps its place whoever else comes, but for a rush.
pub const UNDISTURBED: Duration = Duration::from_secs(1);
/// How long one more client may be kept waiting. When nobody was due to leave for so long there is a rush: places go to new
/// clients at once, so that these do not pile up in the backlog, where all wait for all before them.
pub const PATIENCE: Duration = Duration::from_millis(400);
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
    /// How many of them wait, by where they come from.
    by_network: HashMap<Source, usize>,
    by_source: HashMap<Source, usize>,
    by_heard: HashMap<(Source, Heard), usize>,
    /// Clients with the right password that wait for one of `max_connections`: none of them gives its place up.
    pub vouched: usize,
    next: u64,
    /// Since when one more client waits for somebody to be due.
    wanted_since: Option<Instant>,
    rush_until: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    source: Source,
    since: Instant,
    heard: Heard,
    displaced: CancellationToken,
}

impl Waiting {
    fn due(&self) -> Instant {
        self.since + UNDISTURBED / self.heard.haste()
    }

    fn waited(&self, now: Instant) -> Duration {
        now.duration_since(self.since) * self.heard.haste()
    }
}

impl Guests {
    /// Returns how many places are taken.
    pub fn taken(&self) -> usize {
        self.waiting.len() + self.vouched
    }

    /// Whether one more of `places` is there or can be made.
    pub fn room(&mut self, places: usize) -> Room {
        let now = Instant::now();
        if self.taken() < places {
            self.wanted_since = None;
            return Room::Now;
        }
        let Some(due) = self.next_to_leave(now).map(|at| self.waiting[at].due()) else { return Room::Unknown };
        if due <= now {
            self.wanted_since = None;
            return Room::Now;
        }
        let end_of_patience = *self.wanted_since.get_or_insert(now) + PATIENCE;
        if end_of_patience <= now || self.rush_until.is_some_and(|until| now < until) {
            self.rush_until = Some(now + RUSH);
            return Room::Now;
        }
        Room::At(due.min(end_of_patience))
    }

    /// Takes a client in, and returns its number and what is cancelled when it has to leave.
    pub fn add(&mut self, source: Source) -> (u64, CancellationToken) {
        let (id, displaced) = (self.next, CancellationToken::new());
        self.next += 1;
        *self.by_network.entry(source.neighbours()).or_default() += 1;
        *self.by_source.entry(source).or_default() += 1;
        let (since, heard) = (Instant::now(), Heard::Nothing);
        *self.by_heard.entry((source, heard)).or_default() += 1;
        self.waiting.push_back(Waiting { id, source, since, heard, displaced: displaced.clone() });
        (id, displaced)
    }

    /// Notes what was heard of a client, where it is still there.
    pub fn note(&mut self, id: u64, heard: Heard) {
        if let Ok(at) = self.find(id) {
            let guest = &mut self.waiting[at];
            let before = std::mem::replace(&mut guest.heard, heard);
            *self.by_heard.entry((guest.source, heard)).or_default() += 1;
            count_down(&mut self.by_heard, (guest.source, before));
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
        let (network, _) = self.by_network.iter().max_by_key(|(_, number)| **number)?;
        let of_network = self.by_source.iter().filter(|(source, _)| source.neighbours() == *network);
        let (source, _) = of_network.max_by_key(|(_, number)| **number)?;
        // Of those that the same was heard of, the oldest has waited longest.
        let kinds = [Heard::Wrong, Heard::Nothing, Heard::Something].into_iter();
        let there = kinds.filter(|heard| self.by_heard.contains_key(&(*source, *heard)));
        let is_of = |guest: &Waiting, heard| guest.source == *source && guest.heard == heard;
        let oldest = there.filter_map(|heard| self.waiting.iter().position(|guest| is_of(guest, heard)));
        oldest.max_by_key(|at| self.waiting[*at].waited(now))
    }

    fn take_out(&mut self, at: usize) -> Option<Waiting> {
        let guest = self.waiting.remove(at)?;
        count_down(&mut self.by_network, guest.source.neighbours());
        count_down(&mut self.by_source, guest.source);
        count_down(&mut self.by_heard, (guest.source, guest.heard));
        Some(guest)
    }
}

fn count_down<K: Eq + Hash>(numbers: &mut HashMap<K, usize>, key: K) {
    if let Some(number) = numbers.get_mut(&key) {
        *number -= 1;
        if *number == 0 {
            numbers.remove(&key);
        }
    }
}
