//! IPv4 addresses inside IPv6 ones: NAT64, 6to4, Teredo, ISATAP, 4via6 and more.
//!
//! A gateway takes the inner address out and sends the packet there, so a rule about that address has to hold as well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::target::metadata::V4_ADDRESSES;
use crate::target::ranges::canonical_ip;

/// Returns every IPv4 address that `address` may carry, by the forms in use. Some forms overlap, and which one a network uses
/// cannot be seen: then all readings are returned.
fn embedded_ipv4(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let segments = address.segments();
    let [_, _, _, _, isatap, marker, high, low] = segments;
    let last = v4(high, low);
    let mut found = match segments {
        // The loopback and the unspecified address carry nothing.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Vec::new(),
        // Mapped (RFC 4291, section 2.5.5.2), translated (RFC 2765, section 2.1) and compatible (RFC 4291, section 2.5.5.1).
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0, 0, 0, 0, 0, 0, ..] => vec![last],
        // NAT64 by its well-known prefix (RFC 6052, section 2.1).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => vec![last],
        // NAT64 by its prefix for local use (RFC 8215): an operator chooses the length.
        [0x64, 0xff9b, 1, ..] => nat64_of_any_length(address),
        // 6to4 (RFC 3056, section 2).
        [0x2002, high, low, ..] => vec![v4(high, low)],
        // Teredo (RFC 4380, section 4): the server, and the client with all bits inverted.
        [0x2001, 0, server_high, server_low, ..] => vec![v4(server_high, server_low), v4(!high, !low)],
        // Tailscale's 4via6: fd7a:115c:a1e0:b1a, a site in 32 bits, and the address behind it.
        [0xfd7a, 0x115c, 0xa1e0, 0xb1a, ..] => vec![last],
        _ => Vec::new(),
    };
    // ISATAP (RFC 5214, section 6.1), below any prefix.
    if matches!((isatap, marker), (0 | 0x200, 0x5efe)) {
        found.push(last);
    }
    if !found.iter().any(|inner| V4_ADDRESSES.contains(inner)) {
        found.extend(metadata_below_any_prefix(address));
    }
    found
}

/// Returns a metadata address that `address` carries where NAT64 has a prefix of the network's own, which cannot be seen (RFC 6052,
/// section 2.2).
fn metadata_below_any_prefix(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bytes = address.octets();
    let places = [[4, 5, 6, 7], [5, 6, 7, 9], [6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]];
    let read = places.map(|places| Ipv4Addr::from(places.map(|place| bytes[place])));
    read.into_iter().find(|inner| V4_ADDRESSES.contains(inner))
}

/// The readings of a NAT64 address for all prefix lengths that fit behind 48 bits (RFC 6052, section 2.2). The byte after the
/// first 64 bits is no part of the inner address.
fn nat64_of_any_length(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let bytes = address.octets();
    [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]]
        .map(|places| Ipv4Addr::from(places.map(|place| bytes[place])))
        .to_vec()
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

/// Returns the canonical form of `address` and the canonical IPv4 addresses inside it.
pub fn address_forms(address: IpAddr) -> Vec<IpAddr> {
    let address = canonical_ip(address);
    let mut forms = vec![address];
    if let IpAddr::V6(v6) = address {
        forms.extend(embedded_ipv4(v6).into_iter().map(|inner| canonical_ip(inner.into())));
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_gives_the_address_inside() {
        let inner = Ipv4Addr::new(10, 1, 2, 3);
        // The same forms count for peers, inside tailscaled.
        let go = include_str!("../../parts/tailscaled/calls/reserved_test.go");
        for text in [
            "::ffff:10.1.2.3",
            "::ffff:0:10.1.2.3",
            "::10.1.2.3",
            "64:ff9b::10.1.2.3",
            "64:ff9b:1::10.1.2.3",
            "64:ff9b:1:a01:2:300::",
            "64:ff9b:1:000a:1:203::",
            "64:ff9b:1:0:a:102:300:0",
            "2002:a01:203::1",
            "2001:0:a01:203::1",
            "2001:0:c000:201::f5fe:fdfc",
            "fd7a:115c:a1e0:b1a:0:7:a01:203",
            "2001:db8::5efe:10.1.2.3",
            "fe80::200:5efe:10.1.2.3",
        ] {
            let address = text.parse().expect(text);
            assert!(embedded_ipv4(address).contains(&inner), "{text}: {:?}", embedded_ipv4(address));
            assert!(go.contains(&format!("\"{text}\"")), "{text} is not in the table in Go");
        }
    }

    #[test]
    fn metadata_is_found_below_any_prefix_of_nat64() {
        let go = include_str!("../../parts/tailscaled/calls/reserved_test.go");
        for text in [
            "2001:db8:a9fe:a9fe::",
            "2001:db8:1a9:fea9:fe::",
            "2001:db8:1:a9fe:a9:fe00::",
            "2001:db8:1:1a9:fe:a9fe::",
            "2001:db8:1:1:a9:fea9:fe00:0",
            "2001:db8:64::a9fe:a9fe",
            "2001:db8:64::6464:64c8",
            "2001:db8:64::a9fe:2a2a",
            "fd00:64::192.0.0.192",
        ] {
            let found = embedded_ipv4(text.parse().expect(text));
            assert!(found.iter().any(|inner| V4_ADDRESSES.contains(inner)), "{text}: {found:?}");
            assert!(go.contains(&format!("\"{text}\"")), "{text} is not in the table in Go");
        }
    }

    #[test]
    fn an_ordinary_address_carries_none() {
        for text in ["::1", "::", "2001:db8::1", "fd7a:115c:a1e0::1", "fd00::1", "2003::a01:203", "64:ff9c::a01:203"] {
            assert_eq!(embedded_ipv4(text.parse().expect(text)), Vec::<Ipv4Addr>::new(), "{text}");
        }
    }
}
