//! What tasks share: locks despite panics, kept answers, a gate to the join.

pub mod kept_answer;
pub mod start_gate;

use std::sync::LockResult;

/// Extends what locks return, so that a poisoned one is used like any other.
pub trait IgnorePoison {
    /// What a good lock gives: a guard, or the value itself.
    type Guard;

    /// Returns the guard, also of a poisoned lock. For values that are whole after each step of a holder, such as a
    /// time, a queue or a cache: then a panic leaves nothing half done, and one connection's panic must not stop the
    /// others.
    fn ignore_poison(self) -> Self::Guard;
}

impl<G> IgnorePoison for LockResult<G> {
    type Guard = G;

    fn ignore_poison(self) -> G {
        self.unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Mutex;

    #[test]
    fn a_lock_is_usable_after_its_holder_has_panicked() {
        let lock = Mutex::new(1);
        let held = catch_unwind(AssertUnwindSafe(|| {
            let _guard = lock.lock().ignore_poison();
            panic!("while the lock is held");
        }));
        assert!(held.is_err() && lock.is_poisoned());
        assert_eq!(*lock.lock().ignore_poison(), 1);
    }
}
