//! Whether the control server still knows the node: asked when no dial is answered, and after a new login.

use std::time::Duration;

use tokio::time::Instant;

/// A known node is online again 0.3 s after it was asked for; after this time there is doubt.
const DOUBTFUL_AFTER: Duration = Duration::from_secs(3);
const CHECK_EVERY: Duration = Duration::from_millis(50);
const CHECK_EVERY_IN_DOUBT: Duration = Duration::from_secs(1);
/// A target that is gone makes the path suspect again and again; asking costs the control server something.
const PAUSE: Duration = Duration::from_secs(10);

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The control server has the node online.
    Known,
    /// Not yet.
    Open,
    /// Not within a sensible time, and nothing else was heard either.
    Doubtful,
}

/// One verification after the other.
#[derive(Debug, Default)]
pub struct Verification {
    begun: Option<Instant>,
    next: Option<Instant>,
    ended: Option<Instant>,
}

impl Verification {
    /// Whether the last one is long enough ago.
    pub fn may_begin(&self) -> bool {
        !self.is_under_way() && self.ended.is_none_or(|ended| ended.elapsed() >= PAUSE)
    }

    pub fn is_under_way(&self) -> bool {
        self.begun.is_some()
    }

    pub fn begin(&mut self) {
        let now = Instant::now();
        self.begun = Some(now);
        self.next = Some(now + CHECK_EVERY);
    }

    /// When the next check is due.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    pub fn end(&mut self) {
        if self.begun.take().is_some() {
            self.ended = Some(Instant::now());
        }
        self.next = None;
    }

    /// Takes in whether the node is online now.
    pub fn judge(&mut self, online: bool) -> Verdict {
        let Some(begun) = self.begun else { return Verdict::Open };
        if online {
            self.end();
            return Verdict::Known;
        }
        let doubtful = begun.elapsed() >= DOUBTFUL_AFTER;
        self.next = Some(Instant::now() + if doubtful { CHECK_EVERY_IN_DOUBT } else { CHECK_EVERY });
        if doubtful { Verdict::Doubtful } else { Verdict::Open }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_node_that_comes_online_is_known_and_is_not_asked_for_again_at_once() {
        let mut verification = Verification::default();
        assert!(verification.may_begin());
        verification.begin();
        assert_eq!(verification.judge(false), Verdict::Open);
        assert_eq!(verification.judge(true), Verdict::Known);
        assert!(!verification.is_under_way() && verification.next().is_none());
        assert!(!verification.may_begin());
        advance(PAUSE).await;
        assert!(verification.may_begin());
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_node_that_stays_offline_is_doubtful_and_checked_on() {
        let mut verification = Verification::default();
        verification.begin();
        advance(DOUBTFUL_AFTER).await;
        assert_eq!(verification.judge(false), Verdict::Doubtful);
        assert!(verification.is_under_way() && verification.next().is_some());
        assert_eq!(verification.judge(true), Verdict::Known);
    }
}
