//! Variables and flags of Tailscale's container image, and the settings they give.

pub(crate) mod extra_args;
pub(crate) mod given;
pub mod names;
pub(crate) mod translate;
