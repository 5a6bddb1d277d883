//! An address that is judged, with every other one that the same packet may reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::target::embedded::address_forms;
use crate::target::metadata::V4_ADDRESSES;
use crate::target::own_node::OwnNode;
use crate::target::ranges::is_of_a_tailnet;

/// The loopback addresses, which this node's own addresses lead to.
pub(super) const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// An address and its forms.
#[derive(Debug)]
pub struct JudgedAddress {
    pub(super) address: IpAddr,
    /// The canonical address first, then addresses inside it, then loopback where one of them is this node's own.
    pub(super) forms: Vec<IpAddr>,
    /// Whether it is this node's own, in whichever form.
    pub(super) is_own: bool,
}

impl JudgedAddress {
    pub(super) fn new(address: IpAddr, own_node: &OwnNode) -> Self {
        let mut forms = address_forms(address);
        let is_own = forms.iter().any(|form| own_node.has(*form));
        if is_own {
            forms.extend(LOOPBACK);
        }
        Self { address, forms, is_own }
    }

    /// Whether a gateway outside the tailnet leads to `form`, which is inside this address and in the tailnet's ranges. What is
    /// inside a 4via6 address is at a site's network, where such addresses are others', and may be metadata.
    pub(super) fn leads_out_to(&self, form: IpAddr) -> bool {
        let is_metadata = matches!(form, IpAddr::V4(inner) if V4_ADDRESSES.contains(&inner));
        self.forms.first().is_some_and(|own| *own != form && (is_metadata || !is_of_a_tailnet(*own)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_lead_to_loopback_in_whichever_form_they_are_written() {
        let own = ["100.64.0.1", "fd7a:115c:a1e0::1"].map(|address| address.parse().expect(address));
        let node = OwnNode { addresses: own.into(), ..OwnNode::default() };
        for (text, is_own) in [
            ("100.64.0.1", true),
            ("::ffff:100.64.0.1", true),
            ("64:ff9b::100.64.0.1", true),
            ("fd7a:115c:a1e0:b1a:0:7:6440:1", true),
            ("fd7a:115c:a1e0::1", true),
            ("100.64.0.2", false),
            ("127.0.0.1", false),
        ] {
            let judged = JudgedAddress::new(text.parse().expect(text), &node);
            assert_eq!((judged.is_own, judged.forms.contains(&LOOPBACK[1])), (is_own, is_own), "{text}");
        }
    }
}
