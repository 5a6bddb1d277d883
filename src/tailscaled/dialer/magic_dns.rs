//! Resolves tailnet names (MagicDNS) with a stock tailscaled.
//!
//! Tells which names are the tailnet's, and their addresses.

use std::net::IpAddr;
use std::sync::Arc;

use crate::tailscaled::dialer::external_names;
use crate::tailscaled::dialer::recent_lookups::RecentLookups;
use crate::tailscaled::dialer::stock::StockDialer;
use crate::tailscaled::local_api::types::Node;
use crate::tailscaled::own_node::OwnNodeCache;
use crate::target::dial::{DialError, Located, Resolution, ResolvedAddress};
use crate::target::host::{Host, Target};

/// Resolves names as MagicDNS does. Clones share what is remembered.
#[derive(Clone)]
pub struct MagicDns {
    own_node: OwnNodeCache,
    nodes: RecentLookups<(), Arc<Vec<Node>>>,
}

impl MagicDns {
    /// Resolves names for the tailnet of `own_node`.
    pub fn new(own_node: OwnNodeCache) -> Self {
        Self { own_node, nodes: RecentLookups::default() }
    }

    /// What the host of `target` stands for. No name is left to tailscaled, whose answer could not be judged.
    ///
    /// # Errors
    /// Those of [`external_names::locate`], and [`DialError::Tailscaled`] when tailscaled does not answer.
    pub async fn locate(&self, dialer: &StockDialer, target: &Target) -> Result<Resolution, DialError> {
        let Host::Name(name) = &target.host else { return Ok(Resolution::Name) };
        let own_node = self.own_node.get().await?;
        if own_node.is_named(name) {
            return Ok(own(&own_node.addresses));
        }
        let nodes = self.nodes(dialer).await?;
        if let Some(addresses) =
            nodes.iter().find(|node| is_named(node, name.as_str())).and_then(|node| node.addresses.as_ref())
        {
            return Ok(own(addresses));
        }
        // A record of the tailnet's, or a node that has just come.
        if let Some(whole) = whole_name(name.as_str(), &own_node.domain) {
            let addresses = dialer.dns_records(&whole).await?;
            if !addresses.is_empty() {
                return Ok(own(&addresses));
            }
        }
        external_names::locate(dialer, name.as_str(), target.port).await
    }

    async fn nodes(&self, dialer: &StockDialer) -> Result<Arc<Vec<Node>>, DialError> {
        if let Some(nodes) = self.nodes.get(&()) {
            return Ok(nodes);
        }
        let nodes = Arc::new(dialer.nodes().await?);
        self.nodes.insert((), Arc::clone(&nodes));
        Ok(nodes)
    }
}

/// Returns the whole name by which MagicDNS may know `name`; `None` for one of another domain.
fn whole_name(name: &str, domain: &str) -> Option<String> {
    if domain.is_empty() {
        return None;
    }
    let is_within = name.strip_suffix(domain).is_some_and(|labels| labels.ends_with('.'));
    match name.contains('.') {
        true => is_within.then(|| name.to_owned()),
        false => Some(format!("{name}.{domain}")),
    }
}

/// Whether `node` is the one that MagicDNS knows by `name`, short or whole.
fn is_named(node: &Node, name: &str) -> bool {
    let (own, name) = (node.dns_name.trim_end_matches('.'), name.trim_end_matches('.'));
    let short = own.split('.').next().unwrap_or_default();
    !own.is_empty() && (own.eq_ignore_ascii_case(name) || short.eq_ignore_ascii_case(name))
}

fn own(addresses: &[IpAddr]) -> Resolution {
    let addresses = addresses.iter().map(|address| ResolvedAddress { address: *address, by_tailnet: true }).collect();
    Resolution::Addresses(Located { names: Vec::new(), is_own_name: true, addresses })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_are_those_within_the_tailnets_domain() {
        for (name, domain, whole) in [
            ("web.tail.test", "tail.test", Some("web.tail.test")),
            ("web", "tail.test", Some("web.tail.test")),
            ("web", "", None),
            ("eviltail.test", "tail.test", None),
            ("tail.test.evil.com", "tail.test", None),
            ("a.b", "", None),
        ] {
            assert_eq!(whole_name(name, domain).as_deref(), whole, "{name}");
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
