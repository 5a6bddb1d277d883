//! Reserved addresses: metadata (169.254.169.254), link-local, multicast, tailnet.
//!
//! They are reached only where a rule of `allow` is about them and nothing wider, in whichever form they are written.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::target::dial::DialError;
use crate::target::embedded::address_forms;
use crate::target::ranges::{v4_net, v6_net};

/// Why an address is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// A link-local, metadata or multicast address, refused through the tailnet and directly; says what it is.
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

impl Reserved {
    /// Returns the refusal of `address`, whose form `form` is reserved.
    pub fn refusal(self, address: IpAddr, form: IpAddr) -> DialError {
        DialError::Policy(if form == address {
            format!("{address} is {self}")
        } else {
            format!("{address} leads to {form}, {self}")
        })
    }
}

const LINK_LOCAL: Reserved = Reserved::Local("a link-local or metadata address");
const METADATA: Reserved = Reserved::Local("a metadata address");
const MULTICAST: Reserved = Reserved::Local("a multicast address");

/// The reserved networks. Metadata and credentials of AWS, Google Cloud, Azure, Oracle Cloud and others are link-local; those
/// that are not have rows of their own.
const NETWORKS: [(IpNet, Reserved); 13] = [
    (v4_net([169, 254, 0, 0], 16), LINK_LOCAL),
    (v6_net([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), Reserved::Local("a link-local address")),
    // AWS: metadata at ::254, credentials of ECS and EKS at ::23.
    (v6_net([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32), METADATA),
    // Google Cloud.
    (v6_net([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), METADATA),
    // Azure's platform services.
    (v4_net([168, 63, 129, 16], 32), METADATA),
    // Oracle Cloud.
    (v4_net([192, 0, 0, 192], 32), METADATA),
    (v6_net([0xfd00, 0xc1, 0, 0, 0, 0, 0, 0], 32), METADATA),
    // Scaleway.
    (v6_net([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128), METADATA),
    (v4_net([224, 0, 0, 0], 4), MULTICAST),
    (v6_net([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), MULTICAST),
    // Broadcast to this network is the last of them; no host has any (RFC 1112, section 4; RFC 6890).
    (v4_net([240, 0, 0, 0], 4), Reserved::Local("a broadcast or reserved address")),
    (v4_net([100, 64, 0, 0], 10), Reserved::Tailnet),
    (v6_net([0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, 0], 48), Reserved::Tailnet),
];

/// Returns the reserved network that `address` is in, and why it is reserved; `None` where it is in none. An address inside the
/// address does not count.
pub fn reserved_network(address: IpAddr) -> Option<(IpNet, Reserved)> {
    let address = address.to_canonical();
    NETWORKS.into_iter().find(|(network, _)| network.contains(&address))
}

/// Refuses a reserved address, whatever `allow` says. Addresses in the tailnet's ranges come here only once no node was found to have them.
pub fn refuse_reserved(address: IpAddr) -> Result<(), DialError> {
    let found = address_forms(address).into_iter().find_map(|form| Some((form, reserved_network(form)?.1)));
    found.map_or(Ok(()), |(form, why)| Err(why.refusal(address, form)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_the_reserved_networks_are_ordinary() {
        for address in [
            "169.253.255.255",
            "169.255.0.0",
            "fec0::",
            "fd00:ec3::254",
            "fd20:ce::253",
            "168.63.129.15",
            "192.0.0.193",
            "fd00:c2::1",
            "fd00:42::43",
            "223.255.255.255",
            "feff:ffff::",
            "100.63.255.255",
            "100.128.0.0",
            "fd7a:115c:a1e1::",
        ] {
            assert_eq!(reserved_network(address.parse().expect(address)), None, "{address}");
        }
    }
}
