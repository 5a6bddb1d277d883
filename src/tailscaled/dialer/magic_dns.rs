//! Resolves tailnet names (MagicDNS) with a stock tailscaled.
//!
//! Tells which names are the tailnet's, and their addresses.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::sync::IgnorePoison;
use crate::tailscaled::dialer::external_names;
use crate::tailscaled::dialer::stock::StockDialer;
use crate::tailscaled::local_api::LocalApi;
use crate::tailscaled::local_api::types::Node;
use crate::target::dial::{DialError, Resolution, ResolvedAddress};
use crate::target::host::{Host, Target};

/// How long the tailnet's domain is remembered. A tailnet is renamed seldom.
const DOMAIN_LIFETIME: Duration = Duration::from_secs(60);

/// Resolves names as MagicDNS does, and remembers the tailnet's domain. Clones share what is remembered.
#[derive(Clone)]
pub struct MagicDns {
    api: LocalApi,
    domain: Arc<Mutex<Option<Domain>>>,
}

struct Domain {
    learned_at: Instant,
    /// The tailnet's domain, in lower case and without dots around it.
    suffix: String,
}

impl MagicDns {
    pub fn new(api: LocalApi) -> Self {
        Self { api, domain: Arc::default() }
    }

    /// Returns the tailnet's domain, without dots around it; empty where there is none.
    ///
    /// # Errors
    /// [`DialError::Tailscaled`] when tailscaled does not answer.
    pub async fn domain(&self) -> Result<String, DialError> {
        if let Some(suffix) = self.remembered() {
            return Ok(suffix);
        }
        let status = self.api.status(false).await.map_err(|error| DialError::Tailscaled(error.to_string()))?;
        let suffix = status.suffix.trim_matches('.').to_ascii_lowercase();
        *self.domain.lock().ignore_poison() = Some(Domain { learned_at: Instant::now(), suffix: suffix.clone() });
        Ok(suffix)
    }

    fn remembered(&self) -> Option<String> {
        let domain = self.domain.lock().ignore_poison();
        let domain = domain.as_ref().filter(|domain| domain.learned_at.elapsed() < DOMAIN_LIFETIME)?;
        Some(domain.suffix.clone())
    }

    /// Resolves the host of `target`. Unless `by_address` is set, names of the tailnet's own are left to tailscaled.
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
        let name = name.as_str();
        if !self.is_own(name).await? {
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

    /// Whether `name` has the form of the tailnet's own names, which tailscaled resolves by itself: one label, or a
    /// name in the tailnet's domain.
    async fn is_own(&self, name: &str) -> Result<bool, DialError> {
        let name = name.trim_end_matches('.');
        if !name.contains('.') {
            return Ok(true);
        }
        Ok(is_within(name, &self.domain().await?))
    }
}

fn is_within(name: &str, suffix: &str) -> bool {
    let suffix = suffix.trim_matches('.');
    let Some(at) = name.len().checked_sub(suffix.len()).filter(|_| !suffix.is_empty()) else { return false };
    name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(suffix)) && name[..at].ends_with('.')
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
        assert!(is_within("web.tail.test", "tail.test"));
        assert!(is_within("WEB.Tail.Test", "tail.test."));
        for (name, suffix) in [("eviltail.test", "tail.test"), ("tail.test.evil.com", "tail.test"), ("a.b", "")] {
            assert!(!is_within(name, suffix), "{name}");
        }
        assert!(!is_within("\u{e9}.tail", "x.tail"), "no panic within a character");
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
