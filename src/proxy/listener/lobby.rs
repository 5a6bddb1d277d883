//! The lobby: places for clients that are connected and not let in yet.
//!
//! So they take none of `max_connections`. When all places are taken one of the network with most of them gives its own up, once
//! it has had the time for a handshake; in a rush at once, since whoever comes waits for all that came before.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use crate::proxy::listener::guests::{Guests, Heard, Room};
use crate::proxy::listener::source::Source;
use crate::sync::IgnorePoison;

/// Least and most places. A client in the lobby has one open file, and for HTTP up to 64 KiB.
const LEAST: usize = 64;
const MOST: usize = 512;

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
}

/// A client's place in the lobby, free when dropped.
#[derive(Debug)]
pub struct Guest {
    lobby: Lobby,
    id: u64,
    displaced: CancellationToken,
}

impl Lobby {
    /// Makes a lobby with a quarter as many places as there may be connections.
    pub fn beside(connections: usize) -> Self {
        let places = places_beside(connections);
        Self(Arc::new(LobbyState { places, guests: Mutex::default(), left: Notify::new() }))
    }

    /// Waits until one more client can enter.
    pub async fn wait_for_room(&self) {
        let mut has_waited = false;
        loop {
            let left = self.0.left.notified();
            let room = self.guests().room(self.0.places, has_waited);
            has_waited = true;
            match room {
                Room::Now => return,
                Room::At(later) => drop(timeout_at(later, left).await),
                Room::Unknown => left.await,
            }
        }
    }

