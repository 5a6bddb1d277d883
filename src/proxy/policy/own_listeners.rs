//! The daemon's own listeners, which clients must not reach through the proxy.
//!
//! A connection made by the proxy comes from loopback: it would bypass the password, and could loop through the proxy
//! without end.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

use crate::sync::IgnorePoison;

/// Addresses that the daemon listens on by TCP, and those of its associations. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct OwnListeners {
    bound: Arc<[SocketAddr]>,
    /// Where the daemon takes datagrams for as long as it runs.
    by_udp: Arc<[SocketAddr]>,
    /// Where associations take the datagrams of their clients.
    associations: Arc<Mutex<HashSet<SocketAddr>>>,
}

/// The address of one association, no target of others until this is dropped.
#[derive(Debug)]
pub struct OwnAssociation {
    bound: SocketAddr,
    all: Arc<Mutex<HashSet<SocketAddr>>>,
}

impl Drop for OwnAssociation {
    fn drop(&mut self) {
        self.all.lock().ignore_poison().remove(&self.bound);
    }
}

impl OwnListeners {
    /// Takes the addresses as they are bound, with the ports that the kernel has chosen.
    pub fn new(bound: Vec<SocketAddr>) -> Self {
        Self { bound: bound.into(), ..Self::default() }
    }

    /// Adds the addresses that are bound by UDP.
    pub fn with_udp(self, bound: Vec<SocketAddr>) -> Self {
        Self { by_udp: bound.into(), ..self }
    }

    /// Adds where an association takes datagrams.
    pub fn add_association(&self, bound: SocketAddr) -> OwnAssociation {
        self.associations.lock().ignore_poison().insert(bound);
        OwnAssociation { bound, all: Arc::clone(&self.associations) }
    }

    /// Whether a datagram to `address` arrives at an association.
    pub fn has_association(&self, address: SocketAddr) -> bool {
        self.associations.lock().ignore_poison().contains(&address)
    }

    /// The ports of the listeners that only this machine reaches: those of TCP, and those of UDP.
    pub fn loopback_ports(&self) -> [Vec<u16>; 2] {
        [&self.bound, &self.by_udp].map(|bound| {
            let on_loopback = bound.iter().filter(|bound| bound.ip().to_canonical().is_loopback());
            on_loopback.map(SocketAddr::port).collect()
        })
    }

    /// Whether a connection or a datagram to `address` and `port` arrives at one of the listeners.
    pub fn has(&self, address: IpAddr, port: u16) -> bool {
        let same_port = self.bound.iter().chain(&*self.by_udp).filter(|bound| bound.port() == port);
        same_port
            .map(|bound| bound.ip().to_canonical())
            .any(|bound| bound == address || (bound.is_unspecified() && is_of_this_machine(address)))
    }

    /// Whether one of the listeners has this port, at whatever address.
    pub fn has_port(&self, port: u16) -> bool {
        self.bound.iter().any(|bound| bound.port() == port)
    }

    /// Whether somebody who names `address` and `port` means one of the listeners: a connection arrives there, or nowhere on this
    /// machine, as at the loopback address of the other family.
    pub fn is_meant_by(&self, address: IpAddr, port: u16) -> bool {
        self.has(address, port) || (self.has_port(port) && is_of_this_machine(address) && is_free(address, port))
    }
}

/// Whether nobody listens at `address` and `port`, which can be bound.
fn is_free(address: IpAddr, port: u16) -> bool {
    TcpListener::bind((address, port)).is_ok()
}

/// Whether packets to `address` stay on this machine. Such an address can be bound; where the kernel lets others be bound, too
/// (`ip_nonlocal_bind`), or has no file left to tell, it counts as this machine's.
fn is_of_this_machine(address: IpAddr) -> bool {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => true,
        Err(error) => {
            error.kind() != ErrorKind::AddrNotAvailable && error.raw_os_error() != Some(nix::libc::EAFNOSUPPORT)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_association_is_known_until_it_ends() {
        let listeners = OwnListeners::default();
        let address = "127.0.0.1:40000".parse().expect("an address");
        let association = listeners.clone().add_association(address);
        assert!(listeners.has_association(address) && !listeners.has(address.ip(), address.port()));
        drop(association);
        assert!(!listeners.has_association(address));
    }

    #[test]
    fn a_listener_is_found_at_every_address_that_leads_to_it() {
        let bound = ["127.0.0.1:1055", "0.0.0.0:1056", "[::]:1057"].map(|bound| bound.parse().expect("an address"));
        let listeners = OwnListeners::new(bound.to_vec());
        for (address, port, is_own) in [
            ("127.0.0.1", 1055, true),
            ("127.0.0.2", 1055, false),
            ("127.0.0.2", 1056, true),
            ("127.0.0.1", 1057, true),
            ("127.0.0.1", 1058, false),
            ("192.0.2.1", 1055, false),
            ("192.0.2.1", 1056, false),
        ] {
            assert_eq!(listeners.has(address.parse().expect(address), port), is_own, "{address} {port}");
        }
    }

    #[test]
    fn the_ports_that_only_this_machine_reaches_are_those_on_loopback() {
        let bound =
            ["127.0.0.1:1", "0.0.0.0:2", "[::]:3", "[::1]:4", "10.0.0.1:5", "127.0.0.2:6", "[::ffff:127.0.0.1]:7"];
        let listeners = OwnListeners::new(bound.map(|bound| bound.parse().expect("an address")).to_vec());
        let by_udp = ["127.0.0.1:53", "0.0.0.0:54"].map(|bound| bound.parse().expect("an address"));
        let listeners = listeners.with_udp(by_udp.to_vec());
        assert_eq!(listeners.loopback_ports(), [vec![1, 4, 6, 7], vec![53]]);
        assert!(listeners.has([127, 0, 0, 1].into(), 53) && !listeners.has_port(53));
    }
}
