//! Child processes: how they start, what they inherit, what confines them.

pub(crate) mod child;
pub(crate) mod confinement;
pub(crate) mod inherited;
pub(crate) mod lineage;
pub(crate) mod oom_score;
