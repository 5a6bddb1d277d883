//! Processes: how children start, which variables they inherit, and what confines them and this one.

pub(crate) mod child;
pub(crate) mod confinement;
pub(crate) mod inherited;
pub(crate) mod oom_score;
