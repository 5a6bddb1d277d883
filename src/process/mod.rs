//! How children start, what they inherit, and what confines them and this process.

pub(crate) mod child;
pub(crate) mod confinement;
pub(crate) mod inherited;
pub(crate) mod oom_score;
