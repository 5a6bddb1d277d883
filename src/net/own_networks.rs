//! The addresses of this machine and the networks that it is in, by its interfaces.

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

use crate::sync::IgnorePoison;

/// How long the addresses that were read count: reading them takes as long as some system calls for each.
const LIFETIME: Duration = Duration::from_secs(1);

/// The addresses of this machine's interfaces, read again when a second has passed.
#[derive(Debug)]
pub struct OwnAddresses(Mutex<(Instant, Vec<IpAddr>)>);

impl Default for OwnAddresses {
    /// Reads them for the first time.
    fn default() -> Self {
        Self(Mutex::new((Instant::now(), addresses().unwrap_or_default())))
    }
}

impl OwnAddresses {
    /// Whether an interface has `address`, one of loopback among them. Where the kernel does not tell, as without a file left, those
    /// that it told last count.
    pub fn has(&self, address: IpAddr) -> bool {
        let mut read = self.0.lock().ignore_poison();
        if read.0.elapsed() >= LIFETIME
            && let Ok(addresses) = addresses()
        {
            *read = (Instant::now(), addresses);
        }
        read.1.contains(&address.to_canonical())
    }
}

fn addresses() -> nix::Result<Vec<IpAddr>> {
    Ok(getifaddrs()?.filter_map(|interface| ip_of(&interface.address?)).collect())
}

/// Whether `address` is in a network of an interface that is up. Loopback, link-local addresses and networks of one address are
/// none; nor is anything where the kernel does not tell.
pub fn is_in_own_network(address: IpAddr) -> bool {
    let Ok(interfaces) = getifaddrs() else { return false };
    interfaces.filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP)).any(|interface| {
        let network = interface.address.zip(interface.netmask).and_then(|(own, mask)| network(&own, &mask));
        network.is_some_and(|network| counts(network) && network.contains(&address.to_canonical()))
    })
}

fn network(own: &SockaddrStorage, mask: &SockaddrStorage) -> Option<IpNet> {
    IpNet::with_netmask(ip_of(own)?, ip_of(mask)?).ok()
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

fn counts(network: IpNet) -> bool {
    let address = network.addr();
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !address.is_loopback() && !is_link_local && network.prefix_len() < network.max_prefix_len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_link_local_and_single_addresses_are_no_networks() {
        for (network, is_one) in [
            ("10.0.0.7/24", true),
            ("fd00::7/64", true),
            ("127.0.0.1/8", false),
            ("::1/128", false),
            ("fe80::1/64", false),
            ("169.254.1.1/16", false),
            ("100.64.0.1/32", false),
        ] {
            assert_eq!(counts(network.parse().expect("a network")), is_one, "{network}");
        }
        assert!(!is_in_own_network("127.0.0.1".parse().expect("an address")));
    }

    #[test]
    fn an_address_of_loopback_is_own_and_its_network_is_not() {
        let own = OwnAddresses::default();
        for (address, is_own) in
            [("127.0.0.1", true), ("::ffff:127.0.0.1", true), ("127.0.0.2", false), ("203.0.113.7", false)]
        {
            assert_eq!(own.has(address.parse().expect("an address")), is_own, "{address}");
        }
    }
}
