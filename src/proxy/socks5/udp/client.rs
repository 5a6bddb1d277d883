//! Tells the datagrams of an association's client from those of anybody else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::proxy::socks5::udp::owner::SocketOwner;
use crate::target::host::{Host, Target};

/// Where a client's datagrams come from.
#[derive(Debug)]
pub struct UdpClient {
    /// The address that the client's TCP connection comes from.
    pub peer: IpAddr,
    /// The IP address that the client has announced in its request, unless that is zeros. Behind address translation it
    /// may be another one than `peer`.
    announced_ip: Option<IpAddr>,
    /// The port that the client has announced in its request, unless that is zero.
    announced_port: Option<u16>,
    /// The user whose sockets the client's datagrams come from, where that is known.
    owner: Option<SocketOwner>,
    /// Where the client's first datagram came from: no other socket is served after that.
    pub socket: Option<SocketAddr>,
}

impl UdpClient {
    /// Creates a client whose connection comes from `peer`, and that says it will send from `announced`: zeros where it
    /// does not know (RFC 1928, section 4). `owner` is known for clients on this machine.
    pub fn new(peer: IpAddr, announced: &Target, owner: Option<SocketOwner>) -> Self {
        let announced_port = Some(announced.port).filter(|port| *port != 0);
        Self { peer, announced_ip: announced_ip(announced), announced_port, owner, socket: None }
    }

    /// Whether a datagram from this address is the client's.
    pub fn sends_from(&self, from: SocketAddr) -> bool {
        let ip = from.ip().to_canonical();
        match self.socket {
            Some(socket) => socket == from,
            None => {
                let is_known = ip == self.peer || self.announced_ip == Some(ip);
                let may_be = is_known && self.announced_port.is_none_or(|port| port == from.port());
                may_be && self.owner.as_ref().is_none_or(|owner| owner.has(from))
            }
        }
    }
}

/// Returns the announced IP address; `None` for zeros, which [`Target`] takes for this machine, and for names.
fn announced_ip(announced: &Target) -> Option<IpAddr> {
    match announced.host {
        Host::Ip(ip) if ip != Ipv4Addr::LOCALHOST && ip != Ipv6Addr::LOCALHOST => Some(ip),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(announced: &str) -> UdpClient {
        let announced: SocketAddr = announced.parse().expect("an address");
        UdpClient::new("192.0.2.1".parse().expect("an address"), &announced.into(), None)
    }

    #[test]
    fn a_client_is_served_from_where_it_has_announced_or_from_where_its_connection_comes() {
        for (announced, from, is_served) in [
            ("0.0.0.0:0", "192.0.2.1:1", true),
            ("0.0.0.0:0", "192.0.2.2:1", false),
            ("0.0.0.0:7", "192.0.2.1:7", true),
            ("0.0.0.0:7", "192.0.2.1:8", false),
            ("10.0.0.5:0", "10.0.0.5:1", true),
            ("10.0.0.5:0", "192.0.2.1:1", true),
            ("10.0.0.5:0", "10.0.0.6:1", false),
            ("10.0.0.5:7", "10.0.0.5:8", false),
            ("127.0.0.1:7", "192.0.2.1:7", true),
        ] {
            assert_eq!(
                client(announced).sends_from(from.parse().expect("an address")),
                is_served,
                "{announced} {from}"
            );
        }
        let known = UdpClient { socket: Some("192.0.2.1:1".parse().expect("an address")), ..client("0.0.0.0:0") };
        assert!(known.sends_from("192.0.2.1:1".parse().expect("an address")));
        assert!(!known.sends_from("192.0.2.1:2".parse().expect("an address")));
    }
}
