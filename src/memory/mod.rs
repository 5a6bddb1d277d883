//! Memory: limits, tailscaled's share of them, and throttles while there is little.
//!
//! tetherd itself gives back the code that it needs no more.

pub mod accept_throttle;
pub(crate) mod budget;
pub(crate) mod cgroup;
pub(crate) mod code_pages;
pub(crate) mod limit_watch;
pub mod upload_throttle;