    /// Takes a client in. Where there is no place, another one gives its own up.
    pub fn enter(&self, source: Source) -> Guest {
        let mut guests = self.guests();
        if guests.taken() >= self.0.places {
            guests.displace_one();
        }
        let (id, displaced) = guests.add(source);
        drop(guests);
        Guest { lobby: self.clone(), id, displaced }
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

    /// Notes what was heard of the client.
    pub fn note(&self, heard: Heard) {
        self.lobby.guests().note(self.id, heard);
    }

    /// Keeps the place until the returned value is dropped, whoever comes: the client has the right to be let in. `None`
    /// where it is too late for that.
    pub fn vouch(self) -> Option<VouchedGuest> {
        let mut guests = self.lobby.guests();
        if !guests.let_in(self.id) {
            return None;
        }
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
    use crate::proxy::listener::guests::{PATIENCE, UNDISTURBED};
    use std::collections::VecDeque;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;
    use tokio::time::{Instant, advance, timeout};

    fn lobby() -> Lobby {
        Lobby::beside(1)
    }

    /// An address of the network of this number.
    fn source(network: u32, host: u32) -> Source {
        Source::Network(IpAddr::from(Ipv4Addr::from_bits((192 << 24) + (network << 8) + host)).into())
    }

    fn enter(lobby: &Lobby, source: Source, heard: Heard) -> Guest {
        let guest = lobby.enter(source);
        guest.note(heard);
        guest
    }

    fn left(guests: &[Guest]) -> Vec<usize> {
        guests.iter().enumerate().filter(|(_, guest)| guest.displaced.is_cancelled()).map(|(at, _)| at).collect()
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn one_of_the_largest_network_leaves_and_there_of_the_largest_source() {
        let lobby = lobby();
        let other = lobby.enter(source(2, 1));
        advance(UNDISTURBED).await;
        let mut guests = vec![lobby.enter(source(1, 1)), lobby.enter(source(1, 2)), lobby.enter(source(1, 2))];
        guests.extend((guests.len()..LEAST - 1).map(|host| lobby.enter(source(1, 2 + host as u32))));
        let _next = lobby.enter(source(3, 1));
        assert_eq!(left(&guests), [1]);
        assert!(!other.displaced.is_cancelled(), "it is of another network");
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn who_was_wrong_or_silent_leaves_before_who_has_begun_and_nobody_stays_for_ever() {
        let lobby = lobby();
        let mut guests = vec![enter(&lobby, Source::Local, Heard::Something)];
        advance(UNDISTURBED / 10).await;
        guests.push(enter(&lobby, Source::Local, Heard::Nothing));
        advance(UNDISTURBED / 50).await;
        guests.push(enter(&lobby, Source::Local, Heard::Wrong));
        guests.extend((3..LEAST).map(|_| enter(&lobby, Source::Local, Heard::Something)));
        advance(UNDISTURBED / 20).await;
        for leaving in [&[2][..], &[1, 2], &[0, 1, 2]] {
            guests.push(enter(&lobby, Source::Local, Heard::Something));
            assert_eq!(left(&guests), leaving);
        }
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn nobody_has_to_leave_early_until_one_more_has_waited_in_vain() {
        let lobby = lobby();
        let _guests: Vec<_> = (0..LEAST).map(|_| enter(&lobby, Source::Local, Heard::Something)).collect();
        let begun = Instant::now();
        lobby.wait_for_room().await;
        assert_eq!(begun.elapsed().as_millis(), PATIENCE.as_millis());
        let _next = lobby.enter(Source::Local);
        // From then on all come in at once.
        for _ in 0..10 * LEAST {
            lobby.wait_for_room().await;
            drop(lobby.enter(Source::Local));
        }
        assert_eq!(begun.elapsed().as_millis(), PATIENCE.as_millis());
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_client_of_another_network_has_all_the_time_of_a_slow_handshake_however_many_come() {
        let lobby = lobby();
        let mut strangers = VecDeque::new();
        let mut slow = None;
        for number in 0..4_000 {
            lobby.wait_for_room().await;
            strangers.push_back(lobby.enter(source(1, number % 256)));
            if number == 1_000 {
                slow = Some(enter(&lobby, source(2, 1), Heard::Something));
            }
            advance(Duration::from_millis(1)).await;
        }
        assert!(slow.is_some_and(|guest| guest.vouch().is_some()), "it has had 3 s");
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn who_leaves_makes_room_at_once() {
        let lobby = lobby();
        let mut guests: Vec<_> = (0..LEAST).map(|_| lobby.enter(Source::Local)).collect();
        let leaving = async {
            tokio::task::yield_now().await;
            guests.pop();
        };
        let waiting = timeout(Duration::from_millis(1), lobby.wait_for_room());
        assert!(tokio::join!(waiting, leaving).0.is_ok());
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn who_is_vouched_for_is_displaced_by_nobody() {
        let lobby = lobby();
        let vouched: Vec<_> = (0..LEAST).map(|_| lobby.enter(Source::Local).vouch().expect("is there")).collect();
        advance(2 * UNDISTURBED).await;
        timeout(Duration::from_secs(60), lobby.wait_for_room()).await.expect_err("has no room");
        drop(vouched);
        let mut guests: Vec<_> = (0..LEAST).map(|_| lobby.enter(Source::Local)).collect();
        advance(UNDISTURBED).await;
        let _next = lobby.enter(Source::Local);
        assert!(guests.swap_remove(0).vouch().is_none(), "it is too late");
        assert!(guests.swap_remove(0).vouch().is_some());
    }

    /// Strangers that come back as soon as they have to leave, in the order of `sources`, until one of another network is let
    /// in behind all of them; returns how long that one waits.
    async fn wait_behind(sources: &[Source], heard: Heard) -> Duration {
        let lobby = lobby();
        let (mut inside, mut outside) = (Vec::new(), VecDeque::from(sources.to_vec()));
        let mut came = None;
        for turn in 0.. {
            if turn == 10 * LEAST {
                outside.push_back(Source::Unix);
                came = Some(Instant::now());
            }
            let next = outside.pop_front().expect("one is outside");
            lobby.wait_for_room().await;
            if next == Source::Unix {
                break;
            }
            inside.push((next, enter(&lobby, next, heard)));
            let gone = inside.iter().position(|(_, guest)| guest.displaced.is_cancelled());
            outside.extend(gone.map(|at| inside.swap_remove(at).0));
            advance(Duration::from_micros(100)).await;
        }
        came.expect("has come").elapsed()
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn nobody_waits_longer_than_patience_behind_strangers_that_come_back_at_once() {
        let all = LEAST as u32 + 100;
        let spread: Vec<_> = (0..all).map(|host| source(host / 5, host % 5)).collect();
        let crowd: Vec<_> = (0..all).map(|host| source(1, host)).collect();
        let alone: Vec<_> = (0..all).map(|network| source(network, 1)).collect();
        // All but one network are there to stay, the one comes and goes.
        let one_busy: Vec<_> =
            (0..all).map(|number| source(if number < 48 { number } else { 99 }, number % 7)).collect();
        let most = PATIENCE + Duration::from_millis(50);
        for (what, sources) in [("spread", spread), ("crowd", crowd), ("alone", alone), ("one busy", one_busy)] {
            for heard in [Heard::Nothing, Heard::Something, Heard::Wrong] {
                let waited = wait_behind(&sources, heard).await;
                assert!(waited <= most, "{what}, {heard:?}: {waited:?}");
            }
        }
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn where_clients_are_let_in_one_after_the_other_nobody_has_to_leave_early() {
        let lobby = lobby();
        let mut guests: VecDeque<_> = (0..LEAST).map(|_| enter(&lobby, Source::Local, Heard::Something)).collect();
        // 3 s, with everybody in the lobby for less than one.
        for _ in 0..300 {
            let let_in = async {
                advance(Duration::from_millis(10)).await;
                guests.pop_front().expect("is there").vouch().expect("has not had to leave");
            };
            tokio::join!(lobby.wait_for_room(), let_in);
            guests.push_back(enter(&lobby, Source::Local, Heard::Something));
        }
    }
}
