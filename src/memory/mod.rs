//! Memory: limits, tailscaled's share of them, and throttles while there is little.
//!
//! tetherd itself gives back code that it needs no more, and the memory of connections that have ended.

pub mod accept_throttle;
pub(crate) mod budget;
pub(crate) mod cgroup;
pub(crate) mod code_pages;
pub(crate) mod heap;
pub(crate) mod limit_watch;
pub mod upload_throttle;
