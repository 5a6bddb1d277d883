//! Variables and flags of Tailscale's container image, and the settings they give.

pub(crate) mod daemon_args;
pub(crate) mod extra_args;
pub(crate) mod given;
pub(crate) mod go_flags;
pub mod names;
pub(crate) mod translate;
pub(crate) mod unknown;
pub(crate) mod up_flags;
