//! What binds a connection to the thread that it is on: bytes that one of its directions has taken and not handed on, and
//! a direction that has ended, of which no other thread would know.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Of one connection, known to both its directions.
pub struct MigrationGuard<'a> {
    /// Whether it is to go on elsewhere, now that it carries much. `None` where it stays.
    leaves: Option<&'a (dyn Fn() -> bool + Sync)>,
    bound: AtomicUsize,
    ended: AtomicBool,
}

/// Binds until it is dropped.
pub struct Tie<'a>(&'a AtomicUsize);

impl<'a> MigrationGuard<'a> {
    /// Of a connection that stays.
    pub const fn lasting() -> Self {
        Self { leaves: None, bound: AtomicUsize::new(0), ended: AtomicBool::new(false) }
    }

    /// Of a connection that may leave. `leaves` is asked each time that it carries much.
    pub fn loose(leaves: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { leaves: Some(leaves), ..Self::lasting() }
    }

    pub fn bind(&self) -> Tie<'_> {
        self.bound.fetch_add(1, Ordering::Relaxed);
        Tie(&self.bound)
    }

    /// One of the directions has ended.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    pub fn one_has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// To be asked by a direction that holds nothing.
    pub fn leaves(&self) -> bool {
        self.bound.load(Ordering::Relaxed) == 0 && !self.one_has_ended() && self.leaves.is_some_and(|leaves| leaves())
    }
}

impl Drop for Tie<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connection_that_holds_nothing_and_is_whole_leaves() {
        let ties = MigrationGuard::loose(&|| true);
        assert!(ties.leaves());
        let tie = ties.bind();
        assert!(!ties.leaves());
        drop(tie);
        assert!(ties.leaves());
        ties.end();
        assert!(!ties.leaves());
        assert!(!MigrationGuard::loose(&|| false).leaves());
        assert!(!MigrationGuard::lasting().leaves());
    }
}
