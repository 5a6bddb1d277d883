//! Tells where clients come from: what one owner has counts as one source.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Bits of an IPv6 address that name its network: each machine has as many addresses within one as it likes.
const NETWORK: u128 = !0 << 64;

/// Where clients come from that are counted together: an IPv4 address, an IPv6 network of 64 bits, or this machine's unix
/// sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    Network(IpAddr),
    Unix,
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self::Network(match address.to_canonical() {
            IpAddr::V6(v6) if !v6.is_loopback() => Ipv6Addr::from_bits(v6.to_bits() & NETWORK).into(),
            address => address,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(IpAddr::V6(network)) if !network.is_loopback() => write!(f, "{network}/64"),
            Self::Network(address) => address.fmt(f),
            Self::Unix => f.write_str("unix sockets"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_source_and_so_is_a_network_of_ipv6() {
        for (address, source) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("::1", "::1"),
        ] {
            assert_eq!(Source::from(address.parse::<IpAddr>().expect("address")).to_string(), source);
        }
    }
}
