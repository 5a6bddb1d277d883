//! Tells where clients come from: what one owner has counts as one source.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Bits of an IPv6 address that name a machine's network, within which it has as many addresses as it likes.
const OWN_V6: u8 = 64;
/// Bits that name the networks of one owner: a customer of a provider gets an IPv6 prefix of 48 to 56 bits (RFC 6177).
const NEIGHBOURS_V4: u8 = 24;
const NEIGHBOURS_V6: u8 = 48;

/// Where clients come from that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// An IPv4 address, an IPv6 network of 64 bits, or the neighbours of either.
    Network(IpNet),
    /// Any address of this machine's: a program has its choice of all of 127.0.0.0/8.
    Local,
    /// This machine's unix sockets.
    Unix,
    /// A balancer that has not said yet where its client comes from.
    Unknown,
}

impl Source {
    /// Returns the source of a client whose balancer says that it is at `address`. Nobody vouches for that, so that it is none of
    /// this machine's.
    pub fn stated(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => v4_source(v4, 32),
            IpAddr::V6(v6) => v6_source(v6, OWN_V6),
        }
    }

    /// Returns the network that this source is in, which may be all of one owner's: 24 bits of IPv4, 48 of IPv6.
    pub fn neighbours(self) -> Self {
        match self {
            Self::Network(IpNet::V4(v4)) => v4_source(v4.addr(), NEIGHBOURS_V4),
            Self::Network(IpNet::V6(v6)) => v6_source(v6.addr(), NEIGHBOURS_V6),
            own => own,
        }
    }
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            address if address.is_loopback() || is_own(address) => Self::Local,
            address => Self::stated(address),
        }
    }
}

fn v4_source(address: Ipv4Addr, prefix: u8) -> Source {
    Source::Network(Ipv4Net::new_assert(address, prefix).trunc().into())
}

fn v6_source(address: Ipv6Addr, prefix: u8) -> Source {
    Source::Network(Ipv6Net::new_assert(address, prefix).trunc().into())
}

/// Whether this machine has `address`: then packets to it would come from it. None is sent.
fn is_own(address: IpAddr) -> bool {
    let unspecified = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let by = |unspecified: IpAddr| {
        let socket = UdpSocket::bind((unspecified, 0))?;
        socket.connect((address, 9))?;
        socket.local_addr()
    };
    by(unspecified).is_ok_and(|own| own.ip() == address)
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(IpNet::V4(v4)) if v4.prefix_len() == 32 => v4.addr().fmt(f),
            Self::Network(network) => network.fmt(f),
            Self::Local => f.write_str("this machine"),
            Self::Unix => f.write_str("unix sockets"),
            Self::Unknown => f.write_str("a load balancer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_source_so_is_a_network_of_ipv6_and_so_is_all_of_this_machine() {
        for (address, source, neighbours) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.0/24"),
            ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"),
            ("::1", "this machine", "this machine"),
            ("127.0.0.1", "this machine", "this machine"),
            ("127.200.3.4", "this machine", "this machine"),
            ("::ffff:127.0.0.9", "this machine", "this machine"),
        ] {
            let found = Source::from(address.parse::<IpAddr>().expect("address"));
            assert_eq!((found.to_string(), found.neighbours().to_string()), (source.into(), neighbours.into()));
        }
        assert_eq!(Source::stated(IpAddr::from([127, 0, 0, 1])).to_string(), "127.0.0.1");
    }
}
