//! Notices that the other side has reset a connection of which nothing is read.
//!
//! Bytes that came before the reset may still be waiting to be read.

use std::io;
use std::os::fd::BorrowedFd;
use std::pin::pin;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::time::timeout;

/// Time between two looks, each of which costs a system call.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whether the other side of `socket` has reset the connection and nobody was told of it yet.
pub fn was_reset(socket: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(socket, PollFlags::empty())];
    let found = poll(&mut polled, PollTimeout::ZERO).is_ok_and(|found| found > 0);
    found && polled[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
}

/// Waits for `written`, during which nothing is read from a connection.
///
/// # Errors
/// ConnectionReset when that is still not there after a second or more, and the connection `was_reset` meanwhile.
pub async fn unless_reset<T>(was_reset: impl Fn() -> bool, written: impl Future<Output = T>) -> io::Result<T> {
    let mut written = pin!(written);
    loop {
        match timeout(LOOK_EVERY, &mut written).await {
            Ok(result) => return Ok(result),
            Err(_) if was_reset() => return Err(io::ErrorKind::ConnectionReset.into()),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::libc::linger;
    use nix::sys::socket::{setsockopt, sockopt};
    use std::io::Write;
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsFd;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let there = TcpStream::connect(listener.local_addr().expect("an address")).expect("connects");
        (listener.accept().expect("accepts").0, there)
    }

    #[test]
    fn a_reset_is_told_from_an_end_whatever_is_unread() {
        let (here, mut there) = pair();
        there.write_all(b"unread").expect("sent");
        assert!(!was_reset(here.as_fd()));
        setsockopt(&there, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 }).expect("set");
        drop(there);
        assert!(was_reset(here.as_fd()));
        let (here, there) = pair();
        drop(there);
        here.shutdown(Shutdown::Write).expect("ends as well");
        assert!(!was_reset(here.as_fd()));
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_write_that_goes_on_is_waited_for_and_one_that_does_not_is_given_up_at_a_reset() {
        let slow = tokio::time::sleep(LOOK_EVERY * 5 / 2);
        assert!(unless_reset(|| false, slow).await.is_ok());
        let quick = tokio::time::sleep(LOOK_EVERY / 2);
        assert!(unless_reset(|| true, quick).await.is_ok());
        let stuck = std::future::pending::<()>();
        let error = unless_reset(|| true, stuck).await.expect_err("is given up");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
