//! Child processes: how they start, and which variables they inherit.

pub(crate) mod child;
pub(crate) mod confinement;
pub(crate) mod inherited;
