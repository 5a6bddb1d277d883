//! Variables and flags of Tailscale's container image, and the keys of ours that they set.

pub(crate) mod extra_args;
pub mod names;
pub(crate) mod translate;
