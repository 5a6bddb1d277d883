//! Decides when a connection may move to another thread.
//!
//! It must stay while one of its directions holds bytes that were read and not yet written, and once a direction has
//! ended: the other thread would know of neither.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Keeps a connection on its thread while that is needed. Shared by both directions of the connection.
pub struct MigrationGuard<'a> {
    /// Tells whether the connection is to move, now that it carries much. `None` for a connection that never moves.
    wants_to_migrate: Option<&'a (dyn Fn() -> bool + Sync)>,
    /// How many [`Hold`]s there are.
    holds: AtomicUsize,
    has_ended_direction: AtomicBool,
}

/// Keeps the connection on its thread until it is dropped.
pub struct Hold<'a>(&'a AtomicUsize);

impl<'a> MigrationGuard<'a> {
    /// Creates the guard of a connection that never moves.
    pub const fn pinned() -> Self {
        Self { wants_to_migrate: None, holds: AtomicUsize::new(0), has_ended_direction: AtomicBool::new(false) }
    }

    /// Creates the guard of a connection that may move. `wants_to_migrate` is asked each time that it carries much.
    pub fn movable(wants_to_migrate: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { wants_to_migrate: Some(wants_to_migrate), ..Self::pinned() }
    }

    /// Keeps the connection on its thread until the returned value is dropped.
    pub fn hold(&self) -> Hold<'_> {
        self.holds.fetch_add(1, Ordering::Relaxed);
        Hold(&self.holds)
    }

    /// Notes that one of the directions has ended.
    pub fn end_direction(&self) {
        self.has_ended_direction.store(true, Ordering::Relaxed);
    }

    /// Whether one of the directions has ended.
    pub fn has_ended_direction(&self) -> bool {
        self.has_ended_direction.load(Ordering::Relaxed)
    }

    /// Whether the connection is to move now. Only a direction that holds no bytes may ask.
    pub fn migrates(&self) -> bool {
        self.holds.load(Ordering::Relaxed) == 0
            && !self.has_ended_direction()
            && self.wants_to_migrate.is_some_and(|wants| wants())
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connection_that_holds_nothing_and_is_whole_leaves() {
        let guard = MigrationGuard::movable(&|| true);
        assert!(guard.migrates());
        let hold = guard.hold();
        assert!(!guard.migrates());
        drop(hold);
        assert!(guard.migrates());
        guard.end_direction();
        assert!(!guard.migrates());
        assert!(!MigrationGuard::movable(&|| false).migrates());
        assert!(!MigrationGuard::pinned().migrates());
    }
}
