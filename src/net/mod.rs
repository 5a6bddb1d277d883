//! What the kernel tells of sockets.

pub mod send_queue;
pub mod sock_diag;
