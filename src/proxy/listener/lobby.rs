//! The lobby: places for clients that are connected and not let in yet.
//!
//! So they take none of `max_connections`. When all places are taken the oldest client of the source with most of them
//! gives its own up, once it has had a second: a handshake takes some round trips.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use crate::proxy::listener::guests::Guests;
use crate::proxy::listener::records::SourceRecords;
use crate::proxy::listener::source::Source;
use crate::sync::IgnorePoison;

/// Least and most places. A client in the lobby has one open file, and for HTTP up to 64 KiB.
const LEAST: usize = 16;
const MOST: usize = 512;
/// Least places of clients whose balancer has not said yet where they come from. All of them wait for the one balancer, and
/// none of them has sent anything.
const LEAST_UNKNOWN: usize = 64;
/// How long a client keeps its place whoever else comes: the time of some round trips, and of one for the header of a
/// balancer.
const UNDISTURBED: Duration = Duration::from_secs(1);
const UNDISTURBED_UNKNOWN: Duration = Duration::from_millis(250);

/// Returns how many places there are beside so many connections.
pub fn places_beside(connections: usize) -> usize {
    (connections / 4).clamp(LEAST, MOST)
}

/// Clients that are not let in yet. Clones share the places.
#[derive(Clone, Debug)]
pub struct Lobby(Arc<LobbyState>);

#[derive(Debug)]
struct LobbyState {
    places: usize,
    guests: Mutex<Guests>,
    /// Told when a place is free.
    left: Notify,
    records: Arc<SourceRecords>,
}

/// A client's place in the lobby, free when dropped.
#[derive(Debug)]
pub struct Guest {
    lobby: Lobby,
    id: u64,
    displaced: CancellationToken,
}

impl Lobby {
    /// Makes a lobby with a quarter as many places as there may be connections. `records` tells who is a nuisance, and
    /// hears of those that are displaced.
    pub fn beside(connections: usize, records: Arc<SourceRecords>) -> Self {
        Self::new(places_beside(connections), UNDISTURBED, records)
    }

    /// Makes a lobby for clients whose source is not known yet.
    pub fn of_unknown(connections: usize, records: Arc<SourceRecords>) -> Self {
        Self::new((connections / 4).clamp(LEAST_UNKNOWN, MOST), UNDISTURBED_UNKNOWN, records)
    }

    fn new(places: usize, undisturbed: Duration, records: Arc<SourceRecords>) -> Self {
        let guests = Mutex::new(Guests::new(undisturbed));
        Self(Arc::new(LobbyState { places, guests, left: Notify::new(), records }))
    }

    /// Most places of one source while others want some.
    fn ceiling(&self) -> usize {
        self.0.places / 2
    }

    /// Waits until one more client can enter.
    pub async fn wait_for_room(&self) {
        loop {
            let left = self.0.left.notified();
            let Some(later) = self.guests().room_at(self.0.places) else { return };
            match later {
                Some(later) => drop(timeout_at(later, left).await),
                None => left.await,
            }
        }
    }

    /// Takes a client in, whose `source` may not be known yet. Where there is no place, others give theirs up.
    pub fn enter(&self, source: Option<Source>) -> Guest {
        let mut guests = self.guests();
        let mut displaced = Vec::new();
        // A nuisance makes room for itself, at once: who shares its address is served all the same.
        if let Some(source) = source.filter(|source| self.0.records.is_nuisance(*source)) {
            displaced.extend(guests.displace_beyond(self.ceiling().saturating_sub(1), source));
        }
        if guests.taken() >= self.0.places {
            displaced.extend(guests.displace_one());
        }
        let (id, leave) = guests.add(source);
        drop(guests);
        for source in displaced {
            self.0.records.note_failure(source);
        }
        Guest { lobby: self.clone(), id, displaced: leave }
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.0.guests.lock().ignore_poison()
    }
}

impl Guest {
    /// Returns what is cancelled when the client has to leave for another one.
    pub fn displaced(&self) -> CancellationToken {
        self.displaced.clone()
    }

    /// Keeps the place until the returned value is dropped, whoever comes: the client has the right to be let in. `None`
    /// where it is too late for that.
    pub fn vouch(self) -> Option<VouchedGuest> {
        let mut guests = self.lobby.guests();
        if !guests.remove(self.id) {
            return None;
        }
        guests.vouched += 1;
        Some(VouchedGuest(self.lobby.clone()))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.lobby.guests().remove(self.id) {
            self.lobby.0.left.notify_waiters();
        }
    }
}

