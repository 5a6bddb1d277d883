//! Reserved addresses, which are reached only where `allow` names them.
//!
//! They are the metadata and credential addresses of clouds (169.254.0.0/16, fd00:ec2::/32) and, for direct dials, the
//! ranges of the tailnet (100.64.0.0/10, fd7a:115c:a1e0::/48), in whichever form they are written.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// A link-local or metadata address, refused through the tailnet and directly; says which of the two.
    Local(&'static str),
    /// In the tailnet's ranges, which only a node of the tailnet leads to.
    Tailnet,
}

impl fmt::Display for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local(what) => what,
            Self::Tailnet => "a tailnet address that no node of this tailnet has",
        })
    }
}

/// Returns why `address` is reserved; `None` where it is not.
pub fn reserved_range(address: IpAddr) -> Option<Reserved> {
    match address.to_canonical() {
        IpAddr::V4(v4) => reserved_v4(v4),
        IpAddr::V6(v6) => reserved_v6(v6),
    }
}

fn reserved_v4(address: Ipv4Addr) -> Option<Reserved> {
    let [a, b, ..] = address.octets();
    if address.is_link_local() {
        Some(Reserved::Local("a link-local or metadata address"))
    } else if a == 100 && (64..128).contains(&b) {
        Some(Reserved::Tailnet)
    } else {
        None
    }
}

fn reserved_v6(address: Ipv6Addr) -> Option<Reserved> {
    match address.segments() {
        // NAT64 (RFC 6052) carries an IPv4 address in its last 32 bits.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        // NAT64's local-use prefix (RFC 8215), IPv4-translated addresses (RFC 2765), and IPv4-compatible ones (RFC
        // 4291).
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        // 6to4 (RFC 3056) carries an IPv4 address behind its prefix.
        | [0x2002, high, low, ..] => {
            let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
            reserved_v4(Ipv4Addr::new(a, b, c, d))
        }
        [first, ..] if first & 0xffc0 == 0xfe80 => Some(Reserved::Local("a link-local address")),
        [0xfd00, 0xec2, ..] => Some(Reserved::Local("a metadata address")),
        [0xfd7a, 0x115c, 0xa1e0, ..] => Some(Reserved::Tailnet),
        _ => None,
    }
}
