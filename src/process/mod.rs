//! Child processes: how they start, which variables they inherit, who descends from them.

pub(crate) mod child;
pub(crate) mod confinement;
pub(crate) mod inherited;
pub(crate) mod lineage;
