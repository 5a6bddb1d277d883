//! Where a connection may go that tailscaled does not carry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::value::Direct;
use crate::dial::DialError;

/// The policy for targets outside the tailnet.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    direct: Direct,
}

impl Policy {
    pub fn new(direct: Direct) -> Self {
        Self { direct }
    }

    /// Judges an address that is about to be dialled directly: the one that a name resolved to, not the name.
    pub fn judge_outside(&self, address: SocketAddr) -> Result<(), DialError> {
        if let Some(what) = never_direct(address.ip()) {
            return Err(DialError::Policy(format!("{} is {what}", address.ip())));
        }
        match self.direct {
            Direct::Allow => Ok(()),
            Direct::Deny => Err(DialError::Policy(format!("{address} is outside the tailnet and direct = deny"))),
        }
    }
}

/// Judges an address that tailscaled could not reach: a tailnet address is one that no node has.
pub(super) fn judge_unknown(address: IpAddr) -> Result<(), DialError> {
    never_direct(address).map_or(Ok(()), |what| Err(DialError::Policy(format!("{address} is {what}"))))
}

/// Addresses that must never be reached past the tailnet: the cloud's metadata and credentials, and tailnet
/// addresses that tailscaled does not know, which would leak into the container's own network.
fn never_direct(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(v4) => never_direct_v4(v4),
        IpAddr::V6(v6) => never_direct_v6(v6),
    }
}

fn never_direct_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, ..] = address.octets();
    if address.is_link_local() {
        Some("a link-local or metadata address")
    } else if a == 100 && (64..128).contains(&b) {
        Some("a tailnet address that no node of this tailnet has")
    } else {
        None
    }
}

fn never_direct_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        // NAT64 (RFC 6052) carries an IPv4 address in its last 32 bits.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
            never_direct_v4(Ipv4Addr::new(a, b, c, d))
        }
        [first, ..] if first & 0xffc0 == 0xfe80 => Some("a link-local address"),
        [0xfd00, 0xec2, ..] => Some("a metadata address"),
        [0xfd7a, 0x115c, 0xa1e0, ..] => Some("a tailnet address that no node of this tailnet has"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(direct: Direct, address: &str) -> bool {
        let address: IpAddr = address.parse().expect("address");
        Policy::new(direct).judge_outside(SocketAddr::new(address, 80)).is_ok()
    }

    #[test]
    fn metadata_link_local_and_unknown_tailnet_addresses_are_refused_in_every_spelling() {
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "100.64.0.1",
            "100.127.255.255",
            "::ffff:100.100.100.100",
            "fd7a:115c:a1e0::1",
        ] {
            assert!(!judge(Direct::Allow, address), "{address}");
        }
    }

    #[test]
    fn addresses_beside_those_ranges_are_ordinary() {
        for address in
            ["100.63.255.255", "100.128.0.0", "169.253.0.1", "10.0.0.1", "127.0.0.1", "fec0::1", "fd00:ec3::1", "::1"]
        {
            assert!(judge(Direct::Allow, address), "{address}");
            assert!(!judge(Direct::Deny, address), "{address}");
        }
    }
}
