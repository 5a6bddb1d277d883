//! Where a client wants to go, and the seam between the proxy and what dials.

pub mod datagrams;
pub(crate) mod dial;
pub(crate) mod host;
pub(crate) mod ranges;