/// The place of a client that nobody displaces.
#[derive(Debug)]
pub struct VouchedGuest(Lobby);

impl Drop for VouchedGuest {
    fn drop(&mut self) {
        self.0.guests().vouched -= 1;
        self.0.0.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::time::{Instant, advance, timeout};

    fn lobby() -> Lobby {
        Lobby::beside(1, Arc::default())
    }

    fn source(number: u32) -> Option<Source> {
        Some(Source::Network(Ipv4Addr::from_bits(number).into()))
    }

    fn stay(guests: &[Guest]) -> Vec<bool> {
        guests.iter().map(|guest| !guest.displaced.is_cancelled()).collect()
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn the_oldest_of_the_largest_source_leaves_after_a_second_and_no_sooner() {
        let lobby = lobby();
        let other = lobby.enter(source(2));
        let guests: Vec<_> = (1..LEAST).map(|_| lobby.enter(source(1))).collect();
        let begun = Instant::now();
        lobby.wait_for_room().await;
        assert_eq!(begun.elapsed().as_millis(), UNDISTURBED.as_millis());
        let _next = lobby.enter(source(3));
        assert!(!other.displaced.is_cancelled(), "it is of another source");
        assert_eq!(stay(&guests).iter().filter(|stays| !**stays).count(), 1);
        assert!(guests[0].displaced.is_cancelled());
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn who_leaves_makes_room_at_once() {
        let lobby = lobby();
        let mut guests: Vec<_> = (0..LEAST).map(|_| lobby.enter(source(1))).collect();
        let leaving = async {
            tokio::task::yield_now().await;
            guests.pop();
        };
        let waiting = timeout(Duration::from_millis(1), lobby.wait_for_room());
        assert!(tokio::join!(waiting, leaving).0.is_ok());
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_nuisance_keeps_to_its_ceiling_and_takes_its_own_places() {
        let lobby = lobby();
        let others: Vec<_> = (0..4).map(|_| lobby.enter(source(2))).collect();
        (0..8).for_each(|_| _ = lobby.0.records.note_failure(source(1).expect("has one")));
        let guests: Vec<_> = (0..100).map(|_| lobby.enter(source(1))).collect();
        assert_eq!(stay(&others), [true; 4]);
        let staying = stay(&guests);
        assert_eq!(staying.iter().filter(|stays| **stays).count(), lobby.ceiling());
        assert!(staying[100 - lobby.ceiling()..].iter().all(|stays| *stays), "the last ones stay");
        assert!(lobby.guests().room_at(lobby.0.places).is_none());
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn who_is_not_known_yet_is_no_nuisance_and_the_oldest_leaves() {
        let lobby = Lobby::of_unknown(1, Arc::default());
        for _ in 0..3 {
            let guests: Vec<_> = (0..LEAST_UNKNOWN).map(|_| lobby.enter(None)).collect();
            assert_eq!(stay(&guests), [true; LEAST_UNKNOWN], "a balancer is no source");
            let begun = Instant::now();
            lobby.wait_for_room().await;
            assert_eq!(begun.elapsed().as_millis(), UNDISTURBED_UNKNOWN.as_millis());
            let _next: Vec<_> = (0..LEAST_UNKNOWN).map(|_| lobby.enter(None)).collect();
            assert_eq!(stay(&guests), [false; LEAST_UNKNOWN]);
        }
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn who_is_vouched_for_is_displaced_by_nobody() {
        let lobby = lobby();
        let vouched: Vec<_> = (0..LEAST).map(|_| lobby.enter(source(1)).vouch().expect("is there")).collect();
        advance(2 * UNDISTURBED).await;
        timeout(Duration::from_secs(60), lobby.wait_for_room()).await.expect_err("has no room");
        drop(vouched);
        let mut guests: Vec<_> = (0..LEAST).map(|_| lobby.enter(source(1))).collect();
        advance(UNDISTURBED).await;
        let _next = lobby.enter(source(1));
        assert!(guests.swap_remove(0).vouch().is_none(), "it is too late");
        assert!(guests.swap_remove(0).vouch().is_some());
    }
}
