//! The exit node: which node is used, and what may go past it.

pub(crate) mod choice;
pub(crate) mod rule;
pub(crate) mod watch;
