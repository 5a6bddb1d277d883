//! Turns a listener's address into the one to reach it by from this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Returns the address to connect to; one that stands for every address becomes loopback.
pub fn connectable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip().to_canonical() {
        // IPv4 also for `[::]`: where the kernel knows no IPv6 the daemon listens on IPv4 alone, and there in any case.
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_reached_by_loopback_and_others_as_they_are() {
        for (listening, expected) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "127.0.0.1:1"),
            ("[::ffff:0.0.0.0]:1", "127.0.0.1:1"),
            ("[::1]:1", "[::1]:1"),
            ("10.0.0.1:1", "10.0.0.1:1"),
        ] {
            let address = |text: &str| text.parse().expect("address");
            assert_eq!(connectable(address(listening)), address(expected));
        }
    }
}
