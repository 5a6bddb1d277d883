//! Sockets: addresses, accept errors, unix streams, one HTTP request, queries to the kernel.

pub(crate) mod connectable;
pub(crate) mod failed_accepts;
pub(crate) mod http_request;
pub(crate) mod send_queue;
pub(crate) mod sock_diag;
pub(crate) mod socket_file;
pub mod unix_stream;
