//! The user of this machine to whom an association belongs.
//!
//! The port of an association stands in `/proc/net/udp`: without this anybody on the machine could send the first datagram, and
//! be taken for the client that gave the password.

use std::io;
use std::net::SocketAddr;

use crate::net::sock_diag::{tcp_socket, udp_socket};

/// Who made the TCP socket of an association's client.
#[derive(Debug)]
pub struct SocketOwner {
    uid: u32,
    /// Where the association takes datagrams.
    relay: SocketAddr,
}

impl SocketOwner {
    /// Returns the owner of the client whose connection has these `addresses`, this end first; `None` where the client is on
    /// another machine or in another network namespace, and where this kernel does not describe sockets (gVisor; Linux without
    /// udp_diag).
    ///
    /// # Errors
    /// When no file is left to ask the kernel by.
    pub fn of_client((own, client): (SocketAddr, SocketAddr), relay: SocketAddr) -> io::Result<Option<Self>> {
        let asked = || {
            // A kernel that does not find the association's own socket finds none.
            let describes_sockets = udp_socket(relay, client)?.is_some();
            let client = tcp_socket(client, own)?.filter(|socket| describes_sockets && socket.is_open);
            Ok(client.map(|client| Self { uid: client.uid, relay }))
        };
        asked().or_else(|error: io::Error| match error.raw_os_error() {
            Some(nix::libc::EMFILE | nix::libc::ENFILE) => Err(error),
            _ => Ok(None),
        })
    }

    /// Whether the socket at `from`, which has sent a datagram to the association, is of the same user. One that is gone already
    /// is nobody's.
    pub fn has(&self, from: SocketAddr) -> bool {
        udp_socket(from, self.relay).is_ok_and(|socket| socket.is_some_and(|socket| socket.uid == self.uid))
    }
}
