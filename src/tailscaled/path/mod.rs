//! The path from tailscaled to peers and control server: health and repair.

pub(crate) mod control_probe;
pub(crate) mod freeze;
pub mod health;
pub mod rebind;
pub(crate) mod stale;
pub(crate) mod timeout;
