//! A connection that is reset when it is closed.

use std::io;
use std::net::TcpStream;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

/// Has the kernel reset the connection, and drop what is not sent yet, once all copies of the stream are closed.
pub fn reset_at_close(stream: &TcpStream) -> io::Result<()> {
    Ok(setsockopt(stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 })?)
}
