//! Waits for tailscaled only as long as it can be expected to answer.
//!
//! Without CPU, frozen or throttled, this process and tailscaled stand still together: silence says little then, and a
//! restart would cost more CPU than the response.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Length of the pieces in which the time is counted.
const PIECE: Duration = Duration::from_millis(100);
/// A piece that takes longer went by without CPU: more than one of the kernel's periods of 100 ms was missed. On a busy
/// machine pieces are late by less.
const LONGEST_PIECE: Duration = Duration::from_millis(250);
/// Number of pieces without CPU that count as one, so that the wait ends whatever happens.
const PIECES_WITHOUT_CPU: u32 = 10;

/// Waits for `answer`; `None` when it does not come while this process runs for `limit`. (By value, the future would be
/// stored twice.)
pub async fn within<T>(limit: Duration, mut answer: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut left = limit;
    while !left.is_zero() {
        let began = Instant::now();
        tokio::select! {
            // A response that has come is taken, however late it is.
            biased;
            answer = answer.as_mut() => return Some(answer),
            () = sleep(PIECE.min(left)) => {}
        }
        let counts = if began.elapsed() <= LONGEST_PIECE { PIECE } else { PIECE / PIECES_WITHOUT_CPU };
        left = left.saturating_sub(counts);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use tokio::time::advance;

    const LIMIT: Duration = Duration::from_secs(2);
    const SECOND: Duration = Duration::from_secs(1);

    /// How often the process gets to run for a moment, once a second, until the wait is over.
    async fn moments<T: Send + 'static>(answer: impl Future<Output = T> + Send + 'static) -> (u32, Option<T>) {
        let waiting = tokio::spawn(async { within(LIMIT, pin!(answer)).await });
        let mut moments = 0;
        loop {
            tokio::task::yield_now().await;
            if waiting.is_finished() {
                return (moments, waiting.await.expect("ends"));
            }
            advance(SECOND).await;
            moments += 1;
        }
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn it_ends_with_the_answer_or_with_the_time() {
        let began = Instant::now();
        assert_eq!(within(LIMIT, pin!(sleep(LIMIT / 2))).await, Some(()));
        assert_eq!(began.elapsed(), LIMIT / 2);
        assert_eq!(within(LIMIT, pin!(std::future::pending::<()>())).await, None);
        assert_eq!(began.elapsed(), LIMIT / 2 + LIMIT);
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn time_without_cpu_hardly_counts() {
        let (moments, answer) = moments(std::future::pending::<()>()).await;
        assert_eq!((moments, answer), (200, None));
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn an_answer_that_comes_in_the_last_moment_is_taken() {
        for _ in 0..20 {
            assert_eq!(moments(sleep(199 * SECOND + SECOND / 2)).await, (200, Some(())));
        }
    }
}
