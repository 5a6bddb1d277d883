//! The table of the lobby: who is there, and who has to leave for another one.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::proxy::listener::source::Source;

/// The clients in the lobby.
#[derive(Debug)]
pub struct Guests {
    /// How long a client keeps its place whoever else comes.
    undisturbed: Duration,
    /// In the order of their arrival.
    waiting: VecDeque<Waiting>,
    /// Clients with the right password that wait for one of `max_connections`: none of them gives its place up.
    pub vouched: usize,
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    /// `None` where its balancer has not said it yet.
    source: Option<Source>,
    since: Instant,
    displaced: CancellationToken,
}

impl Guests {
    /// Makes an empty lobby, in which each client has its place for so long at least.
    pub fn new(undisturbed: Duration) -> Self {
        Self { undisturbed, waiting: VecDeque::new(), vouched: 0, next: 0 }
    }

    /// Returns how many places are taken.
    pub fn taken(&self) -> usize {
        self.waiting.len() + self.vouched
    }

    /// `None` where one more of `places` is there or can be made. Else when one can be, as far as is known.
    pub fn room_at(&self, places: usize) -> Option<Option<Instant>> {
        if self.taken() < places {
            return None;
        }
        let Some(oldest) = self.waiting.front() else { return Some(None) };
        let later = oldest.since + self.undisturbed;
        (Instant::now() < later).then_some(Some(later))
    }

    /// Takes a client in, and returns its number and what is cancelled when it has to leave.
    pub fn add(&mut self, source: Option<Source>) -> (u64, CancellationToken) {
        let (id, displaced) = (self.next, CancellationToken::new());
        self.next += 1;
        self.waiting.push_back(Waiting { id, source, since: Instant::now(), displaced: displaced.clone() });
        (id, displaced)
    }

    /// Displaces the oldest clients of `source`, of which `most` may stay. Returns their sources.
    pub fn displace_beyond(&mut self, most: usize, source: Source) -> Vec<Source> {
        let mut beyond = self.waiting.iter().filter(|guest| guest.source == Some(source)).count().saturating_sub(most);
        let mut displaced = Vec::new();
        self.waiting.retain(|guest| {
            let stays = beyond == 0 || guest.source != Some(source);
            if !stays {
                beyond -= 1;
                guest.displaced.cancel();
                displaced.push(source);
            }
            stays
        });
        displaced
    }

    /// Displaces the oldest client of the source that has most, or else the oldest of all. Clients whose source is not known
    /// yet count as one. Returns its source, where it is known.
    pub fn displace_one(&mut self) -> Option<Source> {
        let mut numbers = HashMap::new();
        for guest in &self.waiting {
            *numbers.entry(guest.source).or_insert(0_usize) += 1;
        }
        let is_due = |guest: &Waiting| guest.since.elapsed() >= self.undisturbed;
        let most = numbers.into_iter().max_by_key(|(_, number)| *number)?.0;
        let due_of_most = self.waiting.iter().position(|guest| guest.source == most && is_due(guest));
        let guest = self.waiting.remove(due_of_most.unwrap_or(0))?;
        guest.displaced.cancel();
        guest.source
    }

    /// Takes a client out that waits; whether it was there.
    pub fn remove(&mut self, id: u64) -> bool {
        let found = self.waiting.iter().position(|guest| guest.id == id);
        found.and_then(|at| self.waiting.remove(at)).is_some()
    }
}
