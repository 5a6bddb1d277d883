//! What the kernel tells of sockets.

pub mod sock_diag;
