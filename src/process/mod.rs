//! How children start, what they inherit, who descends from them, and what confines them and this process.

pub(crate) mod child;
pub(crate) mod confinement;
pub(crate) mod inherited;
pub(crate) mod lineage;
pub(crate) mod oom_score;
