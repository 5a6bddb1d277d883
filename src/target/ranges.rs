//! Addresses and networks in canonical form, in whichever form they are written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Returns the address that is reached in the end, whichever form it is written in. Other forms are an IPv4 address
/// within an IPv6 one (RFC 4291, section 2.5.5.2), and the unspecified address, by which Linux reaches the machine
/// itself.
pub fn canonical_ip(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

/// Whether the address is of the ranges that the nodes of a tailnet have theirs from.
/// <https://tailscale.com/kb/1304/ip-pool>
pub fn is_of_a_tailnet(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => matches!(v4.octets(), [100, 64..128, ..]),
        IpAddr::V6(v6) => matches!(v6.segments(), [0xfd7a, 0x115c, 0xa1e0, ..]),
    }
}

/// Networks that lead to this machine or to neighbours of its network, and never to the internet: loopback, private use
/// (RFC 1918, RFC 4193), shared and special use (RFC 6890). Documentation networks are nobody's.
const PRIVATE: [IpNet; 13] = [
    v4_net([127, 0, 0, 0], 8),
    v4_net([10, 0, 0, 0], 8),
    v4_net([172, 16, 0, 0], 12),
    v4_net([192, 168, 0, 0], 16),
    v4_net([169, 254, 0, 0], 16),
    v4_net([0, 0, 0, 0], 8),
    v4_net([100, 64, 0, 0], 10),
    v4_net([192, 0, 0, 0], 24),
    v4_net([198, 18, 0, 0], 15),
    v6_net([0, 0, 0, 0, 0, 0, 0, 1], 128),
    v6_net([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    v6_net([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    v6_net([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
];

/// Whether `address` leads to this machine or to neighbours of its network.
pub fn is_private(address: IpAddr) -> bool {
    private_network(address).is_some()
}

/// Returns the network by which `address` is private; `None` for a public one.
pub fn private_network(address: IpAddr) -> Option<IpNet> {
    let address = address.to_canonical();
    PRIVATE.into_iter().find(|network| network.contains(&address))
}

/// Creates an IPv4 network; `prefix` is at most 32.
pub const fn v4_net([a, b, c, d]: [u8; 4], prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

/// Creates an IPv6 network; `prefix` is at most 128.
pub const fn v6_net([a, b, c, d, e, f, g, h]: [u16; 8], prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix))
}

/// A network of IPv4 addresses within IPv6 ones as that of the IPv4 addresses.
pub fn canonical_net(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network.trunc() else { return network.trunc() };
    let within = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    within.and_then(|(v4, length)| Ipv4Net::new(v4, length).ok()).map_or(network.trunc(), IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_within_ipv6_are_those_of_ipv4() {
        let net = |text: &str| canonical_net(text.parse().expect("a network")).to_string();
        assert_eq!(net("::ffff:127.0.0.0/104"), "127.0.0.0/8");
        assert_eq!(net("10.1.2.3/8"), "10.0.0.0/8");
        assert_eq!(net("fd7a::/16"), "fd7a::/16");
        assert_eq!(net("::/0"), "::/0");
    }

    #[test]
    fn the_ranges_of_a_tailnet_are_told_from_their_neighbours() {
        let own = |text: &str| is_of_a_tailnet(text.parse().expect("an address"));
        for text in ["100.64.0.1", "100.127.255.255", "::ffff:100.64.0.1", "fd7a:115c:a1e0::1", "fd7a:115c:a1e0:ffff::"]
        {
            assert!(own(text), "{text}");
        }
        for text in ["100.63.255.255", "100.128.0.0", "10.0.0.1", "fd7a:115c:a1e1::1", "::1"] {
            assert!(!own(text), "{text}");
        }
    }

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        let private = |text: &str| is_private(text.parse().expect("an address"));
        for text in
            ["127.0.0.1", "10.0.0.1", "172.31.0.1", "192.168.1.1", "::1", "fd00::1", "::ffff:10.0.0.1", "fec0::1"]
        {
            assert!(private(text), "{text}");
        }
        for text in ["192.0.2.1", "8.8.8.8", "172.32.0.1", "2001:db8::1", "64:ff9b::1"] {
            assert!(!private(text), "{text}");
        }
    }

    #[test]
    fn the_unspecified_address_is_the_machine_itself() {
        let ip = |text: &str| canonical_ip(text.parse().expect("an address")).to_string();
        assert_eq!(ip("::ffff:0.0.0.0"), "127.0.0.1");
        assert_eq!(ip("::"), "::1");
        assert_eq!(ip("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
