//! Settings that belong together: how the node joins, what it is, where it listens, what it serves.

pub(crate) mod auth;
pub(crate) mod listeners;
pub(crate) mod node;
pub(crate) mod serve;
