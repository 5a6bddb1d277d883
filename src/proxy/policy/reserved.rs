//! Reserved addresses: metadata (169.254.169.254), link-local, multicast, tailnet.
//!
//! They are reached only where a rule of `allow` is about them and nothing wider, in whichever form they are written.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::target::dial::DialError;
use crate::target::embedded::address_forms;
use crate::target::metadata::METADATA;
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

const MULTICAST: Reserved = Reserved::Local("a multicast address");

const ANY_METADATA: Reserved = Reserved::Local("a metadata address");

/// Reserved networks beside those of [`METADATA`].
const NETWORKS: [(IpNet, Reserved); 9] = [
    // Akamai (Linode), and Alibaba Cloud, whose IPv4 address is in the tailnet's range: a node may have a route to it.
    (v6_net([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 0], 48), ANY_METADATA),
    (v6_net([0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200], 128), ANY_METADATA),
    (v4_net([100, 100, 100, 200], 32), ANY_METADATA),
    (v6_net([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), Reserved::Local("a link-local address")),
    (v4_net([224, 0, 0, 0], 4), MULTICAST),
    (v6_net([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), MULTICAST),
    // Broadcast to this network is the last of them; no host has any (RFC 1112, section 4; RFC 6890).
    (v4_net([240, 0, 0, 0], 4), Reserved::Local("a broadcast or reserved address")),
    (v4_net([100, 64, 0, 0], 10), Reserved::Tailnet),
    (v6_net([0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, 0], 48), Reserved::Tailnet),
];

fn of_metadata(network: IpNet) -> (IpNet, Reserved) {
    let is_link_local = matches!(network, IpNet::V4(network) if network.addr().is_link_local());
    let what = if is_link_local { "a link-local or metadata address" } else { "a metadata address" };
    (network, Reserved::Local(what))
}

/// All reserved networks, and why they are reserved.
fn networks() -> impl Iterator<Item = (IpNet, Reserved)> {
    METADATA.into_iter().map(|metadata| of_metadata(metadata.network)).chain(NETWORKS)
}

/// Returns the reserved network that `address` is in, and why it is reserved; `None` where it is in none. An address inside the
/// address does not count.
pub fn reserved_network(address: IpAddr) -> Option<(IpNet, Reserved)> {
    let address = address.to_canonical();
    networks().find(|(network, _)| network.contains(&address))
}

/// Whether a route to `network` leads to a metadata address.
pub fn leads_to_metadata(network: IpNet) -> bool {
    METADATA.iter().any(|metadata| metadata.network.contains(&network) || network.contains(&metadata.network))
}

/// Refuses a reserved address, whatever `allow` says. Addresses in the tailnet's ranges come here only once no node was found to have them.
pub fn refuse_reserved(address: IpAddr) -> Result<(), DialError> {
    let found = address_forms(address).into_iter().find_map(|form| Some((form, reserved_network(form)?.1)));
    found.map_or(Ok(()), |(form, why)| Err(why.refusal(address, form)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What peers are not led to is decided in tailscaled, by a table in Go.
    #[test]
    fn the_table_inside_tailscaled_has_the_same_networks() {
        let go = include_str!("../../../parts/tailscaled/calls/reserved.go");
        let texts = go.split("netip.MustParsePrefix(\"").skip(1).map(|rest| rest.split('"').next().expect("a network"));
        let mut in_go: Vec<IpNet> = texts.map(|text| text.parse().expect(text)).collect();
        let mut own: Vec<IpNet> = networks().map(|(network, _)| network).collect();
        in_go.sort();
        own.sort();
        assert_eq!(in_go, own);
    }

    #[test]
    fn routes_lead_to_metadata_where_they_meet_one_of_its_networks() {
        for (network, leads) in [
            ("0.0.0.0/0", true),
            ("::/0", true),
            ("169.254.169.0/24", true),
            ("168.0.0.0/8", true),
            ("fd00::/8", true),
            ("224.0.0.0/4", false),
            ("10.0.0.0/8", false),
            ("100.64.0.0/10", false),
            ("fd00:8::/64", false),
        ] {
            assert_eq!(leads_to_metadata(network.parse().expect(network)), leads, "{network}");
        }
    }

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
