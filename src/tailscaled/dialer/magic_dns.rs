//! Resolves tailnet names (MagicDNS) with a stock tailscaled.
//!
//! Tells which names are the tailnet's, and their addresses.

use std::net::IpAddr;

use crate::tailscaled::dialer::external_names;
use crate::tailscaled::dialer::stock::StockDialer;
use crate::tailscaled::local_api::types::Node;
use crate::tailscaled::own_node::OwnNodeCache;
use crate::target::dial::{DialError, Resolution, ResolvedAddress};
use crate::target::host::{Host, Target};

/// Resolves names as MagicDNS does. Clones share what is remembered.
#[derive(Clone)]
pub struct MagicDns {
    own_node: OwnNodeCache,
}

impl MagicDns {
    /// Resolves names for the tailnet of `own_node`.
    pub fn new(own_node: OwnNodeCache) -> Self {
        Self { own_node }
    }

    /// What the host of `target` stands for. Unless `by_address`, names of other nodes are left to tailscaled.
    ///
    /// # Errors
    /// Those of [`external_names::locate`], and [`DialError::Tailscaled`] when tailscaled does not answer.
    pub async fn locate(
        &self,
        dialer: &StockDialer,
        target: &Target,
        by_address: bool,
    ) -> Result<Resolution, DialError> {
        let Host::Name(name) = &target.host else { return Ok(Resolution::Name) };
        let own_node = self.own_node.get().await?;
        if own_node.is_named(name) {
            return Ok(Resolution::Addresses { name: None, addresses: all_by_tailnet(own_node.addresses.clone()) });
        }
        let name = name.as_str();
        if !is_own(name, &own_node.domain) {
            return external_names::locate(dialer, name, target).await;
        }
        if !by_address {
            return Ok(Resolution::Name);
        }
        let node = dialer.nodes().await?.into_iter().find(|node| is_named(node, name));
        Ok(match node.and_then(|node| node.addresses) {
            Some(addresses) => Resolution::Addresses { name: None, addresses: all_by_tailnet(addresses) },
            None => Resolution::Name,
        })
    }
}

/// Whether tailscaled knows `name` by itself, if it is a name at all: one label, or within the tailnet's domain.
fn is_own(name: &str, domain: &str) -> bool {
    !name.contains('.') || (!domain.is_empty() && name.strip_suffix(domain).is_some_and(|labels| labels.ends_with('.')))
}

/// Whether `node` is the one that MagicDNS knows by `name`, short or whole.
fn is_named(node: &Node, name: &str) -> bool {
    let (own, name) = (node.dns_name.trim_end_matches('.'), name.trim_end_matches('.'));
    let short = own.split('.').next().unwrap_or_default();
    !own.is_empty() && (own.eq_ignore_ascii_case(name) || short.eq_ignore_ascii_case(name))
}

fn all_by_tailnet(addresses: Vec<IpAddr>) -> Vec<ResolvedAddress> {
    addresses.into_iter().map(|address| ResolvedAddress { address, by_tailnet: true }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_are_those_within_the_tailnets_domain() {
        assert!(is_own("web.tail.test", "tail.test"));
        assert!(is_own("web", "tail.test") && is_own("web", ""));
        for (name, domain) in [("eviltail.test", "tail.test"), ("tail.test.evil.com", "tail.test"), ("a.b", "")] {
            assert!(!is_own(name, domain), "{name}");
        }
    }

    #[test]
    fn a_node_is_named_by_its_whole_or_its_short_name() {
        let node = |name: &str| serde_json::from_value(serde_json::json!({ "DNSName": name })).expect("a node");
        assert!(is_named(&node("web.tail.test."), "WEB"));
        assert!(is_named(&node("web.tail.test."), "web.tail.test."));
        assert!(!is_named(&node("web.tail.test."), "web.tail"));
        assert!(!is_named(&node(""), ""));
    }
}
