//! Memory: what the control groups allow, how much of it tailscaled gets, what is done when there is little left, and how
//! tetherd itself gives back what it needs no more.

pub mod accept_throttle;
pub(crate) mod budget;
pub(crate) mod cgroup;
pub(crate) mod code_pages;
pub(crate) mod limit_watch;
pub mod upload_throttle;
