//! Waits for tailscaled only as long as it can be expected to answer. Without CPU, frozen or throttled, this process and
//! tailscaled stand still together: silence says nothing then, and a restart would cost more CPU than the answer.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The time is counted in pieces of this length.
const STEP: Duration = Duration::from_millis(100);
/// A piece that takes longer is one without CPU. On a busy machine a piece is late by some milliseconds.
const IN_TIME: Duration = Duration::from_millis(200);

/// The answer; `None` if it did not come while this process ran for `patience`.
pub async fn within<T>(patience: Duration, answer: impl Future<Output = T>) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    let mut left = patience;
    while !left.is_zero() {
        let began = Instant::now();
        let step = STEP.min(left);
        tokio::select! {
            // What has come is taken, however late.
            biased;
            answer = &mut answer => return Some(answer),
            () = sleep(step) => {}
        }
        if began.elapsed() <= IN_TIME {
            left -= step;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const PATIENCE: Duration = Duration::from_secs(2);

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn it_ends_with_the_answer_or_with_the_time() {
        let began = Instant::now();
        assert_eq!(within(PATIENCE, sleep(PATIENCE / 2)).await, Some(()));
        assert_eq!(began.elapsed(), PATIENCE / 2);
        assert_eq!(within(PATIENCE, std::future::pending::<()>()).await, None);
        assert_eq!(began.elapsed(), PATIENCE / 2 + PATIENCE);
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn time_without_cpu_does_not_count() {
        let began = Instant::now();
        let waiting = tokio::spawn(within(PATIENCE, std::future::pending::<()>()));
        // As when the process gets to run for a moment once a second.
        for _ in 0..60 {
            tokio::task::yield_now().await;
            advance(Duration::from_secs(1)).await;
        }
        assert!(!waiting.is_finished(), "given up after {:?} without CPU", began.elapsed());
        assert_eq!(waiting.await.expect("ends"), None);
        assert!(began.elapsed() <= Duration::from_secs(60) + PATIENCE, "it goes on counting: {:?}", began.elapsed());
    }
}
