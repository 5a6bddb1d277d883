//! A second dial beside a silent first one: the first answer wins, the loser is closed.

use std::pin::pin;
use std::time::Duration;

use tokio::time::sleep;

use crate::target::dial::{DialError, DialOutcome};

/// A dial still unanswered after this time gets a second one beside it: one that was made while the path was being
/// built dies with it, 5 s later, while a younger one works at once.
const SECOND_AFTER: Duration = Duration::from_secs(1);

/// How long the second one may be silent until a younger one takes its place.
const SILENCE: Duration = Duration::from_secs(2);

/// Right after a start the first packet to a peer is often lost, and nothing but a new dial sends another one before
/// a second has passed. So long after `Ready` dials are repeated sooner, and their silence says nothing.
const YOUNG: Duration = Duration::from_secs(5);
const SECOND_AFTER_WHILE_YOUNG: Duration = Duration::from_millis(200);

/// What a dial through the tailnet tells about the path, for those who judge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialSignal {
    /// A connection, or the target's refusal.
    Answered,
    /// No answer to the first dial so far, while a second one is made beside it.
    Slow,
    /// No answer for a while.
    NoAnswer,
}

/// Dials, and after a while of silence a second time beside it. `age` is how long the path is there; `heard` is told of
/// each while without an answer before the next dial is made.
pub async fn dial_hedged<F>(
    dial: impl Fn() -> F,
    age: impl Fn() -> Duration,
    heard: impl Fn(DialSignal),
) -> Result<DialOutcome, DialError>
where
    F: Future<Output = Result<DialOutcome, DialError>>,
{
    let mut first = pin!(dial());
    tokio::select! {
        result = &mut first => return result,
        () = sleep(if age() < YOUNG { SECOND_AFTER_WHILE_YOUNG } else { SECOND_AFTER }) => {}
    }
    if age() >= YOUNG {
        heard(DialSignal::Slow);
    }
    loop {
        let young = age() < YOUNG;
        tokio::select! {
            result = &mut first => return result,
            result = dial() => return result,
            () = sleep(if young { SECOND_AFTER_WHILE_YOUNG } else { SILENCE }) => {}
        }
        if !young {
            heard(DialSignal::NoAnswer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::time::{Instant, timeout};

    /// How long a target took that never answers its first `unanswered` dials and refuses the next, and how many pauses
    /// and silences were heard, on a path of this age.
    async fn dial(unanswered: u32, age: Duration) -> (Option<u128>, u32, u32) {
        let (left, pauses, silences) = (Cell::new(unanswered), Cell::new(0), Cell::new(0));
        let started = Instant::now();
        let heard = |heard| {
            let count = if heard == DialSignal::Slow { &pauses } else { &silences };
            count.set(count.get() + 1);
        };
        let dial = || async {
            if left.get() > 0 {
                left.set(left.get() - 1);
                std::future::pending::<()>().await;
            }
            Err(DialError::Refused)
        };
        let dialling = dial_hedged(dial, || age + started.elapsed(), heard);
        let result = timeout(Duration::from_secs(15), dialling).await;
        (result.is_ok().then(|| started.elapsed().as_millis() / 100), pauses.get(), silences.get())
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_silent_dial_gets_a_second_one_beside_it() {
        assert_eq!(dial(1, YOUNG).await, (Some(10), 1, 0));
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn lasting_silence_is_reported_and_younger_dials_are_made() {
        assert_eq!(dial(2, YOUNG).await, (Some(30), 1, 1));
        assert_eq!(dial(u32::MAX, YOUNG).await, (None, 1, 7));
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn while_the_path_is_young_dials_are_repeated_sooner_and_silence_says_nothing() {
        assert_eq!(dial(3, Duration::ZERO).await, (Some(6), 0, 0));
    }
}
