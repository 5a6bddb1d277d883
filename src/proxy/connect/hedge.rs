//! Hedges a dial: makes a second one while the first is silent.
//!
//! The first answer wins, and the connection of the loser is closed.

use std::pin::pin;
use std::time::Duration;

use tokio::time::sleep;

use crate::target::dial::{DialError, DialOutcome};

/// How long a dial may be silent before a second one is made. A dial that was made while the path was being set up may
/// be lost, and fails 5 s later, while a younger one is answered without delay.
const HEDGE_AFTER: Duration = Duration::from_secs(1);

/// How long the second dial may be silent before a new one replaces it.
const REDIAL_AFTER: Duration = Duration::from_secs(2);

/// How long after `Ready` a path is young. The first packet to a peer is often lost then, and nothing but a new dial
/// sends another one before a second has passed: within this time dials are repeated sooner, and silence says nothing
/// about the path.
const NEW_PATH_FOR: Duration = Duration::from_secs(5);
const REDIAL_AFTER_ON_NEW_PATH: Duration = Duration::from_millis(200);

/// What a dial through the tailnet tells about the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialSignal {
    /// A connection, or the target's refusal.
    Answered,
    /// No answer to the first dial so far, while a second one is made.
    Slow,
    /// No answer for a while.
    NoAnswer,
}

/// Takes the signals of dials through the tailnet.
pub type SignalObserver = dyn Fn(DialSignal) + Send + Sync;

/// Dials, adds a second dial while there is no answer, and replaces the second one again and again. `age` is the time
/// since the path was ready; `observe` gets a signal for each silence before the next dial is made.
pub async fn dial_hedged<F>(
    dial: impl Fn() -> F,
    age: impl Fn() -> Duration,
    observe: impl Fn(DialSignal),
) -> Result<DialOutcome, DialError>
where
    F: Future<Output = Result<DialOutcome, DialError>>,
{
    let mut first = pin!(dial());
    tokio::select! {
        result = &mut first => return result,
        () = sleep(if age() < NEW_PATH_FOR { REDIAL_AFTER_ON_NEW_PATH } else { HEDGE_AFTER }) => {}
    }
    if age() >= NEW_PATH_FOR {
        observe(DialSignal::Slow);
    }
    loop {
        let is_young = age() < NEW_PATH_FOR;
        tokio::select! {
            result = &mut first => return result,
            result = dial() => return result,
            () = sleep(if is_young { REDIAL_AFTER_ON_NEW_PATH } else { REDIAL_AFTER }) => {}
        }
        if !is_young {
            observe(DialSignal::NoAnswer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::time::{Instant, timeout};

    /// Dials a target that never answers its first `unanswered` dials and refuses the next, on a path of this age.
    /// Returns how long that took in tenths of a second, and how many `Slow` and `NoAnswer` signals there were.
    async fn dial(unanswered: u32, age: Duration) -> (Option<u128>, u32, u32) {
        let (left, slow, no_answer) = (Cell::new(unanswered), Cell::new(0), Cell::new(0));
        let started = Instant::now();
        let observe = |signal| {
            let count = if signal == DialSignal::Slow { &slow } else { &no_answer };
            count.set(count.get() + 1);
        };
        let dial = || async {
            if left.get() > 0 {
                left.set(left.get() - 1);
                std::future::pending::<()>().await;
            }
            Err(DialError::Refused)
        };
        let dialling = dial_hedged(dial, || age + started.elapsed(), observe);
        let result = timeout(Duration::from_secs(15), dialling).await;
        (result.is_ok().then(|| started.elapsed().as_millis() / 100), slow.get(), no_answer.get())
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_silent_dial_gets_a_second_one_beside_it() {
        assert_eq!(dial(1, NEW_PATH_FOR).await, (Some(10), 1, 0));
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn lasting_silence_is_reported_and_younger_dials_are_made() {
        assert_eq!(dial(2, NEW_PATH_FOR).await, (Some(30), 1, 1));
        assert_eq!(dial(u32::MAX, NEW_PATH_FOR).await, (None, 1, 7));
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn while_the_path_is_young_dials_are_repeated_sooner_and_silence_says_nothing() {
        assert_eq!(dial(3, Duration::ZERO).await, (Some(6), 0, 0));
    }
}
