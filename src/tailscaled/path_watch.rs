//! Suspects the path through the tailnet from how dials end. A node deleted at the control server goes on saying
//! Running and Online while every dial times out; only the dials tell.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

/// As many dials in a row that time out, and none that gets an answer, make the path suspect.
const SUSPECT_AFTER: u32 = 2;

/// Shared by the connector, which reports, and the keeper, which asks. Clones are the same watch.
#[derive(Clone, Default)]
pub struct PathWatch(Arc<Inner>);

#[derive(Default)]
struct Inner {
    timeouts_in_a_row: Mutex<u32>,
    suspect: Notify,
}

impl PathWatch {
    /// A dial got an answer through the tailnet: a connection, or a target's refusal.
    pub fn answered(&self) {
        *self.timeouts() = 0;
    }

    /// A dial got no answer in time.
    pub fn timed_out(&self) {
        let mut timeouts = self.timeouts();
        *timeouts += 1;
        if *timeouts >= SUSPECT_AFTER {
            self.0.suspect.notify_one();
        }
    }

    /// Waits until the path is suspect, then starts counting anew.
    pub async fn suspect(&self) {
        loop {
            self.0.suspect.notified().await;
            let mut timeouts = self.timeouts();
            if *timeouts >= SUSPECT_AFTER {
                *timeouts = 0;
                return;
            }
        }
    }

    fn timeouts(&self) -> std::sync::MutexGuard<'_, u32> {
        self.0.timeouts_in_a_row.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::{Context, Waker};

    fn is_suspect(watch: &PathWatch) -> bool {
        let mut suspect = std::pin::pin!(watch.suspect());
        suspect.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn timeouts_in_a_row_are_suspect_one_alone_is_not() {
        let watch = PathWatch::default();
        watch.timed_out();
        assert!(!is_suspect(&watch));
        watch.timed_out();
        assert!(is_suspect(&watch));
        assert!(!is_suspect(&watch), "counting starts anew");
    }

    #[test]
    fn an_answer_between_them_clears_the_path() {
        let watch = PathWatch::default();
        watch.timed_out();
        watch.answered();
        watch.timed_out();
        assert!(!is_suspect(&watch));
        watch.timed_out();
        watch.answered();
        assert!(!is_suspect(&watch), "an answer clears a suspicion that nobody has looked at");
    }
}
