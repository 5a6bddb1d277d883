//! Sockets: addresses, accept errors, keepalive, unix streams, HTTP, queries.
//!
//! The HTTP client sends one request a connection; the queries go to the kernel.

pub(crate) mod connectable;
pub(crate) mod failed_accepts;
pub(crate) mod file_stamp;
pub(crate) mod http_request;
pub(crate) mod keepalive;
pub(crate) mod own_networks;
pub(crate) mod reset;
pub(crate) mod send_queue;
pub(crate) mod server_tls;
pub(crate) mod sock_diag;
pub(crate) mod socket_file;
pub mod unix_stream;
