//! Decides whose password is hashed next.
//!
//! First come networks whose last password was right, last those that were wrong: whoever guesses keeps nobody else waiting.
//! Of equals it is a client of the source with fewest of them, and the newest: who has waited longest may have gone.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use crate::proxy::listener::source::Source;
use crate::sync::IgnorePoison;

/// Most networks whose standing is kept, in 1 MB: whoever guesses from more of them counts as unknown again and again.
const MOST: usize = 16 << 10;

/// What the last password of a network was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Wrong,
    /// There was none, or one wrong one after right ones.
    Unknown,
    Right,
}

/// Gives out turns, some at a time. Clones share them.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Mutex<Queue>>);

#[derive(Debug)]
struct Queue {
    /// Turns that nobody has.
    free: usize,
    waiting: Vec<Waiting>,
    /// Numbers those that wait and those that were judged.
    next: u64,
    judged: HashMap<Source, (Standing, u64)>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    source: Source,
    answer: oneshot::Sender<Turn>,
}

/// A turn, which goes to the next when dropped.
#[derive(Debug)]
pub struct Turn {
    source: Source,
    /// `None` once it was passed on.
    of: Option<Turns>,
}

impl Turns {
    /// Makes so many turns.
    pub fn new(at_once: usize) -> Self {
        let (waiting, judged) = (Vec::new(), HashMap::new());
        Self(Arc::new(Mutex::new(Queue { free: at_once, waiting, next: 0, judged })))
    }

    /// Waits for a turn for a client of `source`.
    pub async fn wait(&self, source: Source) -> Turn {
        let own = || Turn { source, of: Some(self.clone()) };
        let answered = {
            let mut queue = self.0.lock().ignore_poison();
            if queue.free > 0 {
                queue.free -= 1;
                return own();
            }
            queue.waiting.retain(|waiting| !waiting.answer.is_closed());
            let (answer, answered) = oneshot::channel();
            let number = queue.number();
            queue.waiting.push(Waiting { number, source, answer });
            answered
        };
        match answered.await {
            Ok(turn) => turn,
            // Never: what waits is answered before it is dropped.
            Err(_) => own(),
        }
    }
}

impl Turn {
    /// Notes whether the password was right, and passes the turn on.
    pub fn end(self, was_right: bool) {
        if let Some(turns) = &self.of {
            turns.0.lock().ignore_poison().judge(self.source.neighbours(), was_right);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.of.take() else { return };
        loop {
            let mut queue = turns.0.lock().ignore_poison();
            let Some(next) = queue.take_next() else {
                queue.free += 1;
                return;
            };
            drop(queue);
            match next.answer.send(Turn { source: next.source, of: Some(turns.clone()) }) {
                Ok(()) => return,
                // Its client has gone.
                Err(mut unused) => unused.of = None,
            }
        }
    }
}

impl Queue {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn standing(&self, network: Source) -> Standing {
        self.judged.get(&network).map_or(Standing::Unknown, |(standing, _)| *standing)
    }

    fn take_next(&mut self) -> Option<Waiting> {
        let mut numbers: HashMap<Source, usize> = HashMap::new();
        self.waiting.iter().for_each(|waiting| *numbers.entry(waiting.source).or_default() += 1);
        let order = |at: &usize| {
            let Waiting { source, number, .. } = self.waiting[*at];
            (self.standing(source.neighbours()), Reverse(numbers.get(&source).copied()), number)
        };
        let at = (0..self.waiting.len()).max_by_key(order)?;
        Some(self.waiting.swap_remove(at))
    }

    /// One slip does not bring a network whose passwords were right behind those that guess.
    fn judge(&mut self, network: Source, was_right: bool) {
        let standing = match (was_right, self.standing(network)) {
            (true, _) => Standing::Right,
            (false, Standing::Right) => Standing::Unknown,
            (false, _) => Standing::Wrong,
        };
        let number = self.number();
        self.judged.insert(network, (standing, number));
        if self.judged.len() > MOST {
            self.forget();
        }
    }

