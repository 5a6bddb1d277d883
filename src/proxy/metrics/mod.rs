//! What the proxy counts, and the labels of its metrics.

pub mod counters;
pub(crate) mod labels;
