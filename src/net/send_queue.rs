//! Reads the length of a TCP socket's send queue (tcp(7), SIOCOUTQ).
//!
//! It is what the peer has not acknowledged yet, in bytes.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

mod request {
    nix::ioctl_read_bad!(bytes_in_send_queue, nix::libc::TIOCOUTQ, nix::libc::c_int);
}

/// Returns the number of bytes that were written to `socket` and that the peer has not acknowledged yet.
///
/// # Errors
/// When the descriptor is no TCP socket.
pub fn bytes(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // Sound: the descriptor is open for as long as it is borrowed, and the kernel writes one int.
    #[allow(unsafe_code)]
    unsafe {
        request::bytes_in_send_queue(socket.as_raw_fd(), &mut bytes)?;
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn what_nobody_takes_in_waits_and_is_gone_once_it_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut writer = TcpStream::connect(listener.local_addr().expect("an address")).expect("connects");
        let mut reader = listener.accept().expect("accepts").0;
        assert_eq!(bytes(writer.as_fd()).expect("tells"), 0);
        writer.set_nonblocking(true).expect("set");
        let mut written = 0;
        while let Ok(more) = writer.write(&[7; 64 << 10]) {
            written += more;
        }
        assert!(bytes(writer.as_fd()).expect("tells") > 0);
        reader.read_exact(&mut vec![0; written]).expect("all of it");
        while bytes(writer.as_fd()).expect("tells") > 0 {
            std::thread::yield_now();
        }
    }
}