    /// Forgets the older half of the standing that has most networks: no number of strangers has known ones forgotten.
    fn forget(&mut self) {
        let of =
            |standing| self.judged.values().filter(move |(other, _)| *other == standing).map(|(_, number)| *number);
        let all = [Standing::Wrong, Standing::Unknown, Standing::Right].map(|standing| (standing, of(standing)));
        let largest = all.into_iter().max_by_key(|(_, numbers)| numbers.clone().count());
        let Some((standing, mut numbers)) = largest.map(|(standing, numbers)| (standing, numbers.collect::<Vec<_>>()))
        else {
            return;
        };
        let middle = numbers.len() / 2;
        let oldest = *numbers.select_nth_unstable(middle).1;
        self.judged.retain(|_, (other, number)| *other != standing || *number >= oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::net::{IpAddr, Ipv4Addr};
    use tokio::task::JoinHandle;
    use tokio::task::yield_now;

    fn source(network: u32, host: u32) -> Source {
        Source::stated(IpAddr::from(Ipv4Addr::from_bits((198 << 24) + (network << 8) + host)))
    }

    fn wait(turns: &Turns, source: Source) -> JoinHandle<Turn> {
        let turns = turns.clone();
        tokio::spawn(async move { turns.wait(source).await })
    }

    /// Lets one client of each source wait, in this order, and returns the order in which they have their turns.
    async fn order(turns: &Turns, sources: &[Source]) -> Vec<usize> {
        let first = turns.wait(Source::Unix).await;
        let mut waiting = Vec::new();
        for source in sources {
            waiting.push(wait(turns, *source));
            yield_now().await;
        }
        first.end(true);
        let mut order = Vec::new();
        while order.len() < sources.len() {
            yield_now().await;
            let ready = |at: &usize| !order.contains(at) && waiting[*at].is_finished();
            let at = (0..sources.len()).find(ready).expect("one has its turn");
            drop((&mut waiting[at]).await.expect("has a turn"));
            order.push(at);
        }
        order
    }

    async fn judge(turns: &Turns, source: Source, passwords: &[bool]) {
        for was_right in passwords {
            turns.wait(source).await.end(*was_right);
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_guesses_keeps_nobody_else_waiting() {
        let turns = Turns::new(1);
        for network in 0..300 {
            judge(&turns, source(network, 1), &[false]).await;
        }
        judge(&turns, source(400, 1), &[true]).await;
        judge(&turns, source(401, 1), &[false, true, false]).await;
        judge(&turns, source(402, 1), &[true, false, false]).await;
        // Two that guess, from an address that has not, too; one network that nobody knows, and those of above.
        let sources = [source(5, 1), source(6, 2), source(500, 1), source(400, 9), source(401, 1), source(402, 1)];
        assert_eq!(order(&turns, &sources).await, [3, 4, 2, 5, 1, 0]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_source_with_many_clients_lets_others_go_first() {
        let turns = Turns::new(1);
        let (busy, other) = (source(1, 1), source(2, 1));
        assert_eq!(order(&turns, &[busy, busy, other, busy, busy]).await, [2, 4, 3, 1, 0]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_turn_is_never_lost_whoever_goes() {
        let turns = Turns::new(2);
        for round in 0..50 {
            let held = (turns.wait(source(1, 1)).await, turns.wait(source(2, 1)).await);
            let waiting: Vec<_> = (0..9).map(|host| wait(&turns, source(3, host))).collect();
            yield_now().await;
            waiting.iter().skip(round % 3).step_by(2).for_each(JoinHandle::abort);
            drop(held.0);
            waiting.iter().step_by(4).for_each(JoinHandle::abort);
            drop(held.1);
            // What has had its turn passes it on, in whichever order.
            join_all(waiting.into_iter().map(async |waiting| drop(waiting.await))).await;
        }
        let queue = turns.0.lock().ignore_poison();
        assert_eq!((queue.free, queue.waiting.len()), (2, 0));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn no_number_of_networks_makes_it_grow_or_has_known_ones_forgotten() {
        let turns = Turns::new(1);
        let known = source(65_000, 1);
        judge(&turns, known, &[true]).await;
        for network in 0..2 * MOST as u32 {
            judge(&turns, source(network, 1), &[false]).await;
        }
        let queue = turns.0.lock().ignore_poison();
        assert!((MOST / 2..=MOST).contains(&queue.judged.len()), "{}", queue.judged.len());
        assert_eq!(queue.standing(known.neighbours()), Standing::Right);
        assert_eq!(queue.standing(source(2 * MOST as u32 - 1, 1).neighbours()), Standing::Wrong);
    }
}
