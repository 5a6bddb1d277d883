//! Where a client wants to go, and the seam between the proxy and what dials.

pub mod datagrams;
pub(crate) mod dial;
pub(crate) mod embedded;
pub mod host;
pub mod metadata;
pub mod own_node;
pub(crate) mod port;
pub(crate) mod ranges;
pub(crate) mod records;
pub(crate) mod tailnet_names;
