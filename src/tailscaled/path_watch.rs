//! Suspects the path through the tailnet from how dials end. A node deleted at the control server goes on saying
//! Running and Online while no dial is answered; only the dials tell.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

/// As many silences in a row, and no answer between them, make the path suspect.
const SUSPECT_AFTER: u32 = 2;

/// Shared by the connector, which reports, and the keeper, which asks. Clones are the same watch.
#[derive(Clone, Default)]
pub struct PathWatch(Arc<Inner>);

#[derive(Default)]
struct Inner {
    silences: Mutex<u32>,
    /// How often the path was suspect since a thaw that no answer followed.
    since_thaw: Mutex<Option<u32>>,
    suspect: Notify,
    answered: Notify,
}

impl PathWatch {
    /// A dial got an answer through the tailnet: a connection, or a target's refusal.
    pub fn answered(&self) {
        *self.silences() = 0;
        *self.since_thaw() = None;
        self.0.answered.notify_waiters();
    }

    /// A dial got no answer for a while.
    pub fn silent(&self) {
        let mut silences = self.silences();
        *silences += 1;
        if *silences >= SUSPECT_AFTER {
            self.0.suspect.notify_one();
        }
    }

    /// Waits until the path is suspect, then starts counting anew.
    pub async fn suspect(&self) {
        loop {
            self.0.suspect.notified().await;
            let mut silences = self.silences();
            if *silences >= SUSPECT_AFTER {
                *silences = 0;
                return;
            }
        }
    }

    /// Waits for the next answer.
    pub async fn next_answer(&self) {
        self.0.answered.notified().await;
    }

    /// The process was frozen, and with it whatever the path is made of.
    pub fn thawed(&self) {
        *self.silences() = 0;
        *self.since_thaw() = Some(0);
    }

    /// To be asked when the path is suspect: whether it is for the second time since a thaw, with no answer since.
    pub fn is_lost(&self) -> bool {
        let mut since_thaw = self.since_thaw();
        let suspected = since_thaw.take();
        *since_thaw = suspected.filter(|times| *times == 0).map(|times| times + 1);
        suspected.is_some_and(|times| times > 0)
    }

    fn since_thaw(&self) -> std::sync::MutexGuard<'_, Option<u32>> {
        self.0.since_thaw.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn silences(&self) -> std::sync::MutexGuard<'_, u32> {
        self.0.silences.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
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
    fn silences_in_a_row_are_suspect_one_alone_is_not() {
        let watch = PathWatch::default();
        watch.silent();
        assert!(!is_suspect(&watch));
        watch.silent();
        assert!(is_suspect(&watch));
        assert!(!is_suspect(&watch), "counting starts anew");
    }

    #[test]
    fn a_path_is_lost_when_suspect_twice_since_a_thaw() {
        let watch = PathWatch::default();
        assert!(!watch.is_lost(), "never frozen");
        watch.thawed();
        assert!(!watch.is_lost() && watch.is_lost(), "the second time");
        assert!(!watch.is_lost(), "once for each thaw");
        watch.thawed();
        assert!(!watch.is_lost());
        watch.answered();
        assert!(!watch.is_lost(), "it works");
    }

    #[test]
    fn an_answer_between_them_clears_the_path() {
        let watch = PathWatch::default();
        watch.silent();
        watch.answered();
        watch.silent();
        assert!(!is_suspect(&watch));
        watch.silent();
        watch.answered();
        assert!(!is_suspect(&watch), "an answer clears a suspicion that nobody has looked at");
    }
}
