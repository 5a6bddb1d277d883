//! Whether the way from tailscaled to its peers and to the control server works, and what repairs it.

pub(crate) mod control_probe;
pub(crate) mod freeze;
pub mod health;
pub mod rebind;
pub(crate) mod stale;
pub(crate) mod timeout;
