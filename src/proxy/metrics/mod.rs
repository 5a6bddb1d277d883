//! The proxy's metrics: counters and their labels.

pub mod counters;
pub(crate) mod labels;
pub(crate) mod users;
