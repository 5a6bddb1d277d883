//! What the kernel tells of sockets.

pub(crate) mod connectable;
pub(crate) mod failed_accepts;
pub(crate) mod http_request;
pub(crate) mod send_queue;
pub(crate) mod sock_diag;
pub mod unix_stream;
