//! When to check whether the control server still knows the node.
//!
//! A verification begins when dials get no answer, after a login over a running node, and when a known node resumes.

use std::time::Duration;

use tokio::time::Instant;

/// How long a verification may take before it is overdue. A known node is online again after 0.3 s.
const OVERDUE_AFTER: Duration = Duration::from_secs(3);
/// Pause between two checks.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// Pause between two checks once the verification is overdue.
const CHECK_EVERY_OVERDUE: Duration = Duration::from_secs(1);
/// Pause between two verifications: a target that is gone makes the path suspect again and again, and each verification
/// is load for the control server.
const PAUSE: Duration = Duration::from_secs(10);

/// Result of a check whether the control server has the node online.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The control server has the node online.
    Online,
    /// The control server does not have the node online yet, or no verification is under way.
    Pending,
    /// The control server has not had the node online within 3 s.
    Overdue,
}

/// The verification that is under way, if there is one, and when the last one ended.
#[derive(Debug, Default)]
pub struct Verification {
    began_at: Option<Instant>,
    next_check: Option<Instant>,
    ended_at: Option<Instant>,
}

impl Verification {
    /// Whether no verification is under way and the last one ended long enough ago.
    pub fn may_begin(&self) -> bool {
        !self.is_under_way() && self.ended_at.is_none_or(|ended| ended.elapsed() >= PAUSE)
    }

    /// When the verification that is under way has begun.
    pub fn began_at(&self) -> Option<Instant> {
        self.began_at
    }

    /// Whether a verification is under way.
    pub fn is_under_way(&self) -> bool {
        self.began_at.is_some()
    }

    /// Begins a verification.
    pub fn begin(&mut self) {
        let now = Instant::now();
        self.began_at = Some(now);
        self.next_check = Some(now + CHECK_EVERY);
    }

    /// When the next check is due; `None` when no verification is under way.
    pub fn next_check(&self) -> Option<Instant> {
        self.next_check
    }

    /// Ends the verification that is under way, if there is one.
    pub fn end(&mut self) {
        if self.began_at.take().is_some() {
            self.ended_at = Some(Instant::now());
        }
        self.next_check = None;
    }

    /// Takes the result of a check: whether the control server has the node `online` now. Ends the verification if it
    /// has.
    pub fn check(&mut self, online: bool) -> Verdict {
        let Some(began_at) = self.began_at else { return Verdict::Pending };
        if online {
            self.end();
            return Verdict::Online;
        }
        let overdue = began_at.elapsed() >= OVERDUE_AFTER;
        self.next_check = Some(Instant::now() + if overdue { CHECK_EVERY_OVERDUE } else { CHECK_EVERY });
        if overdue { Verdict::Overdue } else { Verdict::Pending }
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
        assert_eq!(verification.check(false), Verdict::Pending);
        assert_eq!(verification.check(true), Verdict::Online);
        assert!(!verification.is_under_way() && verification.next_check().is_none());
        assert!(!verification.may_begin());
        advance(PAUSE).await;
        assert!(verification.may_begin());
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_node_that_stays_offline_is_doubtful_and_checked_on() {
        let mut verification = Verification::default();
        verification.begin();
        advance(OVERDUE_AFTER).await;
        assert_eq!(verification.check(false), Verdict::Overdue);
        assert!(verification.is_under_way() && verification.next_check().is_some());
        assert_eq!(verification.check(true), Verdict::Online);
    }
}
